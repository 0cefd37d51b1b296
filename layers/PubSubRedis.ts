/**
 * PubSub between all processes at one Redis (6 or later, no Cluster), over two connections: Effect's node-redis client
 * for commands, and a duplicate of it for messages. A server that goes away takes no subscription along: publishing
 * fails at once until it is back, and `status`, metrics and the log say so.
 *
 * Times are those of the processes' clocks, which have to agree to within a second or so.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import { PubSub, PubSubError } from "../src/service/PubSub.ts"
import type * as PubSubChecks from "./internal/PubSubChecks.ts"
import { RedisBackend, type Settings } from "./internal/PubSubRedisBackend.ts"
import { type Client, Commands, problemOf, unavailable } from "./internal/PubSubRedisCommands.ts"
import * as PubSubService from "./internal/PubSubService.ts"

export interface Options extends PubSubChecks.Options {
  /**
   * What all keys and channels in Redis begin with: processes of one prefix hear each other, also from one database to
   * another, since channels know none. No prefix on a server may begin with another one. Letters, digits and
   * `. : _ - { }`. Default `slipway:`.
   */
  readonly prefix?: string | undefined
  /** Messages that wait for their delay in all processes together. Default 10,000. */
  readonly maxDelayed?: number | undefined
  /** How long a history is kept after its last message. Default 1 day. */
  readonly historyTtl?: Duration.Input | undefined
  /** How long those who were there when their process died still are. From 1 second. Default 60 seconds. */
  readonly presenceTtl?: Duration.Input | undefined
  /** How long Redis, or the owner of a channel, may take to answer. Default 5 seconds. */
  readonly ackTimeout?: Duration.Input | undefined
  /** Commands that wait for Redis; further ones fail with `Unavailable`. Default 65,536. */
  readonly maxPending?: number | undefined
  /** Bytes of the messages in them. Default 67,108,864. */
  readonly maxPendingBytes?: number | undefined
}

export interface ClientOptions extends Options {
  /** `redis[s]://[[user][:password]@]host[:port][/database]`, or `unix:///path`. Shown in no log and no error. */
  readonly url: string | Redacted.Redacted<string>
}

const defaultMaxPending = 65_536

/** A connection on which nothing moves for so long is dead: each second there is a question, its answer, and a mark. */
const silenceMillis = 30_000

/**
 * Builds the service.
 *
 * **Fails with** `PubSubError`: `InvalidOption`, and `Unavailable` when the second connection cannot be made. Later
 * losses are no failure of the layer; node-redis tries again for ever, after 50 to 2,200 ms.
 * **Gotchas** blocking commands of others on the same client hold messages up: they belong on `Redis.reserve`. A client
 * of the program's own notices a connection that died without a word by its own options only (`socketTimeout` with a
 * `reconnectStrategy`). Delayed messages wait in Redis: `delayed` of `stats` does not count them.
 */
export const make = (options: Options = {}) =>
  Effect.gen(function*() {
    const settings = yield* checked(options)
    const random = yield* Random.Random
    const name = () => Math.floor(random.nextDoubleUnsafe() * 36 ** 8).toString(36).padStart(8, "0")
    return yield* PubSubService.make(options, name() + name(), (hub) =>
      Effect.gen(function*() {
        const { client } = yield* NodeRedis.NodeRedis
        const clock = yield* Clock.Clock
        const scope = yield* Effect.scope
        const commands = new Commands(client, clock, {
          pending: options.maxPending ?? defaultMaxPending,
          pendingBytes: options.maxPendingBytes ?? 64 * 1024 * 1024,
          timeoutMillis: settings.ackTimeoutMillis
        })
        const backend = new RedisBackend(hub, commands, subscriberOf(client, random), settings, scope)
        yield* Effect.addFinalizer(() => backend.close)
        yield* backend.connect
        yield* Effect.forkScoped(backend.watch)
        return backend
      }))
  })

/**
 * How a connection lasts: the first attempt fails for the layer to say so, later ones go on for ever. One that is silent
 * is dead.
 */
const lasting = (random: { readonly nextDoubleUnsafe: () => number }) => {
  let wasReady = false
  return {
    socketTimeout: silenceMillis,
    reconnectStrategy: (retries: number, cause: Error) =>
      wasReady ? Math.min(2 ** retries * 50, 2000) + Math.floor(random.nextDoubleUnsafe() * 200) : cause,
    isReady: () => void (wasReady = true)
  }
}

/** A connection like the client's. It keeps nothing to send while the server is away, and tries again for ever. */
const subscriberOf = (client: Client, random: { readonly nextDoubleUnsafe: () => number }): Client => {
  const { isReady, ...socket } = lasting(random)
  const subscriber = client.duplicate({ disableOfflineQueue: true, socket: { ...client.options.socket, ...socket } })
  return subscriber.once("ready", isReady)
}

const refuse = (option: string, value: unknown, problem: string) =>
  Effect.fail(new PubSubError({ reason: { _tag: "InvalidOption", option, value, problem } }))

const prefixSyntax = /^[A-Za-z0-9.:_{}-]{0,100}$/

const checked = (options: Options): Effect.Effect<Settings & { readonly ackTimeoutMillis: number }, PubSubError> => {
  const prefix = options.prefix ?? "slipway:"
  if (!prefixSyntax.test(prefix)) {
    return refuse("prefix", prefix, "it takes at most 100 letters, digits and . : _ - { }")
  }
  for (const option of ["maxPending", "maxPendingBytes"] as const) {
    const value = options[option]
    if (value !== undefined && !(Number.isInteger(value) && value >= 1)) {
      return refuse(option, value, "it takes whole numbers from 1")
    }
  }
  const durations = { historyTtl: Duration.days(1), presenceTtl: Duration.seconds(60), ackTimeout: Duration.seconds(5) }
  for (const option of ["historyTtl", "presenceTtl", "ackTimeout"] as const) {
    const millis = Duration.toMillis(options[option] ?? durations[option])
    const least = option === "presenceTtl" ? 1000 : 1
    if (!(Number.isFinite(millis) && millis >= least)) {
      return refuse(option, options[option], `it takes finite durations from ${least} ms`)
    }
  }
  const millisOf = (option: keyof typeof durations) =>
    Math.floor(Duration.toMillis(options[option] ?? durations[option]))
  return Effect.succeed({
    prefix,
    historyTtlMillis: millisOf("historyTtl"),
    presenceTtlMillis: millisOf("presenceTtl"),
    ackTimeoutMillis: millisOf("ackTimeout"),
    maxDelayed: options.maxDelayed ?? 10_000
  })
}

/** PubSub over the client that the program has. See `make`. */
export const layer = (options?: Options): Layer.Layer<PubSub, PubSubError, NodeRedis.NodeRedis> =>
  Layer.effect(PubSub, make(options))

/**
 * PubSub over a client of its own, which keeps no commands while the server is away.
 *
 * **Fails with** `PubSubError`: as `make`; `InvalidOption` for a `url` that is none, `Unavailable` when there is no
 * server at the start or it does not let us in.
 */
export const layerClient = (options: ClientOptions): Layer.Layer<PubSub, PubSubError> =>
  Layer.provide(layer(options), Layer.effectContext(ownClient(options)))

const ownClient = Effect.fnUntraced(
  function*({ ackTimeout = Duration.seconds(5), maxPending, ...given }: ClientOptions) {
    const url = Redacted.isRedacted(given.url) ? Redacted.value(given.url) : given.url
    const { isReady, ...socket } = lasting(yield* Random.Random)
    const client = NodeRedis.layer({
      url,
      socket,
      disableOfflineQueue: true,
      commandsQueueMaxLength: maxPending ?? defaultMaxPending,
      // node-redis 6.3 asks for them with an URL parser that knows no unix socket with a user.
      ...(url.startsWith("unix:") ? { maintNotifications: "disabled" } : {})
    })
    const context = yield* Layer.build(client).pipe(
      // It warns at each attempt to connect; we say it once.
      Effect.provideService(References.MinimumLogLevel, "None"),
      // Without its cause, and without defects: both may carry the address.
      Effect.mapError(({ cause }) => unavailable(problemOf(cause))),
      Effect.catchDefect(() => refuse("url", "<redacted>", "it takes redis://, rediss:// and unix:// addresses"))
    )
    isReady()
    yield* Effect.addFinalizer(() => closed(Context.get(context, NodeRedis.NodeRedis).client, ackTimeout))
    return context
  }
)

/** Waits for what was sent, unless nobody answers. */
const closed = (client: Client, timeout: Duration.Input): Effect.Effect<void> =>
  Effect.ensuring(
    Effect.suspend(() =>
      client.isReady ? Effect.ignore(Effect.timeoutOption(Effect.promise(() => client.close()), timeout)) : Effect.void
    ),
    Effect.sync(() => client.isOpen && client.destroy())
  )

/** PubSub over a client of its own, as the configuration says: `{ url: Config.Redacted("REDIS_URL") }`. */
export const layerConfig = (
  options: Config.Wrap<ClientOptions>
): Layer.Layer<PubSub, PubSubError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layerClient))
