/** Slipway as production runs it: limits, deadlines, metrics, and a buffered combined access log (into /dev/null). */
import * as AccessLogFile from "slipway/layers/AccessLogFile"
import app from "./slipway-app.mjs"
import { serve } from "./slipway-serve.mjs"

serve(app, [AccessLogFile.layer({ path: "/dev/null", format: "combined" })])
