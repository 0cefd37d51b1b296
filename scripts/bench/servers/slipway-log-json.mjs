/** Slipway as slipway-all, with a JSON access log. */
import * as AccessLogFile from "slipway/layers/AccessLogFile"
import app from "./slipway-app.mjs"
import { serve } from "./slipway-serve.mjs"

serve(app, [AccessLogFile.layer({ path: "/dev/null", format: "json" })])
