import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Transferable from "effect/workers/Transferable"
import * as WorkerPoolInline from "../../layers/WorkerPoolInline.ts"
import * as WorkerTask from "../../src/app/WorkerTask.ts"
import type { WorkerPool, WorkerPoolError } from "../../src/service/WorkerPool.ts"

class Ink extends Context.Service<Ink, { readonly colour: string }>()("test/Ink") {}
class Paper extends Context.Service<Paper, { readonly size: string }>()("test/Paper") {}
class Jam extends Schema.TaggedError<Jam>()("Jam", { tray: Schema.Int }) {}

const print = WorkerTask.declare("print", { input: Schema.String, success: Schema.NumberFromString, error: Jam })
const scan = WorkerTask.declare("scan", { input: Schema.Int, success: Schema.String, error: Jam, stream: true })
const ink = Layer.succeed(Ink, { colour: "blue" })

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const same = <A, B>(isSame: Same<A, B>) => isSame

describe("WorkerTask", () => {
  describe("types", () => {
    it("give callers the result and the declared error, beside the pool's own", () => {
      const pool = {} as WorkerPool["Service"]
      const typed = () => {
        same<ReturnType<typeof ran>, Effect.Effect<number, Jam | WorkerPoolError>>(true)
        same<ReturnType<typeof streamed>, Stream.Stream<string, Jam | WorkerPoolError>>(true)
        // @ts-expect-error the input is text
        pool.run(print, 1)
        // @ts-expect-error a stream has no single result
        pool.run(scan, 1)
        // @ts-expect-error a result is no stream
        pool.stream(print, "a")
      }
      const ran = () => pool.run(print, "a")
      const streamed = () => pool.stream(scan, 1)
      assert.isFunction(typed)
    })

    it("hold handlers to their declaration", () => {
      const typed = () => {
        WorkerTask.implement(print, (text) => text.length)
        WorkerTask.implement(print, (text) => Promise.resolve(text.length))
        WorkerTask.implement(print, () => Effect.fail(new Jam({ tray: 1 })))
        WorkerTask.implement(scan, (page) => Stream.make(String(page)))
        // @ts-expect-error the result is a number
        WorkerTask.implement(print, (text) => text)
        // @ts-expect-error the error is not declared
        WorkerTask.implement(print, () => Effect.fail(new TypeError()))
        // @ts-expect-error a stream is needed
        WorkerTask.implement(scan, () => "a")
      }
      assert.isFunction(typed)
    })

    it("want the services of handlers from the module's layer", () => {
      const inked = WorkerTask.implement(print, (text) => Ink.useSync(({ colour }) => colour.length + text.length))
      const both = WorkerTask.implement(
        print,
        () => Effect.map(Effect.all([Ink, Paper]), ([{ colour }, { size }]) => colour.length + size.length)
      )
      const typed = () => {
        WorkerTask.module([inked], { layer: ink })
        WorkerTask.module([both], { layer: Layer.merge(ink, Layer.succeed(Paper, { size: "A4" })) })
        // @ts-expect-error there is no layer
        WorkerTask.module([inked])
        // @ts-expect-error there is no Paper
        WorkerTask.module([both], { layer: ink })
        // @ts-expect-error the declaration has no handler
        WorkerTask.module([print])
      }
      assert.isFunction(typed)
    })
  })

  it("joins a declaration and a handler that live in different files", () =>
    Effect.gen(function*() {
      const module = WorkerTask.module([
        WorkerTask.implement(print, (text) => Ink.useSync(({ colour }) => Number(`${text.length}${colour.length}`))),
        WorkerTask.implement(scan, (page) => Stream.make(`page ${page}`))
      ], { layer: ink })
      const pool = yield* WorkerPoolInline.make({ module })
      assert.strictEqual(yield* pool.run(print, "abc"), 34)
      assert.deepStrictEqual([...yield* Stream.runCollect(pool.stream(scan, 7))], ["page 7"])
    }).pipe(Effect.scoped, Effect.runPromise))

  it("refuses two tasks of one name", () => {
    const task = WorkerTask.implement(print, (text) => text.length)
    assert.throws(() => WorkerTask.module([task, task]), RangeError, "There are two tasks named 'print'")
  })

  it("does not compile a Schema before it is used", () => {
    let built = 0
    const lazy = Schema.suspend(() => {
      built++
      return Schema.String
    })
    const task = WorkerTask.make("lazy", { input: lazy, success: Schema.String }, (text) => text)
    assert.strictEqual(built, 0)
    assert.strictEqual(Effect.runSync(task.codecs.input.encode("a", [])), "a")
    assert.isAbove(built, 0)
    assert.strictEqual(task.codecs.input, task.codecs.input)
  })

  describe("what is transferred", () => {
    it("is listed once, however often it occurs", () => {
      const task = WorkerTask.declare("move", {
        input: Schema.Struct({ a: Transferable.Uint8Array, b: Transferable.Uint8Array }),
        success: Schema.Void
      })
      const bytes = new Uint8Array(4)
      const transfer: Array<unknown> = []
      Effect.runSync(task.codecs.input.encode({ a: bytes, b: bytes }, transfer))
      assert.deepStrictEqual(transfer, [bytes.buffer])
    })

    it("is nothing for a Schema that does not say so", () => {
      const task = WorkerTask.declare("copy", { input: Schema.Uint8Array, success: Schema.Void })
      const transfer: Array<unknown> = []
      Effect.runSync(task.codecs.input.encode(new Uint8Array(4), transfer))
      assert.deepStrictEqual(transfer, [])
    })
  })
})
