import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Http2 from "node:http2"
import { makePipe } from "../../../layers/internal/MemoryPipe.ts"
import type { ServerCore } from "../../../layers/internal/ServerCore.ts"
import { makeServer } from "../../../layers/internal/serving.ts"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import * as Answers from "../../utils/answers.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"
import * as Sockets from "../../utils/sockets.ts"
import { bodyOf, opened, openedStoppable, routes, stillServes, watching } from "./serving.ts"

const version = App.http(({ scope, send }) => App.respond(send, 200, `${scope.httpVersion} ${scope.path}`))
const slowly = (answer = "slow") => ({ send }: App.HttpExchange) =>
  Effect.andThen(Effect.sleep("10 seconds"), App.respond(send, 200, answer))

describe("the beginning of an HTTP/2 connection", () => {
  it.effect("is its preface, in whatever pieces it comes, beside HTTP/1.1 on the same port [C125]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(version)
      const bytes = Buffer.concat([F.preface, F.settings(), F.get(1, "/two")])
      for (let cut = 1; cut < bytes.length; cut++) {
        const client = F.over(yield* connect())
        yield* client.send(bytes.subarray(0, cut))
        const frames = yield* client.ask(bytes.subarray(cut))
        assert.strictEqual(F.answerOn(client.all, 1).body, "2 /two", `cut at ${cut}`)
        assert.isUndefined(F.goawayIn(frames))
      }
      const plain = yield* connect()
      yield* plain.send(Answers.request("GET /one"))
      assert.strictEqual(Answers.answerIn(yield* plain.read).body, "1.1 /one")
    }))

  it.effect("byte by byte, and with requests behind it at once", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(version)
      const client = F.over(yield* connect())
      for (const byte of F.preface) yield* client.bytes.send(Buffer.from([byte]))
      yield* client.ask(F.settings(), F.get(1, "/a"), F.get(3, "/b"))
      assert.strictEqual(F.answerOn(client.all, 1).body, "2 /a")
      assert.strictEqual(F.answerOn(client.all, 3).body, "2 /b")
    }))

  it.effect("is not PRI as a method of HTTP/1.1", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(version)
      const client = yield* connect()
      yield* client.send("PRI * HTTP/1.1\r\nhost: a\r\n\r\n")
      assert.strictEqual(Answers.answerIn(yield* client.read).status, 400)
      assert.isTrue(yield* client.isEnded)
    }))

  for (const rest of ["\r\n\r\nXX\r\n\r\n", "\r\nhost: a\r\n\r\n", "\r\n\r\nSM\r\n\nGET"]) {
    it.effect(`is no other text that begins like it: ${JSON.stringify(rest)}`, () =>
      Effect.gen(function*() {
        const { connect, server } = yield* serve(version)
        const client = F.over(yield* connect())
        const frames = yield* client.ask(Buffer.from(`PRI * HTTP/2.0${rest}`))
        assert.strictEqual(F.goawayIn(frames)?.code, "PROTOCOL_ERROR")
        assert.isTrue(yield* client.bytes.isEnded)
        yield* client.bytes.end
        assert.strictEqual((yield* server.stats).connections, 0)
        assert.strictEqual(yield* stillServes(connect), 200)
      }))
  }

  it.effect("is not behind a request of HTTP/1.1: that gets 505 [C125]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(version)
      const client = yield* connect()
      yield* client.send(Buffer.concat([Buffer.from(Answers.request("GET /")), F.preface, F.settings(), F.get(1)]))
      assert.deepStrictEqual(Answers.answersIn(yield* client.read).map(({ status }) => status), [200, 505])
      assert.isTrue(yield* client.isEnded)
    }))

  it.effect("gets 505 when the server does not speak it", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(version, { http2: false })
      const client = yield* connect()
      yield* client.send(Buffer.concat([F.preface, F.settings(), F.get(1)]))
      assert.strictEqual(Answers.answerIn(yield* client.read).status, 505)
      assert.isTrue(yield* client.isEnded)
    }))

  it.effect("gets 505 over TLS where ALPN has not chosen it (RFC 9113 section 3.2)", () =>
    Effect.gen(function*() {
      let core: ServerCore | undefined
      const server = yield* makeServer({}, (serving) => Effect.sync(() => (core = serving, [])))
      yield* server.serve(version)
      const [client, end] = makePipe()
      const chunks: Array<Buffer> = []
      client.on("data", (chunk: Buffer) => chunks.push(chunk))
      // What a TLS socket has when its client did not ask.
      Object.assign(end, { alpnProtocol: false })
      core!.accept(end, { client: ["127.0.0.1", 1], server: ["127.0.0.1", 2], scheme: "https", alpnProtocol: false })
      client.write(Buffer.concat([F.preface, F.settings(), F.get(1)]))
      yield* ServerMemory.settle
      assert.strictEqual(Answers.answerIn(Buffer.concat(chunks).toString("latin1")).status, 505)
      client.destroy()
      yield* ServerMemory.settle
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("counts as one connection, and as none when it has closed", () =>
    Effect.gen(function*() {
      const { client, connect, server } = yield* opened(version)
      yield* F.open(yield* connect())
      assert.deepInclude(yield* server.stats, { connections: 2, totalConnections: 2 })
      yield* client.bytes.end
      assert.strictEqual((yield* server.stats).connections, 1)
      assert.isTrue(yield* client.bytes.isEnded)
    }))

  it.live("works on a real socket, with a client that others wrote [C125] [C126] [W121]", () =>
    Effect.gen(function*() {
      const server = yield* ServerNode.make({ port: 0 })
      yield* server.serve(App.http((exchange) =>
        Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, `${exchange.scope.path} ${body}`))
      ))
      const [address] = yield* server.addresses
      assert.ok(address?._tag === "tcp")
      const session = yield* Effect.acquireRelease(
        Effect.sync(() =>
          Http2.connect(`http://127.0.0.1:${address.port}`)
        ),
        (session) => Effect.sync(() => session.destroy())
      )
      const answers = Array.from({ length: 50 }, (_, n) => {
        const stream = session.request({ ":method": "POST", ":path": `/${n}` })
        const seen = { body: "", closed: false }
        stream.setEncoding("utf8").on("data", (text: string) => seen.body += text).on("close", () => seen.closed = true)
        stream.end("x".repeat(n))
        return seen
      })
      yield* Sockets.until(() => answers.every(({ closed }) => closed))
      answers.forEach(({ body }, n) => assert.strictEqual(body, `/${n} ${"x".repeat(n)}`))
      const plain = yield* Sockets.connect(address)
      yield* plain.send(Answers.request("GET /one"))
      yield* plain.until(/\/one/)
    }).pipe(Effect.provide(capture().layer)))
})

describe("the waits of an HTTP/2 connection", () => {
  it.effect("end it when no request comes in headerTimeout, though there are other frames", () =>
    Effect.gen(function*() {
      const { client, server } = yield* opened(version)
      for (let second = 0; second < 9; second++) {
        yield* TestClock.adjust("1 second")
        yield* client.send(F.ping())
      }
      assert.strictEqual((yield* server.stats).connections, 1)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(F.goawayIn(yield* client.read), { code: "NO_ERROR", last: 0 })
      assert.isTrue(yield* client.bytes.isEnded)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("are HTTP/1.1's until the preface is recognized, and its own from then on", () =>
    Effect.gen(function*() {
      const { connect, server } = yield* serve(version)
      const client = yield* connect()
      yield* client.send(F.preface.subarray(0, 10))
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(Answers.answerIn(yield* client.read).status, 408)
      assert.isTrue(yield* client.isEnded)
      yield* client.end
      const later = F.over(yield* connect())
      yield* later.send(F.preface.subarray(0, 20))
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual(F.goawayIn(yield* later.read), { code: "NO_ERROR", last: 0 })
      yield* later.bytes.end
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("end it after keepAliveTimeout without a stream, not while there is one", () =>
    Effect.gen(function*() {
      const { client, server } = yield* opened(routes({ "/slow": slowly() }), { keepAliveTimeout: "5 seconds" })
      yield* client.send(F.get(1, "/slow"))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(F.answerOn(yield* client.read, 1).status, 200)
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(F.goawayIn(yield* client.read))
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(F.goawayIn(yield* client.read), { code: "NO_ERROR", last: 1 })
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("count from the last stream, also when no sweep has seen it", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(version, { keepAliveTimeout: "10 seconds" })
      for (let n = 0; n < 20; n++) {
        assert.strictEqual(F.answerOn(yield* client.ask(F.get(2 * n + 1)), 2 * n + 1).status, 200)
        yield* TestClock.adjust("4 seconds")
      }
      assert.isUndefined(F.goawayIn(client.all))
      assert.isFalse(yield* client.bytes.isEnded)
    }))

  it.effect("are off at 0", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(version, { keepAliveTimeout: 0, headerTimeout: 0 })
      yield* TestClock.adjust("2 hours")
      yield* client.ask(F.get(1))
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(3)), 3).status, 200)
    }))

  it.effect("do not end a quiet one whose streams are open", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(routes({
        "/quiet": ({ send }) => Effect.andThen(Effect.sleep("2 hours"), App.respond(send, 200, "at last"))
      }))
      yield* client.send(F.get(1, "/quiet"))
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(F.answerOn(yield* client.read, 1).body, "at last")
    }))

  it.effect("cut a client that does not close after our GOAWAY", () =>
    Effect.gen(function*() {
      const { client, server } = yield* opened(version, { keepAliveTimeout: "1 second" })
      yield* client.ask(F.get(1))
      yield* TestClock.adjust("3 seconds")
      yield* ServerMemory.settle
      assert.strictEqual((yield* server.stats).connections, 1)
      yield* TestClock.adjust("3 seconds")
      yield* ServerMemory.settle
      assert.strictEqual((yield* server.stats).connections, 0)
    }))
})

describe("a client's GOAWAY", () => {
  it.effect("lets the streams that are open finish, and then the connection ends", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(app(slowly("done")))
      yield* client.ask(F.get(1, "/a"), F.goaway(0, "NO_ERROR"))
      assert.deepStrictEqual(ends, [])
      yield* TestClock.adjust("10 seconds")
      assert.deepInclude(F.answerOn(yield* client.read, 1), { status: 200, body: "done", ended: true })
      assert.deepStrictEqual(ends, ["/a complete"])
      assert.isTrue(yield* client.bytes.isEnded)
      yield* client.bytes.end
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("with an error ends the connection and all its exchanges at once", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(app(() => Effect.never))
      yield* client.ask(F.get(1, "/a"), F.get(3, "/b"))
      yield* client.ask(F.goaway(0, "INTERNAL_ERROR"))
      assert.deepStrictEqual(ends, ["/a client_closed", "/a interrupted", "/b client_closed", "/b interrupted"])
      assert.isTrue(yield* client.bytes.isEnded)
      yield* client.bytes.end
      assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0 })
    }))
})

describe("a stop of the server", () => {
  it.effect("says which stream is the last, and lets those that are open finish [C129]", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server, stop } = yield* openedStoppable(app(slowly()))
      yield* client.send(F.get(1, "/one"), F.post(3, "/two"))
      const stopping = yield* stop
      assert.deepStrictEqual(F.goawayIn(yield* client.read), { code: "NO_ERROR", last: 3 })
      // The client knows that nobody has looked at this one, and may ask elsewhere.
      assert.deepStrictEqual(yield* client.ask(F.post(5, "/late"), F.data(5, "late", F.END_STREAM)), [])
      assert.isUndefined(stopping.pollUnsafe())
      yield* client.send(F.data(3, "the rest", F.END_STREAM))
      yield* TestClock.adjust("10 seconds")
      const answers = yield* client.read
      for (const stream of [1, 3]) {
        assert.deepInclude(F.answerOn(answers, stream), { status: 200, body: "slow", ended: true })
      }
      assert.deepStrictEqual(answers.filter(({ stream }) => stream === 5), [])
      assert.isTrue(yield* client.bytes.isEnded)
      yield* client.bytes.end
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(ends, ["/one complete", "/two complete"])
      assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0, totalCut: 0 })
    }))

  it.effect("ends the connection with its last stream, however soon that is", () =>
    Effect.gen(function*() {
      const app = routes({
        "/soon": ({ connection, send }) => Effect.andThen(connection.shuttingDown, App.respond(send, 200, ""))
      })
      const { client, stop } = yield* openedStoppable(app)
      yield* client.send(F.get(1, "/soon"))
      const stopping = yield* stop
      assert.strictEqual(F.answerOn(yield* client.read, 1).status, 200)
      assert.isTrue(yield* client.bytes.isEnded)
      yield* client.bytes.end
      yield* Fiber.join(stopping)
    }))

  it.effect("closes an idle connection at once, and one that has just begun [C129]", () =>
    Effect.gen(function*() {
      const { client, connect, server, stop } = yield* openedStoppable(version)
      yield* client.ask(F.get(1))
      const fresh = yield* F.open(yield* connect())
      const begun = yield* connect()
      yield* begun.send(F.preface.subarray(0, 10))
      const stopping = yield* stop
      assert.deepStrictEqual(F.goawayIn(yield* client.read), { code: "NO_ERROR", last: 1 })
      assert.deepStrictEqual(F.goawayIn(yield* fresh.read), { code: "NO_ERROR", last: 0 })
      // The rest of a preface that came too late.
      const late = F.over(begun)
      assert.deepStrictEqual(F.goawayIn(yield* late.ask(F.preface.subarray(10), F.settings(), F.get(1))), {
        code: "NO_ERROR",
        last: 0
      })
      for (const { bytes } of [client, fresh, late]) {
        assert.isTrue(yield* bytes.isEnded)
        yield* bytes.end
      }
      yield* Fiber.join(stopping)
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("cuts after shutdownTimeout what is left, with server_shutdown", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server, stop } = yield* openedStoppable(
        app(({ scope, send }) =>
          Effect.gen(function*() {
            if (scope.path === "/begun") {
              yield* send({ type: "http.response.start", status: 200 })
              yield* send({ type: "http.response.body", body: "half", more: true })
            }
            yield* Effect.never
          })
        ),
        { shutdownTimeout: "5 seconds" }
      )
      yield* client.send(F.get(1, "/begun"), F.get(3, "/waits"))
      const stopping = yield* stop
      yield* TestClock.adjust("5 seconds")
      yield* client.read
      assert.deepStrictEqual(ends.sort(), [
        "/begun interrupted",
        "/begun server_shutdown",
        "/waits interrupted",
        "/waits server_shutdown"
      ])
      assert.deepInclude(F.answerOn(client.all, 1), { body: "half", ended: false, reset: "CANCEL" })
      assert.deepInclude(F.answerOn(client.all, 3), { status: 0, reset: "CANCEL" })
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(stopping)
      assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0, totalCut: 2 })
    }))
})

describe("a server short of descriptors", () => {
  it.effect("closes connections without a stream that have had one, and tells how many", () =>
    Effect.gen(function*() {
      let core: ServerCore | undefined
      const server = yield* makeServer({}, (serving) => Effect.sync(() => (core = serving, [])))
      yield* server.serve(routes({ "/": ({ send }) => App.respond(send, 200, ""), "/never": () => Effect.never }))
      const open = (...frames: ReadonlyArray<Uint8Array>) => {
        const [client, end] = makePipe()
        const chunks: Array<Buffer> = []
        client.on("data", (chunk: Buffer) => chunks.push(chunk))
        core!.accept(end, { client: undefined, server: undefined, scheme: "http" })
        client.write(Buffer.concat([F.preface, F.settings(), ...frames]))
        return { client, goaway: () => F.goawayIn(new F.FrameReader().read(Buffer.concat(chunks))) }
      }
      const idle = open(F.get(1))
      const busy = open(F.get(1), F.get(3, "/never"))
      const fresh = open()
      yield* Effect.andThen(ServerMemory.settle, ServerMemory.settle)
      assert.strictEqual(core!.closeIdle(), 1)
      yield* Effect.andThen(ServerMemory.settle, ServerMemory.settle)
      assert.deepStrictEqual(idle.goaway(), { code: "NO_ERROR", last: 1 })
      assert.isUndefined(busy.goaway())
      assert.isUndefined(fresh.goaway())
      for (const { client } of [idle, busy, fresh]) client.destroy()
      yield* ServerMemory.settle
      assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0 })
    }))
})

describe("the limit of connections", () => {
  it.effect("answers one too many that asks by ALPN with ENHANCE_YOUR_CALM, and counts it once", () =>
    Effect.gen(function*() {
      let core: ServerCore | undefined
      const server = yield* makeServer({ maxConnections: 1 }, (serving) => Effect.sync(() => (core = serving, [])))
      yield* server.serve(version)
      const open = () => {
        const [client, end] = makePipe()
        const chunks: Array<Buffer> = []
        client.on("data", (chunk: Buffer) => chunks.push(chunk))
        Object.assign(end, { alpnProtocol: "h2" })
        core!.accept(end, { client: undefined, server: undefined, scheme: "https", alpnProtocol: "h2" })
        return { client, frames: () => new F.FrameReader().read(Buffer.concat(chunks)) }
      }
      const first = open()
      const second = open()
      first.client.write(Buffer.concat([F.preface, F.settings(), F.get(1)]))
      yield* ServerMemory.settle
      yield* ServerMemory.settle
      assert.strictEqual(F.answerOn(first.frames(), 1).status, 200)
      assert.strictEqual(F.goawayIn(second.frames())?.code, "ENHANCE_YOUR_CALM")
      assert.isTrue(second.client.readableEnded)
      assert.deepInclude(yield* server.stats, { totalRefused: 1, connections: 1 })
      first.client.destroy()
    }))

  it.effect("holds for both versions together", () =>
    Effect.gen(function*() {
      const { client, connect } = yield* opened(version, { maxConnections: 1 })
      const surplus = yield* connect()
      yield* surplus.send(Buffer.concat([F.preface, F.settings()]))
      assert.strictEqual(Answers.answersIn(yield* surplus.read)[0]!.status, 503)
      yield* Effect.andThen(surplus.end, client.bytes.end)
      assert.strictEqual(yield* stillServes(connect), 200)
    }))
})
