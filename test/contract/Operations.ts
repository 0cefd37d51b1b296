/**
 * What every Operations does, wherever it is asked: in the server's process, in a supervisor, over a channel or a socket.
 * Each form's test calls `operationsContract` with a world in which it can see what has been done.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { ConnectionReport, type SettingReport, StatusReport } from "../../src/schema/Report.ts"
import { maxWorkers, type Operations, type OperationsError } from "../../src/service/Operations.ts"

/** What the contract asks a form to be built with. */
export const facts = {
  version: "1.2.3",
  application: "app.ts",
  mode: "production",
  config: [
    { key: "port", value: "5001", source: "--port" },
    { key: "adminToken", value: "<redacted>", source: "SLIPWAY_ADMIN_TOKEN" }
  ]
} as const satisfies Record<string, unknown> & { readonly config: ReadonlyArray<SettingReport> }

/** One form in its world. Every process in it serves, and has `clients` open connections. */
export interface Subject {
  readonly operations: Operations["Service"]
  /** Whether each process that serves believes to be drained. */
  readonly drained: Effect.Effect<ReadonlyArray<boolean>>
  /** What has been done: `reload`, `reopen`, `stop`, in that order. */
  readonly done: ReadonlyArray<string>
  /** Numbers of the workers. */
  readonly workers: ReadonlyArray<number>
  readonly clients: number
  /** Has the next reload fail with these words. */
  readonly breakReload: Effect.Effect<void>
}

const reasonOf = <A>(effect: Effect.Effect<A, OperationsError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

export const operationsContract = (name: string, subject: Effect.Effect<Subject, unknown, Scope.Scope>): void => {
  describe(`${name} as Operations`, () => {
    it.effect("tells what is served, where, and how every process fares [C170] [W144]", () =>
      Effect.gen(function*() {
        const { clients, operations, workers } = yield* subject
        const status = yield* operations.status
        const { application, mode, version } = status
        assert.deepStrictEqual({ application, mode, version }, {
          application: facts.application,
          mode: facts.mode,
          version: facts.version
        })
        assert.isNotEmpty(status.addresses)
        assert.isAtLeast(status.nowMillis, status.startedAtMillis)
        assert.isTrue(status.isReady)
        assert.isFalse(status.isShuttingDown)
        assert.deepStrictEqual(
          status.workers.map(({ number, state }) => [number, state]),
          workers.map((number) => [number, "serving"])
        )
        for (const { report } of status.workers) {
          assert.strictEqual(report?.server.connections, clients)
          assert.strictEqual(report?.server.totalConnections, clients)
          assert.isAbove(report?.runtime.rssBytes ?? 0, 0)
          const connections = report?.metrics.find(({ name }) => name === "http_server_open_connections")
          assert.strictEqual(connections?.value, clients)
        }
      }))

    it.effect("tells the metrics of all processes as Prometheus reads them [C170]", () =>
      Effect.gen(function*() {
        const { clients, operations, workers } = yield* subject
        const text = yield* operations.metrics
        assert.match(text, /^# TYPE http_server_connections_total counter$/m)
        assert.match(text, new RegExp(`^http_server_connections_total ${clients * workers.length}$`, "m"))
      }))

    it.effect("says nothing that JSON would lose", () =>
      Effect.gen(function*() {
        const { operations } = yield* subject
        const status = yield* operations.status
        const copy: unknown = JSON.parse(JSON.stringify(status))
        assert.deepStrictEqual(copy, status)
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(StatusReport)(copy), status)
      }))

    it.effect("lists connections with the worker that has them, up to a limit", () =>
      Effect.gen(function*() {
        const { clients, operations, workers } = yield* subject
        const connections = yield* operations.connections(100)
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(Schema.Array(ConnectionReport))(connections), [
          ...connections
        ])
        assert.deepStrictEqual(
          connections.map(({ worker }) => worker),
          workers.flatMap((number) => Array.from({ length: clients }, () => number))
        )
        assert.lengthOf(yield* operations.connections(1), workers.length)
        assert.deepStrictEqual(yield* operations.connections(0), [])
        assert.deepStrictEqual(yield* operations.connections(-1), [])
      }))

    it.effect("tells the settings as they were given, redacted ones included", () =>
      Effect.gen(function*() {
        const { operations } = yield* subject
        assert.deepStrictEqual(yield* operations.config, facts.config)
      }))

    it.effect("is not ready while it is drained, in every process, and answers as before", () =>
      Effect.gen(function*() {
        const { drained, operations, workers } = yield* subject
        for (const on of [true, true, false]) {
          yield* operations.drain(on)
          const status = yield* operations.status
          assert.deepStrictEqual([status.isDrained, status.isReady], [on, !on])
          assert.isFalse(status.isShuttingDown)
          assert.deepStrictEqual(yield* drained, workers.map(() => on))
          assert.isTrue(status.workers.every(({ report }) => report?.server.isReady))
        }
      }))

    it.effect("reloads, reopens log files and begins to stop, each once for each time that it is told", () =>
      Effect.gen(function*() {
        const { done, operations } = yield* subject
        yield* operations.reload
        yield* operations.reopen
        yield* operations.reopen
        yield* operations.stop
        assert.deepStrictEqual(done, ["reload", "reopen", "reopen", "stop"])
      }))

    it.effect("goes on as it was when a reload fails, and says so", () =>
      Effect.gen(function*() {
        const { breakReload, operations } = yield* subject
        yield* breakReload
        const reason = yield* reasonOf(operations.reload)
        assert.strictEqual(reason._tag, "Failed")
        assert.isNotEmpty(reason.problem)
        assert.isTrue((yield* operations.status).isReady)
      }))

    for (const workers of [0, -1, 1.5, NaN, maxWorkers + 1]) {
      it.effect(`does not scale to ${workers} workers`, () =>
        Effect.gen(function*() {
          const { operations } = yield* subject
          assert.strictEqual((yield* reasonOf(operations.scale(workers)))._tag, "NotPossible")
        }))
    }
  })
}
