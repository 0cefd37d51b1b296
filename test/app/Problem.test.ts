import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Handler from "../../src/app/Handler.ts"
import { Problem } from "../../src/app/Problem.ts"
import * as Fake from "../utils/exchange.ts"

const answerOf = (problem: Problem) => Fake.request(Handler.make(Effect.fail(problem)))

describe("Problem", () => {
  it.effect("fills in type and title from the status", () =>
    Effect.gen(function*() {
      const answer = yield* answerOf(new Problem({ status: 404 }))
      assert.strictEqual(answer.status, 404)
      assert.strictEqual(answer.header("content-type"), "application/problem+json")
      assert.deepStrictEqual(answer.json, { type: "about:blank", title: "Not Found", status: 404 })
    }))

  it.effect("sends every member, extensions and headers", () =>
    Effect.gen(function*() {
      const answer = yield* answerOf(
        new Problem({
          status: 429,
          type: "https://example.test/quota",
          title: "Quota used up",
          detail: "100 of 100 requests",
          instance: "/quotas/7",
          extensions: { limit: 100, window: { seconds: 60 } },
          headers: { "retry-after": "60" }
        })
      )
      assert.deepStrictEqual(answer.json, {
        type: "https://example.test/quota",
        title: "Quota used up",
        status: 429,
        detail: "100 of 100 requests",
        instance: "/quotas/7",
        limit: 100,
        window: { seconds: 60 }
      })
      assert.strictEqual(answer.header("retry-after"), "60")
    }))

  it("answers by itself where no wall of ours stands", () => {
    const response = HttpServerResponse.toWeb(
      Effect.runSync(new Problem({ status: 405, headers: { allow: "GET" } })["~effect/http/HttpServerRespondable"]())
    )
    assert.deepStrictEqual([response.status, response.headers.get("allow")], [405, "GET"])
  })

  for (const status of [200, 399, 600, 404.5, NaN]) {
    it(`refuses status ${status}`, () => {
      assert.throws(() => new Problem({ status }), `from 400 to 599, not ${status}`)
    })
  }

  it("refuses an extension with the name of a standard member, by type and when it runs", () => {
    // @ts-expect-error "status" is a standard member
    assert.throws(() => new Problem({ status: 400, extensions: { status: 1 } }), `the extension "status"`)
    const fromOutside = JSON.parse(`{"detail":"x"}`)
    assert.throws(() => new Problem({ status: 400, extensions: fromOutside }), `the extension "detail"`)
  })

  it("captures a stack for what is our fault only", () => {
    const limit = Error.stackTraceLimit
    assert.notInclude(new Problem({ status: 404 }).stack ?? "", "Problem.test")
    assert.include(new Problem({ status: 503 }).stack ?? "", "Problem.test")
    assert.strictEqual(Error.stackTraceLimit, limit)
  })

  it("says the detail as its message, or the title", () => {
    assert.strictEqual(new Problem({ status: 409, detail: "Taken" }).message, "Taken")
    assert.strictEqual(new Problem({ status: 409 }).message, "Conflict")
  })
})
