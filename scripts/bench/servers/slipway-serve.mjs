/** Serves a Slipway app on a free port of 127.0.0.1 and announces it. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { setFlagsFromString } from "node:v8"
import { Server } from "slipway"
import * as ServerNode from "slipway/layers/ServerNode"
import { announce, keepAliveMillis } from "./common.mjs"

const announced = Layer.effectDiscard(
  Effect.gen(function*() {
    const server = yield* Server.Server
    const [address] = yield* server.addresses
    announce(address.port)
  })
)

// As dist/main.js does; see docs/decisions.md.
setFlagsFromString("--no-allocation-site-pretenuring")

/** As the peers are set: room for the idle scenario's connections, and no connection closed while it is still used. */
const settings = { host: "127.0.0.1", port: 0, maxConnections: 200_000, keepAliveTimeout: keepAliveMillis }

/**
 * @param {import("slipway").App.App} app
 * @param {ReadonlyArray<Layer.Layer<any, any>>} services what the server takes besides its settings
 * @param {ServerNode.Options} [further] settings of one scenario
 */
export const serve = (app, services, further = {}) => {
  const server = ServerNode.layer({ ...settings, ...further })
  const listening = announced.pipe(Layer.provide(Server.serve(app)), Layer.provide(server))
  const program = services.reduce((layer, service) => Layer.provide(layer, service), listening)
  NodeRuntime.runMain(Layer.launch(program))
}
