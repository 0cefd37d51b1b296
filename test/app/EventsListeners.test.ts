/** What listeners of events are: their failures, their queues, their services and their end. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { threadId } from "node:worker_threads"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import * as WorkerPoolThreads from "../../layers/WorkerPoolThreads.ts"
import * as Events from "../../src/app/Events.ts"
import { AppEvents, note, slow, start, topic, turns } from "../utils/events.ts"
import { capture } from "../utils/logs.ts"
import { serve } from "../utils/workerTasks.ts"
import { moduleOf } from "../utils/workerTasksMarks.ts"

describe("listeners of Events", () => {
  describe("a listener", () => {
    it.effect("that fails, dies or throws is logged, counted and hurts nobody", () =>
      Effect.gen(function*() {
        const { context, count, events, lines } = yield* start
        const heard: Array<number> = []
        const on = (name: string, handler: () => Effect.Effect<unknown, unknown>) =>
          Effect.provideContext(events.on("number", handler, { name, priority: 1 }), context)
        yield* on("failing", () => Effect.fail("failed"))
        yield* on("dying", () => Effect.die("died"))
        yield* on("throwing", () => {
          throw new Error("thrown")
        })
        yield* events.on("number", note(heard))
        for (const n of [1, 2]) yield* events.emit("number", n)
        yield* events.settled
        assert.deepStrictEqual(heard, [1, 2])
        assert.deepStrictEqual(
          lines.slice(0, 3).map(({ cause, level, message }) => [level, message, /failed|died|thrown/.exec(cause)?.[0]]),
          [
            ["Error", "Listener failing of number failed", "failed"],
            ["Error", "Listener dying of number failed", "died"],
            ["Error", "Listener throwing of number failed", "thrown"]
          ]
        )
        assert.strictEqual(count("events_handled_total", { event: "number", outcome: "failure" }), 6)
        assert.strictEqual(count("events_handled_total", { event: "number", outcome: "success" }), 2)
        assert.strictEqual(count("events_emitted_total", { event: "number", service: "test/App.Events" }), 2)
      }))

    it.effect("is called by its function where it has no name, or by a number", () =>
      Effect.gen(function*() {
        const { context, events, lines } = yield* start
        const welcome = () => Effect.fail("no")
        yield* Effect.provideContext(
          Effect.andThen(events.on("number", welcome), events.on("number", () => Effect.fail("no"))),
          context
        )
        yield* events.emit("number", 1)
        yield* events.settled
        assert.deepStrictEqual(
          lines.map(({ message }) => message),
          ["Listener welcome of number failed", "Listener #2 of number failed"]
        )
      }))

    it.effect("has the services of its registration and a Scope for each run", () =>
      Effect.gen(function*() {
        class Prefix extends Context.Service<Prefix, string>()("test/Prefix") {}
        const { events } = yield* start
        const heard: Array<string> = []
        yield* Effect.provideService(
          events.on("number", (n) =>
            Effect.gen(function*() {
              const prefix = yield* Prefix
              yield* Effect.addFinalizer(() => Effect.sync(() => void heard.push(`close ${n}`)))
              heard.push(`${prefix} ${n}`)
            })),
          Prefix,
          "open"
        )
        yield* events.emit("number", 1)
        yield* events.emit("number", 2)
        yield* events.settled
        assert.deepStrictEqual(heard, ["open 1", "close 1", "open 2", "close 2"])
      }))

    it.effect("handles its events one after the other, or so many at a time [W77]", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const one = slow()
        const two = slow()
        yield* events.on("number", one.handler)
        yield* events.on("number", two.handler, { concurrency: 2 })
        for (const n of [1, 2, 3]) yield* events.emit("number", n)
        yield* turns
        assert.deepStrictEqual([one.heard, two.heard], [["start 1"], ["start 1", "start 2"]])
        yield* Effect.andThen(one.open, two.open)
        yield* events.settled
        assert.deepStrictEqual(one.heard, ["start 1", "end 1", "start 2", "end 2", "start 3", "end 3"])
        assert.sameMembers(two.heard.slice(4), ["start 3", "end 3"])
      }))

    it.effect("moves its work to a thread with a WorkerPool, and the emitter goes on meanwhile [W77]", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const pool = yield* WorkerPoolThreads.make({ module: moduleOf("workerTasks"), maxWorkers: 1 })
        const threads: Array<string | undefined> = []
        yield* events.on(
          "number",
          () => Effect.map(pool.run(serve, undefined), ({ id }) => threads.push(id.split(".")[1]))
        )
        yield* events.emit("number", 1)
        yield* turns
        assert.deepStrictEqual(threads, [])
        yield* events.settled
        assert.match(String(threads), /^\d+$/)
        assert.notStrictEqual(threads[0], String(threadId))
      }))

    it.effect("drops what is above its capacity, counts it, and says so once", () =>
      Effect.gen(function*() {
        const { context, count, events, lines } = yield* start
        const { handler, heard, open } = slow()
        yield* Effect.provideContext(events.on("number", handler, { capacity: 2, name: "mail" }), context)
        for (const n of [1, 2, 3, 4, 5]) yield* events.emit("number", n)
        yield* turns
        assert.strictEqual(count("events_dropped_total", { event: "number", reason: "full" }), 2)
        assert.deepStrictEqual(
          lines.map(({ level, message }) => [level, message]),
          [["Warn", "Listener mail of number is too slow: 2 events wait, more are dropped"]]
        )
        yield* open
        yield* events.settled
        yield* events.emit("number", 6)
        yield* events.settled
        assert.deepStrictEqual(heard.filter((what) => what.startsWith("end")), ["end 1", "end 2", "end 3", "end 6"])
      }))

    it.effect("holds 100 waiting events unless it says otherwise", () =>
      Effect.gen(function*() {
        const { count, events } = yield* start
        const { handler, open } = slow()
        yield* events.on("number", handler)
        for (let n = 0; n < 102; n++) yield* events.emit("number", n)
        yield* open
        yield* events.settled
        assert.strictEqual(count("events_handled_total", { outcome: "success" }), 101)
        assert.strictEqual(count("events_dropped_total", { reason: "full" }), 1)
      }))

    it.effect("may end itself", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const scope = yield* Scope.make()
        const heard: Array<number> = []
        yield* Scope.provide(
          events.on("number", (n) => Effect.andThen(note(heard)(n), Scope.close(scope, Exit.void))),
          scope
        )
        yield* events.emit("number", 1)
        yield* events.settled
        yield* events.emit("number", 2)
        yield* events.settled
        assert.deepStrictEqual(heard, [1])
      }))

    it.effect("as a Layer is there once, however often it is provided", () =>
      Effect.gen(function*() {
        const { context, events } = yield* start
        const heard: Array<number> = []
        const listener = AppEvents.on("number", note(heard))
        yield* Layer.build(
          Layer.provide(Layer.mergeAll(listener, Layer.provideMerge(listener, listener)), Layer.succeedContext(context))
        )
        yield* events.emit("number", 1)
        yield* events.settled
        assert.deepStrictEqual(heard, [1])
      }))
  })

  describe("the end", () => {
    it.effect("gives a listener whose scope closes 5 seconds, then interrupts it and drops what waits", () =>
      Effect.gen(function*() {
        const { context, count, events, lines } = yield* start
        const { handler, heard } = slow()
        const scope = yield* Scope.make()
        yield* events.on("number", handler, { name: "mail" }).pipe(Scope.provide(scope), Effect.provideContext(context))
        for (const n of [1, 2, 3]) yield* events.emit("number", n)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* events.emit("number", 4)
        yield* TestClock.adjust("4999 millis")
        assert.deepStrictEqual([heard, closing.pollUnsafe()], [["start 1"], undefined])
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(closing)
        assert.deepStrictEqual(heard, ["start 1", "cut 1"])
        assert.deepStrictEqual(lines.map(({ level, message }) => [level, message]), [
          ["Warn", "Listener mail of number did not end within 5s: 1 runs are interrupted, 2 events dropped"]
        ])
        assert.strictEqual(count("events_dropped_total", { reason: "stopped" }), 2)
        assert.strictEqual(count("events_handled_total", { outcome: "interrupted" }), 1)
      }))

    it.effect("lets listeners finish what they have when the Layer closes, and no more", () =>
      Effect.gen(function*() {
        const { events, pubsub, stop } = yield* start
        const { handler, heard, open } = slow()
        const others: Array<number> = []
        yield* events.on("number", handler)
        yield* events.on("number", note(others))
        for (const n of [1, 2]) yield* events.emit("number", n)
        yield* turns
        const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
        yield* events.emit("number", 3)
        yield* turns
        assert.isUndefined(stopping.pollUnsafe())
        yield* open
        yield* Fiber.join(stopping)
        assert.deepStrictEqual([heard, others], [["start 1", "end 1", "start 2", "end 2"], [1, 2]])
        assert.strictEqual(yield* pubsub.subscribers(topic), 0)
      }))

    it.effect("comes to a listener that is a Layer before it comes to the services it uses", () =>
      Effect.gen(function*() {
        class Mailer extends Context.Service<Mailer, { readonly isOpen: () => boolean }>()("test/Mailer") {}
        const { handler, heard, open } = slow()
        const mailer = Layer.effect(
          Mailer,
          Effect.acquireRelease(
            Effect.sync(() => {
              let isOpen = true
              return { isOpen: () => isOpen, close: () => void (isOpen = false) }
            }),
            ({ close }) => Effect.sync(close)
          )
        )
        const listener = AppEvents.on("number", (n) =>
          Effect.gen(function*() {
            const { isOpen } = yield* Mailer
            yield* handler(n)
            heard.push(isOpen() ? "open" : "closed")
          }))
        const { context, events } = yield* start
        const scope = yield* Scope.make()
        yield* Layer.buildWithScope(
          Layer.empty.pipe(Layer.provide(listener), Layer.provide([mailer, Layer.succeedContext(context)])),
          scope
        )
        yield* events.emit("number", 1)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* turns
        yield* open
        yield* Fiber.join(closing)
        assert.deepStrictEqual(heard, ["start 1", "end 1", "open"])
      }))

    it.effect("interrupts when the grace of the declaration is over, also under interruption", () =>
      Effect.gen(function*() {
        class Hasty extends Events.Service<Hasty>()("test/Hasty", { number: Schema.Int }, { grace: "1 second" }) {}
        const { handler, heard } = slow()
        const program = Effect.gen(function*() {
          const events = yield* Hasty
          yield* events.on("number", handler)
          yield* events.emit("number", 1)
          return yield* Effect.never
        })
        const layer = Layer.provide(Hasty.layer, PubSubMemory.layer())
        const running = yield* Effect.forkChild(Effect.provide(Effect.scoped(program), [layer, capture().layer]))
        yield* turns
        assert.deepStrictEqual(heard, ["start 1"])
        const stopping = yield* Effect.forkChild(Fiber.interrupt(running), { startImmediately: true })
        yield* TestClock.adjust("999 millis")
        assert.deepStrictEqual(heard, ["start 1"])
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(heard, ["start 1", "cut 1"])
      }))
  })
})
