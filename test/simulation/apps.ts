/**
 * What applications do in simulated runs: for each kind of behaviour, and what a client must see of it when nothing goes
 * wrong. The kinds that are faulty never give a client what it asked for, or not in time.
 */
import * as Effect from "effect/Effect"
import * as App from "../../src/app/App.ts"

type Behaviour<X> = (exchange: X, id: string) => Effect.Effect<void, unknown>
type Behaviours<K extends string, X> = { readonly [Name in K]: Behaviour<X> }

/** Larger than what a connection may hold in most runs. */
export const piece = "p".repeat(6000)

const idLine = (id: string) => [["x-id", id]] as const

// ---- http

export const calmHttp = ["ok", "slow", "echo", "stream", "big", "partial", "lingers", "deaf"] as const
export const faultyHttp = ["never", "dies", "diesLate", "diesHalfway", "silent", "stubborn", "staysOn"] as const
export type HttpKind = typeof calmHttp[number] | typeof faultyHttp[number]

export const http: Behaviours<HttpKind, App.HttpExchange> = {
  ok: ({ send }, id) => App.respond(send, 200, `ok ${id}`, idLine(id)),
  slow: (exchange, id) => Effect.andThen(Effect.sleep(100), http.ok(exchange, id)),
  echo: ({ receive, send }, id) => {
    const readAll = (bytes: number): Effect.Effect<number> =>
      Effect.flatMap(receive, (event) => {
        if (event.type !== "http.request") return Effect.succeed(bytes)
        return event.more ? readAll(bytes + event.body.length) : Effect.succeed(bytes + event.body.length)
      })
    return Effect.flatMap(readAll(0), (bytes) => App.respond(send, 200, `read ${bytes}`, idLine(id)))
  },
  stream: ({ send }, id) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.start", status: 200, headers: idLine(id) })
      for (let n = 0; n < 4; n++) {
        yield* send({ type: "http.response.body", body: `part ${n} `, more: true })
        yield* Effect.sleep(10)
      }
      yield* send({ type: "http.response.body" })
    }),
  big: ({ send }, id) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.start", status: 200, headers: idLine(id) })
      for (let n = 0; n < 5; n++) yield* send({ type: "http.response.body", body: piece, more: n < 4 })
    }),
  partial: (exchange, id) => Effect.andThen(exchange.receive, http.ok(exchange, id)),
  lingers: (exchange, id) => Effect.andThen(http.ok(exchange, id), Effect.sleep(200)),
  never: () => Effect.never,
  dies: () => Effect.die("dies"),
  diesLate: ({ send }) => Effect.andThen(send({ type: "http.response.start", status: 200 }), Effect.die("diesLate")),
  diesHalfway: ({ send }, id) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.start", status: 200, headers: idLine(id) })
      yield* send({ type: "http.response.body", body: "half", more: true })
      return yield* Effect.fail("diesHalfway")
    }),
  silent: () => Effect.void,
  stubborn: (exchange, id) => Effect.uninterruptible(Effect.andThen(Effect.sleep(1500), http.ok(exchange, id))),
  deaf: (exchange, id) => Effect.andThen(Effect.sleep(4000), http.ok(exchange, id)),
  staysOn: (exchange, id) => Effect.andThen(http.ok(exchange, id), Effect.never)
}

/** The body of a whole answer with an id. */
export const httpBody = (kind: string, id: string, bodyBytes: number): string => {
  if (kind === "echo") return `read ${bodyBytes}`
  if (kind === "stream") return "part 0 part 1 part 2 part 3 "
  if (kind === "diesHalfway") return "half"
  return kind === "big" ? piece.repeat(5) : `ok ${id}`
}

// ---- sse

export const calmSse = ["events", "returns", "bigEvents", "reads", "keeps", "declines"] as const
export const faultySse = ["endless", "waits", "never", "dies", "diesLate", "silent", "stubborn"] as const
export type SseKind = typeof calmSse[number] | typeof faultySse[number]

/** The data of an event, by its number. */
export const eventData = (kind: string, id: string, n: number, bodyBytes: number): string =>
  kind === "bigEvents" ? piece : kind === "reads" ? `read ${bodyBytes}` : `${id} event ${n}`

const startEvents = (exchange: App.SseExchange, id: string) => exchange.send({ type: "sse.start", headers: idLine(id) })

const sendEvents = (exchange: App.SseExchange, id: string, kind: string, count: number, sleep: number) =>
  Effect.gen(function*() {
    yield* startEvents(exchange, id)
    for (let n = 0; n < count; n++) {
      yield* exchange.send({ type: "sse.send", data: eventData(kind, id, n, 0) })
      if (sleep > 0) yield* Effect.sleep(sleep)
    }
  })

const closeEvents = (exchange: App.SseExchange) => exchange.send({ type: "sse.close" })

export const sse: Behaviours<SseKind, App.SseExchange> = {
  events: (exchange, id) => Effect.andThen(sendEvents(exchange, id, "events", 5, 10), closeEvents(exchange)),
  returns: (exchange, id) => sendEvents(exchange, id, "returns", 3, 50),
  bigEvents: (exchange, id) => Effect.andThen(sendEvents(exchange, id, "bigEvents", 5, 0), closeEvents(exchange)),
  reads: (exchange, id) =>
    Effect.gen(function*() {
      let bytes = 0
      for (;;) {
        const event = yield* exchange.receive
        if (event.type === "sse.disconnect") return
        bytes += event.body.length
        if (!event.more) break
      }
      yield* startEvents(exchange, id)
      yield* exchange.send({ type: "sse.send", data: eventData("reads", id, 0, bytes) })
    }),
  keeps: (exchange, id) =>
    Effect.gen(function*() {
      yield* startEvents(exchange, id)
      yield* exchange.send({ type: "sse.keepalive", interval: 2, comment: "still here" })
      yield* Effect.sleep(3500)
      yield* exchange.send({ type: "sse.send", data: eventData("keeps", id, 0, 0) })
    }),
  declines: (exchange, id) =>
    Effect.gen(function*() {
      yield* exchange.send({ type: "sse.http.response.start", status: 404, headers: idLine(id) })
      yield* exchange.send({ type: "sse.http.response.body", body: "not ", more: true })
      yield* exchange.send({ type: "sse.http.response.body", body: "here" })
    }),
  endless: (exchange, id) => sendEvents(exchange, id, "endless", Infinity, 100),
  waits: (exchange, id) =>
    Effect.gen(function*() {
      yield* startEvents(exchange, id)
      while ((yield* exchange.receive).type !== "sse.disconnect");
    }),
  never: () => Effect.never,
  dies: () => Effect.die("dies"),
  diesLate: (exchange, id) => Effect.andThen(sendEvents(exchange, id, "diesLate", 2, 20), Effect.die("diesLate")),
  silent: () => Effect.void,
  stubborn: (exchange, id) => Effect.uninterruptible(sendEvents(exchange, id, "stubborn", 5, 300))
}

/** How many events a stream has that is whole. */
export const eventCount = (kind: string): number =>
  kind === "events" || kind === "bigEvents" || kind === "stubborn"
    ? 5
    : kind === "returns"
    ? 3
    : kind === "waits"
    ? 0
    : 1

// ---- websocket

export const calmWebSocket = ["echo", "push", "pushBig", "closes", "leaves", "deafEcho", "declines", "refuses"] as const
export const faultyWebSocket = [
  "pings",
  "never",
  "dies",
  "diesLate",
  "silent",
  "stubborn",
  "staysOn",
  "neverReceives"
] as const
export type WebSocketKind = typeof calmWebSocket[number] | typeof faultyWebSocket[number]

/** What an application pushes, by its number. */
export const pushed = (kind: string, id: string, n: number): string => kind === "pushBig" ? piece : `${id} push ${n}`

const accept = (exchange: App.WebSocketExchange, id: string) =>
  Effect.andThen(exchange.receive, exchange.send({ type: "websocket.accept", headers: idLine(id) }))

/** Sends `most` messages back, then returns; at the end of the session in any case. */
const echo = (exchange: App.WebSocketExchange, most = Infinity) =>
  Effect.gen(function*() {
    for (let n = 0; n < most; n++) {
      const event = yield* exchange.receive
      if (event.type !== "websocket.receive") return
      const { bytes, text } = event
      yield* exchange.send(
        text !== undefined ? { type: "websocket.send", text } : { type: "websocket.send", bytes: bytes! }
      )
    }
  })

const push = (exchange: App.WebSocketExchange, id: string, kind: string, count: number, sleep: number) =>
  Effect.gen(function*() {
    for (let n = 0; n < count; n++) {
      yield* exchange.send({ type: "websocket.send", text: pushed(kind, id, n) })
      if (sleep > 0) yield* Effect.sleep(sleep)
    }
  })

export const webSocket: Behaviours<WebSocketKind, App.WebSocketExchange> = {
  echo: (exchange, id) => Effect.andThen(accept(exchange, id), echo(exchange)),
  push: (exchange, id) => Effect.andThen(accept(exchange, id), push(exchange, id, "push", 6, 20)),
  pushBig: (exchange, id) => Effect.andThen(accept(exchange, id), push(exchange, id, "pushBig", 5, 0)),
  closes: (exchange, id) =>
    Effect.gen(function*() {
      yield* accept(exchange, id)
      yield* echo(exchange, 2)
      const closed = yield* Effect.result(exchange.send({ type: "websocket.close", code: 4000, reason: "done" }))
      if (closed._tag === "Success") { while ((yield* exchange.receive).type !== "websocket.disconnect"); }
    }),
  leaves: (exchange, id) => Effect.andThen(accept(exchange, id), echo(exchange, 1)),
  deafEcho: (exchange, id) => Effect.andThen(accept(exchange, id), Effect.andThen(Effect.sleep(3000), echo(exchange))),
  declines: (exchange, id) =>
    Effect.gen(function*() {
      yield* exchange.send({ type: "websocket.http.response.start", status: 404, headers: idLine(id) })
      yield* exchange.send({ type: "websocket.http.response.body", body: "not ", more: true })
      yield* exchange.send({ type: "websocket.http.response.body", body: "here" })
    }),
  refuses: (exchange) => Effect.andThen(Effect.sleep(20), exchange.send({ type: "websocket.close" })),
  pings: (exchange, id) =>
    Effect.gen(function*() {
      yield* accept(exchange, id)
      yield* exchange.send({ type: "websocket.keepalive", interval: 1, timeout: 2 })
      yield* echo(exchange)
    }),
  never: () => Effect.never,
  dies: () => Effect.die("dies"),
  diesLate: (exchange, id) =>
    Effect.andThen(accept(exchange, id), Effect.andThen(echo(exchange, 2), Effect.die("diesLate"))),
  silent: (exchange) => Effect.asVoid(exchange.receive),
  stubborn: (exchange, id) =>
    Effect.uninterruptible(
      Effect.andThen(Effect.sleep(1500), Effect.andThen(accept(exchange, id), Effect.sleep(1500)))
    ),
  staysOn: (exchange, id) => Effect.andThen(accept(exchange, id), Effect.andThen(echo(exchange), Effect.never)),
  neverReceives: (exchange, id) => Effect.andThen(accept(exchange, id), Effect.never)
}

/** What the application does with an exchange, by the kind in its path: `/a0/echo`. */
export const behave = (exchange: App.ClientExchange): Effect.Effect<void, unknown> => {
  const [, id = "", kind = "ok"] = exchange.scope.path.split("/")
  switch (exchange.type) {
    case "http":
      return http[kind as HttpKind](exchange, id)
    case "sse":
      return sse[kind as SseKind](exchange, id)
    case "websocket":
      return webSocket[kind as WebSocketKind](exchange, id)
  }
}
