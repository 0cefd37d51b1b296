/**
 * A worker's side of its supervisor: says that it serves, that it is alive, and when it wants to be replaced; listens
 * for the word to stop; asks and answers. A process without a supervisor has none of this.
 *
 * A process has one supervisor, so what is heard from it is kept once for the process. The channel keeps the process
 * alive until it was told to stop; from then on its work does.
 */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { Server } from "../../src/service/Server.ts"
import { InheritedSockets, SharedPorts } from "./InheritedSockets.ts"
import { type Answer, type AskError, Asking, nobodyKnows } from "./SupervisorAsk.ts"
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

/** Where to listen, as the supervisor's settings name it. */
export const addressesOf = ({ ports, sockets }: Message.Assignment): ReadonlyArray<string> => [
  ...Object.keys(sockets),
  ...Object.keys(ports)
]

const tell = (message: Message.FromWorker): boolean => {
  if (!process.connected) return false
  process.send!(message, undefined, undefined, () => {})
  return true
}

/** The sockets of the supervisor, and the ports that are shared with the other workers. */
export const sockets = ({ ports, sockets }: Message.Assignment): Layer.Layer<never> =>
  Layer.mergeAll(
    Layer.succeed(InheritedSockets, new Map(Object.entries(sockets))),
    Layer.succeed(SharedPorts, new Map(Object.entries(ports)))
  )

// ---- what is heard

const toldToStop = Deferred.makeUnsafe<void>()
const answers = new Set<Answer>()
/** What is run at a word, in the order in which it was registered. */
const atRestart = new Set<Effect.Effect<void>>()
const atReopen = new Set<Effect.Effect<void>>()

/** Done before we say that we serve: all who answer are there. */
const serves = Deferred.makeUnsafe<void>()

const answerTo: Answer = (what) => {
  for (const answer of answers) {
    const found = answer(what)
    if (found !== undefined) return found
  }
  return undefined
}

const asking = new Asking(
  tell,
  // What nobody knows yet waits until everything has started.
  (what) =>
    answerTo(what) ?? (Deferred.isDoneUnsafe(serves) ? undefined : Effect.flatMap(
      Deferred.await(serves),
      () => answerTo(what) ?? Effect.die(nobodyKnows)
    )),
  (effect) => void Effect.runFork(effect)
)

const all = (effects: ReadonlySet<Effect.Effect<void>>): Effect.Effect<void> =>
  Effect.forEach([...effects], (effect) => effect, { discard: true })

const stopNow = () => {
  process.channel?.unref()
  Deferred.doneUnsafe(toldToStop, Effect.void)
}

const hear = (received: unknown): void => {
  const message = Option.getOrUndefined(Message.decodeToWorker(received))
  switch (message?.type) {
    case "stop":
      return stopNow()
    case "restart":
      return void Effect.runFork(Effect.ensuring(all(atRestart), Effect.sync(stopNow)))
    case "reopen":
      return void Effect.runFork(all(atReopen))
    case "ask":
    case "told":
      return asking.hear(message)
  }
}

let isListening = false

const gone = (): void => {
  asking.end()
  stopNow()
}

const listen = (): void => {
  if (isListening) return
  isListening = true
  process.on("message", hear)
  process.on("disconnect", gone)
  // It may have gone while the application was loaded.
  if (!tell({ type: "listening" })) gone()
}

/** Succeeds when the supervisor says stop, or is gone. */
export const stopped: Effect.Effect<void> = Effect.suspend(() => {
  listen()
  return Effect.onInterrupt(Deferred.await(toldToStop), () => Effect.sync(() => process.channel?.unref()))
})

const keep = <A>(set: Set<A>, value: A): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(Effect.sync(() => set.add(value)), () => Effect.sync(() => set.delete(value))))

/** Asks the supervisor, which answers with a JSON value. **Fails with** `AskError`, by default after 5 seconds. */
export const ask = (what: unknown, timeout?: Duration.Duration): Effect.Effect<unknown, AskError> =>
  Effect.suspend(() => {
    listen()
    return asking.ask(what, timeout)
  })

/**
 * Answers questions of the supervisor until the scope closes. Of several, the first one that knows a question answers;
 * one that nobody knows waits until the server serves.
 */
export const answer = (answer: Answer): Effect.Effect<void, never, Scope.Scope> =>
  Effect.contextWith((context: Context.Context<never>) =>
    keep(answers, (what) => {
      const found = answer(what)
      return found === undefined ? undefined : Effect.provideContext(found, context)
    })
  )

/** Opens log files anew when the supervisor says so, until the scope closes. */
export const reopening = (reopen: Effect.Effect<void>): Layer.Layer<never> =>
  Layer.effectDiscard(
    Effect.contextWith((context: Context.Context<never>) => keep(atReopen, Effect.provideContext(reopen, context)))
  )

// ---- what is said

/** Says again and again that this process is alive, from when it serves until the end of the scope: also as it stops. */
export const beating = ({ beatMillis }: Message.Assignment): Effect.Effect<void, never, Scope.Scope> => {
  if (beatMillis === 0) return Effect.void
  const beat = Effect.sync(() => void tell({ type: "beat" }))
  const beats = Effect.forever(Effect.andThen(beat, Effect.sleep(beatMillis)))
  return Effect.asVoid(Effect.forkScoped(Effect.andThen(Deferred.await(serves), beats)))
}

/** Says that the server serves, and from then on when it has had enough. */
export const serving = (limits: Limits): Layer.Layer<never, never, Server> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const server = yield* Server
    yield* keep(atRestart, server.restarting)
    if (limits.maxRequests > 0 || limits.maxRss > 0) {
      const most = limits.maxRequests + (yield* Random.nextIntBetween(0, limits.maxRequestsJitter + 1))
      yield* Effect.forkScoped(watch(server, limits, most))
    }
    Deferred.doneUnsafe(serves, Effect.void)
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
    return Effect.sync(() => void tell({ type: "recycle", reason }))
  })
