/**
 * The running server as its operators see it: facts, and the few things that can be done to it from outside. `slipway ctl`,
 * the admin endpoints and the dashboard all stand on this one service, and programs may use it too. With several workers
 * the answers are those of all of them.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { ConnectionReport, SettingReport, StatusReport } from "../schema/Report.ts"

/** What was asked for does not exist here: no workers to scale, no files to reopen, a platform without it. Fault: operator. */
export interface NotPossible {
  readonly _tag: "NotPossible"
  readonly problem: string
}

/** It was tried and did not work; the server goes on as it was. Fault: operator or application. */
export interface Failed {
  readonly _tag: "Failed"
  readonly problem: string
}

/** Whom we asked does not answer any more. Retryable. */
export interface Unreachable {
  readonly _tag: "Unreachable"
  readonly problem: string
}

export type OperationsErrorReason = NotPossible | Failed | Unreachable

export { maxWorkers } from "../schema/SettingKind.ts"

/**
 * Whether an operator has said `drain on` to this process, as one mutable fact that costs nothing to read. Who says whether the
 * process is ready adds it to `Stats.isReady`: ready is `stats.isReady && !drained.isOn`. Written by `Operations.drain` alone.
 */
export const Drained = Context.Reference<{ isOn: boolean }>("slipway/Drained", {
  defaultValue: () => ({ isOn: false })
})

/** Why an operation was not done. Match on `error.reason._tag`. */
export class OperationsError extends Data.TaggedError("OperationsError")<{ readonly reason: OperationsErrorReason }> {
  override get message(): string {
    return this.reason.problem
  }
}

export class Operations extends Context.Service<Operations, {
  /** Everything at a glance, reports of all workers included. A worker that does not answer has none. */
  readonly status: Effect.Effect<StatusReport, OperationsError>
  /**
   * The metrics of all processes as Prometheus reads them (text, version 0.0.4). What workers have counted that are gone is
   * in the sums.
   */
  readonly metrics: Effect.Effect<string, OperationsError>
  /** Connections open now, at most `limit` of each worker. */
  readonly connections: (limit: number) => Effect.Effect<ReadonlyArray<ConnectionReport>, OperationsError>
  /** Every setting with its source; secrets are redacted. */
  readonly config: Effect.Effect<ReadonlyArray<SettingReport>, OperationsError>
  /** Replaces the workers one after the other; a single process reads its TLS files again. Ends when it is done. */
  readonly reload: Effect.Effect<void, OperationsError>
  /**
   * Changes the number of workers, from 1 to `maxWorkers`. Ends when the new ones serve and the others are told to stop.
   * Kept until the server ends, a reload included.
   */
  readonly scale: (workers: number) => Effect.Effect<void, OperationsError>
  /**
   * Turns the readiness off, or on again, in every worker and in those that come; requests are answered all the same. For a
   * load balancer.
   */
  readonly drain: (on: boolean) => Effect.Effect<void, OperationsError>
  /** Opens log files anew, for who has renamed them. */
  readonly reopen: Effect.Effect<void, OperationsError>
  /** Begins to stop, as SIGTERM does. Does not wait for the end. */
  readonly stop: Effect.Effect<void, OperationsError>
}>()("slipway/service/Operations") {}
