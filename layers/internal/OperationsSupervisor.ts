/**
 * Operations of a supervisor: what all of its workers say, in one answer, and commands for all of them. Asks workers at the
 * same time and waits for none without end; never serves anything itself.
 *
 * A worker is drained before it serves where that was said before it was started, and in the moment it serves where that
 * was said meanwhile.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Latest from "../../src/app/Latest.ts"
import { ConnectionReport, type SettingReport, StatusReport, type WorkerReport } from "../../src/schema/Report.ts"
import { Drained, Operations, OperationsError } from "../../src/service/Operations.ts"
import * as OperationsMetrics from "./OperationsMetrics.ts"
import * as Protocol from "./OperationsProtocol.ts"
import type { Child, Options as SupervisorOptions, Supervisor, WorkerAnswer } from "./Supervisor.ts"
import type { Answer } from "./SupervisorAsk.ts"

export interface Options {
  /** Of the program. */
  readonly version: string
  /** What is served, as it was called. */
  readonly application: string
  readonly mode: "development" | "production"
  /** Where the workers listen, which a restart may change. */
  readonly addresses: () => ReadonlyArray<string>
  /** Every setting with its source, secrets redacted. */
  readonly config: Effect.Effect<ReadonlyArray<SettingReport>>
  /** Begins to stop, and does not wait for the end. */
  readonly stop: Effect.Effect<void>
}

/** What operations need of a supervisor. */
export type Workers = Pick<Supervisor, "status" | "leaving" | "askAll" | "restart" | "scale" | "reopen">

export type Spawn = (number: number, options: SupervisorOptions) => Effect.Effect<Child>

/** What stands around a supervisor: before it, what its workers are started with and may ask; behind it, its operations. */
export interface Around {
  /** For SupervisorProcess: answers workers that ask for operations, once there is a supervisor. */
  readonly answer: Answer
  /** Starts workers that get to know whether they are drained. */
  readonly greeting: (spawn: Spawn) => Spawn
  /** The operations of the supervisor that was made with the two. Looks at the metrics go on as long as the scope. */
  readonly over: (workers: Workers) => Effect.Effect<Operations["Service"], never, Scope.Scope>
}

/** A health check that was never run takes 5 seconds of them at most, where nobody has said otherwise. */
const firstReportTimeout = Duration.seconds(6)
/** Health checks that were run before take a second of them at most. */
const reportTimeout = Duration.seconds(2)
const wordTimeout = Duration.seconds(2)

/** Prepares what stands around a supervisor. Greetings end with the scope. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const scope = yield* Effect.scope
  const drained = yield* Drained
  const startedAtMillis = yield* Clock.currentTimeMillis
  const places = new Set<number>()
  let restarts = 0
  let answer: Answer = () => undefined

  const around: Around = {
    answer: (what) => answer(what),
    greeting: (spawn) => (number, settings) =>
      Effect.tap(spawn(number, settings), (child) => {
        if (places.has(number)) restarts++
        places.add(number)
        return Effect.forkIn(greet(child, drained), scope, { startImmediately: true })
      }),
    over: Effect.fnUntraced(function*(workers: Workers) {
      const world = { ...options, workers, drained, startedAtMillis, restarts: () => restarts }
      const status = statusOf(world)
      const metrics = OperationsMetrics.make(status)
      // However many ask, each worker is asked once at a time.
      const text = yield* Latest.make(metrics.text, 0)
      const operations = makeOperations(world, status, text.get)
      const perform = Protocol.answer(operations)
      answer = (what) => {
        const farewell = Option.getOrUndefined(Protocol.decodeFarewell(what))?.farewell
        return farewell === undefined ? perform(what) : metrics.farewell(farewell.pid, farewell.metrics)
      }
      return operations
    })
  }
  return around
})

/** Says it at the start if it is so, and once the worker serves if that has changed. */
const greet = (child: Child, drained: { readonly isOn: boolean }): Effect.Effect<unknown> =>
  Effect.suspend(() => {
    const atStart = drained.isOn
    const say = Effect.suspend(() => Effect.ignore(child.ask({ do: "drain", on: drained.isOn })))
    const onceReady = Effect.flatMap(child.ready, () => drained.isOn === atStart ? Effect.void : say)
    return Effect.andThen(atStart ? say : Effect.void, Effect.raceFirst(onceReady, child.exited))
  })

interface World extends Options {
  readonly workers: Workers
  readonly drained: { isOn: boolean }
  readonly startedAtMillis: number
  readonly restarts: () => number
}

const makeOperations = (world: World, status: Effect.Effect<StatusReport>, metrics: Effect.Effect<string>) => {
  const { drained, workers } = world
  return Operations.of({
    status,
    metrics,
    connections: (limit) =>
      Effect.map(
        workers.askAll({ do: "connections", limit } satisfies Protocol.Request, wordTimeout),
        (answers) =>
          answers.flatMap((one) => (read(connectionsOf, one) ?? []).map((facts) => ({ ...facts, worker: one.number })))
      ),
    config: world.config,
    reload: Effect.flatMap(
      workers.restart,
      (restarted) => restarted ? Effect.void : failed("Not all workers were replaced; the server's log says why")
    ),
    scale: (wanted) =>
      Protocol.checkWorkers(wanted).pipe(
        Effect.andThen(workers.scale(wanted)),
        Effect.andThen(Effect.suspend(() => checkServing(workers, wanted)))
      ),
    drain: (on) =>
      Effect.suspend(() => {
        drained.isOn = on
        return Effect.flatMap(
          workers.askAll({ do: "drain", on } satisfies Protocol.Request, wordTimeout),
          (answers) => {
            const silent = answers.filter((one) => read(done, one) === undefined).map(({ number }) => number)
            return silent.length === 0 ? Effect.void : failed(`Worker ${silent.join(", ")} did not answer`)
          }
        )
      }),
    reopen: workers.reopen,
    stop: world.stop
  })
}

const failed = (problem: string) => Effect.fail(new OperationsError({ reason: { _tag: "Failed", problem } }))

const checkServing = (workers: Workers, wanted: number): Effect.Effect<void, OperationsError> => {
  const serving = workers.status.filter(({ state }) => state === "serving").length
  return serving === wanted
    ? Effect.void
    : failed(`${serving} of ${wanted} workers serve; the server's log says what is with the others`)
}

// ---- what workers say

const decodeReply = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) =>
  Schema.decodeUnknownOption(Schema.Struct({ done: schema }))

const report = decodeReply(StatusReport)
const connectionsOf = decodeReply(Schema.Array(ConnectionReport))
const done = decodeReply(Schema.Unknown)

/** `undefined`: it did not answer, or not with that. */
const read = <A>(
  decode: (value: unknown) => Option.Option<{ readonly done: A }>,
  { answer }: WorkerAnswer
): A | undefined =>
  Result.isFailure(answer) ? undefined : Option.getOrUndefined(Option.map(decode(answer.success), ({ done }) => done))

const statusOf = ({ drained, restarts, workers, ...world }: World): Effect.Effect<StatusReport> => {
  /** Processes that were asked before: one that hangs must not make every look at the others a slow one. */
  let asked: ReadonlySet<number> = new Set()
  const ask = Effect.suspend(() => {
    const pids = workers.status.flatMap(({ pid }) => pid ?? [])
    const isFirst = pids.some((pid) => !asked.has(pid))
    return Effect.tap(
      workers.askAll({ do: "status" } satisfies Protocol.Request, isFirst ? firstReportTimeout : reportTimeout),
      () => Effect.sync(() => void (asked = new Set(pids)))
    )
  })
  return Effect.gen(function*() {
    const answers = yield* ask
    const reports = new Map(answers.map((one) => [one.pid, read(report, one)?.workers[0]?.report]))
    const leaving = new Map(workers.leaving.map(({ number, pid }) => [pid, number]))
    const placed = workers.status.map(({ crashes, number, pid, sinceMillis, state }): WorkerReport => {
      const said = pid === undefined ? undefined : reports.get(pid)
      return {
        number,
        state: pid !== undefined && leaving.delete(pid) ? "stopping" : state,
        crashes,
        ...(pid === undefined ? {} : { pid }),
        ...(sinceMillis === undefined ? {} : { sinceMillis }),
        ...(said === undefined ? {} : { report: said })
      }
    })
    // Who takes their place is in the list already.
    const replaced = [...leaving].map(([pid, number]): WorkerReport => ({ number, pid, state: "stopping", crashes: 0 }))
    const isShuttingDown = placed.length > 0 && placed.every(({ state }) => state === "stopping")
    return {
      version: world.version,
      pid: process.pid,
      application: world.application,
      mode: world.mode,
      addresses: world.addresses(),
      startedAtMillis: world.startedAtMillis,
      nowMillis: yield* Clock.currentTimeMillis,
      isReady: !drained.isOn && placed.some((worker) => worker.report?.server.isReady === true),
      isShuttingDown,
      isDrained: drained.isOn,
      restarts: restarts(),
      workers: [...placed, ...replaced]
    }
  })
}
