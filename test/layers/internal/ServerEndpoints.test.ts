import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as HealthChecks from "../../../layers/HealthChecks.ts"
import * as ServerEndpoints from "../../../layers/internal/ServerEndpoints.ts"
import * as TestClient from "../../../layers/TestClient.ts"
import * as App from "../../../src/app/App.ts"
import * as Health from "../../../src/service/Health.ts"
import * as Server from "../../../src/service/Server.ts"

const app = App.http(({ scope, send }) => App.respond(send, 200, `app ${scope.path}`))

/** An application that is a Layer and brings a check of its own, on a server with endpoints. */
const open = Effect.fnUntraced(function*(options: ServerEndpoints.Options) {
  const check = Health.check({ name: "queue", check: Effect.fail("full"), kind: "live", critical: false })
  const context = yield* Layer.build(
    Layer.merge(Server.serve(app), check).pipe(
      Layer.provide(ServerEndpoints.layer(options)),
      Layer.provideMerge(TestClient.layer()),
      Layer.provide(HealthChecks.layer)
    )
  )
  const http = Context.get(context, TestClient.TestClient)
  return (path: string, headers: Record<string, string> = {}) =>
    Effect.flatMap(
      http.get(path, { headers }),
      ({ status, text }) => Effect.map(text, (text) => `${status} ${text.trim()}`)
    )
})

describe("ServerEndpoints", () => {
  it.effect("puts endpoints before an application that serves by itself [W31] [W142]", () =>
    Effect.gen(function*() {
      const get = yield* open({
        livePath: "/live",
        readyPath: "/ready",
        metrics: { path: "/metrics", text: Effect.succeed("a 1") },
        token: Redacted.make("secret")
      })
      assert.strictEqual(yield* get("/live"), `200 {"status":"ok","checks":[{"name":"queue","status":"failed"}]}`)
      assert.strictEqual(yield* get("/ready"), `200 {"status":"ok","checks":[]}`)
      assert.strictEqual(yield* get("/metrics"), "401 Unauthorized")
      assert.strictEqual(yield* get("/metrics", { authorization: "Bearer secret" }), "200 a 1")
      assert.strictEqual(yield* get("/x"), "200 app /x")
    }))

  it.effect("leaves everything to the application where no path is set", () =>
    Effect.gen(function*() {
      const get = yield* open({})
      for (const path of ["/live", "/ready", "/metrics"]) assert.strictEqual(yield* get(path), `200 app ${path}`)
    }))
})
