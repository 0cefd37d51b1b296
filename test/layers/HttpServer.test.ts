import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpServerEffect from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Http from "node:http"
import * as HttpServer from "../../layers/HttpServer.ts"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import { ServerError } from "../../src/service/Server.ts"
import { httpServerContract } from "../contract/HttpServer.ts"
import { capture, slipway } from "../utils/httpServers.ts"
import { bodyOf } from "../utils/serve.ts"

httpServerContract(slipway)

const hello = HttpServerEffect.serveEffect(Effect.succeed(HttpServerResponse.text("hello")))
const quiet = Effect.provide(capture().layer)

describe("HttpServer", () => {
  it.live("layerTest serves on a free port of the loopback interface, with a client that knows it", () =>
    Effect.gen(function*() {
      yield* hello
      assert.strictEqual(yield* (yield* HttpClient.get("/")).text, "hello")
      const { address } = yield* HttpServerEffect.HttpServer
      assert.isTrue(NetAddress.isInetAddress(address) && NetAddress.isLoopback(address.address))
    }).pipe(Effect.provide(HttpServer.layerTest), quiet))

  it.live("layerConfig takes its options from Config", () =>
    Effect.gen(function*() {
      const { address } = yield* HttpServerEffect.HttpServer
      assert.match(HttpServerEffect.formatAddress(address), /^http:\/\/127\.0\.0\.1:[1-9]/)
    }).pipe(
      Effect.provide(HttpServer.layerConfig({ host: Config.String("HOST"), port: Config.Int("PORT") })),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ HOST: "127.0.0.1", PORT: "0" }))),
      quiet
    ))

  it.live("layer fails with ServeError for an address that is taken and a setting that cannot be used", () =>
    Effect.gen(function*() {
      const { address } = yield* HttpServerEffect.HttpServer
      const port = NetAddress.isInetAddress(address) ? address.port : 0
      for (const options of [{ port }, { port: -1 }]) {
        const layer = Layer.fresh(HttpServer.layer({ host: "127.0.0.1", ...options }))
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.strictEqual(error._tag, "ServeError")
        assert.instanceOf(error.cause, ServerError)
      }
    }).pipe(Effect.provide(HttpServer.layer({ host: "127.0.0.1", port: 0 })), quiet))

  it.live("listens on unix sockets, and names them as NodeHttpServer does", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* fs.makeTempDirectoryScoped()
      const named = (layer: Layer.Layer<HttpServerEffect.HttpServer, unknown>) =>
        Effect.scoped(Effect.map(Layer.build(layer), (context) =>
          HttpServerEffect.formatAddress(Context.get(context, HttpServerEffect.HttpServer).address)))
      const path = `${directory}/app.sock`
      const theirs = yield* named(NodeHttpServer.layer(() =>
        Http.createServer(), { path }))
      assert.strictEqual(yield* named(HttpServer.layer({ unix: path })), theirs)
      assert.include(theirs, path)
    }).pipe(Effect.provide(NodeFileSystem.layer), quiet))

  it.live("two layers in one program are two servers", () =>
    Effect.gen(function*() {
      const places: Array<string> = []
      const program = (name: string) =>
        HttpServerEffect.addressFormattedWith((place) => Effect.sync(() => void places.push(place))).pipe(
          Layer.effectDiscard,
          Layer.merge(HttpServerEffect.serve(Effect.succeed(HttpServerResponse.text(name)))),
          Layer.provide(HttpServer.layer({ host: "127.0.0.1", port: 0 }))
        )
      yield* Layer.build(Layer.merge(program("one"), program("two")))
      const answers = yield* Effect.forEach(
        places,
        (place) => Effect.flatMap(HttpClient.get(place), ({ text }) => text)
      )
      assert.deepStrictEqual(answers.toSorted(), ["one", "two"])
    }).pipe(Effect.provide(FetchHttpClient.layer), quiet))

  it.effect("layerServer serves on whatever Server is there, in memory too", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Layer.provideMerge(HttpServer.layerServer, ServerMemory.layer()))
      yield* Effect.provideContext(hello, context)
      const client = yield* Context.get(context, ServerMemory.Network).connect()
      yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
      assert.strictEqual(bodyOf(yield* client.read), "hello")
    }).pipe(quiet))
})
