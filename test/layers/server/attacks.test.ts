/**
 * Many hostile clients at once: what each of them gets, that honest ones are answered meanwhile, and that nothing is left
 * of any of them. Each limit by itself is the subject of limits.test.ts and timeouts.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"

const clients = 200
const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const quiet = Effect.provide(capture().layer)

/** Reads every body, and answers with as much as is asked for. */
const app = App.http(({ receive, scope, send }) => {
  const readAll: Effect.Effect<void> = Effect.flatMap(receive, (event) => {
    if (event.type !== "http.request") return Effect.never
    return event.more ? readAll : Effect.void
  })
  return Effect.andThen(readAll, App.respond(send, 200, scope.path === "/large" ? "x".repeat(1_000_000) : "hello"))
})

type Server = Effect.Success<ReturnType<typeof serve>>

const connectAll = ({ connect }: Server) =>
  Effect.forEach(Array.from({ length: clients }), () => connect(), { concurrency: "unbounded" })

/** Somebody with nothing bad in mind. */
const assertServes = Effect.fnUntraced(function*({ connect }: Server) {
  const client = yield* connect()
  yield* client.send(get)
  assert.match(yield* client.read, /^HTTP\/1\.1 200 OK\r\n[^]*hello$/)
  yield* client.reset
})

const assertNothingLeft = Effect.fnUntraced(function*({ server }: Server) {
  yield* ServerMemory.settle
  const { connections, exchanges } = yield* server.stats
  assert.deepStrictEqual({ connections, exchanges }, { connections: 0, exchanges: 0 })
})

describe("attacks", () => {
  it.effect("slowloris: heads that never end get 408 at the limit, however steadily they drip [C175]", () =>
    Effect.gen(function*() {
      const served = yield* serve(app, { headerTimeout: "10 seconds" })
      const attackers = yield* connectAll(served)
      yield* Effect.forEach(attackers, (client) => client.send("GET / HTTP/1.1\r\nHost: a\r\n"))
      for (let second = 1; second <= 9; second++) {
        yield* TestClock.adjust("1 second")
        yield* Effect.forEach(attackers, (client) => client.send(`X-${second}: a\r\n`), { concurrency: "unbounded" })
      }
      assert.strictEqual((yield* served.server.stats).connections, clients)
      yield* assertServes(served)
      yield* TestClock.adjust("5 seconds")
      for (const client of attackers) assert.match(yield* client.readAll, /^HTTP\/1\.1 408 /)
      yield* assertServes(served)
      yield* assertNothingLeft(served)
    }))

  it.effect("slow POST: bodies that stop coming are given up, and their applications with them [C175]", () =>
    Effect.gen(function*() {
      const served = yield* serve(app, { bodyTimeout: "30 seconds" })
      const attackers = yield* connectAll(served)
      const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
      yield* Effect.forEach(attackers, (client) => client.send(`${head}x`))
      assert.strictEqual((yield* served.server.stats).exchanges, clients)
      yield* assertServes(served)
      yield* TestClock.adjust("45 seconds")
      yield* assertServes(served)
      yield* assertNothingLeft(served)
    }).pipe(quiet))

  it.effect("slow POST: one whole body has an end by requestTimeout, whatever drips [C175]", () =>
    Effect.gen(function*() {
      const served = yield* serve(app, { requestTimeout: "60 seconds" })
      const attackers = yield* connectAll(served)
      const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
      yield* Effect.forEach(attackers, (client) => client.send(head))
      for (let round = 1; round <= 7; round++) {
        yield* TestClock.adjust("10 seconds")
        yield* Effect.forEach(attackers, (client) => client.send("x"), { concurrency: "unbounded" })
      }
      yield* TestClock.adjust("10 seconds")
      yield* assertNothingLeft(served)
    }).pipe(quiet))

  it.effect("slow read: answers that nobody takes are given up, within the bounds of their buffers [C175]", () =>
    Effect.gen(function*() {
      const served = yield* serve(app, { writeTimeout: "30 seconds" })
      const attackers = yield* connectAll(served)
      yield* Effect.forEach(
        attackers,
        (client) => Effect.andThen(client.pause, client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"))
      )
      yield* ServerMemory.settle
      assert.strictEqual((yield* served.server.stats).connections, clients)
      yield* assertServes(served)
      yield* TestClock.adjust("45 seconds")
      yield* assertServes(served)
      yield* assertNothingLeft(served)
    }).pipe(quiet))

  const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
  const smugglers: Readonly<Record<string, string>> = {
    "CL.TE":
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${5 + smuggled.length}\r\nTransfer-Encoding: chunked\r\n\r\n`
      + `0\r\n\r\n${smuggled}`,
    "TE.CL": `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n`
      + `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
    "TE.TE":
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n${smuggled}`,
    "two lengths":
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    "a blank before the colon": `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    "a folded line": `POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n${smuggled}`,
    "a bare line feed in a chunk": `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n${smuggled}`
  }
  for (const [name, bytes] of Object.entries(smugglers)) {
    it.effect(`smuggling by ${name}: one refusal, and nothing behind it is read [C175]`, () =>
      Effect.gen(function*() {
        const paths: Array<string> = []
        const served = yield* serve(App.http((exchange) => {
          paths.push(exchange.scope.path)
          return app(exchange)
        }))
        const client = yield* served.connect()
        yield* client.send(bytes)
        const answers = (yield* client.readAll).match(/HTTP\/1\.1 \d+/g)
        assert.match(String(answers), /^HTTP\/1\.1 (?:400|501)$/)
        assert.notInclude(paths, "/smuggled")
        yield* client.end
        yield* assertNothingLeft(served)
      }).pipe(quiet))
  }

  it.effect("fuzz: bytes by chance and requests with a few bytes changed leave the server as it was [C175]", () =>
    Effect.gen(function*() {
      const served = yield* serve(app, { headerTimeout: "1 second", bodyTimeout: "1 second" })
      const request =
        "POST /a?b=c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
      for (let round = 0; round < 400; round++) {
        const bytes = Buffer.from(round % 4 === 0 ? "\0".repeat(200) : request.repeat(3), "latin1")
        const changes = round % 4 === 0 ? bytes.length : 1 + round % 5
        for (let change = 0; change < changes; change++) {
          bytes[yield* Random.nextIntBetween(0, bytes.length)] = yield* Random.nextIntBetween(0, 256)
        }
        const client = yield* served.connect()
        yield* client.send(bytes)
        const text = yield* client.read
        assert.match(text, /^(?:HTTP\/1\.1 [2-5]\d\d |$)/)
        yield* client.reset
      }
      yield* TestClock.adjust("5 seconds")
      yield* assertServes(served)
      yield* assertNothingLeft(served)
    }).pipe(Random.withSeed("slipway"), quiet))
})
