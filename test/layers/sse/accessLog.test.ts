import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as App from "../../../src/app/App.ts"
import type { SseSend } from "../../../src/schema/Event.ts"
import { capture } from "../../utils/logs.ts"
import { serve, versions } from "./streams.ts"

const start: SseSend = { type: "sse.start" }
const size = (text: string) => Buffer.byteLength(text)

/** What the paths of the test stand for. */
const app = App.sse(({ receive, scope, send }): Effect.Effect<void, unknown> => {
  const events: Record<string, ReadonlyArray<SseSend>> = {
    "/return": [start, { type: "sse.send", data: "größe" }, { type: "sse.comment", comment: "x" }],
    "/close": [start, { type: "sse.send", data: "x" }, { type: "sse.close", reason: "had\nenough" }],
    "/declined": [
      { type: "sse.http.response.start", status: 403 },
      { type: "sse.http.response.body", body: "nö ", more: true },
      { type: "sse.http.response.body", body: "no" }
    ],
    "/empty": [{ type: "sse.http.response.start", status: 204 }, { type: "sse.http.response.body" }],
    "/fails": [start, { type: "sse.send", data: "x" }]
  }
  const first = Effect.forEach(events[scope.path] ?? [start, { type: "sse.keepalive", interval: 4 }], send)
  if (scope.path === "/fails") return Effect.andThen(first, Effect.fail("no"))
  return events[scope.path] === undefined
    ? Effect.andThen(first, Effect.andThen(receive, receive))
    : Effect.asVoid(first)
})

for (const version of versions) {
  describe(`the access log of event streams on HTTP/${version}`, () => {
    it.effect("has one line for each, with the bytes of its payload and why it ended [C160]", () => {
      const { layer } = capture()
      return Effect.gen(function*() {
        const access = yield* AccessLogMemory.make({ format: "%m %U %s %B %X" })
        const { ask, stop } = yield* Effect.provide(serve(app, { sseIdleTimeout: "10 seconds" }), access)
        const lines = Effect.provide(Effect.flatMap(AccessLogMemory.Lines, (memory) => memory.lines), access)
        const keepAlives = size(":\n\n") * 2
        yield* ask(version, { path: "/return" })
        yield* ask(version, { path: "/close" })
        yield* ask(version, { path: "/return", method: "HEAD" })
        yield* ask(version, { path: "/return", method: "POST", body: "abc" })
        yield* ask(version, { path: "/declined" })
        yield* ask(version, { path: "/empty" })
        yield* ask(version, { path: "/fails" })
        const left = yield* ask(version, { path: "/left" })
        assert.strictEqual((yield* lines).length, 7)
        yield* left.leave
        yield* ask(version, { path: "/idle" })
        assert.strictEqual((yield* lines).length, 8)
        yield* TestClock.adjust("13 seconds")
        yield* ask(version, { path: "/stopped" })
        assert.strictEqual((yield* lines).length, 9)
        yield* stop
        const bytes = size("data: größe\n\n:x\n\n")
        assert.deepStrictEqual(yield* lines, [
          `GET /return 200 ${bytes} -`,
          `GET /close 200 ${size("data: x\n\n")} had\\x0aenough`,
          "HEAD /return 200 0 -",
          `POST /return 200 ${bytes} -`,
          `GET /declined 403 ${size("nö no")} -`,
          "GET /empty 204 0 -",
          `GET /fails 200 ${size("data: x\n\n")} server_error`,
          "GET /left 200 0 client_closed",
          `GET /idle 200 ${keepAlives} idle_timeout`,
          `GET /stopped 200 ${size("retry: 2000\n\n")} server_shutdown`
        ])
      }).pipe(Effect.provide(layer))
    })
  })
}
