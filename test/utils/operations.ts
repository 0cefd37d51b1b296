/** Worlds for tests of Operations: servers in memory with clients, and records of what was done to them. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Protocol from "../../layers/internal/OperationsProtocol.ts"
import * as Around from "../../layers/internal/OperationsSupervisor.ts"
import type * as Supervisor from "../../layers/internal/Supervisor.ts"
import { AskError } from "../../layers/internal/SupervisorAsk.ts"
import * as OperationsLocal from "../../layers/OperationsLocal.ts"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import { Drained, type Operations } from "../../src/service/Operations.ts"
import { Server, ServerError } from "../../src/service/Server.ts"
import { facts, type Subject } from "../contract/Operations.ts"
import { capture } from "./logs.ts"

const clients = 2

/** One process: a server in memory with two clients. */
export const local = Effect.gen(function*() {
  const done: Array<string> = []
  const drained = { isOn: false }
  let isBroken = false
  const act = (what: string) => Effect.sync(() => void done.push(what))
  const make = Effect.gen(function*() {
    const { network, server } = yield* ServerMemory.make()
    yield* server.serve(App.http(({ send }) => App.respond(send, 200, "hello")))
    for (let i = 0; i < clients; i++) yield* network.connect()
    const broken = new ServerError({
      reason: { _tag: "TlsFileUnusable", option: "tlsCert", path: "cert.pem", problem: "there is no such file" }
    })
    const watched = Server.of({
      ...server,
      reload: Effect.suspend(() => isBroken ? Effect.fail(broken) : act("reload"))
    })
    const operations = yield* Effect.provideService(
      OperationsLocal.make({
        ...facts,
        config: Effect.succeed(facts.config),
        reopen: act("reopen"),
        stop: act("stop")
      }),
      Server,
      watched
    )
    return { operations, network, server }
  })
  const built = yield* make.pipe(
    Effect.provideService(Drained, drained),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Effect.provide(capture().layer)
  )
  const subject: Subject = {
    operations: built.operations,
    drained: Effect.sync(() => [drained.isOn]),
    done,
    workers: [0],
    clients,
    breakReload: Effect.sync(() => void (isBroken = true))
  }
  return { ...built, subject }
})

const overJson = (value: unknown): unknown => value === undefined ? undefined : JSON.parse(JSON.stringify(value))

/** Asks operations as a worker is asked: in JSON, and without an answer to what it does not know. */
export const askWorker = (operations: Operations["Service"], what: unknown): Effect.Effect<unknown, AskError> =>
  Effect.map(
    Protocol.answer(operations)(overJson(what))
      ?? Effect.fail(new AskError({ reason: { _tag: "NotAnswered", problem: "unknown" } })),
    overJson
  )

/** Both workers are in this process, and metrics tell processes apart. */
const withPid = (value: unknown, pid: number): unknown =>
  JSON.parse(JSON.stringify(value).replaceAll(`"pid":${process.pid}`, `"pid":${pid}`))

/** A supervisor of two workers without processes. */
export const supervised = Effect.gen(function*() {
  const workers = yield* Effect.all([local, local])
  const done: Array<string> = []
  const drained = { isOn: false }
  let isBroken = false
  const act = (what: string) => Effect.sync(() => void done.push(what))
  const crew: Around.Workers = {
    status: workers.map((_, index) => ({
      number: index + 1,
      pid: 101 + index,
      state: "serving",
      sinceMillis: 0,
      crashes: 0
    })),
    leaving: [],
    askAll: (what) =>
      Effect.forEach(workers, ({ operations }, index) =>
        Effect.map(
          Effect.result(Effect.map(askWorker(operations, what), (value) => withPid(value, 101 + index))),
          (answer): Supervisor.WorkerAnswer => ({ number: index + 1, pid: 101 + index, answer })
        )),
    restart: Effect.suspend(() => isBroken ? Effect.succeed(false) : Effect.as(act("reload"), true)),
    scale: () => Effect.void,
    reopen: act("reopen")
  }
  const around = yield* Effect.provideService(
    Around.make({
      ...facts,
      addresses: () => ["http://127.0.0.1:5000"],
      config: Effect.succeed(facts.config),
      stop: act("stop")
    }),
    Drained,
    drained
  )
  const subject: Subject = {
    operations: yield* around.over(crew),
    drained: Effect.map(Effect.all(workers.map(({ subject }) => subject.drained)), (all) => all.flat()),
    done,
    workers: [1, 2],
    clients,
    breakReload: Effect.sync(() => void (isBroken = true))
  }
  return { around, crew, subject, workers, isDrained: () => drained.isOn }
})
