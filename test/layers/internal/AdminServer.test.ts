import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as HealthChecks from "../../../layers/HealthChecks.ts"
import * as Activity from "../../../layers/internal/Activity.ts"
import * as AdminServer from "../../../layers/internal/AdminServer.ts"
import * as OperationsLocal from "../../../layers/OperationsLocal.ts"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as TestClient from "../../../layers/TestClient.ts"
import { metricNames } from "../../../src/app/admin/Samples.ts"
import * as App from "../../../src/app/App.ts"
import * as Health from "../../../src/service/Health.ts"
import { Drained, Operations } from "../../../src/service/Operations.ts"
import * as Server from "../../../src/service/Server.ts"
import { capture } from "../../utils/logs.ts"

/** A whole program: an application, and its admin port on a unix socket. */
const start = Effect.gen(function*() {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-admin-"))),
    (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
  )
  const path = Path.join(folder, "admin.sock")
  const log = capture()
  const drained = { isOn: false }
  const scope = yield* Scope.fork(yield* Effect.scope)
  const admin = AdminServer.layer({
    server: { unix: path },
    token: Redacted.make("secret")
  })
  const app = App.http(({ scope, send }) => App.respond(send, scope.path === "/bad" ? 500 : 200, "x"))
  const context = yield* Layer.buildWithScope(
    Layer.merge(admin, Server.serve(app)).pipe(
      Layer.provide(OperationsLocal.layer({ version: "1", application: "app.ts", mode: "production" })),
      Layer.provide(Activity.serverLayer),
      Layer.provideMerge(ServerNode.layer({ host: "127.0.0.1", port: 0 })),
      Layer.provideMerge(HealthChecks.layer),
      Layer.provideMerge(Activity.layer),
      Layer.provideMerge(AccessLogMemory.layer()),
      Layer.provide(Layer.succeed(Drained, drained)),
      Layer.provide(Layer.succeed(Metric.MetricRegistry, new Map())),
      Layer.provide(log.layer)
    ),
    scope
  )
  const [address] = yield* Context.get(context, Server.Server).addresses
  return {
    context,
    drained,
    log,
    path,
    app: yield* TestClient.live(Server.formatAddress(address!)),
    admin: yield* TestClient.live(`unix:${path}`),
    stop: Scope.close(scope, Exit.void)
  }
})

const bearer = { headers: { authorization: "Bearer secret" } }

describe("AdminServer", () => {
  it.live("tells of the application's server, and not of itself [W31] [W142] [W144] [C170]", () =>
    Effect.gen(function*() {
      const { admin, app, context } = yield* start
      for (const path of ["/", "/", "/bad"]) yield* Effect.flatMap(app.get(path), ({ text }) => text)
      for (let probe = 0; probe < 5; probe++) assert.strictEqual((yield* admin.get("/live")).status, 200)
      assert.strictEqual((yield* admin.get("/status")).status, 401)
      const status = (yield* Effect.flatMap(admin.get("/status", bearer), ({ json }) => json)) as any
      assert.strictEqual(status.isReady, true)
      assert.strictEqual(status.workers[0].report.server.totalExchanges, 3)
      assert.deepStrictEqual(
        status.workers[0].report.activity.routes.map(({ count, route }: any) => [route, count]),
        [["GET /", 2], ["GET /bad", 1]]
      )
      assert.strictEqual(status.workers[0].report.activity.errors[0].path, "/bad")
      const metrics = yield* Effect.flatMap(admin.get("/metrics", bearer), ({ text }) => text)
      assert.match(metrics, /^http_server_requests_total\{[^}]*status="2xx"[^}]*\} 2$/m)
      assert.include(metrics, `${metricNames.duration}_count 3`)
      const lines = yield* Context.get(context, AccessLogMemory.Lines).lines
      assert.strictEqual(lines.length, 3)
    }))

  it.live("is not ready while a check fails or an operator has drained it [W31]", () =>
    Effect.gen(function*() {
      const { admin, context, drained } = yield* start
      const ready = Effect.map(admin.get("/ready"), ({ status }) => status)
      assert.strictEqual(yield* ready, 200)
      drained.isOn = true
      yield* Effect.repeat(ready, { until: (status) => status === 503 })
      drained.isOn = false
      yield* Context.get(context, Health.Health).register({ name: "database", check: Effect.fail("gone") })
      const expected = `{"status":"unavailable","checks":[{"name":"database","status":"failed"}]}\n`
      const answer = yield* Effect.repeat(Effect.flatMap(admin.get("/ready"), ({ text }) => text), {
        until: (text) => text === expected
      })
      assert.strictEqual(answer, expected)
    }))

  it.live("says where it is, and goes with the program", () =>
    Effect.gen(function*() {
      const { log, path, stop } = yield* start
      assert.include(
        log.lines.map(({ message }) => message),
        `Admin endpoints on unix:${path}: /live, /ready, /metrics, /status, /dashboard`
      )
      assert.lengthOf(log.lines.filter(({ message }) => message.includes("lifespan")), 1)
      yield* stop
      assert.isFalse(Fs.existsSync(path))
    }))

  it.live("fails with the server's error where it cannot listen", () =>
    Effect.gen(function*() {
      const options = { server: { unix: "/nonexistent/folder/admin.sock" } }
      const operations = { status: Effect.never } as unknown as Operations["Service"]
      const error = yield* Effect.flip(
        Layer.build(AdminServer.layer(options)).pipe(Effect.provideService(Operations, operations))
      )
      assert.strictEqual(error.reason._tag, "ListenFailed")
    }))
})
