/** One request's life: its Scope, the client that goes away, the server that stops, and where the server listens. */
import { assert, describe } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import { causeResponseStripped, ClientAbort } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { answersIn } from "../../utils/answers.ts"
import { ask, closing, connect, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"
import * as Sockets from "../../utils/sockets.ts"

const isClientAbort = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) &&
  exit.cause.reasons.every((reason) => reason.annotations.has(ClientAbort.key))

const get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

export const lifecycle = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("the Scope of a request", () => {
    test("closes after the response, with success", () =>
      Effect.gen(function*() {
        const exit = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.as(
            Effect.addFinalizer((ended) => Deferred.succeed(exit, ended)),
            HttpServerResponse.text("sent")
          )
        ))
        assert.strictEqual(yield* (yield* HttpClient.get("/")).text, "sent")
        assert.isTrue(Exit.isSuccess(yield* Deferred.await(exit)))
      }))

    test("closes with the failure of the handler", () =>
      Effect.gen(function*() {
        const exit = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.andThen(
            Effect.addFinalizer((ended) => Deferred.succeed(exit, ended)),
            Effect.fail("a failure")
          )
        ))
        assert.strictEqual((yield* HttpClient.get("/")).status, 500)
        const ended = yield* Deferred.await(exit)
        assert.isTrue(Exit.isFailure(ended) && Cause.pretty(ended.cause).includes("a failure"))
      }))

    test("is open while a streamed body is produced", () =>
      Effect.gen(function*() {
        const events: Array<string> = []
        const closed = yield* Deferred.make<void>()
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() =>
              Effect.andThen(Effect.sync(() => void events.push("closed")), Deferred.succeed(closed, undefined))
            )
            const body = Stream.make("a", "b").pipe(
              Stream.tap((part) => Effect.sync(() => void events.push(part))),
              Stream.encodeText
            )
            return HttpServerResponse.stream(body)
          })
        ))
        assert.strictEqual(yield* (yield* HttpClient.get("/")).text, "ab")
        yield* Deferred.await(closed)
        assert.deepStrictEqual(events, ["a", "b", "closed"])
      }))

    test("can be handed to the body's stream, which closes it", () =>
      Effect.gen(function*() {
        const closed = yield* Deferred.make<void>()
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.andThen(
            Effect.addFinalizer(() => Deferred.succeed(closed, undefined)),
            Effect.sync(() =>
              HttpEffect.scopeTransferToStream(HttpServerResponse.stream(Stream.encodeText(Stream.make("a", "b"))))
            )
          )
        ))
        assert.strictEqual(yield* (yield* HttpClient.get("/")).text, "ab")
        yield* Deferred.await(closed)
      }))
  })

  describe("pre-response handlers", () => {
    test("change the response in their order, and failures too", () =>
      Effect.gen(function*() {
        const mark = (value: string) =>
          HttpEffect.appendPreResponseHandler((_request, response) =>
            Effect.succeed(
              HttpServerResponse.setHeader(response, "x-marks", (response.headers["x-marks"] ?? "") + value)
            )
          )
        const marked = Effect.andThen(mark("1"), mark("2"))
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/", Effect.as(marked, HttpServerResponse.text("x"))),
          HttpRouter.route("GET", "/fail", Effect.andThen(marked, Effect.die("a failure")))
        ]))
        for (const [path, status] of [["/", 200], ["/fail", 500]] as const) {
          const response = yield* HttpClient.get(path)
          assert.deepStrictEqual([response.status, response.headers["x-marks"]], [status, "12"])
        }
      }))
  })

  describe("a client that leaves", () => {
    /** Serves, lets a client go while the handler waits, and gives what the handler and the middleware ended with. */
    const abandoned = (
      bytes: string,
      wait: (started: Effect.Effect<boolean>) => Effect.Effect<
        HttpServerResponse.HttpServerResponse,
        unknown,
        HttpServerRequest.HttpServerRequest | Scope.Scope
      >
    ) =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const handler = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        const scope = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        const outside = yield* Deferred.make<number>()
        yield* HttpServer.serveEffect(
          Effect.andThen(
            Effect.addFinalizer((exit) => Deferred.succeed(scope, exit)),
            Effect.onExit(Effect.interruptible(wait(Deferred.succeed(started, undefined))), (exit) =>
              Deferred.succeed(handler, exit))
          ),
          (app) =>
            Effect.onExit(app, (exit) =>
              Deferred.succeed(
                outside,
                Exit.isSuccess(exit) ? exit.value.status : causeResponseStripped(exit.cause)[0].status
              ))
        )
        const client = yield* connect
        yield* client.send(bytes)
        yield* Deferred.await(started)
        client.socket.destroy()
        return {
          handler: yield* Deferred.await(handler),
          scope: yield* Deferred.await(scope),
          outside: yield* Deferred.await(outside)
        }
      })

    test("interrupts the handler with ClientAbort, and the middleware sees 499", () =>
      Effect.gen(function*() {
        const ended = yield* abandoned(get, (started) => Effect.andThen(started, Effect.never))
        assert.isTrue(isClientAbort(ended.handler))
        assert.isTrue(isClientAbort(ended.scope))
        assert.strictEqual(ended.outside, 499)
      }))

    test("interrupts a handler that waits for the body", () =>
      Effect.gen(function*() {
        const ended = yield* abandoned("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab", (started) =>
          Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ stream }) =>
            Effect.andThen(
              Stream.runForEach(stream, () =>
                started),
              Effect.succeed(HttpServerResponse.empty())
            )))
        assert.isTrue(Exit.isFailure(ended.handler))
        assert.isTrue(Exit.isFailure(ended.scope))
      }))

    test("ends a streamed body: its finalizers run, and the Scope closes", () =>
      Effect.gen(function*() {
        const closed = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.as(
            Effect.addFinalizer(() => Deferred.succeed(closed, undefined)),
            HttpServerResponse.stream(
              Stream.make("first").pipe(
                Stream.concat(Stream.never),
                Stream.onExit((exit) => Deferred.succeed(ended, exit)),
                Stream.encodeText
              )
            )
          )
        ))
        const client = yield* connect
        yield* client.send(get)
        yield* client.until(/first/)
        client.socket.destroy()
        assert.isTrue(Exit.isFailure(yield* Deferred.await(ended)))
        yield* Deferred.await(closed)
      }))

    test("does not stop a route that must not be interrupted", () =>
      Effect.gen(function*() {
        const [started, finished] = [yield* Deferred.make<void>(), yield* Deferred.make<Exit.Exit<unknown, unknown>>()]
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.gen(function*() {
            yield* Deferred.succeed(started, undefined)
            const left = yield* Effect.exit(Effect.interruptible(Effect.never))
            yield* Effect.yieldNow
            yield* Deferred.succeed(finished, left)
            return HttpServerResponse.text("whole")
          }),
          { uninterruptible: true }
        ))
        const client = yield* connect
        yield* client.send(get)
        yield* Deferred.await(started)
        client.socket.destroy()
        assert.isTrue(isClientAbort(yield* Deferred.await(finished)))
      }))
  })

  describe("a server that stops", () => {
    test("lets a running request finish, and takes no more", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const [started, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        yield* Scope.provide(
          HttpServer.serveEffect(Effect.gen(function*() {
            yield* Deferred.succeed(started, undefined)
            yield* Deferred.await(release)
            return HttpServerResponse.text("finished")
          })),
          scope
        )
        const client = yield* connect
        yield* client.send(closing("GET /"))
        yield* Deferred.await(started)
        const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* Effect.repeat(Effect.exit(Effect.scoped(connect)), { until: Exit.isFailure })
        yield* Deferred.succeed(release, undefined)
        const answer = answersIn(yield* client.readAll)[0]!
        assert.deepStrictEqual([answer.status, answer.body], [200, "finished"])
        yield* Fiber.join(stopping)
      }))

    test("is stopped for good: what is served after that is not reached", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        yield* Scope.provide(HttpServer.serveEffect(Effect.succeed(HttpServerResponse.text("first"))), scope)
        assert.include(yield* ask(closing("GET /")), "first")
        yield* Scope.close(scope, Exit.void)
        yield* HttpServer.serveEffect(Effect.succeed(HttpServerResponse.text("second")))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(ask(closing("GET /")))))
      }))

    const impatient = testOf(kind, { stopAfter: 0 })
    impatient("interrupts what outlives the wait, without ClientAbort", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const started = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        yield* Scope.provide(
          HttpServer.serveEffect(
            Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
              Effect.interruptible,
              Effect.onExit((exit) => Deferred.succeed(ended, exit))
            )
          ),
          scope
        )
        const client = yield* connect
        yield* client.send(closing("GET /"))
        yield* Deferred.await(started)
        yield* Scope.close(scope, Exit.void)
        const exit = yield* Deferred.await(ended)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.isFalse(isClientAbort(exit))
      }))

    test("runs the finalizers of the application after the last request", () =>
      Effect.gen(function*() {
        const events: Array<string> = []
        const scope = yield* Scope.make()
        const note = (event: string) => Effect.sync(() => void events.push(event))
        const routes = HttpRouter.add(
          "GET",
          "/",
          Effect.as(Effect.addFinalizer(() => note("request")), HttpServerResponse.empty())
        )
        const resource = Layer.effectDiscard(Effect.addFinalizer(() => note("application")))
        yield* Layer.buildWithScope(
          HttpRouter.serve(Layer.merge(routes, resource), { disableListenLog: true, disableLogger: true }),
          scope
        )
        yield* ask(closing("GET /"))
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(events, ["request", "application"])
      }))
  })

  describe("where the server listens", () => {
    test("is known before anything is served, and logged as a URL", (logs) =>
      Effect.gen(function*() {
        const { address } = yield* HttpServer.HttpServer
        const url = HttpServer.formatAddress(address)
        assert.match(url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
        yield* Layer.build(HttpServer.withLogAddress(HttpServer.serve(Effect.succeed(HttpServerResponse.empty()))))
        assert.deepStrictEqual(logs.map(({ message }) => message), [`Listening on ${url}`])
        assert.strictEqual((yield* HttpClient.get(url)).status, 204)
      }))

    test("takes connections before the application is served, and answers them then", () =>
      Effect.gen(function*() {
        const client = yield* connect
        yield* HttpServer.serveEffect(Effect.succeed(HttpServerResponse.text("served")))
        yield* client.send(closing("GET /"))
        assert.include(yield* client.readAll, "served")
      }))
  })

  describe("the context of the application", () => {
    class Name extends Context.Service<Name, string>()("Name") {}

    test("is that of the caller of serve, with the request and its Scope", (logs) =>
      Effect.gen(function*() {
        const handler = Effect.gen(function*() {
          yield* Effect.log("handled")
          const { url } = yield* HttpServerRequest.HttpServerRequest
          yield* Effect.addFinalizer(() => Effect.log("closed"))
          return HttpServerResponse.text(`${yield* Name} ${url}`)
        })
        yield* HttpServer.serveEffect(handler).pipe(
          Effect.provideService(Name, "given"),
          Effect.annotateLogs({ app: "a" })
        )
        assert.strictEqual(yield* (yield* HttpClient.get("/x")).text, "given /x")
        yield* Sockets.until(() => logs.length >= 2)
        assert.deepStrictEqual(logs.map(({ annotations, message }) => [message, annotations["app"]]), [
          ["handled", "a"],
          ["closed", "a"]
        ])
      }))
  })
}
