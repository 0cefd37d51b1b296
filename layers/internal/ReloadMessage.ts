/**
 * What a supervisor and its workers say to each other in development with reload, over the questions and answers of
 * SupervisorAsk.ts. Everything is JSON; both ends are this program.
 */
import type { DevFailure } from "../../src/app/DevFailure.ts"

/** What a worker asks. It says who it is: two of one number may live while one takes the other's place. */
export type FromWorker =
  /** What am I to do? Answered with `Begin`. */
  | { readonly type: "reload.begin"; readonly pid: number }
  /** I do not start, and end now. */
  | { readonly type: "reload.failed"; readonly pid: number; readonly failure: DevFailure }
  /** These files, absolute, I have loaded. */
  | { readonly type: "reload.loaded"; readonly pid: number; readonly files: ReadonlyArray<string> }

/** How a worker begins. */
export interface Begin {
  /** Counts the changes, from the time at which the program was started. */
  readonly generation: number
  /** Whether to serve the failure in place of the application, which is not even loaded. */
  readonly isPage: boolean
  /** What does not start, as far as is known. */
  readonly failure: DevFailure | null
}

/** What a supervisor asks: to show a failure. */
export interface ToWorker {
  readonly type: "reload.failure"
  readonly failure: DevFailure
}

const hasType = (what: unknown): what is { readonly type: unknown } =>
  typeof what === "object" && what !== null && "type" in what

/** Whether a question of a worker is one of these. */
export const isFromWorker = (what: unknown): what is FromWorker =>
  hasType(what) && (what.type === "reload.begin" || what.type === "reload.failed" || what.type === "reload.loaded")

/** Whether a question of the supervisor is one of these. */
export const isToWorker = (what: unknown): what is ToWorker => hasType(what) && what.type === "reload.failure"
