/**
 * JSON-RPC exchanges as data, run over HTTP and over WebSocket. Where the cases come from and how answers are compared
 * stands in jsonrpc/README.md.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { answerIn, request } from "../utils/answers.ts"
import { capture } from "../utils/logs.ts"
import { exchange, serve } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"

type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [name: string]: Json }

interface Case {
  readonly id: string
  readonly send: string
  readonly want: Json
  readonly idany?: boolean
  readonly http?: boolean
}

const cases: ReadonlyArray<Case> = JSON.parse(
  Fs.readFileSync(new URL("jsonrpc/cases.json", import.meta.url), "utf8")
)

const numbers = { params: Schema.Array(Schema.Finite), success: Schema.Finite }

const rpc = JsonRpc.make(
  JsonRpc.method(
    "subtract",
    { params: { minuend: Schema.Finite, subtrahend: Schema.Finite }, success: Schema.Finite },
    ({ minuend, subtrahend }) => Effect.succeed(minuend - subtrahend)
  ),
  JsonRpc.method("sum", numbers, (all) => Effect.succeed(all.reduce((sum, each) => sum + each, 0))),
  JsonRpc.method(
    "get_data",
    { success: Schema.Tuple([Schema.String, Schema.Finite]) },
    () => Effect.succeed(["hello", 5] as const)
  ),
  JsonRpc.method("nothing", {}, () => Effect.void),
  JsonRpc.method("boom", {}, () => Effect.die(new Error("boom"))),
  JsonRpc.method("update", { params: Schema.Array(Schema.Unknown) }, () => Effect.void),
  JsonRpc.method("notify_sum", { params: Schema.Array(Schema.Finite) }, () => Effect.void),
  JsonRpc.method("notify_hello", { params: Schema.Array(Schema.Unknown) }, () => Effect.void)
)

const app = Lint.make()(rpc.app)

const textOf = ({ send }: Case): string => send === "@deep" ? "[".repeat(100_000) + "]".repeat(100_000) : send

/** An answer as far as it is compared. */
const comparable = (answer: Json, test: Case): Json => {
  if (Array.isArray(answer)) {
    return answer.map((each) => comparable(each, test)).sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
  }
  const { error, id, ...rest } = answer as { readonly [name: string]: Json }
  if (error === undefined) return { ...rest, id: id! }
  const { code } = error as { readonly code: Json }
  const { error: wanted } = (Array.isArray(test.want) ? {} : test.want) as { readonly error?: { readonly code: Json } }
  const isWanted = wanted?.code === "any" || (Array.isArray(wanted?.code) && wanted.code.includes(code))
  return { ...rest, id: test.idany === true ? null : id!, code: isWanted ? wanted!.code : code }
}

const judge = (test: Case, answer: string | undefined) => {
  if (test.want === null) return assert.isUndefined(answer)
  const found = JSON.parse(answer ?? "null") as Json
  assert.deepStrictEqual(comparable(found, test), comparable(test.want, test))
  for (const each of Array.isArray(found) ? found : [found]) {
    const { error, ...rest } = each as { readonly [name: string]: Json }
    assert.sameMembers(Object.keys(rest), error === undefined ? ["jsonrpc", "result", "id"] : ["jsonrpc", "id"])
    if (error !== undefined) assert.isString((error as { readonly message: Json }).message)
  }
}

describe("JSON-RPC cases", () => {
  it("are all there", () => {
    assert.lengthOf(cases, 50)
  })

  for (const test of cases) {
    it.effect(`${test.id} over HTTP [C227]`, () =>
      Effect.gen(function*() {
        const text = textOf(test)
        const lines = ["content-type: application/json", `content-length: ${Buffer.byteLength(text)}`]
        const { body, header, status } = answerIn(
          yield* exchange(app, request("POST /", lines, text), { maxBodyBytes: 1_000_000 })
        )
        assert.strictEqual(status, test.want === null ? 204 : 200)
        if (test.want !== null) assert.strictEqual(header("content-type"), "application/json")
        judge(test, test.want === null && body === "" ? undefined : body)
      }).pipe(Effect.provide(capture().layer)))

    if (test.http === true) continue

    it.effect(`${test.id} over WebSocket [C227]`, () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect)
        yield* session.send(WebSocket.text(textOf(test)))
        const said = yield* session.said
        assert.isAtMost(said.length, 1)
        judge(test, said[0]?.replace(/^text /, ""))
      }).pipe(Effect.provide(capture().layer)))
  }
})
