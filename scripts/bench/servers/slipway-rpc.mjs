/** A JSON-RPC method with Schemas. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { JsonRpc } from "slipway"
import { serve } from "./slipway-serve.mjs"

const params = { minuend: Schema.Finite, subtrahend: Schema.Finite }

const rpc = JsonRpc.make(
  JsonRpc.method(
    "subtract",
    { params, success: Schema.Finite },
    ({ minuend, subtrahend }) => Effect.succeed(minuend - subtrahend)
  )
)

serve(rpc.app, [])
