/**
 * A test client's requests over HTTP/2: one connection with one stream for each, so that a failure can be told by its
 * connection. Clear text begins with the preface (prior knowledge). Never used for WebSockets.
 */
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import { HttpClientError, TransportError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Http2 from "node:http2"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type { ReadableStream as NodeReadableStream } from "node:stream/web"
import { type Arrival, arrivals, type Dialer } from "./TestClientDialer.ts"

type Fields = Http2.IncomingHttpHeaders

/** Fields that HTTP/2 says in other ways (RFC 9113 section 8.2.2). */
const connectionFields = new Set(["connection", "host", "keep-alive", "transfer-encoding", "upgrade"])

const requestFields = (request: Request): Http2.OutgoingHttpHeaders => {
  const { host, pathname, protocol, search } = new URL(request.url)
  const fields: Http2.OutgoingHttpHeaders = {
    ":method": request.method,
    ":scheme": protocol.slice(0, -1),
    ":authority": request.headers.get("host") ?? host,
    ":path": pathname + search
  }
  for (const [name, value] of request.headers) if (!connectionFields.has(name)) fields[name] = value
  return fields
}

/** Statuses whose answers have no body, which the web's Response insists on. */
const isBodyless = (status: number): boolean => status === 204 || status === 205 || status === 304

/** The body of an answer. Readable.toWeb would wait for the stream's other side, too, and call its close premature. */
const bodyOf = (stream: Http2.ClientHttp2Stream): ReadableStream<Uint8Array> => {
  let isOver = false
  const end = (finish: () => void): void => {
    if (isOver) return
    isOver = true
    finish()
  }
  return new ReadableStream<Uint8Array>({
    start: (controller) => {
      const fail = (error: unknown) => end(() => controller.error(error))
      stream.on("data", (part: Buffer) => {
        if (isOver) return
        controller.enqueue(new Uint8Array(part))
        if (controller.desiredSize! <= 0) stream.pause()
      })
      stream.on("end", () => end(() => controller.close()))
      stream.on("error", fail)
      stream.on("aborted", () => fail(new Error("The stream was reset")))
      stream.on("close", () => fail(new Error("The connection broke off")))
    },
    pull: () => void stream.resume(),
    cancel: () => end(() => stream.close(Http2.constants.NGHTTP2_CANCEL))
  })
}

const toResponse = (fields: Fields, stream: Http2.ClientHttp2Stream): Response => {
  const status = Number(fields[":status"])
  const headers = new globalThis.Headers()
  for (const [name, value] of Object.entries(fields)) {
    if (name.startsWith(":") || value === undefined) continue
    for (const line of Array.isArray(value) ? value : [value]) headers.append(name, line)
  }
  if (isBodyless(status)) stream.resume()
  return new Response(isBodyless(status) ? null : bodyOf(stream), { status, headers })
}

const trailersOf = (stream: Http2.ClientHttp2Stream): Effect.Effect<Headers.Headers> => {
  let found = Headers.empty
  stream.once("trailers", (fields: Fields) => found = Headers.fromInput(fields as Headers.Input))
  return Effect.callback((resume) => {
    const done = () => resume(Effect.succeed(found))
    if (stream.closed || stream.destroyed) return done()
    stream.once("close", done)
    stream.resume()
  })
}

interface Answer {
  readonly fields: Fields
  readonly stream: Http2.ClientHttp2Stream
  readonly arrival: Arrival
}

const exchange = (dialer: Dialer, request: Request, signal: AbortSignal): Effect.Effect<Answer, unknown> =>
  Effect.callback((resume) => {
    const fail = (error: unknown) => resume(Effect.fail(error))
    let session: Http2.ClientHttp2Session
    let clientPort: number
    try {
      const connection = dialer.dial()
      clientPort = connection.clientPort
      session = Http2.connect(new URL(request.url).origin, { createConnection: () => connection.stream })
    } catch (error) {
      return fail(error)
    }
    session.on("error", fail)
    const stream = session.request(requestFields(request), { endStream: request.body === null })
    const hints: Array<string> = []
    const arrival: Arrival = { clientPort, hints, trailers: trailersOf(stream) }
    stream.on("error", fail)
    stream.on("headers", (fields: Fields) => {
      if (Number(fields[":status"]) === 103) hints.push(...[fields["link"] ?? []].flat())
    })
    stream.on("response", (fields) => resume(Effect.succeed({ fields, stream, arrival })))
    stream.once("close", () => {
      fail(new Error("The stream was closed without an answer"))
      session.close()
    })
    const abort = () => session.destroy(undefined, Http2.constants.NGHTTP2_CANCEL)
    signal.addEventListener("abort", abort, { once: true })
    if (request.body !== null) {
      // The types of the web in Node and in the DOM are the same thing twice.
      void pipeline(Readable.fromWeb(request.body as unknown as NodeReadableStream), stream, { end: true }).catch(fail)
    }
    return Effect.sync(abort)
  })

/** Makes a request. */
export const execute = (
  dialer: Dialer,
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError> =>
  Effect.suspend(() => {
    let arrival: Arrival
    const failed = (cause: unknown) => new HttpClientError({ reason: new TransportError({ request, cause }) })
    const transport = HttpClient.make((_, _url, signal) =>
      HttpClientRequest.toWeb(request).pipe(
        Effect.flatMap((web) => exchange(dialer, web, signal)),
        Effect.mapError(failed),
        Effect.map((answer) => {
          arrival = answer.arrival
          return HttpClientResponse.fromWeb(request, toResponse(answer.fields, answer.stream))
        })
      )
    )
    return Effect.tap(transport.execute(request), (response) => Effect.sync(() => arrivals.set(response, arrival)))
  })
