import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { AssertionError } from "node:assert"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import { capture } from "../utils/logs.ts"

const app = App.http(({ scope, send }) =>
  scope.path === "/json"
    ? App.respond(send, 201, `{"b":[1,2],"a":{"c":null}}`, [["content-type", "application/json"]])
    : App.respond(send, 404, scope.path === "/long" ? "x".repeat(2000) : "no such thing")
)

const test = (title: string, body: (client: TestClient.Client) => Effect.Effect<unknown, unknown>) =>
  it.effect(title, () => Effect.provide(Effect.flatMap(TestClient.make(app), body), capture().layer))

/** The AssertionError that an expectation died with. */
const failureOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    assert(Exit.isFailure(exit))
    const error = Cause.squash(exit.cause)
    assert(error instanceof AssertionError)
    return error
  })

describe("expectations of a response", () => {
  test("hand on a response that is as expected [W148]", (client) =>
    Effect.gen(function*() {
      const response = yield* client.get("/json").pipe(
        TestClient.expectStatus(201),
        TestClient.expectHeader("Content-Type", "application/json"),
        TestClient.expectHeader("content-type", /json$/),
        TestClient.expectHeader("x-none", undefined),
        TestClient.expectJson({ a: { c: null }, b: [1, 2] }),
        TestClient.expectText(`"b":[1`),
        TestClient.expectText(/^\{.*\}$/)
      )
      assert.strictEqual(response.status, 201)
    }))

  test("name the request, the expectation and the answer when the status is another [W148]", (client) =>
    Effect.gen(function*() {
      const error = yield* failureOf(client.get("/gone?a=1").pipe(TestClient.expectStatus(200)))
      assert.strictEqual(
        error.message,
        "GET http://localhost/gone?a=1: expected status 200, got 404; the body is no such thing"
      )
      assert.deepStrictEqual([error.actual, error.expected], [404, 200])
      const long = yield* failureOf(client.get("/long").pipe(TestClient.expectStatus(200)))
      assert.isBelow(long.message.length, 700)
      assert.include(long.message, "(2000 characters)")
    }))

  test("show headers, JSON and text that are others, for a difference [W148]", (client) =>
    Effect.gen(function*() {
      const json = client.get("/json")
      const header = yield* failureOf(json.pipe(TestClient.expectHeader("content-type", /html/)))
      assert.include(header.message, "expected header content-type to be /html/, got 'application/json'")
      assert.include(
        (yield* failureOf(json.pipe(TestClient.expectHeader("x-none", "1")))).message,
        "expected header x-none to be '1', got undefined"
      )
      assert.include(
        (yield* failureOf(json.pipe(TestClient.expectHeader("content-type", undefined)))).message,
        "to be undefined"
      )
      const other = yield* failureOf(json.pipe(TestClient.expectJson({ a: { c: null }, b: [1, 3] })))
      assert.deepStrictEqual([other.actual, other.expected], [
        { a: { c: null }, b: [1, 2] },
        { a: { c: null }, b: [1, 3] }
      ])
      const noJson = yield* failureOf(client.get("/gone").pipe(TestClient.expectJson({})))
      assert.include(noJson.message, "expected JSON, got no such thing")
      const text = yield* failureOf(client.get("/gone").pipe(TestClient.expectText("such a thing")))
      assert.include(text.message, "expected the body to contain 'such a thing', got no such thing")
    }))
})
