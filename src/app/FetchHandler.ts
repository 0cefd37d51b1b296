/**
 * Runs a web-standard `fetch` function (Hono, itty-router, a bundled framework) as an App. Bodies stream both ways: the
 * request body is received when the function reads it, the response body is read as the client takes it.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as App from "./App.ts"
import * as PlainExchange from "./internal/PlainExchange.ts"
import * as Target from "./internal/Target.ts"
import * as WebResponse from "./internal/WebResponse.ts"
import type { SendError } from "./SendError.ts"

/** What web frameworks export: a request in, a response out. */
export type Fetch = (request: Request) => Response | Promise<Response>

/**
 * Makes an App of a `fetch` function. It answers requests, also those that name `text/event-stream`; other kinds of
 * exchange are declined.
 *
 * `request.signal` aborts when the client goes away or the exchange is interrupted. The URL is made of scheme, `host`
 * header (our own address where there is none) and the target as it was sent, mount point included.
 *
 * A function that throws, rejects or yields something else than a Response is a defect of the App, which the server logs
 * and answers with 500; after the client has gone it is nothing. A request that a `Request` cannot express is refused: a host that is not one with
 * 400, the methods CONNECT, TRACE and TRACK with 501.
 *
 * **Fails with** `SendError` when the response's body cannot be read to its end.
 * **Source** Fetch standard, sections 5.3 to 5.5.
 */
export const make = (fetch: Fetch): App.App<SendError> => (exchange) =>
  exchange.type === "http" || exchange.type === "sse"
    ? Effect.withFiber((fiber) => serve(fetch, PlainExchange.make(exchange), fiber.context))
    : App.decline(exchange)

const serve = (
  fetch: Fetch,
  exchange: App.HttpExchange,
  context: Context.Context<never>
): Effect.Effect<void, SendError> => {
  const { connection, scope, send } = exchange
  if (/^(?:CONNECT|TRACE|TRACK)$/i.test(scope.method)) return App.respond(send, 501, "Not Implemented")
  const url = requestUrl(scope)
  if (url === undefined) return App.respond(send, 400, "Bad Request")

  const gone = new AbortController()
  const leave = () => gone.abort(new DOMException("The client has gone", "AbortError"))
  const body = scope.method === "GET" || scope.method === "HEAD" || Target.header(scope, "content-length") === "0"
    ? undefined
    : requestBody(exchange, context)
  connection.onDisconnect(leave)

  const answered = Effect.tryPromise(async () => {
    const response = await fetch(
      new Request(url, {
        method: scope.method,
        headers: scope.headers.map(([name, value]): [string, string] => [name, value]),
        signal: gone.signal,
        ...(body === undefined ? {} : { body: body.stream, duplex: "half" })
      })
    )
    if (!(response instanceof Response)) throw new TypeError("The fetch function did not yield a Response")
    return response
  })
  return Effect.matchEffect(answered, {
    onSuccess: (response) => WebResponse.send(exchange, response),
    onFailure: (error) => gone.signal.aborted ? Effect.void : Effect.die(error.cause)
  }).pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => {
        if (exit._tag === "Failure") leave()
        body?.stop()
      })
    )
  )
}

/** `undefined` when the host header does not hold a host. `OPTIONS *` asks for the root. */
const requestUrl = (scope: App.HttpExchange["scope"]): URL | undefined => {
  const target = scope.rawPath.startsWith("/") ? scope.rawPath : "/"
  try {
    const url = new URL(`${scope.scheme}://${Target.authority(scope) ?? "localhost"}`)
    // Host and target are read apart, so that neither can end in the other's part of the URL.
    if (url.pathname !== "/" || url.search !== "" || url.hash !== "" || url.username !== "") return undefined
    return new URL(`${url.origin}${target}${scope.queryString === "" ? "" : `?${scope.queryString}`}`)
  } catch {
    return undefined
  }
}

/**
 * The request body as a web stream that receives one part per read. `stop` fails reads that come after the exchange, or
 * wait at its end.
 */
const requestBody = (exchange: App.HttpExchange, context: Context.Context<never>) => {
  let reading: Fiber.Fiber<void> | undefined
  const read = (controller: ReadableStreamDefaultController<Uint8Array>): Effect.Effect<void> =>
    Effect.flatMap(exchange.receive, (event) => {
      if (event.type === "http.disconnect") {
        return Effect.sync(() => controller.error(new DOMException("The client has gone", "AbortError")))
      }
      // An empty part would end the wait of `pull` without a chunk, and with it the stream.
      if (event.body.length === 0 && event.more) return read(controller)
      return Effect.sync(() => {
        if (event.body.length > 0) controller.enqueue(event.body)
        if (!event.more) controller.close()
      })
    })
  let stop = () => {}
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => {
      stop = () => {
        reading?.interruptUnsafe()
        controller.error(new DOMException("The exchange has ended", "AbortError"))
      }
    },
    pull: (controller) =>
      new Promise((resolve) => {
        reading = Effect.runForkWith(context)(read(controller))
        reading.addObserver(() => resolve())
      })
  }, { highWaterMark: 0 })
  return { stream, stop }
}
