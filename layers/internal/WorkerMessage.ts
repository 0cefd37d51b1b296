/**
 * What a pool and its workers say to each other: small arrays, because structured clone copies them in half the time of
 * objects with names. Both sides are of the same version, so nothing is decoded; a task's values are, by their Schemas.
 */

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
}

/** Chunks of a stream that a worker sends before its reader has taken one. */
export const streamWindow = 4

const text = (value: unknown): string => {
  try {
    return typeof value === "string" ? value : String(value)
  } catch {
    return "a value that cannot be printed"
  }
}

export const toThrown = (thrown: unknown): Thrown =>
  thrown instanceof Error
    ? { name: text(thrown.name), message: text(thrown.message), stack: thrown.stack }
    : { name: "Error", message: text(thrown), stack: undefined }

/** An Error with the stack of the worker. */
export const fromThrown = ({ message, name, stack }: Thrown): Error => {
  const error = new Error(message)
  Object.defineProperty(error, "name", { value: name, configurable: true, writable: true })
  Object.defineProperty(error, "stack", { value: stack ?? `${name}: ${message}`, configurable: true, writable: true })
  return error
}
