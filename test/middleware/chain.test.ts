/** Layers of a chain: Apps around Apps, and effect/http's middleware around a handler. */
import * as NodeHttpPlatform from "@effect/platform-node/NodeHttpPlatform"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { pipe } from "effect/Function"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as zlib from "node:zlib"
import * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import type { SendError } from "../../src/app/SendError.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { bodyOf, headerOf, serve } from "../utils/serve.ts"

/** Writes down when it is entered and left. */
const logged = (name: string, lines: Array<string>) => <E, R>(app: App.App<E, R>): App.App<E, R> => (exchange) =>
  exchange.type === "lifespan"
    ? app(exchange)
    : Effect.suspend(() => {
      lines.push(`> ${name} ${exchange.scope.path}`)
      return Effect.ensuring(app(exchange), Effect.sync(() => void lines.push(`< ${name}`)))
    })

/** Lets those pass who know the word. */
const guarded = (word: string) => <E, R>(app: App.App<E, R>): App.App<E | SendError, R> => (exchange) =>
  exchange.type === "http" && !exchange.scope.headers.some(([name, value]) => name === "x-word" && value === word)
    ? App.respond(exchange.send, 401, "Who is it?")
    : app(exchange)

const large = "A line that comes again and again.\n".repeat(100)

const handler = Effect.succeed(HttpServerResponse.text(large)).pipe(
  HttpMiddleware.compression(),
  HttpMiddleware.cors({ allowedOrigins: ["https://a.test"] })
)

/** The whole answer: what is compressed comes from another thread. */
const answerTo = Effect.fnUntraced(function*<E, R>(app: App.App<E, R>, bytes: string) {
  const { connect } = yield* serve(app)
  const client = yield* connect()
  yield* client.send(bytes)
  return yield* client.readAll
})

const unchunked = (body: string): string => {
  const [, size = "0"] = /^([0-9a-f]+)\r\n/.exec(body) ?? []
  const start = size.length + 2
  const end = start + Number.parseInt(size, 16)
  return end === start ? "" : body.slice(start, end) + unchunked(body.slice(end + 2))
}

const request = (word: string): string =>
  `GET /lines HTTP/1.1\r\nHost: a\r\nX-Word: ${word}\r\nOrigin: https://a.test\r\nAccept-Encoding: gzip\r\n`
  + "Connection: close\r\n\r\n"

describe("a chain of middleware", () => {
  const chain = (lines: Array<string>) =>
    pipe(Handler.make(handler), logged("inner", lines), guarded("sesame"), logged("outer", lines), Lint.make())

  it.effect("logs, lets in, allows the origin and compresses, each where it stands [W25]", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const answer = yield* answerTo(chain(lines), request("sesame"))
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
      assert.strictEqual(headerOf(answer, "access-control-allow-origin"), "https://a.test")
      assert.strictEqual(headerOf(answer, "content-encoding"), "gzip")
      const bytes = headerOf(answer, "transfer-encoding") === "chunked" ? unchunked(bodyOf(answer)) : bodyOf(answer)
      assert.strictEqual(zlib.gunzipSync(Buffer.from(bytes, "latin1")).toString(), large)
      assert.deepStrictEqual(lines, ["> outer /lines", "> inner /lines", "< inner", "< outer"])
    }).pipe(Effect.provide(NodeHttpPlatform.layer)))

  it.effect("ends where one of them answers: what is within is not entered [W25]", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const answer = yield* answerTo(chain(lines), request("barley"))
      assert.match(answer, /^HTTP\/1\.1 401 Unauthorized\r\n/)
      assert.isUndefined(headerOf(answer, "access-control-allow-origin"))
      assert.deepStrictEqual(lines, ["> outer /lines", "< outer"])
    }).pipe(Effect.provide(NodeHttpPlatform.layer)))
})
