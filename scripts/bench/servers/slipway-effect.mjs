/** The same HttpRouter program as effect.mjs, with one Layer swapped. */
import { setFlagsFromString } from "node:v8"
import * as HttpServer from "slipway/layers/HttpServer"
import { keepAliveMillis } from "./common.mjs"
import { launch } from "./effect-program.mjs"

// As dist/main.js does; see docs/decisions.md.
setFlagsFromString("--no-allocation-site-pretenuring")

launch(HttpServer.layer({ port: 0, host: "127.0.0.1", maxConnections: 200_000, keepAliveTimeout: keepAliveMillis }))
