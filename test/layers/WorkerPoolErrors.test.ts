import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Handler from "../../src/app/Handler.ts"
import { WorkerPoolError, type WorkerPoolErrorReason } from "../../src/service/WorkerPool.ts"
import { capture } from "../utils/logs.ts"
import { exchange, headerOf } from "../utils/serve.ts"

const reasons: ReadonlyArray<readonly [status: string, WorkerPoolErrorReason]> = [
  ["503", { _tag: "PoolFull", maxQueue: 100, retryAfterSeconds: 7 }],
  ["503", { _tag: "PoolClosed", retryAfterSeconds: 7 }],
  ["504", { _tag: "TaskTimeout", timeoutMillis: 30_000 }],
  ["500", { _tag: "WorkerCrashed", exitCode: 139, problem: "secret" }],
  ["500", { _tag: "WorkerStartFailed", problem: "secret" }],
  ["500", { _tag: "TaskUnknown" }],
  ["500", { _tag: "InputInvalid", problem: "secret" }],
  ["500", { _tag: "OutputInvalid", problem: "secret" }],
  ["500", { _tag: "TaskDefect", problem: "secret" }]
]

describe("WorkerPoolError", () => {
  for (const [status, reason] of reasons) {
    it.effect(`is ${status} for a client when it is a ${reason._tag}, and says nothing more [C225]`, () =>
      Effect.gen(function*() {
        const error = new WorkerPoolError({ task: "secret", reason, cause: new Error("secret") })
        const app = Handler.make(Effect.as(Effect.fail(error), HttpServerResponse.empty()))
        const answer = yield* exchange(app, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert.strictEqual(answer.slice(9, 12), status)
        assert.notInclude(answer, "secret")
        assert.strictEqual(headerOf(answer, "retry-after"), status === "503" ? "7" : undefined)
      }).pipe(Effect.provide(capture().layer)))
  }

  it("names the task and the number in its message", () => {
    const messages = reasons.map(([, reason]) => new WorkerPoolError({ task: "resize", reason }).message)
    assert.deepStrictEqual(messages, [
      "Task 'resize': no worker is free and 100 tasks wait already (maxQueue)",
      "Task 'resize': the pool has ended",
      "Task 'resize': no result within 30000 ms (timeout)",
      "Task 'resize': its worker ended with exit code 139: secret",
      "Task 'resize': no worker can start: secret",
      "Task 'resize': the worker module has no such task",
      "Task 'resize': the input is not valid: secret",
      "Task 'resize': the result is not valid: secret",
      "Task 'resize': secret"
    ])
  })
})
