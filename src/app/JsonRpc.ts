/**
 * JSON-RPC 2.0 with Schemas: methods as values, served over HTTP, WebSocket and server-sent events by one App, and
 * called by a client that is typed by the same methods. This file is the whole public face.
 *
 * What runs a message is in internal/JsonRpcDispatch.ts; every way in and out goes through it.
 *
 * **Source** JSON-RPC 2.0 (https://www.jsonrpc.org/specification), OpenRPC 1.3.
 */
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as Rpc_ from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as App from "./App.ts"
import type { Requested } from "./internal/JsonRpcCalls.ts"
import * as Client_ from "./internal/JsonRpcClient.ts"
import * as Discover from "./internal/JsonRpcDiscover.ts"
import * as Dispatch from "./internal/JsonRpcDispatch.ts"
import type { RpcError } from "./internal/JsonRpcError.ts"
import * as Group from "./internal/JsonRpcGroup.ts"
import * as Message from "./internal/JsonRpcMessage.ts"
import * as Method_ from "./internal/JsonRpcMethod.ts"
import * as Serve from "./internal/JsonRpcServe.ts"
import * as Session from "./internal/JsonRpcSession.ts"
import type { SendError } from "./SendError.ts"

export type { Requested } from "./internal/JsonRpcCalls.ts"
export type { Client, Failure, Transport } from "./internal/JsonRpcClient.ts"
export type { Document, Info } from "./internal/JsonRpcDiscover.ts"
export { Call, Peer } from "./internal/JsonRpcDispatch.ts"
export type { Caller, Middleware } from "./internal/JsonRpcDispatch.ts"
export { CallError, codes, RpcError } from "./internal/JsonRpcError.ts"
export type { CallErrorReason } from "./internal/JsonRpcError.ts"
export type { Id } from "./internal/JsonRpcMessage.ts"
export type {
  AnyCodec,
  AnyDeclaration,
  AnyMethod,
  Arguments,
  CodedError,
  Declaration,
  ErrorOf,
  ErrorSpec,
  Implementation,
  Method,
  ParamsOf,
  ParamsSpec,
  ServicesOf,
  Spec,
  SuccessOf
} from "./internal/JsonRpcMethod.ts"

// ---- methods

/**
 * Declares a method without the Effect that runs it: for clients, and for what a server calls on its clients.
 *
 * Throws a RangeError for a name that begins with `rpc.`, which JSON-RPC reserves.
 */
export const declare = Method_.declare

/**
 * Gives a declaration its Effect. The handler may fail with the declared errors and with `RpcError`; whatever else goes
 * wrong is logged once with its cause, and the client learns `-32603 Internal error` and nothing more.
 *
 * It runs with `Call` and `Peer` in its context, and is interrupted when its client goes away.
 */
export const implement = Method_.implement

/**
 * Declares and implements a method.
 *
 * **Example**
 * ```ts
 * const divide = JsonRpc.method(
 *   "divide",
 *   { params: { a: Schema.Finite, b: Schema.Finite }, success: Schema.Finite, errors: [JsonRpc.error(1, DivisionByZero)] },
 *   ({ a, b }) => b === 0 ? Effect.fail(new DivisionByZero()) : Effect.succeed(a / b)
 * )
 * ```
 */
export const method = <
  const Name extends string,
  P extends Method_.ParamsSpec | undefined = undefined,
  A extends Method_.AnyCodec = Schema.Void,
  const Es extends ReadonlyArray<Method_.ErrorSpec> = [],
  R = never,
  R2 = never
>(
  name: Name,
  spec: Method_.Spec<P, A, Es> & Method_.Implementation<R2>,
  handler: (
    params: Method_.TypeOfParams<P>
  ) => Effect.Effect<NoInfer<A["Type"]>, NoInfer<Method_.TypeOfError<Es[number]>> | RpcError, R>
): Method_.Method<
  Name,
  Method_.TypeOfParams<P>,
  A["Type"],
  Method_.TypeOfError<Es[number]>,
  Exclude<R, Dispatch.Call | Dispatch.Peer> | R2
> => Method_.implement(Method_.declare(name, spec), handler, spec)

/**
 * Declares an error with a code of its own. On the wire it is `{ code, message, data }`: its message (or its tag, where
 * that is empty), and in `data` the error as its Schema encodes it, from which a client makes the same error again.
 *
 * Throws a RangeError for a code that is no integer or is reserved (-32768 to -32100).
 */
export const error = Method_.error

/**
 * Tells the caller how far the method is: a notification `$/progress` with `{ token, value }`, where the token is the
 * id of the call. `value` must be JSON. Over plain HTTP, and for notifications, nothing is sent.
 */
export const progress = (value: unknown): Effect.Effect<void, never, Dispatch.Call> =>
  Dispatch.Call.use((call) => call.progress(value))

// ---- serving

/** Everything has a default. The size of a message is bounded by the server: `maxBodyBytes`, `wsMaxMessageBytes`. */
export interface Options<R = never> {
  /** Requests in one batch. Default 100; a longer batch is refused whole with -32600. */
  readonly maxBatch?: number
  /** Levels of nesting in a message. Default 128 (serde_json has the same); a deeper one is refused with -32600. */
  readonly maxDepth?: number
  /** Requests of one batch that run at the same time. Default 16; the others wait. */
  readonly concurrency?: number
  /**
   * Requests of one WebSocket that run at the same time. Default 64; above it the WebSocket is not read. While a method
   * waits for the client's own answer reading goes on, and what has no place is answered with -32000.
   */
  readonly maxInFlight?: number
  /** Around every method; the first is the outermost. A name without a method is refused before. Default: none. */
  readonly middleware?: ReadonlyArray<Dispatch.Middleware<R>>
  /** Offers the method `rpc.discover`, which yields the OpenRPC document. Default: it is not offered. */
  readonly info?: Discover.Info
}

/** A set of methods, ready to be served. */
export interface Rpc<out M extends Method_.AnyDeclaration, out R> {
  readonly methods: ReadonlyArray<M>
  /** Serves the methods by kind of exchange: HTTP POST, WebSocket, POST that accepts an event stream. */
  readonly app: App.App<SendError, R>
  /** Answers a text with a text, `undefined` for notifications. What every other way does, for transports of your own. */
  readonly handle: (text: string | Uint8Array) => Effect.Effect<string | undefined, never, R>
  /** What `rpc.discover` yields; `undefined` without `info`. */
  readonly document: Discover.Document | undefined
  /** Of no use outside of `client`. */
  readonly "~serves": Client_.Serves<R>
}

/**
 * Makes a set of methods out of methods, with options before them or not.
 *
 * Throws a RangeError when two methods have the same name, or a limit is not a positive integer.
 */
export const make: {
  <const Ms extends ReadonlyArray<Method_.AnyMethod>>(...methods: Ms): Rpc<Ms[number], Method_.ServicesOf<Ms[number]>>
  <const Ms extends ReadonlyArray<Method_.AnyMethod>, R2 = never>(
    options: Options<R2>,
    ...methods: Ms
  ): Rpc<Ms[number], Method_.ServicesOf<Ms[number]> | R2>
} = (...given: ReadonlyArray<Method_.AnyMethod | Options<unknown>>): Rpc<never, never> => {
  const [first] = given
  const hasOptions = first !== undefined && !("run" in first)
  // The overloads say what is needed; here it is some R.
  return build(
    (hasOptions ? given.slice(1) : given) as ReadonlyArray<Method_.AnyMethod>,
    hasOptions ? first : {}
  ) as unknown as Rpc<never, never>
}

/**
 * Serves a group of `effect/rpc` as JSON-RPC: each Rpc is a method of the same name, its payload the parameters. The
 * group's handlers and middleware come from its own Layers.
 *
 * Throws a RangeError for an Rpc that yields a stream: JSON-RPC has one answer. Use `group.omit`.
 */
export const fromRpcGroup = <Rpcs extends Rpc_.Any, R2 = never>(
  group: RpcGroup.RpcGroup<Rpcs>,
  options: Options<R2> = {}
): Rpc<Group.FromRpc<Rpcs>, Group.Services<Rpcs> | R2> =>
  build(Group.methods(group) as ReadonlyArray<Method_.AnyMethod>, options) as unknown as Rpc<
    Group.FromRpc<Rpcs>,
    Group.Services<Rpcs> | R2
  >

const build = (
  served: ReadonlyArray<Method_.AnyMethod>,
  options: Options<unknown>
): Rpc<Method_.AnyMethod, unknown> => {
  const limits = limitsOf(options)
  const document = options.info === undefined ? undefined : Discover.document(options.info, served)
  const methods = new Map<string, Method_.AnyMethod>()
  for (const method of served) {
    if (methods.has(method.name)) throw new RangeError(`There are two methods named '${method.name}'`)
    methods.set(method.name, method)
  }
  if (document !== undefined) methods.set("rpc.discover", discover(document))
  const dispatch = Dispatch.make({ methods, middleware: options.middleware ?? [], concurrency: limits.concurrency })
  return {
    methods: served,
    document,
    app: App.byType<SendError, unknown>({
      http: Serve.http(dispatch, limits),
      sse: Serve.sse(dispatch, limits),
      websocket: Serve.websocket(dispatch, limits)
    }),
    handle: (text) =>
      Effect.suspend(() =>
        Effect.scopedWith((scope) => dispatch(Message.parse(text, limits), Session.mute(undefined, scope)))
      ),
    "~serves": { dispatch, limits }
  }
}

const limitsOf = (options: Options<unknown>): Session.Limits => {
  const { concurrency = 16, maxBatch = 100, maxDepth = 128, maxInFlight = 64 } = options
  const limits = { concurrency, maxBatch, maxDepth, maxInFlight }
  for (const [name, limit] of Object.entries(limits)) {
    if (!Number.isSafeInteger(limit) || limit < 1) {
      throw new RangeError(`${name} must be a positive integer, not ${String(limit)}`)
    }
  }
  return limits
}

const discover = (document: Discover.Document): Method_.AnyMethod => ({
  ...Method_.declare("discover", { success: Schema.Unknown }),
  name: "rpc.discover",
  run: () => Effect.succeed(document),
  middleware: []
})

// ---- calling

/**
 * Makes a client of the methods of an Rpc, or of declarations, over a transport. It lives as long as the scope.
 *
 * Where the transport goes both ways, `serves` is what the server may call; without it every call of the server is
 * answered with -32601.
 *
 * **Example**
 * ```ts
 * const client = yield* JsonRpc.client([subtract], yield* JsonRpc.transportHttp("http://127.0.0.1:5000/rpc"))
 * const difference = yield* client.subtract({ minuend: 42, subtrahend: 23 })
 * ```
 */
export const client = <D extends Method_.AnyDeclaration, R = never>(
  source: { readonly methods: ReadonlyArray<D> } | ReadonlyArray<D>,
  transport: Client_.Transport,
  serves?: Rpc<Method_.AnyDeclaration, R>
): Effect.Effect<Client_.Client<D>, never, R | Scope.Scope> =>
  Client_.make<D, R>(
    "methods" in source ? source.methods : source,
    transport,
    // Without methods nothing needs R.
    serves?.["~serves"] ?? deaf as Client_.Serves<never>
  )

const deaf = build([], {})["~serves"]

/** A call to be sent with others: `client.batch(JsonRpc.request(add, [1, 2]), JsonRpc.request(get, { id: 1 }))`. */
export const request = <D extends Method_.AnyDeclaration>(
  declaration: D,
  ...params: Method_.Arguments<D>
): Requested<D> => ({ declaration, params: params[0] })

/** A transport that POSTs each message to `url` with effect's HttpClient. */
export const transportHttp: (url: string | URL) => Effect.Effect<Client_.Transport, never, HttpClient.HttpClient> =
  Client_.transportHttp

/** A transport over a socket in which each piece is a message, which is a WebSocket. Reads until the scope closes. */
export const transportSocket: (
  socket: Socket.Socket
) => Effect.Effect<Client_.Transport, Socket.SocketError, Scope.Scope> = Client_.transportSocket

/** A transport made of two functions. A failure of `receive` is the end of the connection. */
export const transport: <E1, E2>(functions: {
  readonly send: (text: string) => Effect.Effect<void, E1>
  readonly receive: Effect.Effect<string | Uint8Array, E2>
}) => Client_.Transport = Client_.transport
