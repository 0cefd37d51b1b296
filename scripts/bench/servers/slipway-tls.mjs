/** Slipway with a bare app over TLS; arguments: certificate file, key file. */
import app from "./slipway-app.mjs"
import { serve } from "./slipway-serve.mjs"

const [tlsCert, tlsKey] = process.argv.slice(2)
serve(app, [], { tlsCert, tlsKey })
