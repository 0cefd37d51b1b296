/**
 * What stands for the containers of other toolkits: values of one request are services, header lines are
 * effect/http/Headers, and secrets are made and compared with effect/crypto.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as Provide from "../../src/middleware/Provide.ts"
import * as Fake from "../utils/exchange.ts"

class CurrentUser extends Context.Service<CurrentUser, { readonly name: string }>()("test/CurrentUser") {}

const greet = Handler.make(
  CurrentUser.use(({ name }) => Effect.succeed(HttpServerResponse.text(`Hello, ${name}`)))
)

describe("Locals", () => {
  describe("values of a request", () => {
    it.effect("are services that middleware provides [C211]", () =>
      Effect.gen(function*() {
        const app = Provide.perRequest(({ scope }) => Layer.succeed(CurrentUser, { name: scope.path.slice(1) }))(greet)
        const texts = yield* Effect.forEach(["/ada", "/bob"], (target) => Fake.request(app, { target }))
        assert.deepStrictEqual(texts.map(({ text }) => text), ["Hello, ada", "Hello, bob"])
      }))

    it.effect("do not compile when nobody provides them, and are named when they are missing all the same [C211]", () =>
      Effect.gen(function*() {
        // @ts-expect-error CurrentUser is required
        const app: App.App<unknown, never> = greet
        const read = Effect.suspend(() => CurrentUser as unknown as Effect.Effect<{ readonly name: string }>)
        const exit = yield* Effect.exit(read)
        assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        assert.include(Cause.pretty(exit.cause), "test/CurrentUser")
        assert.isFunction(app)
      }))

    it.effect("can be asked for without being required [C211]", () =>
      Effect.gen(function*() {
        const app = Handler.make(
          Effect.map(
            Effect.serviceOption(CurrentUser),
            Option.match({
              onNone: () => HttpServerResponse.text("nobody"),
              onSome: ({ name }) => HttpServerResponse.text(name)
            })
          )
        )
        assert.strictEqual((yield* Fake.request(app)).text, "nobody")
      }))
  })

  describe("headers", () => {
    it.effect("are found in any case, joined when repeated, and changed without changing the request [C211]", () =>
      Effect.gen(function*() {
        const app = Handler.make(Effect.gen(function*() {
          const { headers } = yield* HttpServerRequest
          const changed = Headers.remove(Headers.set(headers, "X-Added", "yes"), "accept")
          return HttpServerResponse.jsonUnsafe({
            tag: Option.getOrNull(Headers.get(headers, "X-Tag")),
            missing: Option.getOrNull(Headers.get(headers, "X-Missing")),
            has: [Headers.has(headers, "ACCEPT"), Headers.has(changed, "accept"), Headers.has(headers, "x-added")],
            added: changed["x-added"]
          })
        }))
        const { json } = yield* Fake.request(app, { headers: [["x-tag", "a"], ["accept", "*/*"], ["x-tag", "b"]] })
        assert.deepStrictEqual(json, { tag: "a, b", missing: null, has: [true, false, false], added: "yes" })
      }))
  })

  describe("secrets", () => {
    it.effect("are made of secure random bytes [C211]", () =>
      Effect.gen(function*() {
        const random = yield* SecureRandom.SecureRandom
        const [a, b] = yield* Effect.all([random.randomBytes(32), random.randomBytes(32)])
        assert.deepStrictEqual([a.length, b.length], [32, 32])
        assert.notDeepEqual(a, b)
        assert.match(yield* random.uuidV4(), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      }).pipe(Effect.provide(SecureRandom.layerWebCrypto)))

    it("are compared without telling where they differ [C211]", () => {
      const bytes = (text: string) => new TextEncoder().encode(text)
      assert.isTrue(Mac.timingSafeEqual(bytes("secret"), bytes("secret")))
      assert.isFalse(Mac.timingSafeEqual(bytes("secret"), bytes("secreT")))
      assert.isFalse(Mac.timingSafeEqual(bytes("secret"), bytes("secret ")))
    })
  })
})
