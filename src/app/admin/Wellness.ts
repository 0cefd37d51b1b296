/**
 * Whether a server of one or many processes is well, out of what they report. One process that is not well does not
 * take the whole out of service; most of them do.
 */
import type { CheckReport, StatusReport } from "../../schema/Report.ts"
import { concerns, isWell, type Question } from "../../service/Health.ts"

/** A check of all workers together. */
export interface Check extends CheckReport {
  /** Workers where it is not well. */
  readonly failing: number
  readonly workers: number
}

/** All checks, in the order in which they are met; each with the worst of what the workers say about it. */
export const checksOf = ({ workers }: Pick<StatusReport, "workers">): ReadonlyArray<Check> => {
  const checks = new Map<string, Check>()
  for (const { report } of workers) {
    for (const check of report?.health ?? []) {
      const before = checks.get(check.name)
      const isFailing = check.status !== "ok"
      checks.set(check.name, {
        ...(before === undefined || (isFailing && before.status === "ok") ? check : before),
        durationMillis: Math.max(before?.durationMillis ?? 0, check.durationMillis),
        failing: (before?.failing ?? 0) + (isFailing ? 1 : 0),
        workers: (before?.workers ?? 0) + 1
      })
    }
  }
  return [...checks.values()]
}

/** Checks that have a say in a question. */
export const about = (status: StatusReport, question: Question): ReadonlyArray<Check> =>
  checksOf(status).filter((check) => concerns(check, question))

/** Whether the process should go on living: until no worker that can say is well. */
export const isAlive = ({ workers }: StatusReport): boolean => {
  const healths = workers.flatMap(({ report }) => report?.health === undefined ? [] : [report.health])
  return healths.length === 0 || healths.some((health) => isWell(health, "live"))
}

/**
 * Whether requests should come: the server says so, is not drained and does not stop, and at least half of its workers
 * serve, answer and are well.
 */
export const isReady = ({ isDrained, isReady, isShuttingDown, workers }: StatusReport): boolean => {
  if (!isReady || isDrained || isShuttingDown) return false
  const well = workers.filter(({ report, state }) =>
    state === "serving" && report?.server.isReady === true && isWell(report.health ?? [], "ready")
  )
  return well.length > 0 && well.length * 2 >= workers.filter(({ state }) => state !== "stopping").length
}
