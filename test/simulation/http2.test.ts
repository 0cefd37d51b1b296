/**
 * HTTP/2 under seeded faults: requests, streams of events and WebSockets as streams of the same connections, with narrow
 * windows, resets and broken frames. What must hold: one answer or one handshake for each stream, and nothing behind its
 * end; messages and events in order; and what holds in every world.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as Frames from "../utils/frames.ts"
import { Chance } from "./chance.ts"
import { isEnd, perform } from "./clients.ts"
import type { Step } from "./script.ts"
import { make, names, type Say } from "./sessionScript.ts"
import * as Talk from "./talk.ts"
import * as Told from "./told.ts"
import * as World from "./world.ts"

/** The windows that a client finds on a new connection, for all its streams together, less what frames need. */
const window = 60_000

/** A frame of a stream whose number is not known yet. */
type Unit = (stream: number) => Uint8Array

const cut = (chance: Chance, text: string): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  for (let at = 0; at < text.length;) {
    const piece = text.slice(at, at + chance.int(1, chance.pick([10, 1000, 5000])))
    pieces.push(piece)
    at += piece.length
  }
  return pieces
}

const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1")

/** All that a client sends on one stream. */
const unitsOf = (chance: Chance, talk: Talk.Talk, calm: boolean): ReadonlyArray<Unit> => {
  const { hasBody, id, kind, method, parts, protocol } = talk
  const path = `/${id}/${kind}`
  const fields = protocol === "sse" ? [["accept", "text/event-stream"]] as const : []
  const units: Array<Unit> = [
    protocol === "websocket"
      ? (stream) => Frames.connect(stream, path)
      : (stream) =>
        Frames.headers(
          stream,
          Frames.requestFields(method, path, fields),
          hasBody ? Frames.END_HEADERS : Frames.END_HEADERS | Frames.END_STREAM
        )
  ]
  for (const piece of cut(chance, parts.join(""))) units.push((stream) => Frames.data(stream, latin1(piece)))
  const ends = hasBody || (protocol === "websocket" && (calm || chance.happens(0.5)))
  if (ends) units.push((stream) => Frames.data(stream, "", Frames.END_STREAM))
  for (let n = chance.int(0, 4); n > 0; n--) {
    const increment = chance.pick([1, 300, 5000, 70_000])
    units.splice(chance.int(1, units.length), 0, (stream) => Frames.windowUpdate(stream, increment))
  }
  if (!calm && chance.happens(0.25)) {
    const code = chance.pick(["CANCEL", "NO_ERROR", "INTERNAL_ERROR"] as const)
    units.splice(chance.int(1, units.length), units.length, (stream) => Frames.reset(stream, code))
  }
  return units
}

/** What breaks a connection, or means nothing. */
const oddFrames: ReadonlyArray<Uint8Array> = [
  Frames.data(0, "nowhere"),
  Frames.data(99, "to nobody"),
  Frames.reset(99, "CANCEL"),
  Frames.windowUpdate(0, 0),
  Frames.windowUpdate(0, 0x7fffffff),
  Frames.frame("SETTINGS", 0, 0, "odd"),
  Frames.frame("DATA", 0, 1, "", 20_000),
  Frames.headers(101, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x7f])),
  Frames.goaway(0, "NO_ERROR"),
  Frames.goaway(0, "INTERNAL_ERROR"),
  Frames.frame(77, 0, 0, "unknown"),
  Frames.preface
]

const say: Say = (chance, name, calm) => {
  const talks: Array<Talk.Talk> = []
  let bytes = 0
  for (let count = chance.int(1, 4); count > 0; count--) {
    const protocol = chance.pick(["http", "sse", "websocket", "websocket"] as const)
    const talk = Talk.make(chance, `${name}${talks.length}`, protocol, calm)
    bytes += talk.parts.join("").length
    // A client keeps to the windows.
    if (bytes > window) break
    talks.push(talk)
  }
  const settings = { HEADER_TABLE_SIZE: 0, INITIAL_WINDOW_SIZE: chance.pick([0, 100, 65_535]) }
  const frames: Array<Uint8Array> = [Frames.preface, Frames.settings(settings), Frames.settingsAck]
  const left = talks.map((talk) => [...unitsOf(chance, talk, calm)])
  for (let opened = 0; left.some((units) => units.length > 0);) {
    // Streams are opened in the order of their numbers.
    const index = chance.int(0, Math.min(opened, talks.length - 1))
    const unit = left[index]!.shift()
    if (unit === undefined) {
      if (index === opened) opened++
      continue
    }
    if (index === opened) opened++
    frames.push(unit(2 * index + 1))
    if (chance.happens(0.05)) frames.push(chance.pick([Frames.ping(), Frames.windowUpdate(0, 10_000)]))
  }
  if (!calm && chance.happens(0.2)) frames.push(chance.pick(oddFrames))
  const open = (stream: number) => Frames.windowUpdate(stream, 1_000_000)
  if (calm || chance.happens(0.5)) frames.push(open(0), ...talks.map((_, index) => open(2 * index + 1)))
  return { talks, text: Buffer.concat(frames).toString("latin1") }
}

/** What came on a stream. Nothing may come behind its end, and only one answer. */
const toldOn = (frames: ReadonlyArray<Frames.Frame>, stream: number): Told.Told => {
  let isOver = false
  let answers = 0
  for (const { fields, flags, stream: own, type } of frames) {
    if (own !== stream || type === "WINDOW_UPDATE") continue
    // Codes of resets are the subject of other tests; that there is one, of this.
    if (type === "RST_STREAM") isOver = true
    if (type !== "HEADERS" && type !== "DATA") continue
    assert.isFalse(isOver, `${type} behind the end of a stream`)
    if (type === "HEADERS" && Number(fields.find(([name]) => name === ":status")?.[1]) >= 200) answers++
    if ((flags & Frames.END_STREAM) !== 0) isOver = true
  }
  assert.isAtMost(answers, 1, "more than one answer on a stream")
  const { body, ended, header, status } = Frames.answerOn(frames, stream)
  return { status, id: header("x-id"), body, isWhole: ended }
}

const simulate = Effect.fnUntraced(function*(seed: number) {
  const chance = new Chance(seed)
  const { calm, connections, happenings } = make(chance, say)
  const world = yield* World.make(chance, calm ? {} : World.shortWaits)
  const clients = yield* Effect.forEach(connections, () => world.connect())
  const steps = connections.map((connection) => connection.steps.values())
  const paused = new Set<number>()
  for (const happening of happenings) {
    if (happening._tag === "wait") {
      yield* World.elapse(happening.millis)
    } else if (happening._tag === "stop") {
      yield* world.stop
    } else {
      const index = happening.connection
      const step: Step = steps[index]!.next().value!
      yield* perform(clients[index]!, step)
      if (step._tag === "pause") paused.add(index)
      if (step._tag === "resume") paused.delete(index)
      // A session reads nothing while what it writes is not taken; and one that is broken ends at a sweep.
      if (isEnd(step) && !(step._tag === "end" && paused.has(index))) {
        yield* step._tag === "end" ? World.elapse(1000) : ServerMemory.settle
        const left = world.recordsOf(names[index]!).filter(({ exchange }) => exchange.connection.isConnected)
        assert.deepStrictEqual(
          left.map(({ exchange }) => exchange.scope.path),
          [],
          "an exchange without a client goes on"
        )
      }
    }
    world.checkBuffers(9000)
  }

  yield* World.elapse(calm ? 20_000 : chance.pick([0, 500, 8000, 12_000]))
  for (const [index, { talks }] of connections.entries()) {
    const reader = new Frames.FrameReader()
    const frames = reader.read(Buffer.from(yield* clients[index]!.read, "latin1"))
    if (calm) assert.deepStrictEqual([reader.isWhole, Frames.goawayIn(frames)], [true, undefined])
    talks.forEach((talk, at) => {
      const told = toldOn(frames, 2 * at + 1)
      if (calm || told.status > 0) Told.check(talk, told, calm)
    })
    for (const record of world.recordsOf(names[index]!)) {
      Told.checkReceived(talks[Number(record.exchange.scope.path[2])]!, record, calm)
    }
  }

  for (const client of clients) yield* chance.happens(0.5) ? client.reset : client.end
  yield* world.finish
  return [calm ? "calm" : "rough", ...World.endsOf(world)]
})

describe("HTTP/2 under faults", () => {
  World.simulation("keeps its promises whatever clients and applications do", 150, [
    "calm",
    "rough",
    ...["complete", "disconnect client_closed", "disconnect server_error"]
      .flatMap((end) => [`http ${end}`, `sse ${end}`, `websocket ${end}`]),
    ...["client_timeout", "idle_timeout", "write_timeout", "read_error", "protocol_error", "body_too_large"]
      .map((reason) => `disconnect ${reason}`),
    ...["keepalive_timeout", "queue_overflow", "server_shutdown"].map((reason) => `websocket disconnect ${reason}`)
  ], simulate)

  it("repeats itself: the same seed gives the same script", () => {
    assert.deepStrictEqual(make(new Chance(7), say), make(new Chance(7), say))
    assert.notDeepEqual(make(new Chance(7), say), make(new Chance(8), say))
  })
})
