/**
 * WebSockets and streams of events over HTTP/1.1 under seeded faults, behind other requests on the same connections. What
 * must hold: one answer or one handshake for each request; messages and events in order; no frame behind a Close frame;
 * and what holds in every world. Without compression, which works in other threads.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as WebSocket from "../utils/webSocket.ts"
import * as Answers from "./answers.ts"
import { Chance } from "./chance.ts"
import { isEnd, perform } from "./clients.ts"
import { chunked, type Step } from "./script.ts"
import { type Connection, make, names, type Say } from "./sessionScript.ts"
import * as Talk from "./talk.ts"
import * as Told from "./told.ts"
import * as World from "./world.ts"

/** A request and what its client says behind it. */
const textOf = (chance: Chance, { hasBody, id, kind, method, parts, protocol }: Talk.Talk): string => {
  if (protocol === "websocket") return WebSocket.handshake([], `/${id}/${kind}`) + parts.join("")
  const lines = [`${method} /${id}/${kind} HTTP/1.1`, "host: a"]
  if (protocol === "sse") lines.push("accept: text/event-stream")
  const body = parts.join("")
  const isChunked = hasBody && chance.happens(0.5)
  if (isChunked) lines.push("transfer-encoding: chunked")
  else if (hasBody) lines.push(`content-length: ${body.length}`)
  return `${lines.join("\r\n")}\r\n\r\n${isChunked ? chunked(chance, body) : body}`
}

const say: Say = (chance, name, calm) => {
  const talks: Array<Talk.Talk> = []
  const add = (protocol: Talk.Talk["protocol"]) =>
    talks.push(Talk.make(chance, `${name}${talks.length}`, protocol, calm))
  for (let before = chance.pick([0, 0, 0, 1, 2]); before > 0; before--) add(chance.pick(["http", "sse"]))
  add(chance.pick(["websocket", "websocket", "sse"]))
  return { talks, text: talks.map((talk) => textOf(chance, talk)).join("") }
}

/** Everything behind the head of a handshake is frames. */
const answersIn = (text: string, talks: Connection["talks"]): Array<Told.Told> => {
  const upgrade = text.indexOf("HTTP/1.1 101 ")
  const headEnd = upgrade === -1 ? -1 : text.indexOf("\r\n\r\n", upgrade)
  const plain = upgrade === -1 ? text : text.slice(0, upgrade)
  const answers = Answers.read(plain, talks.map(({ method }) => method))
  const toldBy = (answer: Answers.Answer, isWhole: boolean): Told.Told => ({
    status: answer.status,
    id: answer.headers.get("x-id"),
    body: answer.body,
    isWhole
  })
  const told = answers.whole.map((answer) => toldBy(answer, true))
  answers.whole.forEach((answer, index) => {
    const isLast = index === answers.whole.length - 1 && answers.cut === undefined && upgrade === -1
    if (answer.headers.get("connection") === "close") assert.isTrue(isLast, "something follows the last answer")
  })
  if (answers.cut !== undefined) told.push(toldBy(answers.cut, false))
  if (headEnd === -1) return told
  const head = text.slice(upgrade, headEnd)
  assert.include(head, `sec-websocket-accept: ${WebSocket.acceptOfKey}`)
  assert.strictEqual(answers.cut, undefined)
  return [...told, { status: 101, id: /x-id: (.*)/.exec(head)?.[1], body: text.slice(headEnd + 4), isWhole: true }]
}

const doesNotListen = new Set(["deafEcho", "neverReceives"])

/** A server that is not held back from reading learns at once that its client has gone. */
const checkGone = ({ highWaterMark, recordsOf }: World.World, name: string, step: Step): void => {
  if (highWaterMark < 60_000) return
  const left = recordsOf(name).map(({ exchange }) => exchange).filter(({ connection, scope }) =>
    connection.isConnected && !(step._tag === "end" && doesNotListen.has(scope.path.slice(4)))
  )
  assert.deepStrictEqual(left.map(({ scope }) => scope.path), [], "an exchange without a client goes on")
}

const simulate = Effect.fnUntraced(function*(seed: number) {
  const chance = new Chance(seed)
  const { calm, connections, happenings } = make(chance, say)
  const world = yield* World.make(chance, calm ? {} : World.shortWaits)
  const clients = yield* Effect.forEach(connections, () => world.connect())
  const steps = connections.map((connection) => connection.steps.values())
  for (const happening of happenings) {
    if (happening._tag === "wait") {
      yield* World.elapse(happening.millis)
    } else if (happening._tag === "stop") {
      yield* world.stop
    } else {
      const index = happening.connection
      const step: Step = steps[index]!.next().value!
      yield* perform(clients[index]!, step)
      if (isEnd(step)) checkGone(world, names[index]!, step)
    }
    world.checkBuffers(9000)
  }

  yield* World.elapse(calm ? 20_000 : chance.pick([0, 500, 8000, 12_000]))
  for (const [index, { talks }] of connections.entries()) {
    const told = answersIn(yield* clients[index]!.read, talks)
    // Frames that were sent before the handshake was declined: to an HTTP connection they are no request.
    if (told.length > talks.length && talks.at(-1)!.protocol === "websocket") {
      assert.deepStrictEqual([told.at(-1)!.status, told.at(-1)!.id, told.at(-2)!.status < 400], [400, undefined, false])
      told.pop()
    }
    assert.isAtMost(told.length, talks.length, "more answers than requests")
    told.forEach((answer, at) => Told.check(talks[at]!, answer, calm))
    world.recordsOf(names[index]!).forEach((record, at) => Told.checkReceived(talks[at]!, record, calm))
    // A stream that is declined takes the connection with it.
    const declined = talks.findIndex(({ kind, protocol }) => protocol === "sse" && kind === "declines")
    const due = declined === -1 ? talks.length : declined + 1
    if (calm) assert.strictEqual(told.length, due, "a request has no answer")
  }

  for (const client of clients) yield* chance.happens(0.5) ? client.reset : client.end
  yield* World.elapse(60_000)
  // Requests behind an endless stream hold back the end of the connection, and its client still takes events.
  const left = world.records.filter(({ exchange }) => exchange.connection.isConnected)
  for (const { exchange } of left) assert.match(exchange.scope.path, /endless$/)
  if (left.length > 0) yield* Effect.forEach(clients, (client) => client.reset)
  yield* world.finish
  return [calm ? "calm" : "rough", ...World.endsOf(world)]
})

describe("sessions over HTTP/1.1 under faults", () => {
  World.simulation("keep their promises whatever clients and applications do", 260, [
    "calm",
    "rough",
    ...["complete", "disconnect client_closed", "disconnect idle_timeout", "disconnect server_shutdown"]
      .flatMap((end) => [`sse ${end}`, `websocket ${end}`]),
    ...["client_timeout", "write_timeout", "read_error", "write_error", "server_error", "body_too_large"]
      .map((reason) => `disconnect ${reason}`),
    ...["protocol_error", "keepalive_timeout", "queue_overflow"].map((reason) => `websocket disconnect ${reason}`)
  ], simulate)

  it("repeats itself: the same seed gives the same script", () => {
    assert.deepStrictEqual(make(new Chance(7), say), make(new Chance(7), say))
    assert.notDeepEqual(make(new Chance(7), say), make(new Chance(8), say))
  })
})
