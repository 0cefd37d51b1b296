import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as TestClient from "../../layers/TestClient.ts"
import * as Admin from "../../src/app/Admin.ts"
import { columns } from "../../src/app/admin/Samples.ts"
import * as App from "../../src/app/App.ts"
import type { StatusReport } from "../../src/schema/Report.ts"
import { Operations, OperationsError } from "../../src/service/Operations.ts"
import { capture } from "../utils/logs.ts"
import { busy } from "../utils/statuses.ts"

interface Server {
  status: Effect.Effect<StatusReport, OperationsError>
  looks: number
}

/** A client of the admin application over a made-up server, which may be changed. */
const open = Effect.fnUntraced(function*(
  { mountedAt = "", token }: { readonly token?: string; readonly mountedAt?: string } = {}
) {
  const server: Server = { status: Effect.succeed(busy(30)), looks: 0 }
  const status = Effect.suspend(() => {
    server.looks++
    return server.status
  })
  const metrics = Effect.map(status, ({ workers }) => `workers ${workers.length}\n`)
  const admin = yield* Admin.make(token === undefined ? {} : { token: Redacted.make(token) }).pipe(
    Effect.provideService(Operations, { status, metrics } as Operations["Service"])
  )
  const app = mountedAt === "" ? admin : App.mount(mountedAt, admin)(App.decline)
  return { server, http: yield* TestClient.make(app) }
})

const text = (self: { readonly text: Effect.Effect<string, unknown> }) => Effect.orDie(self.text)
const bearer = { headers: { authorization: "Bearer secret" } }
const guarded = ["/metrics", "/status", "/dashboard", "/dashboard/events"]
const unreachable = Effect.fail(new OperationsError({ reason: { _tag: "Unreachable", problem: "socket of 10.0.0.7" } }))

describe("Admin", () => {
  it.effect("says to everybody whether it lives and is ready, and nothing of what is wrong [W31]", () =>
    Effect.gen(function*() {
      const { http, server } = yield* open({ token: "secret" })
      assert.strictEqual((yield* http.get("/live")).status, 200)
      const ready = yield* http.get("/ready")
      assert.strictEqual(ready.status, 200)
      assert.strictEqual(
        yield* text(ready),
        `{"status":"ok","checks":[{"name":"database","status":"ok"},{"name":"search index","status":"failed"}]}\n`
      )
      assert.strictEqual(ready.headers["cache-control"], "no-store")
      for (const changes of [{ isReady: false }, { isDrained: true }, { isShuttingDown: true }]) {
        server.status = Effect.succeed(busy(31, changes))
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* http.get("/ready")).status, 503)
        assert.strictEqual((yield* http.get("/live")).status, 200)
      }
    }))

  it.effect("is not ready and lives when the server does not say how it is", () =>
    Effect.gen(function*() {
      const { http, server } = yield* open()
      server.status = unreachable
      const ready = yield* http.get("/ready")
      assert.strictEqual(ready.status, 503)
      assert.strictEqual(yield* text(ready), `{"status":"unavailable","checks":[]}\n`)
      assert.strictEqual((yield* http.get("/live")).status, 200)
    }))

  it.effect("answers probes with what was known before, while the server takes its time", () =>
    Effect.gen(function*() {
      const { http, server } = yield* open()
      assert.strictEqual((yield* http.get("/ready")).status, 200)
      server.status = Effect.never
      yield* TestClock.adjust("5 seconds")
      const asking = yield* Effect.forkChild(http.get("/ready"), { startImmediately: true })
      yield* TestClient.settle
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(asking)).status, 200)
      yield* TestClock.adjust("10 seconds")
      const late = yield* Effect.forkChild(http.get("/ready"), { startImmediately: true })
      yield* TestClient.settle
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* Fiber.join(late)).status, 503)
    }))

  it.effect("looks at the server once for a burst of probes", () =>
    Effect.gen(function*() {
      const { http, server } = yield* open()
      yield* Effect.all(Array.from({ length: 50 }, () => http.get("/ready")), { concurrency: 10 })
      assert.strictEqual(server.looks, 1)
    }))

  it.effect("gives metrics, state and dashboard to who has the token [W142] [W144] [C170]", () =>
    Effect.gen(function*() {
      const { http } = yield* open({ token: "secret" })
      for (const path of guarded) {
        const refused = yield* http.get(path)
        assert.strictEqual(refused.status, 401, path)
        assert.include(refused.headers["www-authenticate"], "Basic")
        assert.strictEqual((yield* http.get(path, { headers: { authorization: "Bearer wrong" } })).status, 401)
      }
      const metrics = yield* http.get("/metrics", bearer)
      assert.strictEqual(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      assert.strictEqual(yield* text(metrics), "workers 4\n")
      const status = yield* http.get("/status", bearer)
      assert.strictEqual(status.headers["content-type"], "application/json")
      assert.deepStrictEqual(yield* Effect.orDie(status.json), JSON.parse(JSON.stringify(busy(30))))
      const denied = yield* Effect.flip(http.sse("/dashboard/events"))
      assert.strictEqual(denied._tag, "Denied")
    }))

  it.effect("keeps strangers out where there is no token", () =>
    Effect.gen(function*() {
      const { http } = yield* open()
      assert.strictEqual((yield* http.get("/status")).status, 200)
      const rebound = yield* http.get("/status", { headers: { host: "evil.example" } })
      assert.strictEqual(rebound.status, 403)
      assert.strictEqual((yield* http.get("/live", { headers: { host: "evil.example" } })).status, 200)
    }))

  it.effect("gives a page that runs its own script and nothing else", () =>
    Effect.gen(function*() {
      const { http } = yield* open()
      const page = yield* http.get("/dashboard")
      assert.strictEqual(page.headers["content-type"], "text/html; charset=utf-8")
      assert.strictEqual(page.headers["x-content-type-options"], "nosniff")
      assert.strictEqual(page.headers["referrer-policy"], "no-referrer")
      assert.strictEqual(page.headers["cross-origin-resource-policy"], "same-origin")
      assert.strictEqual(page.headers["cache-control"], "no-store")
      assert.isUndefined(page.headers["access-control-allow-origin"])
      assert.match(
        page.headers["content-security-policy"]!,
        /^default-src 'none'; script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}='; connect-src 'self'; .* frame-ancestors 'none'$/
      )
      const html = yield* text(page)
      const markup = html.replace(/<(script|style)>[^]*?<\/\1>/g, "")
      assert.isBelow(markup.length, html.length / 2)
      assert.notMatch(markup, /<script|<style|https?:|src=|\sstyle=|\son\w+=/)
    }))

  it.effect("sends the past and then each second to the page", () =>
    Effect.gen(function*() {
      const { http, server } = yield* open({ token: "secret" })
      const stream = yield* http.sse("/dashboard/events", bearer)
      const first = yield* stream.next
      assert.strictEqual(first.event, "history")
      const now = yield* stream.next
      assert.strictEqual(now.event, "now")
      server.status = Effect.succeed(busy(31))
      yield* TestClock.adjust("1 second")
      const next = JSON.parse((yield* stream.next).data)
      assert.isAbove(next.point[columns.indexOf("ok")], 1000)
      assert.strictEqual(next.workers.length, 4)
      assert.strictEqual(next.errors.length, 12)
      server.status = unreachable
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* stream.next).event, "trouble")
    }))

  it.effect("shows and does not command: other methods are refused, other paths not found", () =>
    Effect.gen(function*() {
      const { http, server } = yield* open()
      for (const path of ["/live", "/ready", ...guarded]) {
        const answer = yield* http.post(path)
        assert.strictEqual(answer.status, 405, path)
        assert.strictEqual(answer.headers["allow"], "GET, HEAD")
      }
      assert.strictEqual(server.looks, 0)
      for (const path of ["/nothing", "/dashboard/", "/status/x"]) {
        assert.strictEqual((yield* http.get(path)).status, 404)
      }
      assert.strictEqual((yield* http.get("/dashboard/events")).status, 406)
      assert.strictEqual((yield* Effect.flip(http.websocket("/dashboard/events")))._tag, "Denied")
    }))

  it.effect("leads from its root to the dashboard, wherever it is mounted", () =>
    Effect.gen(function*() {
      const { http } = yield* open({ mountedAt: "/ops" })
      const answer = yield* http.get("/ops/")
      assert.strictEqual(answer.status, 303)
      assert.strictEqual(answer.headers["location"], "/ops/dashboard")
      assert.strictEqual((yield* http.get("/ops/status")).status, 200)
    }))

  it.effect("does not tell a client why the state is not known, and tells the log", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const { http, server } = yield* open()
      server.status = unreachable
      const answer = yield* http.get("/status")
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(yield* text(answer), "Service Unavailable\n")
      assert.include(lines.map(({ message }) => message).join("\n"), "socket of 10.0.0.7")
    }).pipe(Effect.provide(layer))
  })
})
