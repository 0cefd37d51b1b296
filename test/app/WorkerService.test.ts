import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as WorkerPoolInline from "../../layers/WorkerPoolInline.ts"
import * as WorkerService from "../../src/app/WorkerService.ts"
import * as WorkerTask from "../../src/app/WorkerTask.ts"
import { WorkerPool, type WorkerPoolError } from "../../src/service/WorkerPool.ts"
import { DeskRpcs, Refusal, SumRpcs } from "../utils/workerService.ts"
import module, { plain, released } from "../utils/workerServiceModule.ts"
import { fork, marks, reasonOf, turns, until, untilStats } from "../utils/workerTasksMarks.ts"

const open = (options: Partial<WorkerPoolInline.Options> = {}) =>
  Effect.gen(function*() {
    const pool = yield* WorkerPoolInline.make({ module, minWorkers: 1, maxWorkers: 1, ...options })
    const desk = yield* Effect.provideService(WorkerService.client(DeskRpcs), WorkerPool, pool)
    return { pool, desk }
  })

describe("WorkerService", () => {
  describe("client", () => {
    it.effect("calls the handlers of a group by name [C226]", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        assert.strictEqual(yield* desk.repeat({ text: "ab", times: 3 }), "ababab")
        assert.strictEqual(yield* desk.later(), "later")
        const typed = () => {
          const result: Effect.Effect<string, WorkerPoolError> = desk.repeat({ text: "a" }, { timeout: "1 second" })
          const refused: Effect.Effect<void, Refusal | WorkerPoolError> = desk.refuse({ code: 1 })
          const stream: Stream.Stream<number, Refusal | WorkerPoolError> = desk.count({ to: 1, path: "" })
          // @ts-expect-error the payload has a text
          desk.repeat({ times: 1 })
          // @ts-expect-error there is no such method
          desk.absent()
          return [result, refused, stream]
        }
        assert.isFunction(typed)
      }))

    it.effect("makes a service whose layer needs a pool and nothing else [C226]", () => {
      class Desk extends Context.Service<Desk, WorkerService.Client<typeof DeskRpcs>>()("test/DeskClient") {
        static readonly layer = Layer.effect(Desk, WorkerService.client(DeskRpcs))
      }
      const layer: Layer.Layer<Desk> = Desk.layer.pipe(Layer.provide(WorkerPoolInline.layer({ module })))
      return Effect.gen(function*() {
        assert.strictEqual(yield* Desk.use((desk) => desk.repeat({ text: "a" })), "aa")
      }).pipe(Effect.provide(layer))
    })

    it.effect("runs in the pool that it is given [C226]", () => {
      class DeskPool extends Context.Service<DeskPool, WorkerPool["Service"]>()("test/DeskPool") {}
      const client: Effect.Effect<WorkerService.Client<typeof DeskRpcs>, never, DeskPool> = WorkerService.client(
        DeskRpcs,
        { pool: DeskPool }
      )
      return Effect.gen(function*() {
        const pool = yield* WorkerPoolInline.make({ module, minWorkers: 0 })
        const desk = yield* Effect.provideService(client, DeskPool, pool)
        yield* desk.repeat({ text: "a" })
        assert.strictEqual((yield* pool.stats).completed, 1)
      })
    })

    it.effect("makes the payload anew for each run, with its defaults, and not before", () =>
      Effect.gen(function*() {
        const { pool } = yield* open()
        const made: Array<string> = []
        const group = RpcGroup.make(
          Rpc.make("repeat", {
            payload: {
              text: Schema.String.check(Schema.makeFilter((text) => made.push(text) > 0)),
              times: Schema.Int.pipe(Schema.withConstructorDefault(Effect.sync(() => made.length)))
            },
            success: Schema.String
          }),
          Rpc.make("letters", {
            payload: Schema.String.check(Schema.makeFilter((text) => made.push(text) > 0)),
            success: Schema.String,
            stream: true
          })
        )
        const { letters, repeat } = yield* Effect.provideService(WorkerService.client(group), WorkerPool, pool)
        const call = repeat({ text: "a" })
        const stream = letters("b")
        assert.deepStrictEqual(made, [])
        const first = yield* call
        assert.isAbove((yield* call).length, first.length)
        assert.deepStrictEqual([...yield* Stream.runCollect(stream)], ["b"])
      }))

    it.effect("carries values as the Schemas say: dates as dates, moved bytes moved", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        assert.deepStrictEqual(yield* desk.tomorrow(new Date(0)), new Date(86_400_000))
        const bytes = new Uint8Array([1, 2])
        assert.deepStrictEqual([...yield* desk.move(bytes)], [1, 2])
        assert.strictEqual(bytes.byteLength, 0)
      }))

    it.effect("makes a payload with a primary key an instance on the other side", () => {
      const group = RpcGroup.make(
        Rpc.make("find", { payload: { id: Schema.Int }, primaryKey: ({ id }) => `${id}`, success: Schema.Boolean })
      )
      const payload = group.requests.get("find")!.payloadSchema
      const layer = group.toLayer({ find: (input) => Effect.succeed(Schema.is(payload)(input)) })
      return Effect.gen(function*() {
        const client = yield* WorkerService.client(group)
        assert.isTrue(yield* client.find({ id: 1 }))
      }).pipe(
        Effect.provide(WorkerPoolInline.layer({ module: WorkerTask.module(WorkerService.tasks(group), { layer }) }))
      )
    })

    it.effect("runs Schemas with the services of their side", () => {
      class Shift extends Context.Service<Shift, number>()("test/Shift") {}
      const shifted = (sign: 1 | -1) =>
        SchemaGetter.transformEffect((n: number) => Effect.map(Shift, (shift) => n + sign * shift))
      const Shifted = Schema.Finite.pipe(Schema.decodeTo(Schema.Finite, { decode: shifted(1), encode: shifted(-1) }))
      const group = RpcGroup.make(
        Rpc.make("take", { payload: Shifted, success: Schema.Finite }),
        Rpc.make("give", { success: Shifted })
      )
      const handlers = group.toLayer({ take: Effect.succeed, give: () => Effect.succeed(0) })
      const worker = WorkerTask.module(WorkerService.tasks(group), {
        layer: Layer.merge(handlers, Layer.succeed(Shift, 10))
      })
      const typed = () => {
        // @ts-expect-error the Schemas need Shift
        WorkerTask.module(WorkerService.tasks(group), { layer: handlers })
      }
      assert.isFunction(typed)
      return Effect.gen(function*() {
        const client = yield* WorkerService.client(group)
        assert.strictEqual(yield* client.take(5), 5 - 1 + 10)
        assert.strictEqual(yield* client.give(), 0 - 10 + 1)
      }).pipe(Effect.provideService(Shift, 1), Effect.provide(WorkerPoolInline.layer({ module: worker })))
    })
  })

  describe("errors", () => {
    it.effect("are of the declared class again", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        const error = yield* Effect.flip(desk.refuse({ code: 7 }))
        assert.instanceOf(error, Refusal)
        assert.deepStrictEqual(error, new Refusal({ code: 7, at: new Date(0) }))
      }))

    it.effect("name the defect of a handler, and leave the worker as it is", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        const { id } = yield* desk.serve()
        assert.deepStrictEqual(reasonOf(yield* Effect.flip(desk.boom())), {
          _tag: "TaskDefect",
          problem: "RangeError: boom"
        })
        assert.deepStrictEqual(reasonOf(yield* Effect.flip(desk.throwAtOnce())), {
          _tag: "TaskDefect",
          problem: "TypeError: at once"
        })
        assert.deepStrictEqual(yield* desk.serve(), { id, served: 2 })
      }))

    it.effect("say what is wrong with an input, and nothing runs", () =>
      Effect.gen(function*() {
        const { desk, pool } = yield* open()
        const error = yield* Effect.flip(desk.repeat({ text: "a", times: 1.5 }))
        assert.strictEqual(error.reason._tag, "InputInvalid")
        assert.match(error.message, /^Task 'repeat': the input is not valid: [^]*"times"/)
        const streamed = yield* Effect.flip(Stream.runDrain(desk.count({ to: 1.5, path: "" })))
        assert.strictEqual(reasonOf(streamed)._tag, "InputInvalid")
        assert.deepInclude(yield* pool.stats, { completed: 0, failed: 0 })
      }))

    it.effect("tell that the queue is full", () =>
      Effect.gen(function*() {
        const { desk, pool } = yield* open({ maxQueue: 0 })
        const { path, release, started } = yield* marks
        const running = yield* fork(desk.wait({ path: path("a") }))
        yield* started("a")
        const error = yield* Effect.flip(desk.repeat({ text: "a" }))
        assert.deepStrictEqual(error.reason, { _tag: "PoolFull", maxQueue: 0, retryAfterSeconds: 1 })
        assert.strictEqual((yield* pool.stats).rejected, 1)
        yield* release("a")
        assert.strictEqual(yield* Fiber.join(running), path("a"))
      }))

    it.effect("say that the worker has no such method", () =>
      Effect.gen(function*() {
        const { pool } = yield* open()
        const group = RpcGroup.make(Rpc.make("absent"))
        const { absent } = yield* Effect.provideService(WorkerService.client(group), WorkerPool, pool)
        assert.strictEqual((yield* Effect.flip(absent())).reason._tag, "TaskUnknown")
      }))
  })

  describe("time", () => {
    it.effect("ends a call after the timeout that it is given, and its handler", () =>
      Effect.gen(function*() {
        const { desk, pool } = yield* open()
        const { path, started, stopped } = yield* marks
        const running = yield* fork(Effect.flip(desk.wait({ path: path("a") }, { timeout: "2 seconds" })))
        yield* started("a")
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(reasonOf(yield* Fiber.join(running)), { _tag: "TaskTimeout", timeoutMillis: 2000 })
        yield* stopped("a")
        const options = { timeout: "3 seconds" } as const
        const silent = yield* fork(Effect.flip(Stream.runDrain(desk.letters("?", options))))
        yield* untilStats(pool, ({ busy }) => busy === 1)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(reasonOf(yield* Fiber.join(silent)), { _tag: "TaskTimeout", timeoutMillis: 3000 })
      }))

    it.effect("lets the higher priority go first", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        const { path, release, started } = yield* marks
        const running = yield* fork(desk.wait({ path: path("a") }))
        yield* started("a")
        const order: Array<number> = []
        const fibers = yield* Effect.forEach([0, 5], (priority) =>
          fork(Effect.tap(desk.repeat({ text: "a" }, { priority }), () =>
            Effect.sync(() => order.push(priority)))))
        yield* release("a")
        yield* Fiber.join(running)
        yield* Effect.forEach(fibers, Fiber.join)
        assert.deepStrictEqual(order, [5, 0])
      }))

    it.effect("interrupts the handler of a caller that is interrupted, and keeps the worker", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        const { path, started, stopped } = yield* marks
        const { id } = yield* desk.serve()
        const running = yield* fork(desk.wait({ path: path("a") }))
        yield* started("a")
        yield* Fiber.interrupt(running)
        yield* stopped("a")
        assert.strictEqual((yield* desk.serve()).id, id)
      }))

    it.effect("replaces the worker of a handler that is not interruptible, after the grace", () =>
      Effect.gen(function*() {
        const { desk, pool } = yield* open()
        const { path, release, started } = yield* marks
        const { id } = yield* desk.serve()
        const running = yield* fork(desk.cling({ path: path("a") }))
        yield* started("a")
        yield* Fiber.interrupt(running)
        yield* turns
        assert.deepInclude(yield* pool.stats, { busy: 1, terminated: 0 })
        yield* TestClock.adjust("250 millis")
        assert.notStrictEqual((yield* desk.serve()).id, id)
        assert.strictEqual((yield* pool.stats).terminated, 1)
        yield* release("a")
      }))
  })

  describe("state", () => {
    it.effect("is built once in each worker, and released with it [C226]", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { desk, pool } = yield* Scope.provide(open({ minWorkers: 2, maxWorkers: 2 }), scope)
        yield* untilStats(pool, ({ idle }) => idle === 2)
        const { path, release, started } = yield* marks
        const running = yield* fork(desk.wait({ path: path("a") }))
        yield* started("a")
        const one = yield* desk.serve()
        assert.deepStrictEqual(yield* desk.serve(), { id: one.id, served: 2 })
        const waiting = yield* fork(desk.wait({ path: path("b") }))
        yield* started("b")
        yield* release("a")
        yield* Fiber.join(running)
        const other = yield* desk.serve()
        assert.notStrictEqual(other.id, one.id)
        assert.strictEqual(other.served, 1)
        yield* release("b")
        yield* Fiber.join(waiting)
        assert.notInclude(released, one.id)
        yield* Scope.close(scope, Exit.void)
        assert.includeMembers(released, [one.id, other.id])
      }))

    it.effect("that a call opens is closed with the call", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        const { path } = yield* marks
        yield* desk.hold({ path: path("a") })
        assert.strictEqual(fs.readFileSync(path("a"), "utf8"), "open,close,")
        yield* desk.hold({ path: path("a") })
        assert.strictEqual(fs.readFileSync(path("a"), "utf8"), "open,close,open,close,")
      }))
  })

  describe("streams", () => {
    it.effect("yield what the handler yields, a few chunks ahead of the reader and no more [C226]", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        const { path, stopped } = yield* marks
        const made = () => fs.readFileSync(`${path("a")}.made`, "utf8").length
        const read = yield* desk.count({ to: 100, path: path("a") }).pipe(
          Stream.tap((n) =>
            n === 3 ? Effect.tap(turns, () => Effect.sync(() => assert.isBelow(made(), 12))) : Effect.void
          ),
          Stream.runCollect
        )
        assert.deepStrictEqual([...read], Array.from({ length: 100 }, (_, n) => n + 1))
        yield* stopped("a")
      }))

    it.effect("stop the handler's when their reader stops", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        const { path, stopped } = yield* marks
        yield* Stream.runDrain(Stream.take(desk.count({ to: 1000, path: path("a") }), 2))
        yield* stopped("a")
        assert.isBelow(fs.readFileSync(`${path("a")}.made`, "utf8").length, 12)
        yield* desk.repeat({ text: "a" })
      }))

    it.effect("come from queues as well, and fail with what is declared", () =>
      Effect.gen(function*() {
        const { desk } = yield* open()
        assert.deepStrictEqual([...yield* Stream.runCollect(desk.letters("abc"))], ["a", "b", "c"])
        const seen: Array<string> = []
        const failed = desk.letters("ab!").pipe(
          Stream.tap((letter) => Effect.sync(() => seen.push(letter))),
          Stream.runDrain
        )
        assert.deepStrictEqual(yield* Effect.flip(failed), new Refusal({ code: 3, at: new Date(0) }))
        assert.deepStrictEqual(seen, ["a", "b"])
      }))

    it.effect("close what their handler opened when they end", () => {
      let opened = 0
      const group = RpcGroup.make(Rpc.make("open", { success: Schema.Int, stream: true }))
      const held = Effect.acquireRelease(Effect.sync(() => ++opened), () => Effect.sync(() => opened--))
      const layer = group.toLayer({ open: () => Stream.fromEffect(held) })
      return Effect.gen(function*() {
        const client = yield* WorkerService.client(group)
        assert.deepStrictEqual([...yield* Stream.runCollect(client.open())], [1])
        yield* until(() => opened === 0)
      }).pipe(
        Effect.provide(WorkerPoolInline.layer({ module: WorkerTask.module(WorkerService.tasks(group), { layer }) }))
      )
    })
  })

  describe("tasks", () => {
    it.effect("of several groups and plain ones live in one module [C226]", () =>
      Effect.gen(function*() {
        const { desk, pool } = yield* open()
        const sums = yield* Effect.provideService(WorkerService.client(SumRpcs), WorkerPool, pool)
        assert.strictEqual(yield* sums["sum.add"]({ a: 1, b: 2 }), 3)
        assert.strictEqual(yield* desk.repeat({ text: "a" }), "aa")
        assert.strictEqual(yield* pool.run(plain, "a"), "a!")
      }))

    it("of one name are refused", () => {
      const other = RpcGroup.make(Rpc.make("serve"))
      assert.throws(
        () =>
          WorkerTask.module([...WorkerService.tasks(DeskRpcs), ...WorkerService.tasks(other)], {
            layer: module.layer as never
          }),
        RangeError,
        "There are two tasks named 'serve'"
      )
    })

    it("need a layer with the handlers of their group, as the compiler says", () => {
      const layer = SumRpcs.toLayer({ "sum.add": ({ a }) => Effect.succeed(a) })
      const typed = () => {
        WorkerTask.module(WorkerService.tasks(SumRpcs), { layer })
        // @ts-expect-error there is no layer
        WorkerTask.module(WorkerService.tasks(SumRpcs))
        // @ts-expect-error these are the handlers of another group
        WorkerTask.module(WorkerService.tasks(DeskRpcs), { layer })
      }
      assert.isFunction(typed)
    })

    it.effect("fail by name where a layer lacks a handler in spite of its type", () =>
      Effect.gen(function*() {
        const { desk } = yield* open({
          module: WorkerTask.module(WorkerService.tasks(DeskRpcs), { layer: Layer.empty as never })
        })
        const error = yield* Effect.flip(desk.serve())
        assert.strictEqual(error.message, "Task 'serve': Error: The worker's layer has no handler for 'serve'")
      }))

    it("and clients refuse a method with middleware, by name", () => {
      class Auth extends RpcMiddleware.Service<Auth>()("test/Auth") {}
      const guarded = SumRpcs.middleware(Auth)
      const message = "'sum.add' has middleware (test/Auth), which a worker does not run: use the group without it"
      assert.throws(() => WorkerService.tasks(guarded), RangeError, message)
      assert.throws(() => WorkerService.client(guarded), RangeError, message)
    })
  })
})
