/** The worker module of the WorkerPool contract. Marks are files: they cross threads and processes, and no clock. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Transferable from "effect/workers/Transferable"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { performance } from "node:perf_hooks"
import { parentPort, threadId } from "node:worker_threads"
import * as WorkerTask from "../../src/app/WorkerTask.ts"

export class Refusal extends Schema.TaggedError<Refusal>()("Refusal", { code: Schema.Int, at: Schema.Date }) {}

/** What one worker holds: made once in each, released when it ends gracefully. */
class Desk extends Context.Service<Desk, { readonly id: string; served: number }>()("test/Desk") {}

let desks = 0

const released = process.env["SLIPWAY_TEST_RELEASED"]

const desk = Layer.effect(
  Desk,
  Effect.acquireRelease(
    Effect.sync(() => ({ id: `${process.pid}.${threadId}.${++desks}`, served: 0 })),
    ({ id }) => Effect.sync(() => released === undefined ? undefined : fs.appendFileSync(released, `${id}\n`))
  )
)

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const until = (path: string) =>
  Effect.whileLoop({ while: () => !fs.existsSync(path), body: () => turn, step: () => {} })

const mark = (path: string) => fs.writeFileSync(path, "")

export const add = WorkerTask.make(
  "add",
  { input: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }), success: Schema.Finite },
  ({ a, b }) => a + b
)

export const addLater = WorkerTask.make(
  "addLater",
  { input: Schema.Tuple([Schema.Finite, Schema.Finite]), success: Schema.FiniteFromString },
  async ([a, b]) => {
    await new Promise((resolve) => setImmediate(resolve))
    return a + b
  }
)

export const refuse = WorkerTask.make(
  "refuse",
  { input: Schema.Int, success: Schema.Void, error: Refusal },
  (code) => Effect.fail(new Refusal({ code, at: new Date(0) }))
)

export const explode = WorkerTask.make("explode", { input: Schema.String, success: Schema.Void }, (message) => {
  throw new RangeError(message)
})

export const explodeLater = WorkerTask.make(
  "explodeLater",
  { input: Schema.String, success: Schema.Void },
  async (message): Promise<void> => {
    throw new RangeError(message)
  }
)

const Rich = Schema.Struct({
  bytes: Schema.Uint8Array,
  date: Schema.Date,
  big: Schema.BigInt,
  map: Schema.Unknown,
  missing: Schema.optional(Schema.Undefined)
})

export const echo = WorkerTask.make("echo", { input: Rich, success: Rich }, (value) => value)

let kept: Uint8Array | undefined

/** Gives back what it was given, and keeps it if it can. */
export const move = WorkerTask.make(
  "move",
  { input: Transferable.Uint8Array, success: Transferable.Uint8Array },
  (bytes) => {
    kept = bytes
    return bytes
  }
)

export const lengthKept = WorkerTask.make(
  "lengthKept",
  { input: Schema.Void, success: Schema.Int },
  () => kept?.byteLength ?? -1
)

/** Who serves, and how many times it did. */
export const serve = WorkerTask.make(
  "serve",
  { input: Schema.Void, success: Schema.Struct({ id: Schema.String, served: Schema.Int }) },
  () => Desk.useSync((desk) => ({ id: desk.id, served: ++desk.served }))
)

export const wrongResult = WorkerTask.make(
  "wrongResult",
  { input: Schema.Void, success: Schema.Int },
  (): number => "no" as never
)

export const wrongError = WorkerTask.make(
  "wrongError",
  { input: Schema.Void, success: Schema.Int },
  () => Effect.fail(new TypeError("not declared") as never)
)

export const uncloneable = WorkerTask.make(
  "uncloneable",
  { input: Schema.Void, success: Schema.Unknown },
  () => () => "a function"
)

/** Marks that it has started, and ends when it is told to. When it is stopped it marks that too. */
export const hold = WorkerTask.make(
  "hold",
  { input: Schema.Struct({ path: Schema.String }), success: Schema.String },
  ({ path }) =>
    Effect.sync(() => mark(`${path}.started`)).pipe(
      Effect.andThen(until(`${path}.release`)),
      Effect.as(path),
      Effect.onInterrupt(() => Effect.sync(() => mark(`${path}.stopped`)))
    )
)

/** Cannot be asked to stop: it computes. */
export const spin = WorkerTask.make("spin", { input: Schema.String, success: Schema.Void }, (path) => {
  mark(`${path}.started`)
  for (;;);
})

/** Cannot be asked to stop: nobody knows what it waits for. */
export const hang = WorkerTask.make("hang", { input: Schema.String, success: Schema.Void }, (path) => {
  mark(`${path}.started`)
  return new Promise<void>(() => {})
})

/** Is asked to stop and does not. */
export const cling = WorkerTask.make(
  "cling",
  { input: Schema.String, success: Schema.Void },
  (path) =>
    Effect.uninterruptible(Effect.andThen(Effect.sync(() => mark(`${path}.started`)), Effect.callback<void>(() => {})))
)

export const exit = WorkerTask.make("exit", { input: Schema.Int, success: Schema.Void }, (code) => process.exit(code))

/** Throws where no handler catches it. */
export const throwOutside = WorkerTask.make(
  "throwOutside",
  { input: Schema.String, success: Schema.Void },
  (message) => {
    setImmediate(() => {
      throw new Error(message)
    })
    return new Promise<void>(() => {})
  }
)

/** Ends well, and its worker does not. */
export const throwAfter = WorkerTask.make("throwAfter", { input: Schema.String, success: Schema.Void }, (message) => {
  setImmediate(() => {
    throw new Error(message)
  })
})

/** Ends well, and its worker ends before anybody can ask for more. */
export const exitAfter = WorkerTask.make("exitAfter", { input: Schema.Int, success: Schema.Int }, (code) => {
  setImmediate(() => process.exit(code))
  return code
})

/** Throws what has no text, where no handler catches it. */
export const throwNothing = WorkerTask.make("throwNothing", { input: Schema.Void, success: Schema.Void }, () => {
  setImmediate(() => {
    throw Object.create(null)
  })
  return new Promise<void>(() => {})
})

/** Rejects where nobody looks, when its own answer is on the way. */
export const rejectAfter = WorkerTask.make("rejectAfter", { input: Schema.Void, success: Schema.Void }, () => {
  void Promise.reject(new Error("unseen"))
})

/** Says what a pool does not understand. */
export const babble = WorkerTask.make("babble", { input: Schema.Void, success: Schema.Void }, () => {
  const say = (message: unknown) => parentPort === null ? process.send!(message) : parentPort.postMessage(message)
  for (const message of [null, "ready", 0, {}, [], [2], [99, 1]]) say(message)
})

/** Computes, and says how often its thread's event loop went round since it began. */
export const turns = WorkerTask.make(
  "turns",
  { input: Schema.Int, success: Schema.Struct({ thread: Schema.Int, turns: Schema.Int }) },
  (work) => {
    let bytes = new Uint8Array(64)
    for (let i = 0; i < work; i++) bytes = new Uint8Array(createHash("sha256").update(bytes).digest())
    return { thread: threadId, turns: performance.nodeTiming.uvMetricsInfo.loopCount }
  }
)

export const fill = WorkerTask.make("fill", { input: Schema.Void, success: Schema.Int }, () => {
  const all: Array<Array<number>> = []
  for (;;) all.push(Array.from({ length: 100_000 }, (_, i) => i + all.length))
})

export const environment = WorkerTask.make(
  "environment",
  { input: Schema.String, success: Schema.UndefinedOr(Schema.String) },
  (name) => process.env[name]
)

/** Counts up, one element a chunk, and appends a byte to the file for each. */
export const count = WorkerTask.make(
  "count",
  { input: Schema.Struct({ to: Schema.Int, path: Schema.String }), success: Schema.Int, error: Refusal, stream: true },
  ({ path, to }) =>
    Stream.range(1, to).pipe(
      Stream.rechunk(1),
      Stream.mapEffect((n) => Effect.as(Effect.sync(() => fs.appendFileSync(`${path}.made`, ".")), n)),
      Stream.ensuring(Effect.sync(() => mark(`${path}.stopped`)))
    )
)

export const countThenRefuse = WorkerTask.make(
  "countThenRefuse",
  { input: Schema.Int, success: Schema.Int, error: Refusal, stream: true },
  (code) => Stream.concat(Stream.make(1, 2), Stream.fail(new Refusal({ code, at: new Date(0) })))
)

export const letters = WorkerTask.make(
  "letters",
  { input: Schema.String, success: Schema.String, stream: true },
  async function*(text) {
    for (const letter of text) {
      if (letter === "!") throw new RangeError("no marks")
      yield letter
    }
  }
)

/** A stream that never gives anything. */
export const silent = WorkerTask.make(
  "silent",
  { input: Schema.Void, success: Schema.Int, stream: true },
  () => Stream.never
)

/** No worker has it. */
export const absent = WorkerTask.make("absent", { input: Schema.Void, success: Schema.Void }, () => {})

export default WorkerTask.module(
  [
    add,
    addLater,
    refuse,
    explode,
    explodeLater,
    echo,
    move,
    lengthKept,
    serve,
    wrongResult,
    wrongError,
    uncloneable,
    hold,
    spin,
    hang,
    cling,
    exit,
    throwOutside,
    throwAfter,
    exitAfter,
    throwNothing,
    rejectAfter,
    babble,
    turns,
    fill,
    environment,
    count,
    countThenRefuse,
    letters,
    silent
  ],
  { layer: desk }
)
