import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { DevFailure } from "../../src/app/DevFailure.ts"
import * as DevPage from "../../src/app/DevPage.ts"
import { contentSecurityPolicy } from "../../src/app/internal/Html.ts"
import { bodyOf, exchange, headerOf } from "../utils/serve.ts"

const failure: DevFailure = {
  title: "Cannot load <app>.ts",
  message: "<script>alert(1)</script> & \"more\"",
  frames: [{ call: "f", file: "app.ts", line: 1, column: 2 }]
}

const ask = (accept: string | undefined, method = "GET", changes = "") =>
  exchange(
    DevPage.app(() => failure),
    `${method} /any HTTP/1.1\r\nHost: localhost\r\n${accept === undefined ? "" : `Accept: ${accept}\r\n`}${changes}\r\n`
  )

describe("DevPage", () => {
  it.effect("answers a browser with 500 and a page in which everything is escaped [W95]", () =>
    Effect.gen(function*() {
      const answer = yield* ask("text/html,application/xhtml+xml,*/*;q=0.8")
      assert.match(answer, /^HTTP\/1\.1 500 /)
      assert.strictEqual(headerOf(answer, "content-type"), "text/html; charset=utf-8")
      assert.include(bodyOf(answer), "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;")
      assert.include(bodyOf(answer), "<h1>Cannot load &lt;app&gt;.ts</h1>")
      assert.notInclude(bodyOf(answer), "<script")
    }))

  for (const accept of [undefined, "*/*", "text/plain", "image/png"]) {
    it.effect(`answers Accept: ${accept ?? "nothing"} with 500 and text`, () =>
      Effect.gen(function*() {
        const answer = yield* ask(accept)
        assert.match(answer, /^HTTP\/1\.1 500 /)
        assert.strictEqual(headerOf(answer, "content-type"), "text/plain; charset=utf-8")
        assert.include(bodyOf(answer), "Cannot load <app>.ts\n\n<script>")
      }))
  }

  it.effect("answers who prefers JSON with 500 and the failure as an object", () =>
    Effect.gen(function*() {
      const answer = yield* ask("application/json")
      assert.deepStrictEqual(JSON.parse(bodyOf(answer)), { status: 500, ...failure })
    }))

  it.effect("has no body for HEAD, and is not kept by any cache", () =>
    Effect.gen(function*() {
      const answer = yield* ask("text/html", "HEAD")
      assert.strictEqual(bodyOf(answer), "")
      assert.strictEqual(headerOf(answer, "cache-control"), "no-store")
    }))

  it.effect("declines streams of events with 500, and WebSockets", () =>
    Effect.gen(function*() {
      assert.match(yield* ask("text/event-stream"), /^HTTP\/1\.1 500 /)
      const upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      assert.match(yield* ask(undefined, "GET", upgrade), /^HTTP\/1\.1 403 /)
    }))

  it("widens the policy of Slipway's own pages and no other", () => {
    assert.strictEqual(
      DevPage.widened(contentSecurityPolicy),
      `${contentSecurityPolicy}; script-src 'self'; connect-src 'self'`
    )
    for (const policy of ["default-src 'none'", `${contentSecurityPolicy}; img-src *`, ""]) {
      assert.strictEqual(DevPage.widened(policy), policy)
    }
  })
})
