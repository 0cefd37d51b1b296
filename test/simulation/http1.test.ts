/**
 * HTTP/1 under seeded faults. What must hold whatever clients and applications do: answers in the order of the requests,
 * one for each; bounded buffers; and what holds in every world.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Answers from "./answers.ts"
import { httpBody, piece } from "./apps.ts"
import { Chance } from "./chance.ts"
import { isEnd, perform } from "./clients.ts"
import { type Connection, largestPiece, make, type Step } from "./script.ts"
import * as World from "./world.ts"

/** Answers are those of the requests, in order; the server's own comes last; nothing follows a close. */
const checkAnswers = ({ requests }: Connection, text: string): Answers.Answers => {
  const answers = Answers.read(text, requests.map(({ method }) => method))
  answers.whole.forEach((answer, index) => {
    const isLast = index === answers.whole.length - 1 && answers.cut === undefined && !answers.cutInHead
    const id = answer.headers.get("x-id")
    if (id === undefined) assert.isAtLeast(answer.status, 400, "an answer that nobody gave")
    else assert.strictEqual(id, requests[index]?.id, "answers are not in the order of the requests")
    if (id === undefined || answer.headers.get("connection") === "close") {
      assert.isTrue(isLast, "something follows the last answer")
    }
    if (id === undefined) return
    const { bodyBytes, kind, method } = requests[index]!
    assert.strictEqual(answer.body, method === "HEAD" ? "" : httpBody(kind, id, bodyBytes))
  })
  const cutId = answers.cut?.headers.get("x-id")
  if (cutId !== undefined) assert.strictEqual(cutId, requests[answers.whole.length]?.id)
  return answers
}

const simulate = Effect.fnUntraced(function*(seed: number) {
  const chance = new Chance(seed)
  const { calm, connections, happenings } = make(chance)
  const world = yield* World.make(chance, calm ? {} : World.shortWaits)
  const { connect, highWaterMark, networkBufferBytes, recordsOf } = world
  // A crowd makes the server write answers together, which must not be seen.
  const crowd = yield* Effect.forEach(Array.from({ length: chance.happens(0.3) ? 20 : 0 }), () => connect())
  const clients = yield* Effect.forEach(connections, () => connect())
  const steps = connections.map((connection) => connection.steps.values())
  const sent = clients.map(() => 0)

  for (const happening of happenings) {
    if (happening._tag === "wait") {
      yield* TestClock.adjust(happening.millis)
    } else if (happening._tag === "step") {
      const index = happening.connection
      const name = "abcd"[index]!
      const step: Step = steps[index]!.next().value!
      yield* perform(clients[index]!, step)
      if (step._tag === "send") sent[index]! += step.bytes.length
      if (calm) {
        const known = connections[index]!.requests.slice(0, recordsOf(name).length)
        const unread = sent[index]! - (yield* clients[index]!.unsentBytes) -
          known.reduce((bytes, { text }) => bytes + text.length, 0)
        assert.isAtMost(unread, highWaterMark + networkBufferBytes + 2 * largestPiece, "reads more than it may hold")
      }
      // A server that is not held back from reading learns at once that its client has gone.
      if (isEnd(step) && highWaterMark > 60_000) {
        const left = recordsOf(name).filter(({ exchange }) => exchange.connection.isConnected)
        assert.deepStrictEqual(
          left.map(({ exchange }) => exchange.scope.path),
          [],
          "an exchange without a client goes on"
        )
      }
    }
    world.checkBuffers(piece.length + 1000)
  }

  yield* TestClock.adjust(calm ? 50_000 : chance.pick([0, 500, 6000, 12_000]))
  for (const [index, connection] of connections.entries()) {
    const answers = checkAnswers(connection, yield* clients[index]!.read)
    if (!calm) continue
    assert.strictEqual(answers.whole.length, connection.requests.length, "a request has no answer")
    assert.isUndefined(answers.cut)
  }

  for (const client of crowd) yield* client.reset
  for (const client of clients) yield* chance.happens(0.5) ? client.reset : client.end
  yield* world.finish
  return [calm ? "calm" : "rough", ...World.endsOf(world)]
})

describe("HTTP/1 under faults", () => {
  World.simulation("keeps its promises whatever clients and applications do", 250, [
    "calm",
    "rough",
    "http complete",
    ...[
      "client_closed",
      "client_timeout",
      "write_timeout",
      "read_error",
      "write_error",
      "protocol_error",
      "server_error",
      "body_too_large"
    ].map((reason) => `http disconnect ${reason}`)
  ], simulate)

  it("repeats itself: the same seed gives the same script", () => {
    assert.deepStrictEqual(make(new Chance(7)), make(new Chance(7)))
    assert.notDeepEqual(make(new Chance(7)), make(new Chance(8)))
  })
})
