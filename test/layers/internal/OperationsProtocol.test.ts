import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Protocol from "../../../layers/internal/OperationsProtocol.ts"
import { OperationsError } from "../../../src/service/Operations.ts"
import { operationsContract, type Subject } from "../../contract/Operations.ts"
import { askWorker, local, supervised } from "../../utils/operations.ts"

const unreachable = (problem: string) => new OperationsError({ reason: { _tag: "Unreachable", problem } })

const worlds: ReadonlyArray<readonly [string, Effect.Effect<{ readonly subject: Subject }, unknown, Scope.Scope>]> = [
  ["a process", local],
  ["a supervisor", supervised]
]

for (const [name, world] of worlds) {
  operationsContract(
    `OperationsProtocol.client of ${name}`,
    Effect.map(world, ({ subject }) => ({
      ...subject,
      operations: Protocol.client((request) =>
        Effect.mapError(askWorker(subject.operations, request), ({ message }) => unreachable(message))
      )
    }))
  )
}

describe("OperationsProtocol", () => {
  it("takes requests, and nothing else", () => {
    const requests: ReadonlyArray<Protocol.Request> = [
      { do: "status" },
      { do: "scale", workers: 3 },
      { do: "drain", on: false },
      { do: "connections", limit: 0 }
    ]
    for (const request of requests) {
      assert.deepStrictEqual(Protocol.decodeRequest(request), Option.some(request))
    }
    for (
      const other of [
        undefined,
        null,
        "status",
        [],
        {},
        { do: "toString" },
        { do: "scale", workers: "3" },
        { do: "scale", workers: 1.5 },
        { do: "drain" },
        { do: "connections", limit: null }
      ]
    ) {
      assert.deepStrictEqual(Protocol.decodeRequest(other), Option.none())
    }
  })

  for (const answer of [undefined, null, "done", {}, { done: null }, { done: { workers: [] } }, { error: "no" }]) {
    it.effect(`does not understand ${JSON.stringify(answer)} as a status`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Protocol.client(() => Effect.succeed(answer)).status)
        assert.strictEqual(error.reason._tag, "Failed")
        assert.include(error.message, "not understood")
      }))
  }

  it.effect("keeps the reason of whoever refuses, and of a road that ends", () =>
    Effect.gen(function*() {
      const refused = Protocol.client(() => Effect.succeed({ error: { _tag: "NotPossible", problem: "no workers" } }))
      assert.deepStrictEqual((yield* Effect.flip(refused.scale(2))).reason, {
        _tag: "NotPossible",
        problem: "no workers"
      })
      const gone = Protocol.client(() => Effect.fail(unreachable("gone")))
      assert.deepStrictEqual((yield* Effect.flip(gone.reload)).reason, { _tag: "Unreachable", problem: "gone" })
    }))
})
