/**
 * Whether the program is well: checks that parts of it register while they live, and what they say now. The endpoints
 * for load balancers and orchestrators (middleware/Endpoints.ts, app/Admin.ts) stand on this.
 *
 * Who asks from outside learns names and whether they are well; what went wrong is for the log and for operators.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { CheckReport, HealthReport } from "../schema/Report.ts"

export type { CheckReport, HealthReport }

/** What is asked: whether the process should go on living, or whether requests should come. */
export type Question = "live" | "ready"

/** Something that can be well or not. */
export interface Check<E = unknown, R = never> {
  /** Shown to whoever asks, so say no more than may be known: `database`, not its address. */
  readonly name: string
  /** Succeeds when all is well; the value is ignored. A failure and a defect mean it is not. */
  readonly check: Effect.Effect<unknown, E, R>
  /** Time until it counts as failed; it is interrupted then. Default 5 seconds. */
  readonly timeout?: Duration.Input
  /** How long an outcome holds before the check is run again. Default 1 second. */
  readonly cache?: Duration.Input
  /**
   * What it has a say in. Default `"ready"`: requests go elsewhere until it is well again. A failing `"live"` check has
   * the process killed by an orchestrator, so leave it to what only a new process can mend.
   */
  readonly kind?: Question | "both"
  /** Whether it decides. One that does not is shown and logged. Default true. */
  readonly critical?: boolean
}

export class Health extends Context.Service<Health, {
  /** Adds a check until the scope closes. */
  readonly register: <E, R>(check: Check<E, R>) => Effect.Effect<void, never, R | Scope.Scope>
  /**
   * Runs the checks that have a say in the question, all at once, and yields what they say. Never fails, and takes no
   * longer than their longest timeout. Who asks while a check is running gets the outcome of that run.
   */
  readonly ask: (question: Question) => Effect.Effect<HealthReport>
  /** All checks. One that takes more than a second is shown as it was before, where it has been run before. */
  readonly report: Effect.Effect<HealthReport>
}>()("slipway/service/Health") {}

/** Whether a check has a say in the question. */
export const concerns = ({ kind }: Pick<CheckReport, "kind">, question: Question): boolean =>
  kind === "both" || kind === question

/** Whether all is well that decides about the question. */
export const isWell = (report: HealthReport, question: Question): boolean =>
  report.every((check) => check.status === "ok" || !check.isCritical || !concerns(check, question))

/**
 * Adds a check for as long as the Layer lives. Services of the check are those of the Layer.
 *
 * **Example**
 * ```ts
 * const databaseIsThere = Health.check({ name: "database", check: Database.use((database) => database.ping) })
 * ```
 */
export const check = <E, R>(options: Check<E, R>): Layer.Layer<never, never, Health | Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(Effect.flatMap(Health, (health) => health.register(options)))
