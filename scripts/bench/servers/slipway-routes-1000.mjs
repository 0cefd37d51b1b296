/** A Router of 1000 routes. */
import { serveRoutes } from "./slipway-routes.mjs"

serveRoutes(1000)
