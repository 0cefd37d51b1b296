import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerError, RouteNotFound } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as Fake from "../utils/exchange.ts"
import * as Logs from "../utils/logs.ts"

const text = (body: string) => new TextEncoder().encode(body)

/** Answers with what `read` makes of the request, as JSON. */
const report = <E, R>(read: (request: HttpServerRequest) => Effect.Effect<unknown, E, R>) =>
  Handler.make(
    Effect.flatMap(HttpServerRequest, (request) =>
      Effect.map(read(request), (value) => HttpServerResponse.jsonUnsafe(value)))
  )

describe("Handler", () => {
  describe("responses", () => {
    it.effect("sends status, headers and text in two events", () =>
      Effect.gen(function*() {
        const fake = Fake.make()
        yield* Handler.make(Effect.succeed(HttpServerResponse.text("Hello", { status: 201 })))(fake.exchange)
        assert.deepStrictEqual(fake.sent, [
          {
            type: "http.response.start",
            status: 201,
            headers: [["content-type", "text/plain"], ["content-length", "5"]]
          },
          { type: "http.response.body", body: "Hello" }
        ])
      }))

    it.effect("sends each cookie as a line of its own", () =>
      Effect.gen(function*() {
        const response = HttpServerResponse.empty().pipe(
          HttpServerResponse.setCookieUnsafe("a", "1", { httpOnly: true }),
          HttpServerResponse.setCookieUnsafe("b", "2")
        )
        const { headers } = yield* Fake.request(Handler.make(Effect.succeed(response)))
        assert.deepStrictEqual(headers, [["set-cookie", "a=1; HttpOnly"], ["set-cookie", "b=2"]])
      }))

    it.effect("answers HEAD with the head of GET and opens no body [W23]", () =>
      Effect.gen(function*() {
        let opened = false
        const stream = Stream.fromEffect(Effect.sync(() => {
          opened = true
          return text("never")
        }))
        const streamed = yield* Fake.request(
          Handler.make(Effect.succeed(HttpServerResponse.stream(stream, { contentLength: 5 }))),
          { method: "HEAD" }
        )
        const whole = yield* Fake.request(Handler.make(Effect.succeed(HttpServerResponse.text("Hello"))), {
          method: "HEAD"
        })
        assert.strictEqual(streamed.header("content-length"), "5")
        assert.strictEqual(whole.header("content-length"), "5")
        assert.strictEqual(streamed.bytes.length + whole.bytes.length, 0)
        assert.isFalse(opened)
      }))

    it.effect("leaves content-length out of a 204", () =>
      Effect.gen(function*() {
        const { bytes, headers } = yield* Fake.request(
          Handler.make(Effect.succeed(HttpServerResponse.text("dropped", { status: 204 })))
        )
        assert.deepStrictEqual(headers, [["content-type", "text/plain"]])
        assert.strictEqual(bytes.length, 0)
      }))

    it.effect("streams a body chunk by chunk and closes the scope after it", () =>
      Effect.gen(function*() {
        const order: Array<string> = []
        const handler = Effect.gen(function*() {
          yield* Effect.addFinalizer(() => Effect.sync(() => order.push("scope closed")))
          const stream = Stream.fromIterable(["a", "b"]).pipe(
            Stream.rechunk(1),
            Stream.tap((chunk) => Effect.sync(() => order.push(chunk))),
            Stream.encodeText
          )
          return HttpServerResponse.stream(stream)
        })
        const answer = yield* Fake.request(Handler.make(handler))
        assert.strictEqual(answer.text, "ab")
        assert.deepStrictEqual(order, ["a", "b", "scope closed"])
      }))

    it.effect("sends raw strings, bytes and async iterables", () =>
      Effect.gen(function*() {
        async function* chunks() {
          yield text("from ")
          yield text("afar")
        }
        const bodies = [["plain", "plain"], [text("bytes"), "bytes"], [chunks(), "from afar"]] as const
        for (const [body, expected] of bodies) {
          const answer = yield* Fake.request(Handler.make(Effect.succeed(HttpServerResponse.raw(body))))
          assert.strictEqual(answer.text, expected)
        }
      }))

    it.effect("sends form data and web Responses as the platform serializes them", () =>
      Effect.gen(function*() {
        const form = new FormData()
        form.set("name", "value")
        const sent = yield* Fake.request(Handler.make(Effect.succeed(HttpServerResponse.formData(form))))
        const parsed = yield* Effect.promise(() =>
          new Response(sent.bytes as Uint8Array<ArrayBuffer>, {
            headers: { "content-type": sent.header("content-type")! }
          }).formData()
        )
        assert.strictEqual(parsed.get("name"), "value")

        const web = new Response("teapot", { status: 418 })
        const raw = yield* Fake.request(Handler.make(Effect.succeed(HttpServerResponse.raw(web))))
        assert.deepStrictEqual([raw.status, raw.text], [418, "teapot"])
      }))

    it.effect("applies pre-response handlers", () =>
      Effect.gen(function*() {
        const handler = Effect.andThen(
          HttpEffect.appendPreResponseHandler((_, response) =>
            Effect.succeed(HttpServerResponse.setHeader(response, "x-added", "yes"))
          ),
          Effect.succeed(HttpServerResponse.text("ok"))
        )
        const answer = yield* Fake.request(Handler.make(handler))
        assert.strictEqual(answer.header("x-added"), "yes")
      }))

    it.effect("fails with SendError when a body stream fails", () =>
      Effect.gen(function*() {
        const handler = Effect.succeed(HttpServerResponse.stream(Stream.fail("disk")))
        const error = yield* Effect.flip(Fake.request(Handler.make(handler)))
        assert.strictEqual(error._tag, "SendError")
        assert.strictEqual(error.reason._tag, "BodySourceFailed")
      }))
  })

  describe("requests", () => {
    it.effect("has method, url, address and joined headers", () =>
      Effect.gen(function*() {
        const app = report((request) =>
          Effect.succeed({
            method: request.method,
            url: request.url,
            originalUrl: request.originalUrl,
            accept: request.headers["accept"],
            cookies: request.cookies,
            remote: Option.getOrUndefined(request.remoteAddress)
          })
        )
        const { json } = yield* Fake.request(app, {
          method: "DELETE",
          target: "/a%20b?c=d",
          headers: [["host", "h.test:81"], ["accept", "x/y"], ["accept", "z/*"], ["cookie", "k=v; l=w"]]
        })
        assert.deepStrictEqual(json, {
          method: "DELETE",
          url: "/a%20b?c=d",
          originalUrl: "http://h.test:81/a%20b?c=d",
          accept: "x/y, z/*",
          cookies: { k: "v", l: "w" },
          remote: "203.0.113.7"
        })
      }))

    it.effect("strips the mount point from url, where it stands", () =>
      Effect.gen(function*() {
        const app = report((request) => Effect.succeed(request.url))
        const urls = yield* Effect.forEach(["/api/x?y", "/api", "/apix", "/x"], (target) =>
          Effect.map(Fake.request(app, { target, scope: { rootPath: "/api" } }), (answer) => answer.json))
        assert.deepStrictEqual(urls, ["/x?y", "/", "/apix", "/x"])
      }))

    it.effect("keeps headers named like object properties apart from the object", () =>
      Effect.gen(function*() {
        const app = report(({ headers }) => Effect.succeed([headers["constructor"], headers["__proto__"]]))
        const { json } = yield* Fake.request(app, { headers: [["constructor", "a"], ["__proto__", "b"]] })
        assert.deepStrictEqual(json, ["a", "b"])
      }))

    it.effect("reads a body of several parts as text, JSON, form and bytes", () =>
      Effect.gen(function*() {
        const parts = (body: string) => [body.slice(0, 3), "", body.slice(3)]
        const read = (body: string, with_: (request: HttpServerRequest) => Effect.Effect<unknown, HttpServerError>) =>
          Effect.map(Fake.request(report(with_), { method: "POST", body: parts(body) }), (answer) => answer.json)
        assert.strictEqual(yield* read("héllo", (request) => request.text), "héllo")
        assert.deepStrictEqual(yield* read(`{"a":[1]}`, (request) => request.json), { a: [1] })
        assert.deepStrictEqual(
          yield* read("a=1&a=2&b=%26", (request) => Effect.map(request.urlParamsBody, (params) => params.params)),
          [["a", "1"], ["a", "2"], ["b", "&"]]
        )
        assert.strictEqual(
          yield* read("12345", (request) => Effect.map(request.arrayBuffer, (buffer) => buffer.byteLength)),
          5
        )
      }))

    it.effect("keeps a body that was read whole for further readers", () =>
      Effect.gen(function*() {
        const app = report((request) =>
          Effect.all([
            request.text,
            request.modify({ url: "/other" }).json,
            Stream.mkString(Stream.decodeText(request.stream))
          ])
        )
        const { json } = yield* Fake.request(app, { method: "POST", body: ["[1", "]"] })
        assert.deepStrictEqual(json, ["[1]", [1], "[1]"])
      }))

    it.effect("receives a streamed body part by part, and only when it is pulled", () =>
      Effect.gen(function*() {
        const fake = Fake.make({ method: "POST", body: ["a", "b", "c"] })
        const app = report((request) => Stream.mkString(Stream.decodeText(Stream.take(request.stream, 1))))
        yield* app(fake.exchange)
        assert.strictEqual(fake.answer().json, "a")
        assert.strictEqual(fake.receiveCount(), 1)
      }))

    it.effect("refuses to read a streamed body twice", () =>
      Effect.gen(function*() {
        const readTwice = report((request) =>
          Effect.andThen(
            Stream.runDrain(request.stream),
            Effect.map(Effect.flip(request.text), (error) => error.reason._tag)
          )
        )
        assert.strictEqual((yield* Fake.request(readTwice, { method: "POST", body: "x" })).json, "RequestParseError")
      }))

    it.effect("parses multipart parts as they arrive [W19]", () =>
      Effect.gen(function*() {
        const body = [
          "--XX\r\ncontent-disposition: form-data; name=\"field\"\r\n\r\nva",
          "lue\r\n--XX\r\ncontent-disposition: form-data; name=\"upload\"; filename=\"a.txt\"\r\n",
          "content-type: text/plain\r\n\r\nfile body\r\n--XX--\r\n"
        ]
        const app = report((request) =>
          Stream.runCollect(Stream.mapEffect(request.multipartStream, (part) =>
            part._tag === "Field"
              ? Effect.succeed([part.key, part.value])
              : Effect.map(part.contentEffect, (bytes) => [part.key, part.name, new TextDecoder().decode(bytes)])))
        )
        const { json } = yield* Fake.request(app, {
          method: "POST",
          headers: { "content-type": "multipart/form-data; boundary=XX" },
          body
        })
        assert.deepStrictEqual(json, [["field", "value"], ["upload", "a.txt", "file body"]])
      }))

    it.effect("answers 413 above MaxBodySize and 400 to broken JSON, and logs neither", () => {
      const logs = Logs.capture()
      return Effect.gen(function*() {
        const app = report((request) => request.json)
        const large = yield* Fake.request(app, { method: "POST", body: ["12", "34"] }).pipe(
          Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(3))
        )
        const broken = yield* Fake.request(app, { method: "POST", body: "{" })
        assert.deepStrictEqual([large.status, broken.status], [413, 400])
        assert.deepStrictEqual(logs.lines, [])
      }).pipe(Effect.provide(logs.layer))
    })
  })

  describe("failures", () => {
    it.effect("answers 500 without details and logs the cause once", () => {
      const logs = Logs.capture()
      return Effect.gen(function*() {
        for (const handler of [Effect.fail("secret"), Effect.die(new Error("secret"))]) {
          const answer = yield* Fake.request(Handler.make(handler), { method: "POST", target: "/x?token=hidden" })
          assert.strictEqual(answer.status, 500)
          assert.notInclude(answer.text, "secret")
          const line = logs.lines.pop()
          assert.deepStrictEqual([line?.level, line?.message], ["Error", "POST /x failed"])
          assert.include(line?.cause, "secret")
          assert.strictEqual(logs.lines.length, 0)
        }
      }).pipe(Effect.provide(logs.layer))
    })

    it.effect("closes the request's scope with a failure, so that finalizers can undo", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const transaction = Effect.addFinalizer((exit) => Effect.sync(() => void seen.push(exit._tag)))
        const answering = Effect.andThen(transaction, Effect.succeed(HttpServerResponse.empty()))
        yield* Fake.request(Handler.make(answering))
        yield* Fake.request(Handler.make(Effect.andThen(transaction, Effect.fail("no"))))
        assert.deepStrictEqual(seen, ["Success", "Failure"])
      }))

    it.effect("lets a failure say its own response", () => {
      const logs = Logs.capture()
      return Effect.gen(function*() {
        const missing = Effect.flatMap(
          HttpServerRequest,
          (request) => Effect.fail(new HttpServerError({ reason: new RouteNotFound({ request }) }))
        )
        const teapot = Effect.fail(HttpServerResponse.text("teapot", { status: 418 }))
        const thrown = Effect.die(HttpServerResponse.text("early", { status: 403 }))
        const invalid = Schema.decodeUnknownEffect(Schema.Int)("x")
        const handlers: ReadonlyArray<Handler.Handler<unknown>> = [
          missing,
          teapot,
          thrown,
          Effect.as(invalid, HttpServerResponse.empty())
        ]
        const statuses = yield* Effect.forEach(
          handlers,
          (handler) => Effect.map(Fake.request(Handler.make(handler)), (answer) => answer.status)
        )
        assert.deepStrictEqual(statuses, [404, 418, 403, 422])
        assert.deepStrictEqual(logs.lines, [])
      }).pipe(Effect.provide(logs.layer))
    })

    it.effect("declines what is not http", () =>
      Effect.gen(function*() {
        const sent: Array<string> = []
        const app = Handler.make(Effect.succeed(HttpServerResponse.text("never")))
        yield* app({
          type: "lifespan",
          scope: { type: "lifespan", slipway: { version: "0", specVersion: "0" } },
          receive: Effect.never,
          send: (event) => Effect.sync(() => void sent.push(event.type))
        })
        assert.deepStrictEqual(sent, [])
      }))
  })

  describe("interruption", () => {
    it.effect("interrupts the handler when the client leaves: finalizers run, nothing is sent or logged", () => {
      const logs = Logs.capture()
      return Effect.gen(function*() {
        const fake = Fake.make()
        const closed = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        const handler = Effect.andThen(
          Effect.addFinalizer((exit) => Deferred.succeed(closed, exit)),
          Effect.never
        )
        const fiber = yield* fake.start(Handler.make(handler))
        yield* fake.disconnect()
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.isTrue(Exit.hasInterrupts(yield* Deferred.await(closed)))
        assert.deepStrictEqual(fake.sent, [])
        assert.deepStrictEqual(logs.lines, [])
      }).pipe(Effect.provide(logs.layer))
    })

    it.effect("stops a response stream when the client leaves", () =>
      Effect.gen(function*() {
        const fake = Fake.make()
        const stopped = yield* Deferred.make<void>()
        const stream = Stream.concat(Stream.succeed(text("first")), Stream.never).pipe(
          Stream.ensuring(Deferred.succeed(stopped, undefined))
        )
        const fiber = yield* fake.start(Handler.make(Effect.succeed(HttpServerResponse.stream(stream))))
        while (fake.chunks.length === 0) yield* Effect.yieldNow
        yield* fake.disconnect()
        yield* Deferred.await(stopped)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      }))

    it.effect("leaves the answer to whoever interrupts: a timeout sends its own", () =>
      Effect.gen(function*() {
        const fake = Fake.make()
        const app = Handler.make(Effect.never)
        const fiber = yield* Effect.forkChild(
          Effect.timeoutOrElse(app(fake.exchange), {
            duration: "1 second",
            orElse: () => App.respond(fake.exchange.send, 504)
          }),
          { startImmediately: true }
        )
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.deepStrictEqual([fake.sent.length, fake.answer().status], [2, 504])
      }))
  })

  it.effect("leaves a handler that ends in somebody else's interruption to the server", () =>
    Effect.gen(function*() {
      const fake = Fake.make()
      const handler = Effect.gen(function*() {
        const child = yield* Effect.forkChild(Effect.never)
        yield* Fiber.interrupt(child)
        return yield* Fiber.join(child)
      })
      const exit = yield* Effect.exit(Handler.make(handler)(fake.exchange))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.deepStrictEqual(fake.sent, [])
    }))

  it.effect("runs effect/http routers", () =>
    Effect.gen(function*() {
      const router = yield* HttpRouter.toHttpEffect(
        HttpRouter.add(
          "GET",
          "/hello/:name",
          Effect.map(HttpRouter.params, ({ name }) => HttpServerResponse.text(`Hi ${name}`))
        )
      )
      const app = Handler.make(router)
      const found = yield* Fake.request(app, { target: "/hello/you?x" })
      const missing = yield* Fake.request(app, { target: "/nothing" })
      assert.deepStrictEqual([found.status, found.text, missing.status], [200, "Hi you", 404])
    }))
})
