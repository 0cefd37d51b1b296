/** The cases of websocket/cases.ts against a server that echoes, each on a session of its own. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ws from "../utils/webSocket.ts"
import { all, type Case, named } from "./websocket/cases.ts"

/** Largest message of the cases. */
const options = { wsMaxMessageBytes: "16 MiB", wsMaxQueue: 2000 } as const

const groups: Readonly<Record<string, readonly [title: string, count: number]>> = {
  "1": ["messages", 16],
  "2": ["pings and pongs", 11],
  "3": ["reserved bits", 7],
  "4": ["reserved opcodes", 10],
  "5": ["fragments", 20],
  "6": ["UTF-8", 145],
  "7": ["closing", 37],
  "9": ["limits", 54],
  "10": ["what the server sends", 1]
}

const pieces = (send: ReadonlyArray<Buffer>, cut: Case["cut"]): ReadonlyArray<Buffer> => {
  if (cut === "frames") return send
  const bytes = Buffer.concat(send)
  if (cut === "whole") return [bytes]
  return Array.from({ length: Math.ceil(bytes.length / cut) }, (_, at) => bytes.subarray(at * cut, (at + 1) * cut))
}

const inWords = (frame: Ws.Frame): string => {
  const words = Ws.inWords(frame)
  const kind = words.split(" ", 1)[0]!
  return named(kind, words.slice(kind.length + 1))
}

const run = Effect.fnUntraced(function*({ cut, expect, goodbye, send }: Case) {
  const { connect } = yield* Ws.serveSockets(Ws.echo, options)
  const session = yield* Ws.open(connect)
  const said: Array<string> = []
  const listen = Effect.map(session.frames, (frames) => void said.push(...frames.map(inWords)))
  for (const piece of pieces(send, cut)) yield* session.send(piece)
  if (goodbye) {
    // Large messages take more turns than a small one.
    while (said.length < expect.length && !(yield* session.client.isEnded)) yield* listen
    yield* session.send(Ws.close(1000))
  }
  while (!(yield* session.client.isEnded)) yield* listen
  yield* listen
  return said
})

describe("WebSocket conformance, by the cases of Autobahn", () => {
  for (const [group, [title, count]] of Object.entries(groups)) {
    const cases = all.filter(({ id }) => id.startsWith(`${group}.`))
    describe(`${group}: ${title}`, () => {
      it("has all cases", () => {
        assert.lengthOf(new Set(cases.map(({ id }) => id)), count)
      })
      for (const test of cases) {
        it.effect(`case ${test.id}`, () =>
          Effect.gen(function*() {
            assert.deepStrictEqual(yield* run(test), [...test.expect, ...test.goodbye ? ["close 1000"] : []])
          }))
      }
    })
  }

  it("are all 301, none of which is left out [C172]", () => {
    assert.lengthOf(all, 301)
  })
})
