/** Slipway with a bare app and no access log: the contract and the engine, with their default limits. */
import app from "./slipway-app.mjs"
import { serve } from "./slipway-serve.mjs"

serve(app, [])
