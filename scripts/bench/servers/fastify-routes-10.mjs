/** Fastify with 10 routes. */
import { serveRoutes } from "./fastify-routes.mjs"

await serveRoutes(10)
