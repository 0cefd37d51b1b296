import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as Lint from "../../../src/middleware/Lint.ts"
import { contract } from "../../../src/schema/Scope.ts"
import { answerIn, answersIn, request } from "../../utils/answers.ts"
import { serve } from "../../utils/serve.ts"
import { serveStoppable } from "../../utils/stoppable.ts"
import * as Ws from "../../utils/webSocket.ts"

const { handshake, handshakeLines, key, serveSockets } = Ws

/** Says over which protocol it was asked. */
const telling = Lint.make()(App.byType({
  http: ({ send }) => App.respond(send, 200, "http"),
  websocket: (exchange) => Effect.asVoid(Ws.accepting(() => Effect.void)(exchange)),
  sse: (exchange) => App.decline(exchange)
}))

/** What `bytes` are answered with, by an application that accepts. */
const asking = Effect.fnUntraced(function*(bytes: string) {
  const { connect } = yield* serve(telling)
  const client = yield* connect()
  yield* client.send(bytes)
  return { answer: answerIn(yield* client.read), isEnded: yield* client.isEnded }
})

const version = "sec-websocket-version: 13"
const keyLine = `sec-websocket-key: ${key}`

describe("WebSocket handshake", () => {
  it.effect("answers 101 with the key's answer, and not before websocket.accept [C60] [W114]", () =>
    Effect.gen(function*() {
      const mayAccept = yield* Deferred.make<void>()
      const seen: Array<string> = []
      const { connect } = yield* serveSockets((exchange) =>
        Effect.gen(function*() {
          seen.push((yield* exchange.receive).type)
          yield* Deferred.await(mayAccept)
          yield* exchange.send({ type: "websocket.accept" })
          seen.push((yield* exchange.receive).type)
        })
      )
      const client = yield* connect()
      yield* client.send(handshake())
      assert.strictEqual(yield* client.read, "")
      assert.deepStrictEqual(seen, ["websocket.connect"])
      yield* Deferred.succeed(mayAccept, void 0)
      const answer = answerIn(yield* client.read)
      assert.strictEqual(answer.status, 101)
      assert.strictEqual(answer.reason, "Switching Protocols")
      assert.strictEqual(answer.httpVersion, "1.1")
      assert.deepStrictEqual(answer.headers.slice(0, 3), [
        ["upgrade", "websocket"],
        ["connection", "Upgrade"],
        ["sec-websocket-accept", Ws.acceptOfKey]
      ])
      assert.sameMembers(answer.headers.slice(3).map(([name]) => name), ["date", "server"])
    }))

  for (
    const [upgrade, connection] of [
      ["upgrade: websocket", "connection: upgrade"],
      ["Upgrade: WebSocket", "Connection: UPGRADE"],
      ["upgrade: WEBSOCKET", "connection: keep-alive, Upgrade"],
      ["upgrade: h2c , websocket", "connection: close,Upgrade\t,foo"],
      ["upgrade: h2c\r\nupgrade: websocket", "connection: keep-alive\r\nconnection: Upgrade"]
    ] as const
  ) {
    it.effect(`takes ${JSON.stringify(`${upgrade} | ${connection}`)} [W114]`, () =>
      Effect.gen(function*() {
        const { answer } = yield* asking(request("GET /", [upgrade, connection, keyLine, version]))
        assert.strictEqual(answer.status, 101)
        assert.strictEqual(answer.header("sec-websocket-accept"), Ws.acceptOfKey)
      }))
  }

  for (
    const [what, bytes] of [
      ["without Connection", request("GET /", ["upgrade: websocket", keyLine, version])],
      ["with another Connection", request("GET /", ["upgrade: websocket", "connection: keep-alive", keyLine, version])],
      ["to something else", request("GET /", ["upgrade: h2c", "connection: upgrade", keyLine, version])],
      ["of HTTP/1.0", handshake().replace("HTTP/1.1", "HTTP/1.0")]
    ] as const
  ) {
    it.effect(`ignores an upgrade ${what} [W114]`, () =>
      Effect.gen(function*() {
        const { answer } = yield* asking(bytes)
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(answer.body, "http")
      }))
  }

  const without = (line: string) => request("GET /", handshakeLines.filter((other) => !other.startsWith(line)))
  const instead = (line: string, ...lines: ReadonlyArray<string>) =>
    request("GET /", [...handshakeLines.filter((other) => !other.startsWith(line)), ...lines])
  const versionLine = "sec-websocket-version"
  const refusals: ReadonlyArray<readonly [what: string, bytes: string, status: number]> = [
    ["no version [C61]", without(versionLine), 426],
    ["version 8 [C61]", instead(versionLine, "sec-websocket-version: 8"), 426],
    ["version 013 [C61]", instead(versionLine, "sec-websocket-version: 013"), 426],
    ["a list of versions", instead(versionLine, "sec-websocket-version: 13, 8"), 426],
    ["the version twice", instead(versionLine, version, version), 426],
    ["POST [C61]", handshake().replace("GET", "POST"), 400],
    ["HEAD [C61]", handshake().replace("GET", "HEAD"), 400],
    ["no key", without("sec-websocket-key"), 400],
    ["an empty key", instead("sec-websocket-key", "sec-websocket-key:"), 400],
    ["a short key", instead("sec-websocket-key", "sec-websocket-key: c2hvcnQ="), 400],
    ["a key that is not base64", instead("sec-websocket-key", `sec-websocket-key: ${key.replace("d", "!")}`), 400],
    ["the key twice", instead("sec-websocket-key", keyLine, keyLine), 400],
    ["no Host", handshake().replace("host: a\r\n", ""), 400],
    ["two Hosts", handshake(["host: b"]), 400],
    ["a body", `${handshake(["content-length: 2"])}hi`, 400],
    ["a chunked body", `${handshake(["transfer-encoding: chunked"])}0\r\n\r\n`, 400],
    ["a subprotocol that is no token [C62]", handshake(["sec-websocket-protocol: chat, a b"]), 400],
    ["an empty subprotocol [C62]", handshake(["sec-websocket-protocol: chat,,more"]), 400],
    ["a subprotocol twice [C62]", handshake(["sec-websocket-protocol: chat, chat"]), 400],
    [
      "a subprotocol twice, in two lines [C62]",
      handshake(["sec-websocket-protocol: a", "sec-websocket-protocol: a"]),
      400
    ],
    ["extensions that are no list", handshake(["sec-websocket-extensions: permessage-deflate; ="]), 400],
    ["extensions that end early", handshake(["sec-websocket-extensions: foo;"]), 400],
    ["an extension with an open quote", handshake(["sec-websocket-extensions: foo; a=\"b"]), 400]
  ]
  for (const [what, bytes, status] of refusals) {
    it.effect(`refuses ${what} with ${status}, before the application sees it`, () =>
      Effect.gen(function*() {
        let runs = 0
        const access = yield* AccessLogMemory.make({ format: "%s %X" })
        const { connect } = yield* serve(
          App.websocket(() => {
            runs++
            return Effect.never
          }),
          { wsCompression: true }
        ).pipe(Effect.provide(access))
        const client = yield* connect()
        yield* client.send(bytes)
        const answer = answerIn(yield* client.read)
        assert.strictEqual(answer.status, status)
        assert.strictEqual(answer.header("connection")?.split(",")[0], "close")
        assert.strictEqual(answer.header("content-type"), "text/plain; charset=utf-8")
        assert.strictEqual(answer.body, status === 426 ? "Upgrade Required" : "Bad Request")
        assert.isTrue(yield* client.isEnded)
        assert.strictEqual(runs, 0)
        const [line, ...more] = yield* Effect.provide(
          Effect.flatMap(AccessLogMemory.Lines, ({ lines }) => lines),
          access
        )
        assert.match(line!, new RegExp(`^${status} \\w+$`))
        assert.deepStrictEqual(more, [])
      }))
  }

  it.effect("names the version it speaks, and the upgrade, in a 426 [C61]", () =>
    Effect.gen(function*() {
      const { answer } = yield* asking(without("sec-websocket-version"))
      assert.strictEqual(answer.header("sec-websocket-version"), "13")
      assert.strictEqual(answer.header("upgrade"), "websocket")
      // RFC 9110 section 7.8: a sender of Upgrade must also send the connection option.
      assert.strictEqual(answer.header("connection"), "close, upgrade")
    }))

  it.effect("ignores extensions that it does not know", () =>
    Effect.gen(function*() {
      const { answer } = yield* asking(handshake(["sec-websocket-extensions: x-foo; a=1; b=\"2\", bar"]))
      assert.strictEqual(answer.status, 101)
      assert.isUndefined(answer.header("sec-websocket-extensions"))
    }))

  it.effect("describes the handshake in the scope, and shows the handles [C119]", () =>
    Effect.gen(function*() {
      const exchanges: Array<App.WebSocketExchange> = []
      const { connect } = yield* serveSockets((exchange) => {
        exchanges.push(exchange)
        return Ws.ended(exchange)
      }, { rootPath: "/root" })
      const client = yield* connect({ from: ["192.0.2.1", 1234] })
      yield* client.send(handshake(["Sec-WebSocket-Protocol: chat, v2.x", "Origin: http://b"], "/a%20b?c=%20d"))
      const { connection, scope, transport, type } = exchanges[0]!
      assert.strictEqual(type, "websocket")
      assert.deepStrictEqual({ ...scope }, {
        type: "websocket",
        slipway: contract,
        httpVersion: "1.1",
        scheme: "ws",
        path: "/a b",
        rawPath: "/a%20b",
        queryString: "c=%20d",
        rootPath: "/root",
        headers: [
          ["host", "a"],
          ["upgrade", "websocket"],
          ["connection", "Upgrade"],
          ["sec-websocket-key", key],
          ["sec-websocket-version", "13"],
          ["sec-websocket-protocol", "chat, v2.x"],
          ["origin", "http://b"]
        ],
        subprotocols: ["chat", "v2.x"],
        client: ["192.0.2.1", 1234],
        server: ["127.0.0.1", 5000],
        extensions: { "websocket.http.response": {} }
      })
      assert.deepInclude(connection, { isConnected: true, responseStarted: false, responseComplete: false })
      assert.deepInclude(transport, { bufferedAmount: 0, highWaterMark: 65_536, lowWaterMark: 16_384 })
    }))

  it.effect("has no subprotocols where none are offered, and no address of a client on a unix socket", () =>
    Effect.gen(function*() {
      const scopes: Array<App.WebSocketExchange["scope"]> = []
      const { connect } = yield* serveSockets((exchange) => {
        scopes.push(exchange.scope)
        return Ws.ended(exchange)
      })
      yield* (yield* connect({ from: null })).send(handshake())
      assert.deepStrictEqual(scopes[0]!.subprotocols, [])
      assert.notProperty(scopes[0]!, "client")
    }))

  it.effect("echoes the chosen subprotocol, and none where none is chosen [C62]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets((exchange) => {
        const { scope, send } = exchange
        const choice = scope.path === "/v2" ? { subprotocol: scope.subprotocols[1]! } : {}
        return Effect.andThen(send({ type: "websocket.accept", ...choice }), Ws.ended(exchange))
      })
      const lines = ["sec-websocket-protocol: chat", "sec-websocket-protocol: v2.x"]
      const { head } = yield* Ws.open(connect, { lines, target: "/v2" })
      assert.strictEqual(head.header("sec-websocket-protocol"), "v2.x")
      const plain = yield* Ws.open(connect, { lines })
      assert.isUndefined(plain.head.header("sec-websocket-protocol"))
    }))

  it.effect("refuses an accept that breaks the rules, writes nothing of it, and takes the next one [C60] [C62]", () =>
    Effect.gen(function*() {
      const errors: Array<string> = []
      const accepts: ReadonlyArray<object> = [
        { subprotocol: "other" },
        { subprotocol: "a b" },
        { subprotocol: 1 },
        { headers: [["x-a", "1\r\nx-b: 2"]] },
        { headers: [["x-a\n", "1"]] },
        { headers: [["x-a", "\0"]] },
        { headers: [["Sec-WebSocket-Accept", "x"]] },
        { headers: [["sec-websocket-extensions", "x"]] },
        { headers: [["sec-websocket-protocol", "chat"]] },
        { headers: [["upgrade", "h2c"]] },
        { headers: [["connection", "close"]] },
        { headers: "x-a: 1" },
        { headers: [["x-a"]] }
      ]
      // Without Lint: the server's own checks must do.
      const { connect } = yield* serve(App.websocket((exchange) =>
        Effect.gen(function*() {
          const { send } = exchange
          for (const accept of accepts) {
            const error = yield* Effect.flip(send({ type: "websocket.accept", ...accept }))
            errors.push(`${error.reason._tag} ${"name" in error.reason ? error.reason.name.toLowerCase() : ""}`.trim())
          }
          yield* send({ type: "websocket.accept", headers: [["x-a", "1"]] })
          const again = yield* Effect.flip(send({ type: "websocket.accept" }))
          errors.push(again.reason._tag)
          yield* Ws.ended(exchange)
        })
      ))
      const client = yield* connect()
      yield* client.send(handshake(["sec-websocket-protocol: chat"]))
      assert.deepStrictEqual(errors, [
        "InvalidField",
        "InvalidField",
        "InvalidField",
        "InvalidHeader x-a",
        "InvalidHeader x-a",
        "InvalidHeader x-a",
        "InvalidHeader sec-websocket-accept",
        "InvalidHeader sec-websocket-extensions",
        "InvalidHeader sec-websocket-protocol",
        "InvalidHeader upgrade",
        "InvalidHeader connection",
        "InvalidHeader headers",
        "InvalidHeader x-a",
        "EventOutOfOrder"
      ])
      const answer = answerIn(yield* client.read)
      assert.strictEqual(answer.status, 101)
      assert.strictEqual(answer.header("x-a"), "1")
      assert.isUndefined(answer.header("x-b"))
    }))

  it.effect("writes the application's headers, and no framing among them", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets((exchange) =>
        Effect.andThen(
          exchange.send({
            type: "websocket.accept",
            headers: [
              ["set-cookie", "a=1"],
              ["set-cookie", "b=2"],
              ["content-length", "5"],
              ["transfer-encoding", "chunked"],
              ["server", "mine"]
            ]
          }),
          Ws.ended(exchange)
        )
      )
      const { head } = yield* Ws.open(connect)
      const own = head.headers.filter(([name]) => ["set-cookie", "server"].includes(name))
      assert.deepStrictEqual(own, [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["server", "mine"]])
      assert.isUndefined(head.header("content-length"))
      assert.isUndefined(head.header("transfer-encoding"))
    }))

  it.effect("reads frames that came with the handshake, or before the accept, after it", () =>
    Effect.gen(function*() {
      const mayAccept = yield* Deferred.make<void>()
      const { connect } = yield* serveSockets((exchange) =>
        Effect.andThen(Deferred.await(mayAccept), Ws.echo(exchange))
      )
      const client = yield* connect()
      yield* client.send(Buffer.concat([Buffer.from(handshake()), Ws.text("one")]))
      yield* client.send(Ws.text("two").subarray(0, 4))
      yield* client.send(Ws.text("two").subarray(4))
      assert.strictEqual(yield* client.read, "")
      yield* Deferred.succeed(mayAccept, void 0)
      const answer = yield* client.read
      assert.strictEqual(answer.slice(answer.indexOf("\r\n\r\n") + 4), "\x81\x03one\x81\x03two")
    }))

  it.effect("answers the requests in front of a handshake first", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(telling)
      const client = yield* connect()
      yield* client.send(`${request("GET /")}${request("GET /")}${handshake()}`)
      assert.deepStrictEqual(answersIn(yield* client.read).map(({ status }) => status), [200, 200, 101])
    }))

  for (
    const [what, handler] of [
      ["returns", () => Effect.void],
      ["fails", () => Effect.fail("no")],
      ["dies", () => Effect.die("no")]
    ] as const
  ) {
    it.effect(`answers 500 when the application ${what} before it has answered`, () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(App.websocket(handler as () => Effect.Effect<void, string>))
        const client = yield* connect()
        yield* client.send(handshake())
        const answer = answerIn(yield* client.read)
        assert.strictEqual(answer.status, 500)
        assert.strictEqual(answer.body, "Internal Server Error")
        assert.isTrue(yield* client.isEnded)
      }))
  }

  it.effect("tells an application that has not answered yet when the client leaves; then an accept is nothing", () =>
    Effect.gen(function*() {
      const { app, ends, events } = Ws.recording()
      const mayAccept = yield* Deferred.make<void>()
      const { connect, server } = yield* serveSockets((exchange) =>
        Effect.andThen(Deferred.await(mayAccept), app(exchange))
      )
      const client = yield* connect()
      yield* client.send(handshake())
      yield* client.end
      assert.deepStrictEqual(ends, ["disconnect client_closed"])
      yield* Deferred.succeed(mayAccept, void 0)
      assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1006, reason: "client_closed" }])
      assert.strictEqual(yield* client.read, "")
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("answers a handshake with 503 once the server stops", () =>
    Effect.gen(function*() {
      let runs = 0
      const { connect, stop } = yield* serveStoppable(App.websocket(() => Effect.sync(() => void runs++)))
      const client = yield* connect()
      yield* client.send(handshake().slice(0, 20))
      yield* stop
      yield* client.send(handshake().slice(20))
      const answer = answerIn(yield* client.read)
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(answer.header("retry-after"), "5")
      assert.isTrue(yield* client.isEnded)
      assert.strictEqual(runs, 0)
    }))

  it.effect("closes with 1001 at once where the accept comes after the server was told to stop [C75]", () =>
    Effect.gen(function*() {
      const { app, ends, events } = Ws.recording()
      const mayAccept = yield* Deferred.make<void>()
      const { connect, stop } = yield* serveStoppable(
        App.websocket((exchange) => Effect.andThen(Deferred.await(mayAccept), app(exchange)))
      )
      const client = yield* connect()
      yield* client.send(handshake())
      yield* stop
      yield* Deferred.succeed(mayAccept, void 0)
      const answer = yield* client.read
      assert.match(answer, /^HTTP\/1\.1 101 /)
      assert.strictEqual(answer.slice(answer.indexOf("\r\n\r\n") + 4), "\x88\x02\x03\xe9")
      assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1001, reason: "server_shutdown" }])
      assert.deepStrictEqual(ends, ["disconnect server_shutdown"])
    }))

  for (
    const [behind, line] of [[[], "GET /x 101 5 -"], [[Ws.close(1000)], "GET /x 101 0 -"]] as const
  ) {
    it.effect(`writes one line into the access log for a session ${behind.length === 0 ? "" : "over with its handshake"}`, () =>
      Effect.gen(function*() {
        const access = yield* AccessLogMemory.make({ format: "%m %U %s %B %X" })
        const { connect } = yield* serveSockets(Ws.echo).pipe(Effect.provide(access))
        const lines = Effect.provide(Effect.flatMap(AccessLogMemory.Lines, (memory) => memory.lines), access)
        const session = yield* Ws.open(connect, { target: "/x", behind: Buffer.concat([...behind]) })
        if (behind.length === 0) {
          yield* session.send(Ws.text("hällo").subarray(0), Ws.ping("not counted"))
          assert.deepStrictEqual(yield* lines, [])
          yield* session.send(Ws.close(1000))
        }
        assert.deepStrictEqual(yield* lines, [line.replace("5", "6")])
      }))
  }
})
