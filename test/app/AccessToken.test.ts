import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as AccessToken from "../../src/app/AccessToken.ts"
import * as App from "../../src/app/App.ts"
import type { HttpScope } from "../../src/schema/Scope.ts"
import * as Fake from "../utils/exchange.ts"

const ask = Effect.fnUntraced(
  function*(guard: AccessToken.Guard, authorization?: string, scope: Partial<HttpScope> = {}) {
    const fake = Fake.make({ headers: authorization === undefined ? {} : { authorization }, scope })
    yield* guard(fake.exchange, App.respond(fake.exchange.send, 200, "secret thing"))
    return fake.answer()
  }
)

const basic = (pair: string) => `Basic ${Buffer.from(pair).toString("base64")}`

/** As a header has it: bytes. */
const bytes = (text: string) => Buffer.from(text).toString("latin1")

describe("AccessToken", () => {
  describe("guard", () => {
    for (
      const [what, authorization] of [
        ["as a bearer token", "Bearer s3:cret"],
        ["whatever the case of the scheme", "bearer s3:cret"],
        ["as a password", basic("anybody:s3:cret")],
        ["as a password without a user", basic(":s3:cret")]
      ] as const
    ) {
      it.effect(`lets who has the token in, given ${what}`, () =>
        Effect.gen(function*() {
          const guard = yield* AccessToken.guard(Redacted.make("s3:cret"))
          assert.strictEqual((yield* ask(guard, authorization)).status, 200)
        }))
    }

    it.effect("looks at ten wrong tokens a minute, also when they come all at once", () =>
      Effect.gen(function*() {
        const guard = yield* AccessToken.guard(Redacted.make("s3:cret"))
        const guesses = Array.from({ length: 30 }, (_, index) => ask(guard, `Bearer ${index}`))
        const answers = yield* Effect.all(guesses, { concurrency: "unbounded" })
        assert.strictEqual(answers.filter(({ status }) => status === 401).length, 10)
        assert.strictEqual(answers.filter(({ status }) => status === 429).length, 20)
      }))

    it.effect("reads a token as UTF-8", () =>
      Effect.gen(function*() {
        const guard = yield* AccessToken.guard(Redacted.make("größe"))
        assert.strictEqual((yield* ask(guard, bytes("Bearer größe"))).status, 200)
        assert.strictEqual((yield* ask(guard, basic("me:größe"))).status, 200)
      }))

    for (
      const authorization of [
        undefined,
        "Bearer",
        "Bearer ",
        "Bearer s3:cre",
        "Bearer s3:cret2",
        "Bearer S3:cret",
        "s3:cret",
        "Digest s3:cret",
        "Basic s3:cret",
        basic("s3:cret"),
        basic("s3:cret:"),
        basic("me:s3:cret "),
        "Basic !!!"
      ]
    ) {
      it.effect(`asks for the token after ${JSON.stringify(authorization)}, and says nothing else`, () =>
        Effect.gen(function*() {
          const guard = yield* AccessToken.guard(Redacted.make("s3:cret"))
          const answer = yield* ask(guard, authorization)
          assert.strictEqual(answer.status, 401)
          assert.strictEqual(answer.text, "Unauthorized\n")
          assert.strictEqual(
            answer.header("www-authenticate"),
            `Basic realm="Slipway", charset="UTF-8", Bearer realm="Slipway"`
          )
        }))
    }

    it.effect("listens to nothing of a client that was wrong ten times, until a minute is over; others get in", () =>
      Effect.gen(function*() {
        const guard = yield* AccessToken.guard(Redacted.make("right"))
        for (let guess = 0; guess < 10; guess++) assert.strictEqual((yield* ask(guard, "Bearer wrong")).status, 401)
        const answer = yield* ask(guard, "Bearer right")
        assert.strictEqual(answer.status, 429)
        assert.strictEqual(answer.header("retry-after"), "60")
        assert.strictEqual((yield* ask(guard)).status, 401)
        assert.strictEqual((yield* ask(guard, "Bearer right", { client: ["203.0.113.8", 1] })).status, 200)
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual((yield* ask(guard, "Bearer right")).header("retry-after"), "1")
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* ask(guard, "Bearer right")).status, 200)
      }))

    it.effect("remembers a thousand clients and no more", () =>
      Effect.gen(function*() {
        const guard = yield* AccessToken.guard(Redacted.make("right"))
        const client = (number: number) => ({ client: [`2001:db8::${number.toString(16)}`, 1] as const })
        for (let guess = 0; guess < 10; guess++) yield* ask(guard, "Bearer wrong", client(0))
        for (let other = 1; other < 1000; other++) yield* ask(guard, "Bearer wrong", client(other))
        assert.strictEqual((yield* ask(guard, "Bearer right", client(0))).status, 429)
        yield* ask(guard, "Bearer wrong", client(1000))
        assert.strictEqual((yield* ask(guard, "Bearer right", client(0))).status, 200)
      }))

    it.effect("is not made of an empty token", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(AccessToken.guard(Redacted.make("")))
        assert.include(String(exit), "An access token must not be empty")
      }))
  })

  describe("loopbackOnly", () => {
    const from = (address: string | undefined, host: string) => {
      const fake = Fake.make({ headers: { host }, scope: address === undefined ? {} : { client: [address, 1] } })
      const { client: _, ...scope } = fake.exchange.scope
      const exchange = address === undefined ? App.derive(fake.exchange, { scope }) : fake.exchange
      return Effect.map(
        AccessToken.loopbackOnly(exchange, App.respond(exchange.send, 200, "x")),
        () => fake.answer().status
      )
    }

    for (
      const [address, host] of [
        ["127.0.0.1", "localhost:9000"],
        ["127.0.0.1", "127.0.0.1"],
        ["127.8.9.1", "LOCALHOST"],
        ["::1", "[::1]:9000"],
        ["::ffff:127.0.0.1", "127.0.0.1:9000"],
        [undefined, "anything"]
      ] as const
    ) {
      it.effect(`lets ${address ?? "a unix socket"} in as ${host}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* from(address, host), 200)
        }))
    }

    for (
      const [address, host] of [
        ["127.0.0.1", "evil.example:9000"],
        ["127.0.0.1", "localhost.evil.example"],
        ["127.0.0.1", "127.0.0.1.evil.example"],
        ["127.0.0.1", ""],
        ["192.0.2.7", "localhost"],
        ["::ffff:192.0.2.7", "localhost"]
      ] as const
    ) {
      it.effect(`keeps ${address} out as ${JSON.stringify(host)}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* from(address, host), 403)
        }))
    }
  })
})
