/**
 * One request on its way through a Node handler: an HTTP/1.1 connection in memory between Node's own http client and
 * Node's own http server. So `req` and `res` are Node's objects to the last detail, and the answer is read by Node's
 * parser; nothing here knows the bytes of HTTP.
 *
 * One connection carries one request. Never speaks to the exchange: NodeHandler.ts does.
 */
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Http from "node:http"
import * as MountPoint from "../../src/protocol/MountPoint.ts"
import { decodePath } from "../../src/protocol/RequestTarget.ts"
import type { Headers } from "../../src/schema/Scope.ts"
import type { PipeEnd } from "./MemoryPipe.ts"
import * as NodeHandlerSocket from "./NodeHandlerSocket.ts"
import type { RequestExchange } from "./NodeHandlerSocket.ts"

/** A Node request handler. What it returns is ignored, except that a promise that rejects is a failure. */
export type Listener = (request: Http.IncomingMessage, response: Http.ServerResponse) => unknown

/** The handler threw, rejected, or closed its connection instead of answering to the end. */
export class HandlerFailure extends Data.TaggedError("HandlerFailure")<{ readonly cause: unknown }> {}

/** What the handler says, in order. `Gone` is last and instead of the rest: nobody listens any more. */
export type Said =
  | { readonly _tag: "EarlyHints"; readonly links: ReadonlyArray<string> }
  | { readonly _tag: "Head"; readonly response: Http.IncomingMessage }
  | { readonly _tag: "Data"; readonly bytes: Uint8Array }
  | { readonly _tag: "End" }
  | { readonly _tag: "Gone" }

/** The exchange's own server has limited the head already. */
const maxHeaderSize = 2 ** 30

/** Fields of the client's connection, which say nothing of the one in memory: kept from it, shown to the handler. */
const hopByHop: ReadonlySet<string> = new Set(["connection", "keep-alive", "upgrade", "expect", "transfer-encoding"])

/** Where a socket names its connection. */
const connection = Symbol("slipway/NodeHandler/connection")

/** Makes the server that runs `listener` on connections in memory. It never listens, and needs no closing. */
export const makeServer = (listener: Listener): Http.Server => {
  const server = new Http.Server(
    { headersTimeout: 0, keepAliveTimeout: 0, maxHeaderSize, requestTimeout: 0, requireHostHeader: false },
    (request, response) =>
      (request.socket as unknown as { [connection]: Connection })[connection].handle(listener, request, response)
  )
  server.maxHeadersCount = 0
  return server
}

/** Path below the mount point, and the mount point, both as they were sent; the latter as it is where a proxy has cut it. */
const split = ({ path, rawPath, rootPath }: RequestExchange["scope"]): readonly [base: string, path: string] => {
  const below = MountPoint.below({ path, rawPath, rootPath })
  const base = rawPath.slice(0, rawPath.length - below.length)
  return [decodePath(base) === rootPath ? base : rootPath, below]
}

/** Whether the request has a body, and whether only its end says how long it is. */
const framing = ({ headers, httpVersion, method }: RequestExchange["scope"]): "none" | "length" | "chunked" => {
  let length: string | undefined
  for (const [name, value] of headers) {
    if (name === "transfer-encoding") return "chunked"
    if (name === "content-length") length = value
  }
  if (length !== undefined) return length === "0" ? "none" : "length"
  return httpVersion === "2" && method !== "GET" && method !== "HEAD" ? "chunked" : "none"
}

const endedEarly = (cause: Error): Error => new Error("The handler's answer ended before it was complete", { cause })

export class Connection {
  readonly hasBody: boolean
  private readonly exchange: RequestExchange
  private readonly context: Context.Context<never>
  private readonly request: Http.ClientRequest
  private readonly ours: PipeEnd
  private readonly socket: PipeEnd
  private readonly headers: Headers
  private readonly hints: Array<ReadonlyArray<string>> = []
  private response: Http.IncomingMessage | undefined
  private serverResponse: Http.ServerResponse | undefined
  private headRead = false
  private failure: HandlerFailure | undefined
  private state: "open" | "over" | "gone" = "open"
  private wake: (() => void) | undefined

  /** Throws what Node throws for a head that its client cannot express. */
  constructor(server: Http.Server, exchange: RequestExchange, context: Context.Context<never>) {
    const { scope } = exchange
    const body = framing(scope)
    this.exchange = exchange
    this.context = context
    this.hasBody = body !== "none"
    const added = body === "chunked" && !scope.headers.some(([name]) => name === "transfer-encoding")
    // Frameworks take a request without a length for one without a body, which over HTTP/2 it need not be.
    this.headers = added ? [...scope.headers, ["transfer-encoding", "chunked"]] : scope.headers
    const isSent = (name: string) => !hopByHop.has(name) && (body !== "chunked" || name !== "content-length")
    const sent = scope.headers.filter(([name]) => isSent(name)).flat()
    // An answer with `connection: close` is then one whose handler asked for it.
    sent.push("connection", "keep-alive")
    if (body === "chunked") sent.push("transfer-encoding", "chunked")
    const { ours, socket } = NodeHandlerSocket.make(exchange, context)
    this.ours = ours
    this.socket = socket
    const path = split(scope)[1] || "/"
    this.request = Http.request({
      createConnection: () => ours,
      headers: sent,
      maxHeaderSize,
      method: scope.method,
      path: scope.queryString === "" ? path : `${path}?${scope.queryString}`
    })
    this.listen()
    Object.assign(socket, { [connection]: this })
    server.emit("connection", socket)
    // The handler runs now, not when the first part of the body comes.
    if (this.hasBody) this.request.flushHeaders()
    else this.request.end()
  }

  private listen(): void {
    const { request } = this
    request.maxHeadersCount = 0
    request.on("error", (cause) => this.fail(endedEarly(cause)))
    request.on("information", ({ rawHeaders, statusCode }) => {
      if (statusCode !== 103) return
      const links = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]!.toLowerCase() === "link")
      if (links.length > 0) this.hints.push(links)
      this.wake?.()
    })
    request.on("response", (response) => {
      this.response = response
      response.on("error", (cause) => this.fail(endedEarly(cause)))
      response.on("readable", () => this.wake?.())
      response.on("end", () => this.wake?.())
      this.wake?.()
    })
  }

  /** Runs the handler on what Node's server made of the request. */
  handle(listener: Listener, request: Http.IncomingMessage, response: Http.ServerResponse): void {
    // A body longer than its content-length says would be read as a request that no server has checked.
    if (this.serverResponse !== undefined) return void this.socket.destroy()
    this.serverResponse = response
    this.describe(request)
    // The exchange's server has a clock of its own, and a setting for the field.
    response.sendDate = false
    try {
      const returned = listener(request, response)
      if (Predicate.isPromiseLike(returned)) returned.then(undefined, (cause) => this.fail(cause))
    } catch (cause) {
      this.fail(cause)
    }
  }

  /** Shows the request as the client sent it. */
  private describe(request: Http.IncomingMessage): void {
    const { httpVersion, queryString, rootPath } = this.exchange.scope
    const { headers } = request
    delete headers.connection
    delete headers["transfer-encoding"]
    for (const [name, value] of this.headers) {
      if (hopByHop.has(name)) headers[name] = headers[name] === undefined ? value : `${String(headers[name])}, ${value}`
    }
    request.rawHeaders = this.headers.flat()
    request.httpVersion = httpVersion === "2" ? "2.0" : httpVersion
    request.httpVersionMajor = httpVersion === "2" ? 2 : 1
    request.httpVersionMinor = httpVersion === "1.1" ? 1 : 0
    if (rootPath === "") return
    const [baseUrl, path] = split(this.exchange.scope)
    Object.assign(request, { baseUrl, originalUrl: baseUrl + path + (queryString === "" ? "" : `?${queryString}`) })
  }

  // ---- towards the handler

  /** Succeeds when the handler's side has room for more, or is no longer there. */
  write(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.callback((resume) => void this.request.write(bytes, () => resume(Effect.void)))
  }

  endBody(trailers: Headers = []): void {
    this.request.addTrailers(trailers.map(([name, value]): [string, string] => [name, value]))
    this.request.end()
  }

  // ---- from the handler

  /** Waits for what the handler says next. */
  readonly next: Effect.Effect<Said, HandlerFailure> = Effect.suspend(() => {
    const said = this.poll()
    if (said !== undefined) return said instanceof HandlerFailure ? Effect.fail(said) : Effect.succeed(said)
    return Effect.flatMap(
      Effect.callback<void>((resume) => {
        this.wake = () => {
          this.wake = undefined
          resume(Effect.void)
        }
      }),
      () => this.next
    )
  })

  /** True when the handler has said nothing that was not read. */
  get isQuiet(): boolean {
    const { response } = this
    return response !== undefined && response.readableLength === 0 && !response.readableEnded && this.state === "open"
  }

  private poll(): Said | HandlerFailure | undefined {
    if (this.state === "gone") return { _tag: "Gone" }
    const links = this.hints.shift()
    if (links !== undefined) return { _tag: "EarlyHints", links }
    const { response } = this
    if (this.failure !== undefined && !(response?.complete === true)) return this.failure
    if (response === undefined) return undefined
    if (!this.headRead) {
      this.headRead = true
      return { _tag: "Head", response }
    }
    const bytes = response.read() as Buffer | null
    if (bytes !== null) return { _tag: "Data", bytes }
    return response.readableEnded ? { _tag: "End" } : undefined
  }

  private fail(cause: unknown): void {
    if (this.state === "open") {
      this.failure ??= new HandlerFailure({ cause })
      this.wake?.()
    } else if (this.state === "over") {
      this.reportLate(cause)
    }
  }

  private reportLate(cause: unknown): void {
    const { method, rawPath } = this.exchange.scope
    Effect.runForkWith(this.context)(Effect.logError(`${method} ${rawPath} failed after its answer`, cause))
  }

  // ---- the end

  /** The client or the exchange has gone: the handler sees its connection close. */
  abort(): void {
    if (this.state !== "open") return
    this.state = "gone"
    this.close()
    this.wake?.()
  }

  /** Nothing more is read: after a complete answer the handler may still have its `finish` to come. */
  finish(): void {
    if (this.state !== "open") return
    if (this.response?.complete !== true) return this.abort()
    this.state = "over"
    if (this.failure !== undefined) this.reportLate(this.failure.cause)
    const response = this.serverResponse
    if (response === undefined || response.writableFinished) this.close()
    else response.once("finish", () => this.close())
  }

  private close(): void {
    this.socket.destroy()
    this.ours.destroy()
  }
}
