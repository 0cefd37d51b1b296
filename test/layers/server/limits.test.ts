import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { capture } from "../../utils/logs.ts"
import * as Program from "../../utils/program.ts"
import { headerOf, serve } from "../../utils/serve.ts"
import * as Sockets from "../../utils/sockets.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const hello = App.http(({ send }) => App.respond(send, 200, "hello"))

describe("limits", () => {
  describe("maxConnections", () => {
    it.effect("answers one connection more with 503 and Retry-After: 5, and closes it [C139] [W29]", () =>
      Effect.gen(function*() {
        const { connect, server } = yield* serve(hello, { maxConnections: 2 })
        const [one, two] = [yield* connect(), yield* connect()]
        yield* one.send(get)
        const surplus = yield* connect()
        const answer = yield* surplus.read
        assert.isTrue(answer.startsWith("HTTP/1.1 503 Service Unavailable\r\n"))
        assert.strictEqual(headerOf(answer, "retry-after"), "5")
        assert.strictEqual(headerOf(answer, "connection"), "close")
        assert.isTrue(yield* surplus.isEnded)
        yield* surplus.send(get)
        assert.strictEqual(yield* surplus.read, "")
        // Those that were there before go on as if nothing had happened.
        yield* two.send(get)
        assert.include(yield* one.read, "200 OK")
        assert.include(yield* two.read, "200 OK")
        assert.strictEqual((yield* server.stats).totalRefused, 1)
        assert.strictEqual((yield* server.stats).totalExchanges, 2)
      }))

    it.effect("has room again when a connection has closed [C139] [W29]", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(hello, { maxConnections: 1 })
        for (let n = 0; n < 3; n++) {
          const client = yield* connect()
          yield* client.send(get)
          assert.include(yield* client.read, "200 OK")
          yield* client.end
        }
      }))

    it.effect("does not let refused connections pile up, whether they close or not", () =>
      Effect.gen(function*() {
        const { connect, server } = yield* serve(hello, { maxConnections: 1 })
        const first = yield* connect()
        const connectMany = Effect.forEach(Array.from({ length: 1100 }), () => connect())
        const surplus = yield* connectMany
        yield* ServerMemory.settle
        assert.strictEqual((yield* server.stats).connections, 1001)
        assert.strictEqual((yield* server.stats).totalRefused, 1100)
        const answers = yield* Effect.forEach(surplus, (client) => client.read)
        assert.strictEqual(answers.filter((answer) => answer.startsWith("HTTP/1.1 503 ")).length, 1000)
        assert.strictEqual(answers.filter((answer) => answer === "").length, 100)
        yield* first.send(get)
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual((yield* server.stats).connections, 1)
        assert.include(yield* first.read, "200 OK")
      }).pipe(Effect.provide(capture().layer)))
  })

  it.live("survives running out of file descriptors: closes idle connections and accepts again [C140]", () =>
    Effect.gen(function*() {
      const program = yield* Program.start(
        `
        import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
        import * as Effect from "effect/Effect"
        import * as Layer from "effect/Layer"
        import * as ServerNode from "./layers/ServerNode.ts"
        import * as App from "./src/app/App.ts"
        import * as Server from "./src/service/Server.ts"
        const app = App.http(({ scope, send }) =>
          scope.path === "/holds" ? Effect.never : App.respond(send, 200, "hello"))
        const announce = Layer.effectDiscard(Effect.gen(function*() {
          const [address] = yield* (yield* Server.Server).addresses
          console.log("port " + address.port)
        }))
        announce.pipe(
          Layer.provide(Server.serve(app)),
          Layer.provide(ServerNode.layer({ port: 0 })),
          Layer.launch,
          NodeRuntime.runMain
        )
        `,
        "ulimit -n 64"
      )
      const [, port] = yield* program.prints(/port (\d+)/)
      const connect = Sockets.connect({ _tag: "tcp", host: "127.0.0.1", port: Number(port) })
      const holding = yield* connect
      yield* holding.send("GET /holds HTTP/1.1\r\nHost: a\r\n\r\n")
      const clients = yield* Effect.forEach(Array.from({ length: 100 }), () => connect)
      yield* Effect.forEach(clients, (client) => client.send(get), { concurrency: "unbounded" }).pipe(Effect.ignore)
      // Some are served and stay open, until descriptors run out; the others are closed without a word.
      yield* Sockets.until(() => clients.every((client) => client.isEnded || client.receivedBytes > 0))
      const served = clients.filter((client) => client.receivedBytes > 0)
      assert.isAbove(served.length, 10)
      assert.isBelow(served.length, 60)

      yield* program.prints(/Out of file descriptors: new connections are lost. Closed \d+ idle ones/)
      yield* Sockets.until(() => served.every((client) => client.isEnded))
      assert.isFalse(holding.isEnded)
      for (let n = 0; n < 20; n++) {
        const client = yield* connect
        yield* client.send(get)
        yield* client.until(/hello$/)
      }
      yield* program.prints(/There are file descriptors again/)
      assert.strictEqual(program.output.split("Out of file descriptors").length, 2)
      assert.isUndefined(program.exitCode)
    }))
})
