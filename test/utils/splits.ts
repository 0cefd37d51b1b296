/**
 * Drives an HTTP/1 engine with the same bytes in many splits: whole, byte by byte, cut at every index, and with another
 * request behind them. The outcome must not depend on the split, and at no step may the engine hold more than its limits
 * allow. Text is latin1: one character is one byte.
 */
import * as assert from "node:assert"
import { Http1 } from "../../src/protocol/Http1.ts"
import { defaults, type Limits } from "../../src/protocol/Limits.ts"
import type { Malformed, Reason } from "../../src/protocol/Malformed.ts"
import type { RequestHead } from "../../src/protocol/RequestHead.ts"
import { type HeaderList, ResponseFields } from "../../src/protocol/ResponseFields.ts"

/** One request as it was read. */
export interface Message {
  readonly head: RequestHead
  body: string
  trailers: HeaderList
  complete: boolean
}

/** Everything that came out of one connection. */
export interface Outcome {
  readonly messages: Array<Message>
  /** Why the engine refused to go on. */
  problem: Malformed | undefined
  /** True when the engine has said that the peer is gone. */
  closed: boolean
  /** False when the engine read a request after which there is no other. */
  open: boolean
  /** True between two requests: what follows is a new one. */
  idle: boolean
}

export interface Options {
  /** Replaces some of the default limits. */
  readonly limits?: Partial<Limits>
  /** The peer closes its side after the last byte. */
  readonly end?: boolean
}

export const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1")

/** Answers with the shortest head, so that the next request can be read. */
const answer = (engine: Http1): boolean => {
  const fields = new ResponseFields()
  assert.strictEqual(typeof engine.startResponse(200, fields, 0, "", false), "string")
  assert.strictEqual(engine.endResponse(""), "")
  if (!engine.mayStartNextCycle) return false
  assert.strictEqual(engine.startNextCycle(), undefined)
  return true
}

/** Pulls events until the engine needs more bytes or will give no more. */
const drain = (engine: Http1, outcome: Outcome): void => {
  for (;;) {
    const event = engine.next()
    const message = outcome.messages.at(-1)
    switch (event._tag) {
      case "RequestHead":
        outcome.messages.push({ head: event, body: "", trailers: [], complete: event.contentLength === 0 })
        break
      case "Data":
        assert.notStrictEqual(event.bytes.length, 0)
        message!.body += Buffer.from(event.bytes).toString("latin1")
        message!.complete = event.last
        break
      case "EndOfMessage":
        message!.trailers = event.trailers
        message!.complete = true
        break
      case "Malformed":
        assert.strictEqual(engine.requestState, "error")
        assert.strictEqual(engine.keepAlive, false)
        // Kept for another protocol's reader; everything else is forgotten with the fault.
        if (event.reason === "Http2Preface") assert.ok(engine.takeRest().length > 0)
        outcome.problem = event
        break
      case "PeerClosed":
        outcome.closed = true
        return
      case "Paused":
        if (engine.requestState === "error" || !outcome.open) return
        assert.strictEqual(engine.requestState, "done")
        outcome.open = answer(engine)
        if (!outcome.open) return
        break
      case "NeedData":
        return
    }
  }
}

/** What the engine makes of `pieces`, given one after the other. */
export const drive = (pieces: ReadonlyArray<Uint8Array>, { end = false, limits: some }: Options = {}): Outcome => {
  const limits = { ...defaults, ...some }
  const most = Math.max(limits.requestLineBytes, limits.headerBytes)
  const engine = new Http1(limits)
  const outcome: Outcome = { messages: [], problem: undefined, closed: false, open: true, idle: true }
  drain(engine, outcome)
  for (const piece of pieces) {
    engine.receive(piece)
    drain(engine, outcome)
    if (outcome.open) assert.ok(engine.bufferedBytes <= most, `${engine.bufferedBytes} bytes are held`)
  }
  if (end) {
    engine.receiveEnd()
    drain(engine, outcome)
  }
  outcome.idle = engine.requestState === "idle" && !engine.headStarted
  return outcome
}

/** Where `length` bytes are cut: everywhere, or for long inputs at both ends and here and there between. */
const cuts = (length: number): Array<number> => {
  const all = Array.from({ length: Math.max(0, length - 1) }, (_, index) => index + 1)
  const step = Math.ceil(length / 64)
  return length <= 256 ? all : all.filter((at) => at <= 64 || at >= length - 64 || at % step === 0)
}

const nextRequest = bytesOf("GET /next HTTP/1.1\r\nHost: next\r\n\r\n")

const same = (found: Outcome, expected: Outcome, split: string): void =>
  assert.deepStrictEqual(found, expected, `the outcome differs ${split}`)

/** The outcome of `bytes`, the same in every split. */
export const everySplit = (bytes: Uint8Array, options: Options = {}): Outcome => {
  const whole = drive([bytes], options)
  same(drive(Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)), options), whole, "byte by byte")
  for (const at of cuts(bytes.length)) {
    same(drive([bytes.subarray(0, at), bytes.subarray(at)], options), whole, `when cut at ${at}`)
  }
  if (options.end !== true) trailing(bytes, whole, options)
  return whole
}

/** What follows a whole request, a refused one or the last one changes nothing of what was read. */
const trailing = (bytes: Uint8Array, whole: Outcome, options: Options): void => {
  const followed = drive([Buffer.concat([bytes, nextRequest])], options)
  if (whole.problem !== undefined || !whole.open) {
    same(followed, whole, "with bytes behind")
  } else if (whole.idle) {
    const last = followed.messages.pop()
    assert.strictEqual(last?.head.target, "/next")
    same(followed, whole, "with a request behind")
  }
}

/** The outcome of `text`, the same in every split. */
export const read = (text: string, options: Options = {}): Outcome => everySplit(bytesOf(text), options)

/** The only request in `text`, complete and the same in every split. */
export const readOne = (text: string, options: Options = {}): Message => {
  const { messages, problem } = read(text, options)
  assert.strictEqual(problem, undefined, `refused: ${problem?.reason}`)
  assert.strictEqual(messages.length, 1)
  assert.ok(messages[0]!.complete)
  return messages[0]!
}

/** Why `text` is refused, the same in every split, after `after` whole requests. */
export const refused = (text: string, options: Options & { readonly after?: number } = {}): Reason => {
  const { messages, problem } = read(text, options)
  assert.ok(problem !== undefined, "it is not refused")
  assert.strictEqual(messages.filter((message) => message.complete).length, options.after ?? 0)
  return problem.reason
}

/**
 * How many bytes of `text` a peer that sends them one by one can send before it is refused; -1 when it never is.
 */
export const refusedAfter = (text: string, options: Options = {}): number => {
  const limits = { ...defaults, ...options.limits }
  const engine = new Http1(limits)
  const outcome: Outcome = { messages: [], problem: undefined, closed: false, open: true, idle: true }
  const bytes = bytesOf(text)
  for (let at = 0; at < bytes.length; at++) {
    engine.receive(bytes.subarray(at, at + 1))
    drain(engine, outcome)
    if (outcome.problem !== undefined) return at + 1
  }
  return -1
}
