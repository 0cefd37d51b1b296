/** The worker module of the services in workerService.ts. Marks are files: they cross threads and processes. */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import { threadId } from "node:worker_threads"
import * as WorkerService from "../../src/app/WorkerService.ts"
import * as WorkerTask from "../../src/app/WorkerTask.ts"
import { DeskRpcs, Refusal, SumRpcs } from "./workerService.ts"
import { until } from "./workerTasksMarks.ts"

/** What one worker holds: made once in each, released when it ends gracefully. */
class Desk extends Context.Service<Desk, { readonly id: string; served: number }>()("test/Desk") {
  static readonly layer = Layer.effect(
    Desk,
    Effect.acquireRelease(
      Effect.sync(() => ({ id: `${process.pid}.${threadId}.${++desks}`, served: 0 })),
      ({ id }) => Effect.sync(() => released.push(id))
    )
  )
}

let desks = 0

/** The desks that were released in this thread. */
export const released: Array<string> = []

const mark = (path: string) => Effect.sync(() => fs.writeFileSync(path, ""))
const append = (path: string, text: string) => Effect.sync(() => fs.appendFileSync(path, text))

/** The letters; "!" is an error at the end, "?" no end. */
const letters = (text: string) =>
  Effect.gen(function*() {
    const queue = yield* Queue.unbounded<string, Refusal | Cause.Done>()
    for (const letter of text.replace(/[!?]$/, "")) yield* Queue.offer(queue, letter)
    if (text.endsWith("!")) yield* Queue.fail(queue, new Refusal({ code: text.length, at: new Date(0) }))
    else if (!text.endsWith("?")) yield* Queue.end(queue)
    return queue
  })

const desk = DeskRpcs.toLayer(Effect.map(Desk, (desk) =>
  DeskRpcs.of({
    repeat: ({ text, times }) => Effect.succeed(text.repeat(times)),
    refuse: ({ code }) => Effect.fail(new Refusal({ code, at: new Date(0) })),
    boom: () => Effect.die(new RangeError("boom")),
    throwAtOnce: (): Effect.Effect<void> => {
      throw new TypeError("at once")
    },
    serve: () => Effect.sync(() => ({ id: desk.id, served: ++desk.served })),
    tomorrow: (date) => Effect.succeed(new Date(date.getTime() + 86_400_000)),
    move: (bytes) => Effect.succeed(bytes),
    later: () =>
      Effect.gen(function*() {
        const promised = yield* Deferred.make<string>()
        yield* Effect.forkScoped(Effect.andThen(Effect.yieldNow, Deferred.succeed(promised, "later")))
        return promised
      }),
    hold: ({ path }) => Effect.as(Effect.acquireRelease(append(path, "open,"), () => append(path, "close,")), path),
    wait: ({ path }) =>
      mark(`${path}.started`).pipe(
        Effect.andThen(until(() => fs.existsSync(`${path}.release`))),
        Effect.as(path),
        Effect.onInterrupt(() => mark(`${path}.stopped`))
      ),
    cling: ({ path }) =>
      Rpc.uninterruptible(Effect.andThen(mark(`${path}.started`), until(() => fs.existsSync(`${path}.release`)))),
    spin: ({ path }) =>
      Effect.map(mark(`${path}.started`), () => {
        for (;;);
      }),
    exit: (code) => Effect.sync(() => process.exit(code)),
    count: ({ path, to }) =>
      Stream.range(1, to).pipe(
        Stream.rechunk(1),
        Stream.mapEffect((n) => Effect.as(append(`${path}.made`, "."), n)),
        Stream.ensuring(mark(`${path}.stopped`))
      ),
    letters
  })))

const sums = SumRpcs.toLayer({ "sum.add": ({ a, b }) => Effect.succeed(a + b) })

export const plain = WorkerTask.make("plain", { input: Schema.String, success: Schema.String }, (text) => `${text}!`)

export default WorkerTask.module([...WorkerService.tasks(DeskRpcs), ...WorkerService.tasks(SumRpcs), plain], {
  layer: Layer.merge(desk, sums).pipe(Layer.provide(Desk.layer))
})
