/** RpcServer over HTTP and over WebSockets, in every serialization: calls, errors, streams, interruption, headers. */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { assert, describe } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import { address, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

class User extends Schema.Class<User>("User")({ id: Schema.String, born: Schema.Date }) {}
class Unknown extends Schema.TaggedError<Unknown>()("Unknown", { id: Schema.String }) {}

const Rpcs = RpcGroup.make(
  Rpc.make("Find", { payload: { id: Schema.String }, success: User, error: Unknown }),
  Rpc.make("Count", { payload: { to: Schema.Number }, success: Schema.Number, error: Unknown, stream: true }),
  Rpc.make("Who", { success: Schema.String }),
  Rpc.make("Die"),
  Rpc.make("Wait")
)

/** The handlers, and what became of the waiting one. */
const handlers = Effect.gen(function*() {
  const started = yield* Deferred.make<void>()
  const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
  const layer = Rpcs.toLayer({
    Find: ({ id }) =>
      id === "1" ? Effect.succeed(new User({ id, born: new Date(0) })) : Effect.fail(new Unknown({ id })),
    Count: ({ to }) =>
      to < 0 ? Stream.concat(Stream.make(0), Stream.fail(new Unknown({ id: `${to}` }))) : Stream.range(1, to),
    Who: (_, { headers }) => Effect.succeed(headers["x-user"] ?? "nobody"),
    Die: () => Effect.die("defect"),
    Wait: () =>
      Deferred.succeed(started, undefined).pipe(
        Effect.andThen(Effect.never),
        Effect.onExit((exit) => Deferred.succeed(ended, exit))
      )
  })
  return { layer, started, ended }
})

const serializations = {
  json: RpcSerialization.layerJson,
  ndjson: RpcSerialization.layerNdjson,
  "JSON-RPC": RpcSerialization.layerJsonRpc(),
  "JSON-RPC by lines": RpcSerialization.layerNdJsonRpc(),
  "binary schemas": RpcSerialization.layerSchemaBinary()
}

type Protocol = "http" | "websocket"

const webSocket = (url: string) =>
  Layer.provide(Layer.effect(Socket.Socket, Socket.makeWebSocket(url)), NodeWS.layerWebSocketConstructor)

const clientOf = (protocol: Protocol, serialization: Layer.Layer<RpcSerialization.RpcSerialization>) =>
  Effect.gen(function*() {
    const at = yield* address
    const host = at._tag === "tcp" ? `${at.host}:${at.port}` : ""
    const transport = protocol === "http"
      ? Layer.provide(RpcClient.layerProtocolHttp({ url: `http://${host}/rpc` }), FetchHttpClient.layer)
      : Layer.provide(RpcClient.layerProtocolSocket(), webSocket(`ws://${host}/rpc`))
    const context = yield* Layer.build(Layer.provide(transport, serialization))
    return yield* Effect.provideContext(RpcClient.make(Rpcs), context)
  })

export const rpc = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  const serveAndConnect = (protocol: Protocol, serialization: Layer.Layer<RpcSerialization.RpcSerialization>) =>
    Effect.gen(function*() {
      const { ended, layer, started } = yield* handlers
      yield* serveRoutes(
        RpcServer.layerHttp({ group: Rpcs, path: "/rpc", protocol }).pipe(
          Layer.provide(layer),
          Layer.provide(serialization)
        )
      )
      return { client: yield* clientOf(protocol, serialization), ended, started }
    })

  const suite = (protocol: Protocol, name: string, serialization: Layer.Layer<RpcSerialization.RpcSerialization>) => {
    describe(`RpcServer over ${protocol} in ${name}`, () => {
      test("answers calls, many at once, with results, errors and defects", () =>
        Effect.gen(function*() {
          const { client } = yield* serveAndConnect(protocol, serialization)
          const user = yield* client.Find({ id: "1" })
          assert.deepStrictEqual(user, new User({ id: "1", born: new Date(0) }))
          const ids = Array.from({ length: 20 }, (_, i) => `x${i}`)
          const errors = yield* Effect.forEach(
            ids,
            (id) => Effect.flip(client.Find({ id })),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(errors.map((error) => error._tag === "Unknown" ? error.id : error._tag), ids)
          const defect = yield* Effect.exit(client.Die())
          assert.isTrue(Exit.isFailure(defect) && Cause.pretty(defect.cause).includes("defect"))
        }))

      test("streams results, and errors after results", () =>
        Effect.gen(function*() {
          const { client } = yield* serveAndConnect(protocol, serialization)
          assert.deepStrictEqual(
            yield* Stream.runCollect(client.Count({ to: 100 })),
            Array.from({ length: 100 }, (_, i) => i + 1)
          )
          const seen: Array<number> = []
          const error = yield* client.Count({ to: -1 }).pipe(
            Stream.runForEach((n) => Effect.sync(() => void seen.push(n))),
            Effect.flip
          )
          assert.strictEqual(error._tag, "Unknown")
          assert.deepStrictEqual(seen, [0])
        }))

      test("passes headers on", () =>
        Effect.gen(function*() {
          const { client } = yield* serveAndConnect(protocol, serialization)
          assert.strictEqual(yield* RpcClient.withHeaders(client.Who(), { "x-user": "me" }), "me")
        }))

      test("interrupts a call that the client gives up", () =>
        Effect.gen(function*() {
          const { client, ended, started } = yield* serveAndConnect(protocol, serialization)
          const waiting = yield* Effect.forkChild(client.Wait())
          yield* Deferred.await(started)
          yield* Fiber.interrupt(waiting)
          const exit = yield* Deferred.await(ended)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
        }))
    })
  }

  for (const [name, serialization] of Object.entries(serializations)) {
    suite("http", name, serialization)
    suite("websocket", name, serialization)
  }

  describe("RpcServer as a handler", () => {
    test("stands in any route", () =>
      Effect.gen(function*() {
        const { layer } = yield* handlers
        const serialization = serializations.ndjson
        const handler = yield* Effect.provide(RpcServer.toHttpEffect(Rpcs), Layer.merge(layer, serialization))
        yield* serveRoutes(HttpRouter.add("POST", "/rpc", handler))
        const client = yield* clientOf("http", serialization)
        assert.strictEqual((yield* client.Find({ id: "1" })).id, "1")
      }))
  })
}
