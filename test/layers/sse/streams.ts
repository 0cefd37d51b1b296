/**
 * Serves an App in memory and opens streams of events to it, over HTTP/1.1 and HTTP/2 alike: what a test asks and sees
 * is the same, so one test proves both. Reads what is on the wire itself (chunks, frames), so that an end that only
 * looks like one is not taken for it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Http2 from "node:http2"
import { makePipe, type PipeEnd } from "../../../layers/internal/MemoryPipe.ts"
import type { ServerCore } from "../../../layers/internal/ServerCore.ts"
import { makeServer } from "../../../layers/internal/serving.ts"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import type { App } from "../../../src/app/App.ts"
import type { ServerOptions } from "../../../src/schema/Settings.ts"
import { answersIn, chunked, request } from "../../utils/answers.ts"
import * as Frames from "../../utils/frames.ts"

export type Version = "1.1" | "2"
export const versions: ReadonlyArray<Version> = ["1.1", "2"]

/** A request; by default `GET /` that accepts events, without a body. */
export interface Asking {
  readonly method?: string
  readonly path?: string
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>
  /** Sent at once. */
  readonly body?: string
  /** How the body is framed. `follows` is like `chunked`, and `send` sends its parts. Default `length`. */
  readonly framing?: "length" | "chunked" | "follows"
  /** True when the client takes nothing before `resume`. */
  readonly paused?: boolean
}

/** One answer as its client sees it. Everything is as of now, once all has happened that can without time passing. */
export interface Stream {
  /** 0 before the head has arrived. */
  readonly status: Effect.Effect<number>
  /** By lower-case name; several lines are joined with ", ". */
  readonly header: (name: string) => Effect.Effect<string | undefined>
  /** The whole payload so far, one character a byte. */
  readonly text: Effect.Effect<string>
  /** `whole` when the server has said that this was all, `cut` when it ended without a word. */
  readonly state: Effect.Effect<"open" | "whole" | "cut">
  /** A part of a body that follows; the last one unless `more`. */
  readonly send: (body: string, more?: boolean) => Effect.Effect<void>
  /** The client gives up: closes its connection, or resets its stream. */
  readonly leave: Effect.Effect<void>
  /** Stops taking bytes, and takes them again. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

export interface Connection {
  readonly ask: (asking?: Asking) => Effect.Effect<Stream>
  /** All bytes that the server has written. */
  readonly bytes: Effect.Effect<Buffer>
  /** True once the server has closed its side. */
  readonly isEnded: Effect.Effect<boolean>
}

/** HTTP/2 in memory goes through more hands, and each may wait for a turn. */
const settle = Effect.andThen(ServerMemory.settle, Effect.andThen(ServerMemory.settle, ServerMemory.settle))

/** Serves `app` until `stop`, which succeeds with the fiber that ends when all has, or until the test's scope closes. */
export const serve = Effect.fnUntraced(function*<E, R>(app: App<E, R>, options: ServerOptions = {}) {
  let core: ServerCore | undefined
  const server = yield* makeServer(options, (serving) =>
    Effect.sync(() => {
      core = serving
      return []
    }))
  const scope = yield* Scope.make()
  const stop: Effect.Effect<Fiber.Fiber<void>> = Effect.tap(
    Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true }),
    () => settle
  )
  // Applications that ignore their disconnect have a grace, in the test's time.
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(stop, (stopped) => Effect.andThen(TestClock.adjust("1 minute"), Fiber.join(stopped)))
  )
  yield* Scope.provide(server.serve(app), scope)
  const connect = (version: Version): Effect.Effect<Connection, never, Scope.Scope> =>
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const [client, stream] = makePipe()
          core!.accept(stream, { client: ["127.0.0.1", 40_000], server: ["127.0.0.1", 5000], scheme: "http" })
          return client
        }),
        (client) => Effect.sync(() => void client.destroy())
      ),
      version === "1.1" ? http1 : http2
    )
  /** A connection of its own and one request on it. */
  const ask = (version: Version, asking?: Asking) => Effect.flatMap(connect(version), (opened) => opened.ask(asking))
  return { server, connect, ask, stop }
})

/** Keeps what arrives. `quiet` succeeds when nothing more does. */
const collect = (client: PipeEnd) => {
  const chunks: Array<Buffer> = []
  client.on("data", (chunk: Buffer) => chunks.push(chunk))
  client.on("error", () => {})
  const quiet: Effect.Effect<void> = Effect.suspend(() => {
    const before = chunks.length
    return Effect.andThen(settle, Effect.suspend(() => chunks.length === before ? Effect.void : quiet))
  })
  return { bytes: () => Buffer.concat(chunks), quiet }
}

const isEnded = (client: PipeEnd) => client.readableEnded || client.destroyed

const acceptEvents: ReadonlyArray<readonly [string, string]> = [["accept", "text/event-stream"]]

const joined = (headers: ReadonlyArray<readonly [name: string, value: string]>, name: string): string | undefined => {
  const values = headers.filter((line) => line[0].toLowerCase() === name).map((line) => line[1])
  return values.length === 0 ? undefined : values.join(", ")
}

// ---- HTTP/1.1: one request after the other on a connection

const http1 = (client: PipeEnd): Connection => {
  const { bytes, quiet } = collect(client)
  const methods: Array<string> = []
  const write = (text: string) =>
    Effect.andThen(Effect.sync(() => void client.write(Buffer.from(text, "latin1"))), quiet)
  const ask = (asking: Asking = {}): Effect.Effect<Stream> => {
    const { body = "", framing = "length", headers = acceptEvents, method = "GET", path = "/" } = asking
    if (asking.paused === true) client.pause()
    const lines = headers.map(([name, value]) => `${name}: ${value}`)
    if (framing !== "length") lines.push("transfer-encoding: chunked")
    else if (body !== "") lines.push(`content-length: ${body.length}`)
    const framed = framing === "chunked" ? chunked([body]) : framing === "follows" ? "" : body
    const index = methods.push(method) - 1
    const answer = Effect.map(quiet, () => {
      const text = bytes().toString("latin1")
      return text.includes("\r\n\r\n")
        ? answersIn(text, methods).filter(({ status }) => status >= 200)[index]
        : undefined
    })
    const stream: Stream = {
      status: Effect.map(answer, (found) => found?.status ?? 0),
      header: (name) => Effect.map(answer, (found) => joined(found?.headers ?? [], name)),
      text: Effect.map(answer, (found) => found?.body ?? ""),
      state: Effect.map(answer, (found) => found?.complete === true ? "whole" : isEnded(client) ? "cut" : "open"),
      send: (part, more = false) => write(more ? `${part.length.toString(16)}\r\n${part}\r\n` : chunked([part])),
      leave: Effect.andThen(Effect.sync(() => void client.destroy()), quiet),
      pause: Effect.sync(() => void client.pause()),
      resume: Effect.andThen(Effect.sync(() => void client.resume()), quiet)
    }
    return Effect.as(write(request(`${method} ${path}`, lines, framed)), stream)
  }
  return {
    ask,
    bytes: Effect.map(quiet, bytes),
    isEnded: Effect.map(quiet, () => isEnded(client))
  }
}

// ---- HTTP/2: many streams on a connection, of a client that opens windows and acknowledges as clients do

const http2 = (client: PipeEnd): Connection => {
  const session = Http2.connect("http://a", { createConnection: () => client })
  const { bytes, quiet } = collect(client)
  session.on("error", () => {})
  const ask = (asking: Asking = {}): Effect.Effect<Stream> => {
    const { body = "", framing = "length", headers = acceptEvents, method = "GET", path = "/" } = asking
    const fields: Http2.OutgoingHttpHeaders = { ":method": method, ":path": path }
    for (const [name, value] of headers) {
      const before = fields[name]
      fields[name] = before === undefined ? value : [before, value].flat().map(String)
    }
    if (framing === "length" && body !== "") fields["content-length"] = body.length
    const stream = session.request(fields, { endStream: framing !== "follows" && body === "" })
    stream.on("error", () => {})
    if (asking.paused !== true) stream.resume()
    if (framing !== "follows" && body !== "") stream.end(Buffer.from(body, "latin1"))
    const answer = Effect.map(quiet, () => Frames.answerOn(new Frames.FrameReader().read(bytes()), stream.id!))
    const opened: Stream = {
      status: Effect.map(answer, ({ status }) => status),
      header: (name) => Effect.map(answer, ({ fields }) => joined(fields, name)),
      text: Effect.map(answer, ({ body }) => body),
      state: Effect.map(
        answer,
        ({ ended, reset }) => ended ? "whole" : isEnded(client) || reset !== undefined ? "cut" : "open"
      ),
      send: (part, more = false) =>
        Effect.andThen(
          Effect.sync(() => {
            stream.write(Buffer.from(part, "latin1"))
            if (!more) stream.end()
          }),
          quiet
        ),
      leave: Effect.andThen(Effect.sync(() => stream.close(Http2.constants.NGHTTP2_CANCEL)), quiet),
      pause: Effect.sync(() => void stream.pause()),
      resume: Effect.andThen(Effect.sync(() => void stream.resume()), quiet)
    }
    return Effect.as(quiet, opened)
  }
  return {
    ask,
    bytes: Effect.map(quiet, bytes),
    isEnded: Effect.map(quiet, () => isEnded(client))
  }
}
