import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import * as Sockets from "../../utils/sockets.ts"
import { serveStoppable } from "../../utils/stoppable.ts"

const app = App.http(({ scope, send }) =>
  Effect.andThen(scope.path === "/slow" ? Effect.sleep("10 seconds") : Effect.void, App.respond(send, 200, scope.path))
)

const opened = Effect.fnUntraced(function*(options: Parameters<typeof serveStoppable>[1] = {}) {
  const served = yield* serveStoppable(app, options)
  return { ...served, client: yield* F.open(yield* served.connect()) }
})

describe("a stream of HTTP/2 that crosses the stop of the server", () => {
  it.effect("is above the last one that GOAWAY names, so that its client knows that it is untouched [C129]", () =>
    Effect.gen(function*() {
      const { client, server, stop } = yield* opened()
      yield* client.ask(F.get(1))
      yield* client.send(F.get(3, "/slow"))
      const stopping = yield* stop
      // The client has not read yet: it asks on two more streams, one of them with a body.
      yield* client.send(F.get(5, "/late"), F.post(7, "/late"), F.data(7, "late", F.END_STREAM))
      const frames = yield* client.read
      assert.deepStrictEqual(frames.map(({ stream, type }) => `${type} ${stream}`), ["GOAWAY 0"])
      assert.deepStrictEqual(F.goawayIn(frames), { code: "NO_ERROR", last: 3 })
      yield* TestClock.adjust("10 seconds")
      yield* client.read
      assert.deepInclude(F.answerOn(client.all, 3), { status: 200, body: "/slow", ended: true })
      for (const stream of [5, 7]) assert.deepInclude(F.answerOn(client.all, stream), { status: 0, reset: undefined })
      assert.strictEqual((yield* server.stats).totalExchanges, 2)
      yield* client.bytes.end
      yield* Fiber.join(stopping)
      assert.strictEqual((yield* server.stats).totalCut, 0)
    }))

  it.live("resets nothing on a connection that was idle: what was said is read to its end", () =>
    Effect.gen(function*() {
      const server = yield* ServerNode.make({ port: 0 })
      const scope = yield* Scope.make()
      yield* Scope.provide(server.serve(app), scope)
      const socket = yield* Sockets.connect((yield* server.addresses)[0]!)
      yield* socket.send(Buffer.concat([F.preface, F.settings(), F.get(1, "/one")]))
      yield* socket.until(/\/one/)
      yield* socket.send(F.settingsAck)
      const stopping = yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      // Before anything that the server says can be read, and once more when all of it was said.
      yield* socket.send(F.get(3, "/late"))
      yield* Sockets.until(() => socket.isEnded)
      yield* socket.send(F.get(5, "/later"))
      yield* Sockets.turn
      assert.isFalse(socket.socket.destroyed)
      socket.socket.end()
      yield* Fiber.join(stopping)
      const frames = new F.FrameReader().read(Buffer.from(yield* socket.readAll, "latin1"))
      const goaway = F.goawayIn(frames)
      assert.strictEqual(goaway?.code, "NO_ERROR")
      assert.strictEqual(goaway?.last, 1)
    }).pipe(Effect.provide(capture().layer)))

  it.effect("is served in the drainWindow, as often as it comes, and refused by GOAWAY behind it", () =>
    Effect.gen(function*() {
      const { client, server, stop } = yield* opened({ drainWindow: "5 seconds" })
      yield* client.ask(F.get(1))
      const stopping = yield* stop
      for (const stream of [3, 5]) {
        yield* TestClock.adjust("2 seconds")
        assert.deepInclude(F.answerOn(yield* client.ask(F.get(stream, "/late")), stream), {
          status: 200,
          body: "/late"
        })
      }
      yield* client.send(F.get(7, "/slow"))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(F.goawayIn(yield* client.ask(F.get(9, "/late"))), { code: "NO_ERROR", last: 7 })
      yield* TestClock.adjust("10 seconds")
      yield* client.read
      assert.deepInclude(F.answerOn(client.all, 7), { status: 200, body: "/slow", ended: true })
      assert.deepInclude(F.answerOn(client.all, 9), { status: 0 })
      assert.isTrue(yield* client.bytes.isEnded)
      yield* client.bytes.end
      yield* Fiber.join(stopping)
      assert.deepInclude(yield* server.stats, { totalExchanges: 4, totalCut: 0 })
    }))

  it.effect("is served on a connection that has begun in the moment of the stop, in the drainWindow", () =>
    Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(app, { drainWindow: "5 seconds" })
      const begun = yield* connect()
      yield* begun.send(F.preface.subarray(0, 10))
      const fresh = yield* F.open(yield* connect())
      const stopping = yield* stop
      const late = F.over(begun)
      yield* late.ask(F.preface.subarray(10), F.settings(), F.get(1, "/late"))
      yield* fresh.ask(F.get(1, "/late"))
      for (const { all } of [late, fresh]) {
        assert.deepInclude(F.answerOn(all, 1), { status: 200, body: "/late" })
        assert.isUndefined(F.goawayIn(all))
      }
      yield* TestClock.adjust("5 seconds")
      for (const client of [late, fresh]) {
        assert.deepStrictEqual(F.goawayIn(yield* client.read), { code: "NO_ERROR", last: 1 })
        yield* client.bytes.end
      }
      yield* Fiber.join(stopping)
    }))
})
