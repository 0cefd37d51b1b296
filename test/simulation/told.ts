/** What a client was told in one exchange, held against what its application does. Knows no wire. */
import { assert } from "@effect/vitest"
import * as WebSocket from "../utils/webSocket.ts"
import { readFrames } from "../utils/wires.ts"
import * as Apps from "./apps.ts"
import type { Talk } from "./talk.ts"
import { messagesOf, type Record } from "./world.ts"

export interface Told {
  readonly status: number
  /** The line that every application adds. */
  readonly id: string | undefined
  /** The content, or the frames behind a handshake. */
  readonly body: string
  readonly isWhole: boolean
}

/** The answer is the one that was asked for, as far as it goes; in a calm run it is there and whole. */
export const check = (talk: Talk, told: Told, calm: boolean): void => {
  const { id, kind, protocol } = talk
  if (calm) assert.isTrue(told.isWhole, `an answer is not whole: ${id} ${kind}`)
  if (told.id === undefined) {
    assert.isAtLeast(told.status, 400, "an answer that nobody gave")
    if (calm) assert.deepStrictEqual([protocol, kind, told.status], ["websocket", "refuses", 403])
    return
  }
  assert.strictEqual(told.id, id, "the answer to another request")
  if (told.status === 404) return checkContent(told, "not here")
  if (protocol === "websocket") return checkFrames(talk, told.body, calm)
  if (protocol === "sse") return checkEvents(talk, told, calm)
  checkContent(told, Apps.httpBody(kind, id, talk.bodyBytes))
}

const checkContent = ({ body, isWhole }: Told, expected: string): void => {
  if (isWhole) assert.strictEqual(body, expected)
  else assert.isTrue(expected.startsWith(body), "not a part of the answer")
}

/**
 * Events in order, each whole but the last; comments only where they were asked for; the time to come back only at the end,
 * where a server that stops says it.
 */
const checkEvents = ({ bodyBytes, id, kind }: Talk, { body, isWhole }: Told, calm: boolean): void => {
  const comment = ":still here\n\n"
  const ours = body.replace(/retry: \d*\n{0,2}$/, "")
  const events = (kind === "keeps" ? ours.replaceAll(comment, "") : ours).split("\n\n")
  const last = events.pop()!
  const expected = (n: number) => `data: ${Apps.eventData(kind, id, n, bodyBytes)}`
  events.forEach((event, n) => assert.strictEqual(event, expected(n)))
  if (!isWhole) {
    assert.isTrue(
      [`${expected(events.length)}\n\n`, comment, "retry: "].some((whole) => whole.startsWith(last)),
      "not a part of an event"
    )
    return
  }
  assert.strictEqual(last, "", "a stream ends within an event")
  if (calm) assert.strictEqual(events.length, Apps.eventCount(kind), "events are missing")
}

/** Valid frames, messages in order, at most one Close frame and nothing behind it. */
const checkFrames = ({ id, kind, messages }: Talk, body: string, calm: boolean): void => {
  const { frames, rest } = readFrames(body)
  const pushes = kind === "push" || kind === "pushBig"
  let isClosed = false
  let count = 0
  for (const { fin, opcode, payload } of frames) {
    assert.isFalse(isClosed, "a frame behind the Close frame")
    assert.isTrue(fin && opcode !== WebSocket.opcodes.continuation)
    if (opcode === WebSocket.opcodes.close) isClosed = true
    if (opcode > WebSocket.opcodes.binary) continue
    const expected = pushes ? Apps.pushed(kind, id, count) : messages[count]
    assert.strictEqual(payload.toString("latin1"), expected)
    count++
  }
  if (isClosed) assert.strictEqual(rest, "", "something behind the Close frame")
  if (calm) assert.isTrue(isClosed, `no Close frame: ${kind}`)
}

const listensToTheEnd = new Set(["echo", "deafEcho"])

/** The application got the messages of its client in order; in a calm run all of them, if it listens. */
export const checkReceived = (talk: Talk, record: Record, calm: boolean): void => {
  const received = messagesOf(record)
  assert.deepStrictEqual(received, talk.messages.slice(0, received.length))
  if (calm && listensToTheEnd.has(talk.kind)) assert.strictEqual(received.length, talk.messages.length, talk.kind)
}
