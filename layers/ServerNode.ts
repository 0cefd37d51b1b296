/**
 * The server on Node's sockets: TCP over IPv4 and IPv6, and unix sockets. Each listener accepts into the same core, so
 * limits and counters are the server's, not the listener's. Never installs signal handlers: an embedding program owns
 * its process.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ServerOptions } from "../src/schema/Settings.ts"
import { listeners } from "../src/schema/Settings.ts"
import { Server, type ServerError } from "../src/service/Server.ts"
import { watchDescriptors } from "./internal/Descriptors.ts"
import { openListener } from "./internal/Listener.ts"
import { type Listen, makeServer } from "./internal/serving.ts"

/** Every option with its unit and default stands in docs/settings.md. */
export type Options = ServerOptions

const listen: Listen = Effect.fnUntraced(function*(core, settings) {
  yield* Effect.forkScoped(watchDescriptors(core))
  return yield* Effect.forEach(listeners(settings), (spec) => openListener(core, spec, settings))
})

/** Makes a server. It listens when `serve` is called, and stops when the scope of that call closes. */
export const make = (options: Options = {}): Effect.Effect<typeof Server.Service, ServerError> =>
  makeServer(options, listen)

/**
 * Provides a `Server`.
 *
 * **Fails with** `ServerError`: a setting that cannot be used. Addresses that cannot be listened on fail `serve`.
 */
export const layer = (options: Options = {}): Layer.Layer<Server, ServerError> => Layer.effect(Server, make(options))

/** Provides a `Server` whose options are read from the ConfigProvider. */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<Server, ServerError | Config.ConfigError> =>
  Layer.effect(Server, Effect.flatMap(Config.unwrap(options), make))
