import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as HealthChecks from "../../layers/HealthChecks.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as AccessToken from "../../src/app/AccessToken.ts"
import * as App from "../../src/app/App.ts"
import * as Endpoints from "../../src/middleware/Endpoints.ts"
import * as Health from "../../src/service/Health.ts"
import { Drained } from "../../src/service/Operations.ts"
import * as Server from "../../src/service/Server.ts"
import * as Fake from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"

const inner = App.byType({
  http: ({ scope, send }) => App.respond(send, 200, `app ${scope.path}`),
  websocket: ({ scope, send }) =>
    Effect.andThen(
      send({ type: "websocket.accept" }),
      Effect.andThen(send({ type: "websocket.send", text: scope.path }), send({ type: "websocket.close" }))
    )
})

/** Serves an application behind the endpoints. */
const client = Effect.fnUntraced(function*(
  options: Endpoints.Options,
  { drained = { isOn: false }, rootPath = "" }: { readonly drained?: { isOn: boolean }; readonly rootPath?: string } =
    {}
) {
  const context = yield* Layer.build(
    Server.serve(Endpoints.make(options)(inner)).pipe(
      Layer.provideMerge(HealthChecks.layer),
      Layer.provideMerge(TestClient.layer({ rootPath })),
      Layer.provide(Layer.succeed(Drained, drained))
    )
  )
  return { http: Context.get(context, TestClient.TestClient), register: Context.get(context, Health.Health).register }
})

const text = (self: { readonly text: Effect.Effect<string, unknown> }) => Effect.orDie(self.text)

describe("Endpoints", () => {
  it.effect("says whether it lives and whether requests should come, and leaves the rest alone [W31]", () =>
    Effect.gen(function*() {
      const { http, register } = yield* client({ livePath: "/live", readyPath: "/health/ready" })
      const live = yield* http.get("/live")
      assert.strictEqual(live.status, 200)
      assert.strictEqual(live.headers["content-type"], "application/json")
      assert.strictEqual(live.headers["cache-control"], "no-store")
      assert.strictEqual(yield* text(live), `{"status":"ok","checks":[]}\n`)
      yield* register({ name: "database", cache: 0, check: Effect.fail(new Error("password of 10.0.0.7 is wrong")) })
      const ready = yield* http.get("/health/ready")
      assert.strictEqual(ready.status, 503)
      assert.strictEqual(ready.headers["retry-after"], "5")
      assert.strictEqual(
        yield* text(ready),
        `{"status":"unavailable","checks":[{"name":"database","status":"failed"}]}\n`
      )
      assert.strictEqual((yield* http.get("/live")).status, 200)
      for (const path of ["/", "/live/", "/Live", "/health", "/ready"]) {
        assert.strictEqual(yield* text(yield* http.get(path)), `app ${path}`)
      }
    }).pipe(Effect.provide(capture().layer)))

  it.effect("fails to live only for a critical live check [W31]", () =>
    Effect.gen(function*() {
      const { http, register } = yield* client({ livePath: "/live" })
      yield* register({ name: "cache", kind: "live", critical: false, check: Effect.fail("cold") })
      assert.strictEqual((yield* http.get("/live")).status, 200)
      yield* register({ name: "deadlock", kind: "both", check: Effect.fail("stuck") })
      const answer = yield* http.get("/live")
      assert.strictEqual(answer.status, 503)
      assert.include(yield* text(answer), `{"name":"deadlock","status":"failed"}`)
    }).pipe(Effect.provide(capture().layer)))

  it.effect("is not ready while an operator has drained it", () =>
    Effect.gen(function*() {
      const drained = { isOn: true }
      const { http } = yield* client({ livePath: "/live", readyPath: "/ready" }, { drained })
      assert.strictEqual((yield* http.get("/ready")).status, 503)
      assert.strictEqual((yield* http.get("/live")).status, 200)
      drained.isOn = false
      assert.strictEqual((yield* http.get("/ready")).status, 200)
    }))

  it.effect("is not ready once the server stops, and lives", () =>
    Effect.gen(function*() {
      const stats = { isReady: false, isShuttingDown: true } as Server.Stats
      const ask = (path: string) => {
        const fake = Fake.make({ target: path })
        const app = Endpoints.make({ livePath: "/live", readyPath: "/ready" })(inner)
        return Effect.as(app(fake.exchange), fake)
      }
      const health = yield* HealthChecks.make
      const asking = Effect.all([ask("/live"), ask("/ready")]).pipe(
        Effect.provideService(Health.Health, health),
        Effect.provideService(Server.Server, { stats: Effect.succeed(stats) } as Server.Server["Service"])
      )
      const [live, ready] = yield* asking
      assert.strictEqual(live.answer().status, 200)
      assert.strictEqual(ready.answer().status, 503)
    }))

  it.effect("answers HEAD without a body, other methods with 405, event streams with a whole answer", () =>
    Effect.gen(function*() {
      const { http } = yield* client({ readyPath: "/ready" })
      const head = yield* http.head("/ready")
      assert.strictEqual(head.status, 200)
      assert.strictEqual(yield* text(head), "")
      const post = yield* http.post("/ready")
      assert.strictEqual(post.status, 405)
      assert.strictEqual(post.headers["allow"], "GET, HEAD")
      const stream = yield* http.get("/ready", { headers: { accept: "text/event-stream" } })
      assert.strictEqual(stream.status, 200)
      assert.strictEqual(stream.headers["content-type"], "application/json")
      const socket = yield* http.websocket("/ready")
      assert.strictEqual(yield* socket.receive, "/ready")
    }))

  it.effect("looks at the path below the mount point", () =>
    Effect.gen(function*() {
      const { http } = yield* client({ livePath: "/live" }, { rootPath: "/shop" })
      assert.strictEqual((yield* http.get("/live")).headers["content-type"], "application/json")
    }))

  it.effect("gives metrics as Prometheus reads them, to who may have them [W142] [C170]", () =>
    Effect.gen(function*() {
      const guard = yield* AccessToken.guard(Redacted.make("secret"))
      const { http } = yield* client({ metrics: { path: "/metrics", text: Effect.succeed("a_total 1\n"), guard } })
      assert.strictEqual((yield* http.get("/metrics")).status, 401)
      const answer = yield* http.get("/metrics", { headers: { authorization: "Bearer secret" } })
      assert.strictEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      assert.strictEqual(yield* text(answer), "a_total 1\n")
    }))

  it.effect("says no more than 503 where the metrics cannot be had", () =>
    Effect.gen(function*() {
      const { http } = yield* client({ metrics: { path: "/metrics", text: Effect.fail(new Error("internal")) } })
      const answer = yield* http.get("/metrics")
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(yield* text(answer), "Service Unavailable\n")
    }).pipe(Effect.provide(capture().layer)))

  it("is the application itself where no path is set", () => {
    assert.strictEqual(Endpoints.make({})(inner), inner)
  })
})
