/**
 * What a test may expect of a response, as steps of a pipe. Each hands the response on, or dies with an AssertionError
 * that names the request, what was expected and what came, which test runners show as a difference.
 */
import * as Effect from "effect/Effect"
import type { HttpClientError } from "effect/http/HttpClientError"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import { AssertionError } from "node:assert"
import { inspect, isDeepStrictEqual } from "node:util"
import { excerpt } from "./TestClientErrors.ts"

/** One expectation. */
export type Step = <E, R>(
  response: Effect.Effect<HttpClientResponse, E, R>
) => Effect.Effect<HttpClientResponse, E | HttpClientError, R>

const fail = (response: HttpClientResponse, what: string, actual: unknown, expected: unknown) => {
  const { method, url } = response.request
  return Effect.die(
    new AssertionError({ message: `${method} ${url}: ${what}`, actual, expected, operator: "expect" })
  )
}

const step = (
  check: (response: HttpClientResponse) => Effect.Effect<unknown, HttpClientError>
): Step =>
(response) => Effect.tap(response, check)

/** The body for a message; a body that cannot be read any more says nothing. */
const bodyText = (response: HttpClientResponse): Effect.Effect<string> =>
  Effect.map(
    Effect.orElseSucceed(response.text, () => ""),
    (text) => text === "" ? "" : `; the body is ${excerpt(text)}`
  )

const matches = (actual: string, expected: string | RegExp): boolean =>
  typeof expected === "string" ? actual === expected : expected.test(actual)

/**
 * Expects a status. When it is another one the whole body is read for the message.
 *
 * **Example**
 * ```ts
 * yield* client.get("/todos/1").pipe(TestClient.expectStatus(200), TestClient.expectJson({ id: 1, title: "x" }))
 * ```
 */
export const expectStatus = (expected: number): Step =>
  step((response) =>
    response.status === expected ?
      Effect.void :
      Effect.flatMap(
        bodyText(response),
        (body) =>
          fail(response, `expected status ${expected}, got ${response.status}${body}`, response.status, expected)
      )
  )

/** Expects a header with a value: exactly a string, a pattern, or `undefined` for no such header. */
export const expectHeader = (name: string, expected: string | RegExp | undefined): Step =>
  step((response) => {
    const actual = response.headers[name.toLowerCase()]
    const holds = expected === undefined || actual === undefined ? actual === expected : matches(actual, expected)
    return holds
      ? Effect.void
      : fail(response, `expected header ${name} to be ${inspect(expected)}, got ${inspect(actual)}`, actual, expected)
  })

/** Expects a body that is this value as JSON: the same members in any order. */
export const expectJson = (expected: unknown): Step =>
  step((response) =>
    Effect.flatMap(response.text, (text) => {
      let actual: unknown
      try {
        actual = JSON.parse(text)
      } catch {
        return fail(response, `expected JSON, got ${text === "" ? "an empty body" : excerpt(text)}`, text, expected)
      }
      const wanted: unknown = expected === undefined ? undefined : JSON.parse(JSON.stringify(expected))
      return isDeepStrictEqual(actual, wanted)
        ? Effect.void
        : fail(response, `expected the JSON ${JSON.stringify(wanted)}, got ${excerpt(text)}`, actual, wanted)
    })
  )

/** Expects a body that contains a string, or matches a pattern. */
export const expectText = (expected: string | RegExp): Step =>
  step((response) =>
    Effect.flatMap(
      response.text,
      (text) =>
        (typeof expected === "string" ? text.includes(expected) : expected.test(text))
          ? Effect.void
          : fail(response, `expected the body to contain ${inspect(expected)}, got ${excerpt(text)}`, text, expected)
    )
  )
