/**
 * The server on Node's sockets: TCP over IPv4 and IPv6, in clear text and with TLS, and unix sockets. Each listener
 * accepts into the same core, so limits and counters are the server's, not the listener's. Never installs signal handlers: an embedding program owns
 * its process.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { listeners, type ListenSpec, resolve, type ServerOptions, type ServerSettings } from "../src/schema/Settings.ts"
import { Server, type ServerError } from "../src/service/Server.ts"
import { watchDescriptors } from "./internal/Descriptors.ts"
import { type Accept, openListener } from "./internal/Listener.ts"
import { type Listen, makeServer } from "./internal/serving.ts"
import * as TlsContexts from "./internal/TlsContexts.ts"
import * as TlsHandshakes from "./internal/TlsHandshakes.ts"

/** Every option with its unit and default stands in docs/settings.md. */
export type Options = ServerOptions

const isSecure = (spec: ListenSpec): boolean => spec._tag === "tcp" && spec.scheme === "https"

const listenWith = (contexts: TlsContexts.TlsContexts | undefined): Listen =>
  Effect.fnUntraced(function*(core, settings) {
    yield* Effect.forkScoped(watchDescriptors(core))
    const handshakes = contexts === undefined ? undefined : yield* TlsHandshakes.make(core, contexts)
    const clear: Accept = (socket, peer) => core.accept(socket, peer)
    const secure: Accept = (socket, peer) => handshakes!.accept(socket, peer)
    return yield* Effect.forEach(
      listeners(settings),
      (spec) => openListener(core, spec, settings, isSecure(spec) ? secure : clear)
    )
  })

/** The certificates of a server that has a place to show them. */
const loadContexts = Effect.fnUntraced(function*(settings: ServerSettings) {
  if (settings.tlsCert === undefined) return undefined
  if (listeners(settings).some(isSecure)) return yield* TlsContexts.make(settings)
  yield* Effect.logWarning("tlsCert is of no use: none of the addresses is https, so nothing is encrypted")
  return undefined
})

/**
 * Makes a server. It reads the TLS files now, listens when `serve` is called, and stops when the scope of that call
 * closes.
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<typeof Server.Service, ServerError> {
  const server = yield* makeServer(options, (core, settings) => listenWith(contexts)(core, settings))
  const contexts = yield* loadContexts(Result.getOrThrow(resolve(options)))
  return contexts === undefined ? server : { ...server, reload: contexts.reload }
})

/**
 * Provides a `Server`.
 *
 * **Fails with** `ServerError`: a setting or a TLS file that cannot be used. Addresses that cannot be listened on fail
 * `serve`.
 */
export const layer = (options: Options = {}): Layer.Layer<Server, ServerError> => Layer.effect(Server, make(options))

/** Provides a `Server` whose options are read from the ConfigProvider. */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<Server, ServerError | Config.ConfigError> =>
  Layer.effect(Server, Effect.flatMap(Config.unwrap(options), make))
