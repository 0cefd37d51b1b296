/** Requests that become sockets: WebSockets through `request.upgrade`, and what is answered instead. */
import { assert, describe } from "@effect/vitest"
import * as Channel from "effect/Channel"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import WebSocket from "ws"
import { answersIn } from "../../utils/answers.ts"
import { address, ask, connect, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

/** A WebSocket client: what it is told, in order, as text. */
const open = (
  path: string,
  options: { readonly protocols?: Array<string>; readonly headers?: Record<string, string> } = {}
) =>
  Effect.gen(function*() {
    const at = yield* address
    const told = yield* Queue.unbounded<string>()
    const url = at._tag === "tcp" ? `ws://${at.host}:${at.port}${path}` : ""
    const ws = yield* Effect.acquireRelease(
      Effect.sync(() => new WebSocket(url, options.protocols ?? [], { headers: options.headers ?? {} })),
      (ws) => Effect.sync(() => ws.terminate())
    )
    const tell = (text: string) => void Queue.offerUnsafe(told, text)
    ws.on("open", () => tell(`open ${ws.protocol}`))
    ws.on("message", (data: Buffer, isBinary) =>
      tell(isBinary ? `bytes ${data.toString("hex")}` : `text ${data.toString()}`))
    ws.on("close", (code, reason) =>
      tell(`close ${code} ${reason.toString()}`))
    ws.on("error", () => {})
    return { ws, next: Queue.take(told) }
  })

const handshake = (path: string, headers: ReadonlyArray<string> = []): string =>
  [
    `GET ${path} HTTP/1.1`,
    "host: a",
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
    "",
    ""
  ].join("\r\n")

/** Sends back what it gets until the client closes; ends then, whatever the code. */
const echo = Effect.fnUntraced(
  function*(socket: Socket.Socket) {
    const { pull } = yield* socket.reader
    const { writeAll } = yield* socket.writer
    yield* Effect.forever(Effect.flatMap(pull, writeAll))
  },
  Effect.catchTag(
    "SocketError",
    (error) => error.reason._tag === "SocketCloseError" ? Effect.succeed(error.reason) : Effect.fail(error)
  ),
  Effect.scoped
)

const echoed = HttpServerRequest.HttpServerRequest.use((request) =>
  Effect.as(Effect.flatMap(request.upgrade, echo), HttpServerResponse.empty())
)

/** Upgrades, and holds the session open while `use` runs. */
const session = <E, R>(use: (reader: Socket.Reader, writer: Socket.Writer) => Effect.Effect<unknown, E, R>) =>
  HttpServerRequest.HttpServerRequest.use((request) =>
    Effect.scoped(Effect.gen(function*() {
      const socket = yield* request.upgrade
      const reader = yield* socket.reader
      const writer = yield* socket.writer
      yield* use(reader, writer)
      return HttpServerResponse.empty()
    }))
  )

export const sockets = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("WebSockets", () => {
    test("echo text as text and bytes as bytes, in order, and end with the client", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/echo", echoed))
        const { next, ws } = yield* open("/echo")
        assert.strictEqual(yield* next, "open ")
        for (const data of ["grüße", Buffer.from([0, 255]), "", "last"]) ws.send(data)
        assert.deepStrictEqual([yield* next, yield* next, yield* next, yield* next], [
          "text grüße",
          "bytes 00ff",
          "text ",
          "text last"
        ])
        ws.close(1000)
        assert.strictEqual(yield* next, "close 1000 ")
      }))

    test("carry large messages and many", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/echo", echoed))
        const { next, ws } = yield* open("/echo")
        yield* next
        const large = "x".repeat(500_000)
        ws.send(large)
        assert.isTrue((yield* next) === `text ${large}`)
        for (let i = 0; i < 1_000; i++) ws.send(`${i}`)
        for (let i = 0; i < 1_000; i++) assert.strictEqual(yield* next, `text ${i}`)
      }))

    test("are channels and streams too", () =>
      Effect.gen(function*() {
        const received = yield* Deferred.make<string>()
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route(
            "GET",
            "/channel",
            Effect.gen(function*() {
              const replies = Stream.make("one", "two")
              const channel = HttpServerRequest.upgradeChannel()
              yield* Stream.runForEach(
                Stream.take(Stream.decodeText(Stream.pipeThroughChannel(replies, channel)), 1),
                (text) => Deferred.succeed(received, text)
              )
              return HttpServerResponse.empty()
            })
          ),
          HttpRouter.route(
            "GET",
            "/string",
            HttpServerRequest.HttpServerRequest.use(({ upgrade }) =>
              Effect.gen(function*() {
                const socket = yield* upgrade
                const words = Channel.pipeTo(Stream.toChannel(Stream.make("three")), Socket.toChannelString(socket))
                yield* Stream.runDrain(Stream.take(Stream.fromChannel(words), 1))
                return HttpServerResponse.empty()
              })
            )
          )
        ]))
        const channel = yield* open("/channel")
        assert.deepStrictEqual([yield* channel.next, yield* channel.next, yield* channel.next], [
          "open ",
          "text one",
          "text two"
        ])
        channel.ws.send("reply")
        assert.strictEqual(yield* Deferred.await(received), "reply")
        assert.match(yield* channel.next, /^close 1000/)
        const string = yield* open("/string")
        assert.deepStrictEqual([yield* string.next, yield* string.next], ["open ", "text three"])
        string.ws.send("done")
        assert.match(yield* string.next, /^close 1000/)
      }))

    test("close with 1000 when the handler ends, 1011 when it fails, and with what it says", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/ends", session(() => Effect.void)),
          HttpRouter.route("GET", "/fails", session(() => Effect.fail("secret"))),
          HttpRouter.route("GET", "/dies", session(() => Effect.die("secret"))),
          HttpRouter.route(
            "GET",
            "/says",
            session((reader, writer) =>
              Effect.andThen(writer.write(new Socket.CloseEvent(4001, "because")), Effect.exit(reader.pull))
            )
          )
        ]))
        const ends = {
          "/ends": "close 1000 ",
          "/fails": "close 1011 ",
          "/dies": "close 1011 ",
          "/says": "close 4001 because"
        }
        for (const [path, end] of Object.entries(ends)) {
          const { next } = yield* open(path)
          yield* next
          assert.strictEqual(yield* next, end, path)
        }
      }))

    test("tell the handler how the client closed", () =>
      Effect.gen(function*() {
        const reason = yield* Deferred.make<unknown>()
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          session((reader) =>
            Effect.flatMap(Effect.flip(reader.pull), (error) => Deferred.succeed(reason, error.reason))
          )
        ))
        const { next, ws } = yield* open("/")
        yield* next
        ws.close(4002, "leaving")
        const closed = (yield* Deferred.await(reason)) as Socket.SocketCloseError
        assert.deepStrictEqual([closed._tag, closed.code, closed.closeReason], ["SocketCloseError", 4002, "leaving"])
      }))

    test("end for the handler when the client vanishes", () =>
      Effect.gen(function*() {
        const [started, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<Exit.Exit<unknown, unknown>>()]
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          session((reader) =>
            Deferred.succeed(started, undefined).pipe(
              Effect.andThen(reader.pull),
              Effect.onExit((exit) => Deferred.succeed(ended, exit))
            )
          )
        ))
        const { ws } = yield* open("/")
        yield* Deferred.await(started)
        ws.terminate()
        assert.isTrue(Exit.isFailure(yield* Deferred.await(ended)))
      }))

    test("take the first subprotocol of the client", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/", echoed))
        const { next } = yield* open("/", { protocols: ["b", "a"] })
        assert.strictEqual(yield* next, "open b")
      }))

    test("are requests before: path, query, headers, cookies, parameters", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/rooms/:room",
          Effect.gen(function*() {
            const request = yield* HttpServerRequest.HttpServerRequest
            const params = yield* HttpRouter.params
            const search = yield* HttpServerRequest.ParsedSearchParams
            return yield* session((_reader, writer) =>
              writer.write(
                [params["room"], search["q"], request.cookies["c"], request.headers["x-own"], request.method].join()
              )
            )
          })
        ))
        const { next } = yield* open("/rooms/a%20b?q=1", { headers: { cookie: "c=2", "x-own": "3" } })
        yield* next
        assert.strictEqual(yield* next, "text a b,1,2,3,GET")
      }))

    test("are a 101 for the middleware around", () =>
      Effect.gen(function*() {
        const status = yield* Deferred.make<number>()
        yield* HttpServer.serveEffect(
          session(() => Effect.void),
          (app) => Effect.tap(app, (response) => Deferred.succeed(status, response.status))
        )
        yield* Effect.flatMap(open("/"), ({ next }) => next)
        assert.strictEqual(yield* Deferred.await(status), 101)
      }))

    const impatient = testOf(kind, { stopAfter: 0 })
    impatient("are told 1001 when the server stops", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        yield* Scope.provide(
          serveRoutes(HttpRouter.add("GET", "/", session((reader) => Effect.forever(reader.pull)))),
          scope
        )
        const { next } = yield* open("/")
        assert.strictEqual(yield* next, "open ")
        yield* Scope.close(scope, Exit.void)
        assert.match(yield* next, /^close 1001/)
      }))
  })

  describe("handshakes", () => {
    test("that a handler does not take are answered with its response", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route(
            "GET",
            "/denied",
            HttpServerResponse.text("no entry", { status: 401, headers: { "x-why": "key" } })
          ),
          HttpRouter.route("GET", "/failed", Effect.die("secret")),
          HttpRouter.route("GET", "/stream", HttpServerResponse.stream(Stream.encodeText(Stream.make("a", "b"))))
        ]))
        const answerOf = (path: string) => Effect.map(ask(handshake(path)), (bytes) => answersIn(bytes)[0]!)
        const denied = yield* answerOf("/denied")
        assert.deepStrictEqual([denied.status, denied.header("x-why"), denied.body], [401, "key", "no entry"])
        const failed = yield* answerOf("/failed")
        assert.deepStrictEqual([failed.status, failed.body], [500, ""])
        assert.strictEqual((yield* answerOf("/nothing")).status, 404)
        const stream = yield* answerOf("/stream")
        assert.deepStrictEqual([stream.status, stream.body], [200, "ab"])
      }))

    test("are accepted with the key's answer, when the socket is read", () =>
      Effect.gen(function*() {
        const go = yield* Deferred.make<void>()
        yield* serveRoutes(HttpRouter.add("GET", "/", Effect.andThen(Deferred.await(go), session(() => Effect.void))))
        const client = yield* connect
        yield* client.send(handshake("/"))
        assert.strictEqual(client.received, "")
        yield* Deferred.succeed(go, undefined)
        const answer = yield* client.until(/\r\n\r\n/)
        assert.match(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
        assert.match(answer, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i)
      }))

    test("a plain request cannot be upgraded: 400", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/", echoed))
        const bytes = yield* ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert.deepStrictEqual([answersIn(bytes)[0]!.status, answersIn(bytes)[0]!.body], [400, ""])
      }))
  })

  describe("other upgrades", () => {
    test("give the raw connection, with the headers the handler asks for", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          HttpServerRequest.HttpServerRequest.use((request) =>
            Effect.scoped(Effect.gen(function*() {
              const socket = yield* request.upgradeWith({ headers: { "x-own": "1" } })
              yield* echo(socket)
              return HttpServerResponse.empty()
            }))
          )
        ))
        const client = yield* connect
        yield* client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: own/1\r\n\r\nearly")
        const answer = yield* client.until(/early/)
        assert.match(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
        assert.match(answer, /\r\nupgrade: own\/1\r\n/i)
        assert.match(answer, /\r\nx-own: 1\r\n/i)
        yield* client.send("later")
        yield* client.until(/earlylater$/)
      }))

    test("that the handler does not take are plain requests", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/", HttpServerResponse.text("plain")))
        const bytes = yield* ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: own/1\r\n\r\n")
        assert.deepStrictEqual([answersIn(bytes)[0]!.status, answersIn(bytes)[0]!.body], [200, "plain"])
      }))
  })
}
