/**
 * A WebSocket session of a test client, over `ws`. Messages that arrive are kept until they are received, however many.
 * Never compresses and never reconnects.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as Headers from "effect/http/Headers"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Http from "node:http"
import type * as Net from "node:net"
import * as Ws from "ws"
import { settle } from "../ServerMemory.ts"
import type { Dialer, Raise } from "./TestClientDialer.ts"
import { ConnectFailed, Denied, SessionClosed } from "./TestClientErrors.ts"

/** The client's end of a session. */
export interface WebSocketSession {
  /** What the application has chosen; empty for none. */
  readonly subprotocol: string
  /** Headers of the answer to the handshake. */
  readonly headers: Headers.Headers
  /** Sends text, or bytes as a binary message. Succeeds when the connection has taken it. */
  readonly send: (message: string | Uint8Array) => Effect.Effect<void, SessionClosed>
  readonly sendJson: (value: unknown) => Effect.Effect<void, SessionClosed>
  /** The next message. Suspends until there is one; fails after the last. */
  readonly receive: Effect.Effect<string | Uint8Array, SessionClosed>
  /** The next message, read as JSON. Dies when it is none. */
  readonly receiveJson: Effect.Effect<unknown, SessionClosed>
  /** Messages until the session ends, in whatever way. */
  readonly messages: Stream.Stream<string | Uint8Array>
  /** Closes, by default with 1000. Succeeds with how the session has ended. */
  readonly close: (code?: number, reason?: string) => Effect.Effect<SessionClosed>
  /** Breaks the connection off without a word, as a client does that crashes. */
  readonly terminate: Effect.Effect<void>
  /** Succeeds with how the session has ended, by whomever. */
  readonly closed: Effect.Effect<SessionClosed>
}

/** What a session needs of its client. */
export interface Wiring {
  readonly dialer: Dialer
  readonly raise: Raise
  /** Keeps the cookies that an answer from `url` has set. */
  readonly keepCookies: (url: string, cookies: Cookies.Cookies) => Effect.Effect<void>
}

interface Opened {
  readonly socket: Ws.WebSocket
  readonly clientPort: number
  readonly head: Http.IncomingMessage | undefined
  readonly arrived: Queue.Queue<string | Uint8Array, SessionClosed>
  readonly end: Deferred.Deferred<SessionClosed>
}

const toBytes = (data: Ws.RawData): Buffer =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data

const readDenial = (message: Http.IncomingMessage, done: (denied: Denied, message: Http.IncomingMessage) => void) => {
  const parts: Array<Buffer> = []
  const finish = () =>
    done(
      new Denied({
        status: message.statusCode!,
        headers: Headers.fromInput(message.headers as Headers.Input),
        body: Buffer.concat(parts).toString()
      }),
      message
    )
  message.on("data", (part: Buffer) => parts.push(part))
  message.once("close", finish)
}

const connect = (
  request: HttpClientRequest.HttpClientRequest,
  subprotocols: ReadonlyArray<string>,
  arrived: Opened["arrived"],
  { dialer, keepCookies, raise }: Wiring
): Effect.Effect<Opened, Denied | ConnectFailed> =>
  Effect.callback((resume) => {
    let clientPort = 0
    let head: Http.IncomingMessage | undefined
    const end = Deferred.makeUnsafe<SessionClosed>()
    const fail = (error: unknown) => resume(Effect.fail(new ConnectFailed({ cause: error })))
    let socket: Ws.WebSocket
    try {
      const connection = dialer.dial()
      clientPort = connection.clientPort
      socket = new Ws.WebSocket(Option.getOrThrow(HttpClientRequest.toUrl(request)), [...subprotocols], {
        headers: request.headers,
        perMessageDeflate: false,
        // Any stream will do; the types ask for what net.connect makes.
        createConnection: (() => connection.stream) as unknown as typeof Net.createConnection
      })
    } catch (error) {
      return fail(error)
    }
    socket.on("upgrade", (message) => head = message)
    const keepOf = (message: Http.IncomingMessage | undefined) =>
      keepCookies(request.url, Cookies.fromSetCookie(message?.headers["set-cookie"] ?? []))
    const deny = (denied: Denied, message: Http.IncomingMessage) =>
      resume(Effect.flatMap(
        Effect.andThen(keepOf(message), raise(clientPort, denied.status)),
        (cause): Effect.Effect<never, Denied> => cause === undefined ? Effect.fail(denied) : Effect.failCause(cause)
      ))
    socket.on("unexpected-response", (_, message) => readDenial(message, deny))
    socket.on("error", fail)
    socket.on("open", () => resume(Effect.as(keepOf(head), { socket, clientPort, head, arrived, end })))
    socket.on("message", (data, isBinary) =>
      void Queue.offerUnsafe(arrived, isBinary ? new Uint8Array(toBytes(data)) : toBytes(data).toString()))
    socket.on("close", (code, reason) => {
      const closed = new SessionClosed({ code, reason: reason.toString() })
      Deferred.doneUnsafe(end, Effect.succeed(closed))
      Queue.failCauseUnsafe(arrived, Cause.fail(closed))
    })
    return Effect.sync(() =>
      socket.terminate()
    )
  })

/** Says goodbye, and breaks off when that is not answered without time passing. */
const leave = ({ end, socket }: Opened): Effect.Effect<void> =>
  Effect.suspend(() => {
    socket.close(1000)
    return Effect.raceFirst(Effect.asVoid(Deferred.await(end)), settle)
  }).pipe(Effect.andThen(Effect.sync(() => socket.terminate())))

const makeSession = (opened: Opened, raise: Raise): WebSocketSession => {
  const { arrived, clientPort, end, head, socket } = opened
  /** An application that failed is told of in the place of the end that this had. */
  const raising = (closed: SessionClosed): Effect.Effect<SessionClosed> =>
    Effect.flatMap(
      raise(clientPort, closed.code === 1011 ? 500 : 0),
      (cause) => cause === undefined ? Effect.succeed(closed) : Effect.failCause(cause)
    )
  const closed = Effect.flatMap(Deferred.await(end), raising)
  const receive = Effect.catch(Queue.take(arrived), (error) => Effect.flatMap(raising(error), Effect.fail))
  const send = (message: string | Uint8Array): Effect.Effect<void, SessionClosed> =>
    Effect.callback((resume) => {
      const taken = (error?: Error | null) => resume(error ? Effect.flatMap(closed, Effect.fail) : Effect.void)
      socket.send(message, { binary: typeof message !== "string" }, taken)
    })
  return {
    subprotocol: socket.protocol,
    headers: Headers.fromInput((head?.headers ?? {}) as Headers.Input),
    send,
    sendJson: (value) => Effect.suspend(() => send(JSON.stringify(value))),
    receive,
    receiveJson: Effect.map(receive, (message): unknown => JSON.parse(String(message))),
    messages: Stream.catch(Stream.fromEffectRepeat(receive), () => Stream.empty),
    close: (code = 1000, reason = "") => Effect.andThen(Effect.sync(() => socket.close(code, reason)), closed),
    terminate: Effect.sync(() => socket.terminate()),
    closed
  }
}

/** Opens a session. Its scope closes it, with 1000. */
export const open = (
  request: HttpClientRequest.HttpClientRequest,
  subprotocols: ReadonlyArray<string>,
  wiring: Wiring
): Effect.Effect<WebSocketSession, Denied | ConnectFailed, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.flatMap(
        Queue.unbounded<string | Uint8Array, SessionClosed>(),
        (arrived) => connect(request, subprotocols, arrived, wiring)
      ),
      leave,
      { interruptible: true }
    ),
    (opened) => makeSession(opened, wiring.raise)
  )
