import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import { AccessLog } from "../../../src/service/AccessLog.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"
import * as WebSocket from "../../utils/webSocket.ts"

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const parentId = "00f067aa0ba902b7"
const traceparent = `00-${traceId}-${parentId}-01`

const request = (method: string, path = "/", headers = "") => `${method} ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`

/** A tracer that keeps its spans, and how each ended. */
const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const ends: Array<string> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      const end = span.end.bind(span)
      span.end = (time, exit) => {
        ends.push(`${span.name} ${Exit.isSuccess(exit) ? "ok" : "failed"}`)
        end(time, exit)
      }
      return span
    }
  })
  return { ends, spans, tracer }
}

/** An access log that keeps request and trace ids. */
const recordingLog = () => {
  const entries: Array<{ readonly requestId: string; readonly traceId: string | undefined }> = []
  const log = AccessLog.of({
    write: ({ requestId, traceId }) => void entries.push({ requestId, traceId }),
    flush: Effect.void
  })
  return { entries, log }
}

const ask = Effect.fnUntraced(function*<E>(app: App.App<E>, requests: ReadonlyArray<string>) {
  const { connect } = yield* serve(app, { lifespan: "off" })
  const client = yield* connect({ from: ["192.0.2.7", 1234] })
  for (const text of requests) yield* client.send(text)
  return yield* client.read
})

describe("tracing", () => {
  it.effect("runs every exchange in a span of its own, which the application's spans are children of", () => {
    const { ends, spans, tracer } = recording()
    return Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.withSpan(App.respond(send, 201), "inside"))
      yield* ask(app, [request("GET", "/a"), request("POST", "/b", "Content-Length: 0\r\n")])
      assert.deepStrictEqual(spans.map(({ kind, name }) => `${name} (${kind})`), [
        "http.server GET (server)",
        "inside (internal)",
        "http.server POST (server)",
        "inside (internal)"
      ])
      assert.strictEqual(Option.getOrThrow(spans[1]!.parent).spanId, spans[0]!.spanId)
      assert.isTrue(Option.isNone(spans[0]!.parent))
      assert.isTrue(Option.isNone(spans[2]!.parent))
      assert.notStrictEqual(spans[0]!.traceId, spans[2]!.traceId)
      assert.deepStrictEqual(ends, ["inside ok", "http.server GET ok", "inside ok", "http.server POST ok"])
      const attributes = Object.fromEntries(spans[0]!.attributes)
      assert.match(String(attributes["slipway.request_id"]), /^[\w-]+$/)
      delete attributes["slipway.request_id"]
      assert.deepStrictEqual(attributes, {
        "http.request.method": "GET",
        "url.path": "/a",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "client.address": "192.0.2.7",
        "http.response.status_code": 201
      })
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })

  it.effect("continues the client's trace, and names it in the access log", () => {
    const { spans, tracer } = recording()
    const { entries, log } = recordingLog()
    return Effect.gen(function*() {
      const app = App.http(({ send }) => App.respond(send, 200))
      yield* ask(app, [
        request("GET", "/", `traceparent: ${traceparent}\r\n`),
        request("GET", "/", "traceparent: garbage\r\n"),
        request("GET")
      ])
      assert.strictEqual(spans[0]!.traceId, traceId)
      assert.strictEqual(Option.getOrThrow(spans[0]!.parent).spanId, parentId)
      assert.isTrue(Option.isNone(spans[1]!.parent))
      assert.deepStrictEqual(entries.map(({ traceId }) => traceId), spans.map(({ traceId }) => traceId))
      assert.strictEqual(new Set(entries.map(({ requestId }) => requestId)).size, 3)
    }).pipe(Effect.provideService(Tracer.Tracer, tracer), Effect.provideService(AccessLog, log))
  })

  it.effect("begins a trace even when the server was started inside of a span", () => {
    const { spans, tracer } = recording()
    return Effect.gen(function*() {
      yield* Effect.withSpan(ask(App.http(({ send }) => App.respond(send, 200)), [request("GET")]), "main")
      assert.strictEqual(spans[1]!.name, "http.server GET")
      assert.isTrue(Option.isNone(spans[1]!.parent))
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })

  it.effect("makes no span without a tracer, and still names the client's trace in the access log", () => {
    const { entries, log } = recordingLog()
    return Effect.gen(function*() {
      const seen: Array<string> = []
      const app = App.http(({ send }) =>
        Effect.matchEffect(Effect.currentParentSpan, {
          onFailure: () => App.respond(send, 200),
          onSuccess: (span) => Effect.sync(() => void seen.push(span._tag))
        })
      )
      yield* ask(app, [request("GET", "/", `traceparent: ${traceparent}\r\n`), request("GET")])
      assert.deepStrictEqual(seen, [])
      assert.deepStrictEqual(entries.map(({ traceId }) => traceId), [traceId, undefined])
    }).pipe(Effect.provideService(AccessLog, log))
  })

  it.effect("tells how exchanges end: with the server's own 500, with a failure, with a client that leaves", () => {
    const { ends, spans, tracer } = recording()
    const { layer } = capture()
    return Effect.gen(function*() {
      const app: App.App<SendError> = App.http(({ scope }) =>
        scope.path === "/never" ? Effect.never : scope.path === "/dies" ? Effect.die("no") : Effect.void
      )
      const { connect } = yield* serve(app, { lifespan: "off" })
      for (const path of ["/returns", "/dies"]) yield* (yield* connect()).send(request("GET", path))
      const client = yield* connect()
      yield* client.send(request("GET", "/never"))
      yield* client.reset
      assert.deepStrictEqual(spans.map(({ attributes }) => attributes.get("http.response.status_code")), [
        500,
        500,
        undefined
      ])
      assert.deepStrictEqual(spans.map(({ attributes }) => attributes.get("error.type")), [
        "500",
        "500",
        "client_closed"
      ])
      assert.deepStrictEqual(ends.map((end) => end.split(" ").at(-1)), ["failed", "failed", "failed"])
    }).pipe(Effect.provide(layer), Effect.provideService(Tracer.Tracer, tracer))
  })

  it.effect("ends with a failure when the application answers with 500 or above, and only then", () => {
    const { ends, spans, tracer } = recording()
    return Effect.gen(function*() {
      const app = App.http(({ scope, send }) => App.respond(send, Number(scope.path.slice(1))))
      yield* ask(app, ["/200", "/404", "/499", "/500", "/503"].map((path) => request("GET", path)))
      assert.deepStrictEqual(ends.map((end) => end.split(" ").at(-1)), ["ok", "ok", "ok", "failed", "failed"])
      assert.deepStrictEqual(spans.map(({ attributes }) => attributes.get("error.type")), [
        undefined,
        undefined,
        undefined,
        "500",
        "503"
      ])
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })

  it.effect("keeps to the client's decision not to sample, also inside of the application", () => {
    const { spans, tracer } = recording()
    return Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.withSpan(App.respond(send, 200), "inside"))
      yield* ask(
        app,
        [`00-${traceId}-${parentId}-00`, traceparent].map((value) => request("GET", "/", `traceparent: ${value}\r\n`))
      )
      assert.deepStrictEqual(spans.map(({ sampled }) => sampled), [false, false, true, true])
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })

  it.effect("runs WebSockets and streams of events in spans, from the first byte to the last [C171] [W143]", () => {
    const { ends, spans, tracer } = recording()
    return Effect.gen(function*() {
      const app = App.byType({
        sse: ({ send }) => send({ type: "sse.start" }),
        websocket: ({ receive, send }) =>
          Effect.andThen(
            receive,
            Effect.andThen(send({ type: "websocket.accept" }), Effect.withSpan(receive, "inside"))
          )
      })
      const { connect } = yield* serve(app, { lifespan: "off" })
      const stream = yield* connect()
      yield* stream.send(request("GET", "/feed", `accept: text/event-stream\r\ntraceparent: ${traceparent}\r\n`))
      yield* stream.read
      const socket = yield* connect()
      yield* socket.send(WebSocket.handshake([`traceparent: ${traceparent}`]))
      yield* socket.read
      assert.deepStrictEqual(ends, ["http.server GET ok"])
      yield* socket.send(WebSocket.text("hello"))
      yield* socket.end
      assert.deepStrictEqual(ends.slice(1, 3), ["inside ok", "http.server GET ok"])
      assert.deepStrictEqual(spans.map((span) => [span.traceId, span.attributes.get("http.response.status_code")]), [
        [traceId, 200],
        [traceId, 101],
        [traceId, undefined]
      ])
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })

  it.effect("gives unknown methods one name, so that a client cannot make names without end", () => {
    const { spans, tracer } = recording()
    return Effect.gen(function*() {
      yield* ask(App.http(({ send }) => App.respond(send, 200)), [request("BREW")])
      assert.strictEqual(spans[0]!.name, "http.server _OTHER")
      assert.strictEqual(spans[0]!.attributes.get("http.request.method"), "_OTHER")
      assert.strictEqual(spans[0]!.attributes.get("http.request.method_original"), "BREW")
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })
})
