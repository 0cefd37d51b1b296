/**
 * Requests that the suites of other servers use, run against the engine in every split and against the whole server,
 * which echoes each body with 200. Where the cases come from and what is demanded stands in h1/README.md.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as App from "../../src/app/App.ts"
import type { HttpExchange } from "../../src/app/Exchange.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { readHandshake } from "../../src/protocol/WebSocketHandshake.ts"
import { serve } from "../utils/serve.ts"
import { everySplit } from "../utils/splits.ts"

interface Case {
  readonly id: string
  readonly expect: "reject" | "should" | "accept" | "may" | "wait"
  readonly raw: string
  readonly max?: number
  readonly n?: number
  readonly body?: string
}

/** One answer, and which request it says it belongs to. */
interface Answer {
  readonly status: number
  readonly request: string
  readonly body: string
}

const suites: Readonly<Record<string, number>> = {
  "go-nethttp": 46,
  "gunicorn": 125,
  "h11": 20,
  "llhttp": 146,
  "uws-h1spec": 33
}

/** Where we do not do what the suite expects, and why. */
const exceptions: Readonly<Record<string, string>> = {
  "llhttp/pipelining:20": "its second request is HTTP/1.1 without Host, which RFC 9112 section 3.2 says must get 400"
}

const casesOf = (suite: string): ReadonlyArray<Case> =>
  JSON.parse(fs.readFileSync(new URL(`h1/${suite}.json`, import.meta.url), "utf8"))

/** What is wrong with `answers` for this case, or `undefined`. */
const judge = (test: Case, answers: ReadonlyArray<Answer>): string | undefined => {
  const successes = answers.filter((answer) => answer.status < 400)
  const refusals = answers.filter((answer) => answer.status >= 400)
  switch (test.expect) {
    case "should":
      return refusals.length === 0 && successes.length > 0 ? "nothing is refused" : undefined
    case "reject":
      return successes.length > (test.max ?? 0) ? `${successes.length} requests are accepted` : undefined
    case "accept":
      if (refusals.length > 0) return `it is refused with ${refusals[0]!.status}`
      if (successes.length !== (test.n ?? Math.max(1, successes.length))) {
        return `${successes.length} requests are answered`
      }
      return test.body !== undefined && successes[0]!.body !== test.body ? "the body is another" : undefined
    case "may":
      return refusals.some((answer) => answer.status === 500) ? "it fails" : undefined
    case "wait":
      return answers.length > 0 ? "it is answered" : undefined
  }
}

const engineAnswers = (bytes: Buffer): ReadonlyArray<Answer> => {
  const { messages, problem } = everySplit(bytes)
  const answers: Array<Answer> = []
  for (const { body, complete, head } of messages) {
    if (!complete) continue
    // A handshake that cannot be offered to an application ends the connection; the engine is not asked for it.
    const handshake = head.kind === "websocket" ? readHandshake(head) : undefined
    if (handshake?._tag === "Malformed") return [...answers, { status: handshake.status, request: "", body: "" }]
    answers.push({ status: 200, request: `${head.method} ${head.target}`, body })
  }
  return problem === undefined ? answers : [...answers, { status: problem.status, request: "", body: "" }]
}

const echo = ({ receive, scope, send }: HttpExchange) =>
  Effect.gen(function*() {
    const pieces: Array<Uint8Array> = []
    for (let more = true; more;) {
      const event = yield* receive
      if (event.type !== "http.request") return
      if (event.body !== undefined) pieces.push(event.body)
      more = event.more === true
    }
    yield* App.respond(send, 200, Buffer.concat(pieces), [["x-request", `${scope.method} ${scope.rawPath}`]])
  })

/** Cuts what a server wrote into answers; interim ones are left out. */
const answersIn = (text: string): ReadonlyArray<Answer> => {
  const answers: Array<Answer> = []
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\r\n\r\n", at) + 4
    const head = text.slice(at, end)
    const status = /^HTTP\/1\.1 (\d{3}) [^\r\n]+\r\n/.exec(head)
    assert.isNotNull(status, `an answer starts at ${JSON.stringify(text.slice(at, at + 80))}`)
    const code = Number(status![1])
    at = end
    if (code < 200) continue
    const request = /^x-request: (.*)\r$/m.exec(head)?.[1] ?? ""
    const length = request.startsWith("HEAD ") ? 0 : Number(/^content-length: (\d+)\r$/m.exec(head)?.[1])
    answers.push({ status: code, request, body: code < 400 ? text.slice(at, at + length) : "" })
    at += length
  }
  return answers
}

const serverAnswers = (bytes: Buffer) =>
  Effect.scoped(Effect.gen(function*() {
    const { connect } = yield* serve(Lint.make()(App.http(echo)), { http2: false })
    const client = yield* connect()
    yield* client.send(bytes)
    return answersIn(yield* client.read)
  }))

/** Both engine and server answer the same requests with the same bodies. */
const inStep = (answers: ReadonlyArray<Answer>, expected: ReadonlyArray<Answer>): void => {
  assert.deepStrictEqual(
    answers.map(({ body, status }) => [status, body]),
    expected.map(({ body, status }) => [status, body])
  )
}

describe("HTTP/1 conformance", () => {
  for (const [suite, count] of Object.entries(suites)) {
    describe(suite, () => {
      const cases = casesOf(suite)

      it(`has ${count} cases`, () => assert.strictEqual(cases.length, count))

      for (const test of cases) {
        const exception = exceptions[test.id]
        const demand = exception === undefined ? test.expect : `is an exception, because ${exception}`
        it.effect(`${test.id}: ${demand}`, () =>
          Effect.gen(function*() {
            const bytes = Buffer.from(test.raw, "base64")
            const fromEngine = engineAnswers(bytes)
            const problem = judge(test, fromEngine)
            if (exception === undefined) assert.isUndefined(problem)
            else assert.isDefined(problem)
            inStep(yield* serverAnswers(bytes), fromEngine)
          }))
      }
    })
  }
})
