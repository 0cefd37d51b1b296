import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { Duplex } from "node:stream"
import * as Tls from "node:tls"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import type { Address } from "../../../src/service/Server.ts"
import { request } from "../../utils/answers.ts"
import * as Certificates from "../../utils/certificates.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { binary, bytesOf, overIpv4, overIpv4Line } from "../../utils/proxyHeaders.ts"
import { bodyOf, serve } from "../../utils/serve.ts"
import * as Sockets from "../../utils/sockets.ts"
import { serveStoppable } from "../../utils/stoppable.ts"

const options: ServerMemory.Options = { proxyProtocol: true, trustedProxies: ["10.0.0.0/8", "unix"] }
const from = ["10.0.0.1", 5] as const

/** Answers with the ends of the connection. */
const ends = App.http(({ scope, send }) =>
  App.respond(send, 200, JSON.stringify([scope.client ?? null, scope.server ?? null, scope.scheme]))
)

const asking = request("GET /", ["connection: close"])
const fromIpv4 = [["192.0.2.7", 4711], ["198.51.100.1", 443], "http"]
const byItself = [["10.0.0.1", 5], ["127.0.0.1", 5000], "http"]

/** What the answer to `pieces`, sent one after the other, says. */
const told = Effect.fnUntraced(function*(
  connect: ServerMemory.Network["Service"]["connect"],
  pieces: ReadonlyArray<Uint8Array | string>,
  source: ServerMemory.ConnectOptions["from"] = from
) {
  const client = yield* connect({ from: source })
  for (const piece of pieces) yield* client.send(piece)
  return JSON.parse(bodyOf(yield* client.readAll)) as unknown
})

/** Serves with everything that is logged, and what was refused. */
const served = Effect.fnUntraced(function*(more: ServerMemory.Options = {}) {
  const logs = capture()
  const debug = Effect.provideService(References.MinimumLogLevel, "Debug")
  const serving = yield* serve(ends, { ...options, ...more }).pipe(Effect.provide(logs.layer), debug)
  return { ...serving, messages: () => logs.lines.map(({ level, message }) => `${level} ${message}`) }
})

const v6 = [...bytesOf("\x20\x01\x0d\xb8".padEnd(16, "\0")), ...bytesOf("\0".repeat(15) + "\x01"), 0, 9, 0, 80]

describe("the PROXY protocol", () => {
  for (
    const [what, header, expected] of [
      ["version 1 over IPv4", overIpv4Line, fromIpv4],
      ["version 1 over IPv6", bytesOf("PROXY TCP6 2001:DB8::7 ::1 9 80\r\n"), [
        ["2001:db8::7", 9],
        ["::1", 80],
        "http"
      ]],
      ["version 1, mapped", bytesOf("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4711 443\r\n"), fromIpv4],
      ["version 1, unknown", bytesOf("PROXY UNKNOWN\r\n"), byItself],
      ["version 2 over IPv4", overIpv4, fromIpv4],
      ["version 2 over IPv6", binary(0x21, 0x21, v6), [["2001:db8::", 9], ["::1", 80], "http"]],
      ["version 2 with TLVs", binary(0x21, 0x11, [...overIpv4.subarray(16), 4, 0, 2, 0, 0]), fromIpv4],
      ["version 2, a unix socket", binary(0x21, 0x31, Array(216).fill(0x61)), [null, ["127.0.0.1", 5000], "http"]],
      ["version 2, unknown", binary(0x21, 0x00, []), byItself],
      ["version 2, the proxy's own", binary(0x20, 0x11, [...overIpv4.subarray(16)]), byItself]
    ] as const
  ) {
    it.effect(`says whose a connection is: ${what}`, () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(ends, options)
        assert.deepStrictEqual(yield* told(connect, [Buffer.concat([header, bytesOf(asking)])]), expected)
        assert.deepStrictEqual(yield* told(connect, [header, asking]), expected)
      }))
  }

  for (const [version, header] of [[1, overIpv4Line], [2, overIpv4]] as const) {
    it.effect(`may arrive in any pieces, version ${version}`, () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(ends, options)
        const all = Buffer.concat([header, bytesOf(asking)])
        for (let cut = 1; cut <= header.length + 1; cut++) {
          assert.deepStrictEqual(yield* told(connect, [all.subarray(0, cut), all.subarray(cut)]), fromIpv4, `${cut}`)
        }
        const singly = Array.from(header, (byte) => Buffer.of(byte))
        assert.deepStrictEqual(yield* told(connect, [...singly, asking]), fromIpv4)
      }))
  }

  it.effect("stands before HTTP/2 and keep-alive as well", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(ends, options)
      const pipe = yield* connect({ from })
      yield* pipe.send(overIpv4)
      const client = yield* F.open(pipe)
      for (const stream of [1, 3]) {
        const answer = F.answerOn(yield* client.ask(F.get(stream, "/")), stream)
        assert.deepStrictEqual(JSON.parse(answer.body), fromIpv4)
      }
      const kept = yield* connect({ from })
      yield* kept.send(Buffer.concat([overIpv4Line, bytesOf(request("GET /") + request("GET /"))]))
      assert.strictEqual((yield* kept.read).split("192.0.2.7").length, 3)
    }))

  it.effect("does not make the client a proxy: its headers count when it is one", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(ends, options)
      const lying = request("GET /", ["connection: close", "x-forwarded-for: 6.6.6.6", "x-forwarded-proto: https"])
      const clientOf = (header: Uint8Array) =>
        Effect.map(told(connect, [header, lying]), (facts) => (facts as ReadonlyArray<unknown>)[0])
      assert.deepStrictEqual(yield* clientOf(overIpv4), ["192.0.2.7", 4711])
      assert.deepStrictEqual(yield* clientOf(bytesOf("PROXY UNKNOWN\r\n")), ["10.0.0.1", 5])
      assert.isNull(yield* clientOf(binary(0x21, 0x31, Array(216).fill(0x61))))
      assert.deepStrictEqual(yield* clientOf(bytesOf("PROXY TCP4 10.0.0.2 10.0.0.1 1 2\r\n")), ["6.6.6.6", 0])
    }))

  it.effect("is taken from a proxy on a unix socket that is trusted", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(ends, options)
      assert.deepStrictEqual(yield* told(connect, [overIpv4, asking], null), fromIpv4)
    }))

  it.effect("is not taken from anybody else, whatever comes: the connection is closed at once", () =>
    Effect.gen(function*() {
      const { connect, messages } = yield* served()
      for (const first of ["", asking, overIpv4, overIpv4Line]) {
        const client = yield* connect({ from: ["192.0.2.1", 1] })
        yield* client.send(first)
        assert.strictEqual(yield* client.readAll, "")
      }
      const closed = messages().filter((message) => message.startsWith("Debug Closed a connection"))
      assert.strictEqual(closed.length, 4)
      assert.strictEqual(closed[0], "Debug Closed a connection of 192.0.2.1: it is not one of trustedProxies")
    }))

  for (
    const [what, bytes, problem] of [
      ["nothing of it", bytesOf(asking), "does not begin with a PROXY protocol header"],
      ["HTTP/2", bytesOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "does not begin with a PROXY protocol header"],
      ["a line that is malformed", bytesOf("PROXY TCP4 x y 1 2\r\n"), "not a family, two addresses and two ports"],
      ["a line that is too long", bytesOf(`PROXY UNKNOWN ${"x".repeat(100)}`), "longer than 107 bytes"],
      ["an address that is none", bytesOf("PROXY TCP4 300.0.0.1 1.1.1.1 1 2\r\n"), "an address in it is none"],
      ["another that is none", bytesOf("PROXY TCP6 ::1 1::2::3 1 2\r\n"), "an address in it is none"],
      ["a header that is too long", binary(0x21, 0x11, Array(5000).fill(0)), "longer than 4096 bytes"],
      ["a header of another version", binary(0x11, 0x11, Array(12).fill(0)), "version"]
    ] as const
  ) {
    it.effect(`closes a connection with ${what}, without an answer, and says so at debug`, () =>
      Effect.gen(function*() {
        const { connect, messages, server } = yield* served()
        const client = yield* connect({ from })
        yield* client.send(bytes)
        assert.strictEqual(yield* client.readAll, "")
        const [closed] = messages().filter((message) => message.includes("Closed a connection"))
        assert.include(closed, "Debug Closed a connection of 10.0.0.1: ")
        assert.include(closed, problem)
        assert.strictEqual((yield* server.stats).totalConnections, 0)
        assert.deepStrictEqual(yield* told(connect, [overIpv4, asking]), fromIpv4)
      }))
  }

  it.effect("has headerTimeout to arrive", () =>
    Effect.gen(function*() {
      const { connect, messages } = yield* served({ headerTimeout: "4 seconds" })
      const silent = yield* connect({ from })
      const slow = yield* connect({ from })
      yield* slow.send(overIpv4Line.subarray(0, 10))
      yield* TestClock.adjust("3 seconds")
      yield* slow.send(overIpv4Line.subarray(10, 20))
      assert.isFalse((yield* silent.isEnded) || (yield* slow.isEnded))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* silent.readAll) + (yield* slow.readAll), "")
      assert.strictEqual(messages().filter((message) => message.includes("headerTimeout")).length, 2)
    }))

  it.effect("waits for ever where headerTimeout is off", () =>
    Effect.gen(function*() {
      const { connect } = yield* served({ headerTimeout: 0 })
      const client = yield* connect({ from })
      yield* TestClock.adjust("1 hour")
      yield* client.send(Buffer.concat([overIpv4, bytesOf(asking)]))
      assert.deepStrictEqual(JSON.parse(bodyOf(yield* client.readAll)), fromIpv4)
    }))

  it.effect("is waited for on as many connections as there may be, and no more", () =>
    Effect.gen(function*() {
      const { connect } = yield* served({ maxConnections: 2 })
      const [one, two, three] = [yield* connect({ from }), yield* connect({ from }), yield* connect({ from })]
      assert.strictEqual(yield* three.readAll, "")
      assert.isFalse((yield* one.isEnded) || (yield* two.isEnded))
      yield* one.reset
      assert.deepStrictEqual(yield* told(connect, [overIpv4, asking]), fromIpv4)
    }))

  it.effect("is told of at debug when it was broken off, and not when nothing came", () =>
    Effect.gen(function*() {
      const { connect, messages } = yield* served()
      const looking = yield* connect({ from })
      yield* looking.end
      const breaking = yield* connect({ from })
      yield* breaking.send(overIpv4.subarray(0, 20))
      yield* breaking.end
      const failing = yield* connect({ from })
      yield* failing.send(overIpv4Line.subarray(0, 20))
      yield* failing.reset
      assert.strictEqual((yield* looking.readAll) + (yield* breaking.readAll), "")
      const closed = messages().filter((message) => message.includes("it ended in its PROXY header"))
      assert.strictEqual(closed.length, 2)
    }))

  it.effect("is not missed where the client is gone before it is accepted, and has no address any more", () =>
    Effect.gen(function*() {
      const { connect, messages } = yield* served()
      const client = yield* connect({ from: ["", 0] })
      assert.strictEqual(yield* client.readAll, "")
      assert.deepStrictEqual(messages().filter((message) => message.includes("Closed a connection")), [])
    }))

  it.effect("that has not arrived does not hold up the end of the server", () =>
    Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(ends, options)
      const client = yield* connect({ from })
      yield* client.send(overIpv4.subarray(0, 20))
      yield* stop
      assert.strictEqual(yield* client.readAll, "")
    }))

  describe("over sockets", () => {
    /** Serves on sockets until the test's scope closes. */
    const listening = Effect.fnUntraced(
      function*(more: ServerNode.Options) {
        const scope = yield* Scope.make()
        yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
        const server = yield* ServerNode.make({ proxyProtocol: true, trustedProxies: ["127.0.0.1", "unix"], ...more })
        yield* Scope.provide(server.serve(ends), scope)
        return yield* server.addresses
      },
      Effect.provide(capture().layer)
    )

    const ask = (address: Address, ...pieces: ReadonlyArray<Uint8Array | string>) =>
      Effect.gen(function*() {
        const client = yield* Sockets.connect(address)
        for (const piece of pieces) yield* client.send(piece)
        return JSON.parse(bodyOf(yield* client.readAll)) as unknown
      })

    it.live("is read on TCP and on unix sockets", () =>
      Effect.gen(function*() {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-"))),
          (path) => Effect.sync(() => Fs.rmSync(path, { force: true, recursive: true }))
        )
        const addresses = yield* listening({ listen: ["127.0.0.1:0", Path.join(folder, "s")] })
        for (const address of addresses) {
          assert.deepStrictEqual(yield* ask(address, overIpv4, asking), fromIpv4)
          assert.deepStrictEqual(yield* ask(address, overIpv4Line + asking), fromIpv4)
        }
      }))

    /** A stream over `socket` that sends `header` and the first of its own bytes in one piece. */
    const behind = (socket: Net.Socket, header: Buffer): Duplex => {
      let before: Buffer | undefined = header
      const stream = new Duplex({
        read: () => {},
        write: (chunk: Buffer, _encoding, done) => {
          socket.write(before === undefined ? chunk : Buffer.concat([before, chunk]), done)
          before = undefined
        }
      })
      socket.on("data", (chunk: Buffer) => stream.push(chunk))
      socket.on("close", () => stream.destroy())
      return stream
    }

    for (const [version, header] of [[1, overIpv4Line], [2, overIpv4]] as const) {
      for (const ALPNProtocols of [["http/1.1"], ["h2"]]) {
        it.live(`stands before TLS, version ${version}, ${ALPNProtocols[0]}`, () =>
          Effect.gen(function*() {
            const { root, server } = yield* Effect.promise(Certificates.certificates)
            const [address] = yield* listening({ port: 0, tlsCert: server.certFile, tlsKey: server.keyFile })
            const { port } = address as Extract<Address, { readonly _tag: "tcp" }>
            const raw = yield* Effect.acquireRelease(
              Effect.sync(() => Net.connect({ port, host: "127.0.0.1" })),
              (socket) => Effect.sync(() => socket.destroy())
            )
            const secure = Tls.connect({
              socket: behind(raw, header),
              servername: "localhost",
              ca: root.cert,
              ALPNProtocols
            })
            let received = ""
            secure.setEncoding("latin1").on("data", (text: string) => received += text)
            secure.on("error", (error) => received += String(error))
            secure.once("secureConnect", () => {
              if (ALPNProtocols[0] === "h2") secure.write(Buffer.concat([F.preface, F.settings({}), F.get(1, "/")]))
              else secure.write(asking)
            })
            yield* Sockets.until(() => received.includes("\"https\"]"))
            assert.include(received, `[["192.0.2.7",4711],["198.51.100.1",443],"https"]`)
          }))
      }
    }
  })
})
