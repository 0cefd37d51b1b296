/** A Router of 10 routes. */
import { serveRoutes } from "./slipway-routes.mjs"

serveRoutes(10)
