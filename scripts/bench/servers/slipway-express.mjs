/** The same Express app through NodeHandler. */
import * as NodeHandler from "slipway/layers/NodeHandler"
import { app } from "./express-app.mjs"
import { serve } from "./slipway-serve.mjs"

serve(NodeHandler.make(app), [])
