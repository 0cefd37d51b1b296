/**
 * What a pool and its workers say to each other: small arrays, because structured clone copies them in half the time of
 * objects with names. Both sides are of the same version, so nothing is decoded; a task's values are, by their Schemas.
 */
import * as Formatter from "effect/Formatter"

/** Kinds of messages to a worker. A worker has one task at a time. */
export const ToWorker = { run: 0, interrupt: 1, credit: 2, stop: 3 } as const

export type ToWorker =
  | readonly [kind: typeof ToWorker.run, id: number, name: string, isStream: boolean, input: unknown]
  /** Stop the task if it can be asked to. */
  | readonly [kind: typeof ToWorker.interrupt, id: number]
  /** The reader of the stream has taken a chunk. */
  | readonly [kind: typeof ToWorker.credit, id: number]
  /** Release what the worker holds, and end. */
  | readonly [kind: typeof ToWorker.stop]

/** Kinds of messages from a worker. */
export const FromWorker = {
  ready: 0,
  startFailed: 1,
  success: 2,
  failure: 3,
  defect: 4,
  refused: 5,
  chunk: 6,
  interrupted: 7,
  uninterruptible: 8
} as const

export type FromWorker =
  | readonly [kind: typeof FromWorker.ready]
  | readonly [kind: typeof FromWorker.startFailed, error: Thrown]
  /** The result; of a stream, its end. */
  | readonly [kind: typeof FromWorker.success, id: number, value: unknown]
  /** A declared error. */
  | readonly [kind: typeof FromWorker.failure, id: number, error: unknown]
  | readonly [kind: typeof FromWorker.defect, id: number, error: Thrown]
  | readonly [kind: typeof FromWorker.refused, id: number, reason: Refusal, problem: string]
  | readonly [kind: typeof FromWorker.chunk, id: number, values: unknown]
  | readonly [kind: typeof FromWorker.interrupted, id: number]
  /** The task cannot be asked to stop; the worker has to be terminated. */
  | readonly [kind: typeof FromWorker.uninterruptible, id: number]

export type Refusal = "TaskUnknown" | "InputInvalid" | "OutputInvalid"

/** An error as it crosses: classes and further fields stay behind. */
export interface Thrown {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  readonly cause?: Thrown
  /** Of an AggregateError. */
  readonly errors?: ReadonlyArray<Thrown>
}

/** Chunks of a stream that a worker sends before its reader has taken one. */
export const streamWindow = 4

/** Causes of causes that cross, and errors of an AggregateError. */
const maxDepth = 8
const maxErrors = 10

/** Nothing that a task throws may throw again when it is looked at: getters and `toString` are the task's. */
const attempt = <A>(read: () => A, instead: A): A => {
  try {
    return read()
  } catch {
    return instead
  }
}

const unprintable = "a value that cannot be printed"

const text = (value: unknown): string =>
  typeof value === "string" ? value : attempt(() => Formatter.format(value), unprintable)

/** The message of an error, or the text of whatever else was thrown. */
export const textOf = (thrown: unknown): string =>
  attempt(() => text(thrown instanceof Error ? thrown.message : thrown), unprintable)

export const toThrown = (thrown: unknown, depth = 0): Thrown => {
  const message = textOf(thrown)
  if (!attempt(() => thrown instanceof Error, false)) return { name: "Error", message, stack: undefined }
  const error = thrown as Error & { readonly errors?: unknown }
  const stack = attempt(() => error.stack, undefined)
  const cause = attempt(() => error.cause, undefined)
  const errors = attempt(() => error instanceof AggregateError ? error.errors.slice(0, maxErrors) : [], [])
  return {
    name: attempt(() => text(error.name), "Error"),
    message,
    stack: typeof stack === "string" ? stack : undefined,
    ...(cause === undefined || depth === maxDepth ? undefined : { cause: toThrown(cause, depth + 1) }),
    ...(errors.length === 0 || depth === maxDepth
      ? undefined
      : { errors: errors.map((error) => toThrown(error, maxDepth)) })
  }
}

/** An Error with the stack of the worker. */
export const fromThrown = ({ cause, errors, message, name, stack }: Thrown): Error => {
  const options = cause === undefined ? undefined : { cause: fromThrown(cause) }
  const error = errors === undefined ? new Error(message, options) : new AggregateError(
    errors.map(fromThrown),
    message,
    options
  )
  Object.defineProperty(error, "name", { value: name, configurable: true, writable: true })
  Object.defineProperty(error, "stack", { value: stack ?? `${name}: ${message}`, configurable: true, writable: true })
  return error
}
