import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import app from "../../examples/express.ts"
import { capture } from "../utils/logs.ts"
import { answerOf } from "../utils/nodeHandlers.ts"

const quiet = Effect.provide(capture().layer)

const sum = (body: string) =>
  answerOf(app, "POST /old/sum", ["content-type: application/json", `content-length: ${body.length}`], body)

describe("examples/express.ts", () => {
  it.effect("answers below /old with Express, elsewhere with its own App", () =>
    Effect.gen(function*() {
      const old = yield* answerOf(app, "GET /old/hello/you?a=b")
      assert.deepStrictEqual(JSON.parse(old.body), { hello: "you", from: "/old/hello/you?a=b" })
      assert.strictEqual((yield* answerOf(app, "GET /old/nowhere")).status, 404)
      assert.strictEqual((yield* answerOf(app, "GET /hello/you")).body, "Hello from the new house, /hello/you")
    }).pipe(quiet))

  it.effect("adds the numbers of a JSON body, and refuses what is no list of numbers", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* sum("[1,2,3.5]")).body, `{"sum":6.5}`)
      assert.strictEqual((yield* sum(`["1"]`)).status, 422)
      assert.strictEqual((yield* sum("[")).status, 400)
    }).pipe(quiet))
})
