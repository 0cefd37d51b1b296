import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as App from "../../src/app/App.ts"
import * as Server from "../../src/service/Server.ts"
import { type Connection, serverContract } from "../contract/Server.ts"
import { capture } from "../utils/logs.ts"
import * as Sockets from "../utils/sockets.ts"

serverContract("ServerNode", {
  make: (options) => ServerNode.make(options.listen === undefined ? { port: 0, ...options } : options),
  connect: (server) =>
    Effect.gen(function*() {
      const [address] = yield* server.addresses
      if (address === undefined) return yield* Effect.fail("it does not listen")
      return yield* Sockets.connect(address)
    })
})

const networks = new WeakMap<typeof Server.Server.Service, typeof ServerMemory.Network.Service>()
serverContract("ServerMemory", {
  make: (options) =>
    Effect.map(ServerMemory.make(options), ({ network, server }) => {
      networks.set(server, network)
      return server
    }),
  connect: (server) =>
    Effect.map(networks.get(server)!.connect(), (client): Connection => ({
      send: client.send,
      readAll: Effect.tap(client.readAll, () => client.end)
    }))
})

describe("Server", () => {
  describe("formatAddress", () => {
    it("writes an address as it is typed into a browser, or as unix:path", () => {
      assert.strictEqual(Server.formatAddress({ _tag: "tcp", host: "127.0.0.1", port: 80 }), "http://127.0.0.1:80")
      assert.strictEqual(Server.formatAddress({ _tag: "tcp", host: "::1", port: 5000 }), "http://[::1]:5000")
      assert.strictEqual(Server.formatAddress({ _tag: "unix", path: "/run/app.sock" }), "unix:/run/app.sock")
    })
  })

  describe("ServerError", () => {
    it("says in its message what happened and what to do", () => {
      const error = new Server.ServerError({
        reason: {
          _tag: "ListenFailed",
          address: { _tag: "tcp", host: "127.0.0.1", port: 80 },
          code: "EACCES",
          advice: "use another port"
        }
      })
      assert.strictEqual(error.message, "Cannot listen on http://127.0.0.1:80 (EACCES): use another port")
    })
  })

  describe("serve", () => {
    const app = App.http(({ send }) => App.respond(send, 200, "hello"))

    it.effect("is a Layer that serves while it lives", () =>
      Effect.gen(function*() {
        const network = yield* ServerMemory.Network
        const client = yield* network.connect()
        yield* client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.include(yield* client.read, "hello")
      }).pipe(
        Effect.provide(Server.serve(app).pipe(Layer.provideMerge(ServerMemory.layer()))),
        Effect.provide(capture().layer)
      ))

    it.effect("fails the Layer when the application does not start", () =>
      Effect.gen(function*() {
        const refusing = App.byType({
          lifespan: ({ send }) => send({ type: "lifespan.startup.failed", message: "no" })
        })
        const layer = Server.serve(refusing).pipe(Layer.provide(ServerMemory.layer()))
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.strictEqual(error.message, "The application did not start: no")
      }))
  })

  describe("ServerNode.layerConfig", () => {
    it.live("takes the options from the ConfigProvider", () =>
      Effect.gen(function*() {
        const layer = ServerNode.layerConfig({ host: Config.String("HOST"), port: Config.Int("PORT") }).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ HOST: "::1", PORT: "0" })))
        )
        const server = yield* Server.Server.pipe(Effect.provide(layer))
        yield* server.serve(App.http(({ send }) => App.respond(send, 200)))
        assert.match(Server.formatAddress((yield* server.addresses)[0]!), /^http:\/\/\[::1\]:\d+$/)
      }).pipe(Effect.provide(capture().layer)))

    it.effect("fails for a setting that cannot be used", () =>
      Effect.gen(function*() {
        const layer = ServerNode.layerConfig({ backlog: Config.Int("BACKLOG") }).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ BACKLOG: "0" })))
        )
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.include(error.message, "backlog")
      }))
  })
})
