/**
 * A client for tests: serves an App in memory, or talks to a live server, and speaks HTTP, WebSocket and server-sent
 * events with it. In memory it is the whole server that answers, under Lint, on the clock of the test.
 *
 * Guide: docs/testing.md. Never retries, never keeps a connection for the next request, never waits for time.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type { HttpClientError } from "effect/http/HttpClientError"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Tls from "node:tls"
import type { App } from "../src/app/App.ts"
import * as Lint from "../src/middleware/Lint.ts"
import type { State } from "../src/schema/Scope.ts"
import { Server, type ServerError } from "../src/service/Server.ts"
import {
  arrivals,
  type Dialer,
  live as liveDialer,
  memory as memoryDialer,
  type Raise
} from "./internal/TestClientDialer.ts"
import type { ConnectFailed, Denied } from "./internal/TestClientErrors.ts"
import { absolute, make as makeHttp, type RequestOptions, toRequest, type Verbs } from "./internal/TestClientHttp.ts"
import * as Sse from "./internal/TestClientSse.ts"
import { asDefects, Watch } from "./internal/TestClientWatch.ts"
import * as WebSocket from "./internal/TestClientWebSocket.ts"
import * as ServerMemory from "./ServerMemory.ts"

export { ConnectFailed, Denied, SessionClosed, StreamClosed } from "./internal/TestClientErrors.ts"
export { expectHeader, expectJson, expectStatus, expectText } from "./internal/TestClientExpect.ts"
export type { CookieJar, RequestOptions } from "./internal/TestClientHttp.ts"
export type { SseEvent, SseSession } from "./internal/TestClientSse.ts"
export type { WebSocketSession } from "./internal/TestClientWebSocket.ts"

/**
 * Lets everything happen that can happen without time passing: run it between forking a request and moving the clock,
 * so that the application has come to where it waits.
 */
export const settle: Effect.Effect<void> = ServerMemory.settle

/** What every client may be told. */
export interface ClientOptions {
  /** Whether cookies are kept between requests and sent again. Default true. */
  readonly cookies?: boolean | undefined
  /**
   * What requests and streams of events are made over; WebSockets are HTTP/1.1 always. Default `"1.1"`. HTTP/2 to an
   * `https` server needs `tls: { ALPNProtocols: ["h2"] }`, and has no WebSockets then.
   */
  readonly httpVersion?: "1.1" | "2" | undefined
}

/** Options of a client with a server in memory: those of the server too. */
export interface Options extends ServerMemory.Options, ClientOptions {
  /**
   * Whether a request whose application failed dies with the application's own cause. With false it gets what a client
   * would: a 500, a close with 1011, a broken body. Default true.
   */
  readonly raiseAppErrors?: boolean
  /** Whether application and server are held to the contract by Lint. Default true. */
  readonly lint?: boolean
  /**
   * What URLs that begin with `/` begin with in full, and so the `host` of requests. Default `http://localhost`. With an
   * `https` origin the jar sends `Secure` cookies; the connection is in clear text and the scope says so.
   */
  readonly origin?: string
}

/** Options of a client of a live server. */
export interface LiveOptions extends ClientOptions {
  /** How TLS is spoken, such as `{ ca }` for a certificate of one's own. */
  readonly tls?: Tls.ConnectionOptions
}

/** Options of a session, beside those of its request. */
export interface WebSocketOptions extends Pick<RequestOptions, "cookies" | "headers" | "query" | "urlParams"> {
  /** What the client offers, in its order of preference. Default: none. */
  readonly subprotocols?: ReadonlyArray<string>
}

export interface SseOptions extends RequestOptions {
  /** Default `GET`. */
  readonly method?: string
  /** What a reconnecting client repeats. Default: not sent. */
  readonly lastEventId?: string
}

/**
 * The client: an `HttpClient` of effect/http, so that everything written for one runs on it, and more. URLs may begin
 * with `/`.
 */
export interface Client extends Verbs {
  /**
   * Opens a WebSocket session, closed with the scope. **Fails with** `Denied`, which carries the answer, when the
   * application does not accept it; with `ConnectFailed` when there is no answer.
   */
  readonly websocket: (
    url: string | URL,
    options?: WebSocketOptions
  ) => Effect.Effect<WebSocket.WebSocketSession, Denied | ConnectFailed, Scope.Scope>
  /**
   * Opens a stream of server-sent events, closed with the scope. **Fails with** `Denied`, which carries the answer, when
   * it is not a stream of events with status 200.
   */
  readonly sse: (
    url: string | URL,
    options?: SseOptions
  ) => Effect.Effect<Sse.SseSession, Denied | HttpClientError, Scope.Scope>
  /** What the lifespan startup has left for requests. Empty for a live server. */
  readonly state: Effect.Effect<State>
  /**
   * Why exchanges failed, in the order in which they did: what applications ended with, and what was logged as an error
   * with its cause. Empty for a live server.
   */
  readonly failures: Effect.Effect<ReadonlyArray<Cause.Cause<unknown>>>
}

/** The client as a service, for tests of composed programs. See `layer`. */
export class TestClient extends Context.Service<TestClient, Client>()("slipway/layers/TestClient") {}

interface Wiring extends ClientOptions {
  readonly dialer: Dialer
  readonly origin: string
  readonly raise: Raise
  readonly state: Client["state"]
  readonly failures: Client["failures"]
}

const makeClient = (wiring: Wiring): Client => {
  const { cookies = true, failures, httpVersion = "1.1", origin, raise, state } = wiring
  const { jar, verbs } = makeHttp({ ...wiring, keepCookies: cookies, httpVersion })
  const sessionWiring: WebSocket.Wiring = {
    ...wiring,
    keepCookies: (url, set) => cookies ? jar.store(url, set) : Effect.void
  }
  const websocket: Client["websocket"] = (url, { subprotocols = [], ...options } = {}) =>
    Effect.suspend(() => {
      const plain = toRequest("GET", absolute(origin, String(url)), options)
      const complete = cookies ? jar.addTo(plain) : Effect.succeed(plain)
      return Effect.flatMap(complete, (request) => WebSocket.open(request, subprotocols, sessionWiring))
    })
  const sse: Client["sse"] = (url, { lastEventId, method = "GET", ...options } = {}) =>
    Effect.suspend(() => {
      const headers = lastEventId === undefined ? {} : { "last-event-id": lastEventId }
      const asked = verbs.request(method, url, {
        accept: "text/event-stream",
        ...options,
        headers: { ...headers, ...Headers.fromInput(options.headers) }
      })
      return Effect.flatMap(asked, (response) => Sse.open(response, raise))
    })
  return Object.assign(verbs, { websocket, sse, state, failures })
}

/** The server in memory and its client, with nothing served yet. */
const makeMemory = Effect.fnUntraced(function*(options: Options) {
  const { cookies, httpVersion, lint = true, origin = "http://localhost", raiseAppErrors = true, ...serverOptions } =
    options
  const { network, server } = yield* ServerMemory.make(serverOptions)
  const dialer = yield* memoryDialer(network)
  const watch = new Watch()
  const causeOf = (clientPort: number, status: number) =>
    Effect.sync(() => {
      const cause = watch.causeOf(clientPort, status)
      return cause === undefined ? undefined : asDefects(cause)
    })
  const client = makeClient({
    cookies,
    httpVersion,
    dialer,
    origin,
    // The answer may arrive before the application has ended and said why.
    raise: (clientPort, status) =>
      !raiseAppErrors
        ? Effect.undefined
        : status === 500
        ? Effect.andThen(settle, causeOf(clientPort, status))
        : causeOf(clientPort, status),
    state: Effect.sync(() => watch.state),
    failures: Effect.sync(() => [...watch.failures])
  })
  // A stopping server waits on its clock for exchanges that go on. A test's clock stands still by then: they get what
  // can happen without time passing.
  const end = Effect.andThen(Effect.andThen(settle, dialer.hangUp), Effect.andThen(settle, watch.interruptAll))
  const watched = Server.of({
    ...server,
    serve: (app) =>
      Effect.andThen(
        server.serve(watch.wrap(lint ? Lint.make()(app) : app)),
        Effect.addFinalizer(() => Effect.forkDetach(end, { startImmediately: true }))
      )
  })
  return { client, server: watched }
})

/**
 * Makes a client of an App that is served in memory until the scope closes. The lifespan runs: its startup now, its
 * shutdown with the scope.
 *
 * **Fails with** `ServerError`: the application refused to start (`StartupFailed`), or settings that cannot be used.
 * **Gotchas** when the scope closes, exchanges that go on get what can happen without time passing; then they are
 * disconnected, and interrupted.
 *
 * **Example**
 * ```ts
 * const client = yield* TestClient.make(app)
 * const response = yield* client.post("/todos", { json: { title: "x" } })
 * assert.strictEqual(response.status, 201)
 * ```
 */
export const make = Effect.fnUntraced(function*<E, R>(
  app: App<E, R>,
  options: Options = {}
): Effect.fn.Return<Client, ServerError, R | Scope.Scope> {
  const { client, server } = yield* makeMemory(options)
  yield* server.serve(app)
  return client
})

/**
 * Makes a client of a live server at `http://host:port`, `https://host:port` or `unix:/path`. Every URL leads there,
 * whatever host it names. Connects when something is asked for, and closes what is open with the scope.
 */
export const live = (url: string, options: LiveOptions = {}): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.map(liveDialer(url, options.tls), (dialer) =>
    makeClient({
      ...options,
      dialer,
      origin: url.startsWith("unix:") ? "http://localhost" : new URL(url).origin,
      raise: () => Effect.undefined,
      state: Effect.succeed({}),
      failures: Effect.succeed([])
    }))

/**
 * Provides a `Server` in memory, and its client as `TestClient`. For tests of a composed program, which serves by itself:
 * `Server.serve(app).pipe(Layer.provide(Todos.layer), Layer.provideMerge(TestClient.layer()))`.
 *
 * **Fails with** `ServerError` for settings that cannot be used.
 */
export const layer = (options: Options = {}): Layer.Layer<Server | TestClient, ServerError> =>
  Layer.effectContext(
    Effect.map(
      makeMemory(options),
      ({ client, server }) => Context.add(Context.make(Server, server), TestClient, client)
    )
  )

/** The `link` values of the early hints (103) that came before a response. */
export const earlyHints = (response: HttpClientResponse): ReadonlyArray<string> => arrivals.get(response)?.hints ?? []

/** The trailers of a response, once its body has ended. What nobody has read of the body is thrown away. */
export const trailers = (response: HttpClientResponse): Effect.Effect<Headers.Headers> =>
  arrivals.get(response)?.trailers ?? Effect.succeed(Headers.empty)
