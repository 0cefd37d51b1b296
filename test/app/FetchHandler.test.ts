import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FetchHandler from "../../src/app/FetchHandler.ts"
import * as Fake from "../utils/exchange.ts"
import * as Logs from "../utils/logs.ts"
import { bodyOf, exchange } from "../utils/serve.ts"

const text = (body: string) => new TextEncoder().encode(body)

/** Lets promises and fibers go on until `condition` holds. */
const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => condition() ? Effect.void : Effect.andThen(Effect.yieldNow, until(condition)))

/** Long enough for whatever would have been pulled ahead. */
const promisesSettle = async () => {
  for (let i = 0; i < 100; i++) await Promise.resolve()
}

const url = (description: Fake.Request) =>
  Effect.map(
    Fake.request(FetchHandler.make((request) => new Response(request.url)), description),
    (answer) => answer.status === 200 ? answer.text : answer.status
  )

describe("FetchHandler", () => {
  it.effect("passes method, headers and body of the request on", () =>
    Effect.gen(function*() {
      const app = FetchHandler.make(async (request) =>
        Response.json([request.method, request.headers.get("x-a"), request.headers.get("cookie"), await request.text()])
      )
      const { header, json, status } = yield* Fake.request(app, {
        method: "PUT",
        headers: [["x-a", "1"], ["x-a", "2"], ["cookie", "k=v"]],
        body: ["hel", "", "lo"]
      })
      assert.strictEqual(status, 200)
      assert.strictEqual(header("content-type"), "application/json")
      assert.deepStrictEqual(json, ["PUT", "1, 2", "k=v", "hello"])
    }))

  it.effect("makes the URL of scheme, host and raw target", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* url({ target: "/a%2Fb?c=%20" }), "http://example.test/a%2Fb?c=%20")
      assert.strictEqual(
        yield* url({ target: "/x", headers: { host: "h:8443" }, scope: { scheme: "https" } }),
        "https://h:8443/x"
      )
      assert.strictEqual(
        yield* url({ headers: { host: "" }, scope: { server: ["2001:db8::1", 81] } }),
        "http://[2001:db8::1]:81/"
      )
      assert.strictEqual(yield* url({ target: "/m/x", scope: { rootPath: "/m" } }), "http://example.test/m/x")
      assert.strictEqual(yield* url({ target: "//other.test/x" }), "http://example.test//other.test/x")
      assert.strictEqual(yield* url({ method: "OPTIONS", target: "*" }), "http://example.test/")
    }))

  it.effect("refuses hosts that are none, and methods that a Request cannot have", () =>
    Effect.gen(function*() {
      for (const host of ["a b", "h/x", "user@h", "h?x", "h#x"]) {
        assert.strictEqual(yield* url({ headers: { host } }), 400)
      }
      assert.strictEqual(yield* url({ method: "TRACE" }), 501)
    }))

  it.effect("keeps each set-cookie a line of its own", () =>
    Effect.gen(function*() {
      const app = FetchHandler.make(() =>
        new Response(null, { status: 204, headers: [["set-cookie", "a=1"], ["x-b", "2"], ["set-cookie", "c=3"]] })
      )
      const { headers, status } = yield* Fake.request(app)
      assert.strictEqual(status, 204)
      const cookies = headers.filter(([name]) => name === "set-cookie")
      assert.deepStrictEqual(cookies.map(([, value]) => value), ["a=1", "c=3"])
    }))

  it.effect("receives a part of the request body for each read, not before", () =>
    Effect.gen(function*() {
      const fake = Fake.make({ method: "POST", body: ["a", "b", "c"] })
      const counts: Array<number> = []
      const app = FetchHandler.make(async (request) => {
        await promisesSettle()
        counts.push(fake.receiveCount())
        const reader = request.body!.getReader()
        const first = await reader.read()
        await promisesSettle()
        counts.push(fake.receiveCount())
        return new Response(first.value as Uint8Array<ArrayBuffer>)
      })
      yield* app(fake.exchange)
      assert.strictEqual(fake.answer().text, "a")
      assert.deepStrictEqual(counts, [0, 1])
    }))

  it.effect("reads the response body no faster than the client does, and cancels it when the client leaves", () =>
    Effect.gen(function*() {
      const fake = Fake.make()
      let pulls = 0
      const cancelled = Deferred.makeUnsafe<void>()
      const app = FetchHandler.make(() =>
        new Response(
          new ReadableStream({
            pull: (controller) => {
              pulls++
              controller.enqueue(text(`${pulls}`))
            },
            cancel: () => void Deferred.doneUnsafe(cancelled, Exit.void)
          }, { highWaterMark: 0 })
        )
      )
      fake.reading.closeUnsafe()
      const fiber = yield* fake.start(app)
      yield* until(() => pulls > 0)
      for (let i = 0; i < 50; i++) yield* Effect.yieldNow
      assert.isAtMost(pulls, 2)
      assert.strictEqual(fake.chunks.length, 0)
      yield* fake.disconnect()
      yield* Deferred.await(cancelled)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    }))

  it.effect("aborts the request's signal when the client leaves, and says nothing", () => {
    const logs = Logs.capture()
    return Effect.gen(function*() {
      const fake = Fake.make({ method: "POST", bodyFollows: true })
      const aborted = Deferred.makeUnsafe<unknown>()
      let failedRead: unknown
      const app = FetchHandler.make(async (request) => {
        request.signal.addEventListener(
          "abort",
          () => Deferred.doneUnsafe(aborted, Exit.succeed(request.signal.reason))
        )
        await request.text().catch((error: unknown) => {
          failedRead = error
        })
        throw new Error("too late")
      })
      yield* fake.start(app)
      yield* until(() => fake.receiveCount() > 0)
      yield* fake.disconnect()
      const reason = yield* Deferred.await(aborted)
      assert.strictEqual((reason as DOMException).name, "AbortError")
      yield* until(() => failedRead !== undefined)
      assert.deepStrictEqual(fake.sent, [])
      assert.deepStrictEqual(logs.lines, [])
    }).pipe(Effect.provide(logs.layer))
  })

  it.effect("aborts the signal on a disconnect that interrupts nothing, and on an interruption without one", () =>
    Effect.gen(function*() {
      for (const event of ["disconnect", "interruption"]) {
        const fake = Fake.make()
        let signal: AbortSignal | undefined
        const app = FetchHandler.make((request) => {
          signal = request.signal
          return new Promise(() => {})
        })
        const fiber = yield* Effect.forkChild(app(fake.exchange), { startImmediately: true })
        assert.isFalse(signal?.aborted)
        yield* event === "disconnect" ? fake.disconnect() : Fiber.interrupt(fiber)
        assert.isTrue(signal?.aborted, event)
        yield* Fiber.interrupt(fiber)
      }
    }))

  it.effect("does not abort the signal of a request that was answered", () =>
    Effect.gen(function*() {
      let signal: AbortSignal | undefined
      const app = FetchHandler.make((request) => {
        signal = request.signal
        return new Response("done")
      })
      yield* Fake.request(app)
      assert.isFalse(signal?.aborted)
    }))

  it.effect("is logged by the server and answered with 500 when the function throws, rejects or yields no Response", () => {
    const logs = Logs.capture()
    return Effect.gen(function*() {
      const broken: ReadonlyArray<readonly [FetchHandler.Fetch, string]> = [
        [() => {
          throw new Error("thrown")
        }, "Error: thrown"],
        [() => Promise.reject(new Error("rejected")), "Error: rejected"],
        [() => undefined as unknown as Response, "did not yield a Response"]
      ]
      for (const [fetch, why] of broken) {
        const answer = yield* exchange(FetchHandler.make(fetch), "GET /p HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.match(answer, /^HTTP\/1\.1 500 /)
        assert.strictEqual(bodyOf(answer), "Internal Server Error")
        const errors = logs.lines.splice(0).filter(({ level }) => level === "Error")
        assert.strictEqual(errors.length, 1)
        assert.include(`${errors[0]?.message} ${errors[0]?.cause}`, `failed on GET "/p"`)
        assert.include(errors[0]?.cause, why)
      }
    }).pipe(Effect.provide(logs.layer))
  })

  it.effect("answers HEAD without reading the body [W23]", () =>
    Effect.gen(function*() {
      let pulled = false
      let cancelled = false
      const app = FetchHandler.make(() => {
        const body = new ReadableStream({
          pull: (controller) => {
            pulled = true
            controller.enqueue(text("x"))
          },
          cancel: () => {
            cancelled = true
          }
        }, { highWaterMark: 0 })
        return new Response(body, { headers: { "content-length": "7" } })
      })
      const answer = yield* Fake.request(app, { method: "HEAD" })
      assert.deepStrictEqual([answer.header("content-length"), answer.bytes.length], ["7", 0])
      assert.deepStrictEqual([pulled, cancelled], [false, true])
    }))
})
