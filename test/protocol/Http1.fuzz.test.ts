/** Any bytes -> events, never an exception; split-invariant. Fixed seeds; `npm run fuzz` runs others. */
import { assert, describe, it } from "@effect/vitest"
import { check } from "../../scripts/fuzz/http1.ts"
import { reasons } from "../../src/protocol/Malformed.ts"

const cases = 4000

describe("Http1", () => {
  it(`turns any bytes into the same events in every split (${cases} cases)`, () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= cases; seed++) {
      const { messages, problem } = check(seed)
      if (problem !== undefined) seen.add(problem.reason)
      else if (messages.some((message) => message.complete)) seen.add("accepted")
    }
    // The cases reach everything the engine can say, or they prove little. WebSocketHandshake judges a whole head.
    const ofEngine = reasons.filter((reason) => !reason.startsWith("WebSocket"))
    for (const outcome of [...ofEngine, "accepted"]) assert.isTrue(seen.has(outcome), `no case leads to ${outcome}`)
  })
})
