/** Events over PubSub in memory, with their log and their numbers, and listeners that wait for a word. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import * as Events from "../../src/app/Events.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import { capture } from "./logs.ts"

export const User = Schema.Struct({ name: Schema.String, born: Schema.Date })

export class AppEvents extends Events.Service<AppEvents>()("test/App.Events", {
  "user.created": User,
  number: Schema.Int,
  ping: Schema.Void
}) {}

/** The service and its PubSub, the log, and the end of the Layer of both. */
export const start = Effect.gen(function*() {
  const { layer, lines } = capture()
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    Layer.provideMerge(AppEvents.layer, PubSubMemory.layer()).pipe(
      Layer.provideMerge(layer),
      Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, new Map()))
    ),
    scope
  )
  return {
    context,
    lines,
    events: Context.get(context, AppEvents),
    pubsub: Context.get(context, PubSub),
    stop: Scope.close(scope, Exit.void),
    /** What a counter says, by the attributes that are asked for. */
    count: (id: string, asked: Record<string, string>) =>
      Metric.snapshotUnsafe(context)
        .filter((metric) => metric.id === id)
        .filter(({ attributes }) => Object.entries(asked).every(([key, value]) => attributes?.[key] === value))
        .reduce((sum, { state }) => sum + Number((state as { readonly count: number | bigint }).count), 0)
  }
})

/** Where the numbers travel. */
export const topic = "events.test:App:Events.number"

/** A handler that keeps what it gets. */
export const note = <A>(into: Array<A>) => (value: A) => Effect.sync(() => void into.push(value))

/** Waits for a word before each run ends, and tells what happened. */
export const slow = () => {
  const heard: Array<string> = []
  const gate = Deferred.makeUnsafe<void>()
  const handler = (n: number) =>
    Effect.sync(() => void heard.push(`start ${n}`)).pipe(
      Effect.andThen(Deferred.await(gate)),
      Effect.andThen(Effect.sync(() => void heard.push(`end ${n}`))),
      Effect.onInterrupt(() => Effect.sync(() => void heard.push(`cut ${n}`)))
    )
  return { heard, handler, open: Deferred.succeed(gate, undefined) }
}

/** Lets fibers do what they can without time. */
export const turns = Effect.repeat(Effect.yieldNow, { times: 20 })
