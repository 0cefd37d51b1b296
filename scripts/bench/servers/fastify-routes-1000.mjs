/** Fastify with 1000 routes. */
import { serveRoutes } from "./fastify-routes.mjs"

await serveRoutes(1000)
