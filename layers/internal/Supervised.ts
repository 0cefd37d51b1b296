/**
 * A worker's side of its supervisor: says that it serves, that it is alive, and when it wants to be replaced; listens for
 * the word to stop. A process without a supervisor has none of this.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { Server } from "../../src/service/Server.ts"
import { InheritedSockets } from "./InheritedSockets.ts"
import * as Message from "./SupervisorMessage.ts"

/** When a worker asks to be replaced. */
export interface Limits {
  /** Exchanges of every kind; 0 is no limit. */
  readonly maxRequests: number
  /** At most so many more, by chance: workers that were started together are not replaced together. */
  readonly maxRequestsJitter: number
  /** Bytes of resident memory; 0 is no limit. */
  readonly maxRss: number
}

/** How often a worker looks at its limits. */
const lookMillis = 1000

/** What this process was told by its supervisor. None: it is not a worker. The environment forgets it. */
export const assignment: Effect.Effect<Option.Option<Message.Assignment>> = Effect.sync(() => {
  const found = process.send === undefined ? Option.none() : Message.decode(process.env[Message.variable])
  // Children of the application are not workers.
  delete process.env[Message.variable]
  return found
})

const tell = (message: Message.FromWorker): void => {
  if (process.connected) process.send!(message, undefined, undefined, () => {})
}

/** The sockets of the supervisor. */
export const sockets = ({ sockets }: Message.Assignment): Layer.Layer<never> =>
  Layer.succeed(InheritedSockets, new Map(Object.entries(sockets)))

/** Succeeds when the supervisor says stop, or is gone. While it waits, and no longer, the channel keeps the process alive. */
export const stopped: Effect.Effect<void> = Effect.callback((resume) => {
  const leave = () => {
    process.off("message", hear)
    process.off("disconnect", stop)
  }
  const stop = () => {
    leave()
    resume(Effect.void)
  }
  const hear = (message: Message.ToWorker) => {
    if (message.type === "stop" || message.type === "restart") stop()
  }
  process.on("message", hear)
  process.on("disconnect", stop)
  // It may have gone while the application was loaded.
  if (!process.connected) stop()
  return Effect.sync(leave)
})

/** Says that the server serves, and from then on that it is alive and when it has had enough. */
export const serving = (
  { beatMillis }: Message.Assignment,
  limits: Limits
): Layer.Layer<never, never, Server> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const server = yield* Server
    if (beatMillis > 0) {
      const beat = Effect.sync(() => tell({ type: "beat" }))
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(beat, Effect.sleep(beatMillis))))
    }
    if (limits.maxRequests > 0 || limits.maxRss > 0) {
      const most = limits.maxRequests + (yield* Random.nextIntBetween(0, limits.maxRequestsJitter + 1))
      yield* Effect.forkScoped(watch(server, limits, most))
    }
    tell({ type: "ready" })
  }))

const watch = (server: Server["Service"], { maxRequests, maxRss }: Limits, most: number): Effect.Effect<void> =>
  Effect.flatMap(Effect.andThen(Effect.sleep(Duration.millis(lookMillis)), server.stats), ({ totalExchanges }) => {
    const resident = maxRss > 0 ? process.memoryUsage.rss() : 0
    const reason = maxRequests > 0 && totalExchanges >= most
      ? `it has had ${totalExchanges} requests`
      : maxRss > 0 && resident > maxRss
      ? `it has ${resident} bytes of memory`
      : undefined
    if (reason === undefined) return watch(server, { maxRequests, maxRequestsJitter: 0, maxRss }, most)
    return Effect.sync(() => tell({ type: "recycle", reason }))
  })
