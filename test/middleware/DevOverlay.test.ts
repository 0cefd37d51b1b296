import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import { Development } from "../../src/app/Development.ts"
import type { DevFailure } from "../../src/app/DevFailure.ts"
import * as DevScript from "../../src/app/DevScript.ts"
import * as FetchHandler from "../../src/app/FetchHandler.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as DevOverlay from "../../src/middleware/DevOverlay.ts"
import type { HttpResponseBody } from "../../src/schema/Event.ts"
import { capture } from "../utils/logs.ts"
import { bodyOf, exchange, headerOf, serve } from "../utils/serve.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const tag = DevScript.tag(3)
const page = "<!doctype html><p>größe"

const overlay = DevOverlay.make({
  generation: 3,
  failures: Stream.never,
  readFile: (path, offset, length) =>
    Stream.make(bytes(`<p>${path}`.slice(offset, length === undefined ? undefined : offset + length)))
})

type Headers = ReadonlyArray<readonly [string, string]>

const html: Headers = [["content-type", "text/html; charset=utf-8"]]

/** An App that answers everything in the same way. */
const answering = (
  parts: ReadonlyArray<Omit<HttpResponseBody, "type">>,
  headers: Headers = html,
  status = 200
): App.App<unknown> =>
  App.http(({ send }) =>
    Effect.andThen(
      send({ type: "http.response.start", status, headers }),
      Effect.forEach(parts, (part) => send({ type: "http.response.body", ...part }), { discard: true })
    )
  )

const request = (lines: string, target = "/", method = "GET") =>
  `${method} ${target} HTTP/1.1\r\n${lines.includes("Host:") ? "" : "Host: localhost:5000\r\n"}${lines}\r\n`

const ask = (app: App.App<unknown>, lines = "", target = "/", method = "GET") =>
  exchange(overlay(app), request(lines, target, method))

/** The body without the framing of chunks. */
const textOf = (answer: string): string => {
  const body = Buffer.from(bodyOf(answer), "latin1")
  if (headerOf(answer, "transfer-encoding") === undefined) return body.toString()
  return body.toString("latin1").replace(/(?:^|\r\n)[0-9a-f]+\r\n/g, "").replace(/\r\n$/, "")
}

describe("DevOverlay", () => {
  describe("puts the script at the end of a page", () => {
    it.effect("whose body is text, and corrects its length [W95]", () =>
      Effect.gen(function*() {
        const length = String(bytes(page).length)
        const answer = yield* ask(answering([{ body: page }], [...html, ["Content-Length", length]]))
        assert.strictEqual(textOf(answer), page + tag)
        assert.strictEqual(headerOf(answer, "content-length"), String(bytes(page + tag).length))
        assert.lengthOf(answer.match(/^content-length:/gim)!, 1)
      }))

    const wholes: Record<string, ReadonlyArray<Omit<HttpResponseBody, "type">>> = {
      "is bytes": [{ body: bytes("<p>ab") }],
      "comes in parts": [{ body: "<p>", more: true }, { body: bytes("ab"), more: true }, {}],
      "is a stream": [{ body: "<p>", more: true }, { stream: Stream.make(bytes("a"), bytes("b")) }],
      "is a part of a stream": [{
        stream: Stream.concat(Stream.make(bytes("xx<p"), bytes(">a"), bytes("bxx")), Stream.fail("read too far")),
        offset: 2,
        length: 5
      }],
      "is a file": [{ file: "ab" }],
      "is a part of a file": [{ file: "abcd", offset: 0, length: 5 }]
    }
    for (const [what, parts] of Object.entries(wholes)) {
      it.effect(`whose body ${what}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(textOf(yield* ask(answering(parts))), `<p>ab${tag}`)
        }))
    }

    it.effect("and takes away what says that an old one still holds", () =>
      Effect.gen(function*() {
        const answer = yield* ask(answering([{ body: page }], [
          ...html,
          ["ETag", "\"a\""],
          ["last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"],
          ["cache-control", "max-age=60"],
          ["x-other", "stays"]
        ]))
        assert.isUndefined(headerOf(answer, "etag"))
        assert.isUndefined(headerOf(answer, "last-modified"))
        assert.strictEqual(headerOf(answer, "cache-control"), "no-store")
        assert.strictEqual(headerOf(answer, "x-other"), "stays")
      }))

    it.effect("and leaves the policy of the application as it is", () =>
      Effect.gen(function*() {
        const policy = "default-src 'self'"
        const answer = yield* ask(answering([{ body: page }], [...html, ["content-security-policy", policy]]))
        assert.strictEqual(headerOf(answer, "content-security-policy"), policy)
      }))
  })

  describe("leaves alone", () => {
    const others: Record<string, readonly [Headers, number, string, string]> = {
      "what is not HTML": [[["content-type", "application/json"]], 200, "", "GET"],
      "what only begins like HTML": [[["content-type", "text/html5"]], 200, "", "GET"],
      "what is compressed": [[...html, ["content-encoding", "gzip"]], 200, "", "GET"],
      "what has a digest": [[...html, ["repr-digest", "sha-256=:AAAA:"]], 200, "", "GET"],
      "a part of a page": [[...html, ["content-range", "bytes 0-1/5"]], 206, "", "GET"],
      "what is answered to a POST": [html, 200, "", "POST"],
      "what a script of a page has fetched": [html, 200, "Sec-Fetch-Dest: empty\r\n", "GET"],
      "a page under a name that is not of this machine": [html, 200, "Host: evil.example\r\n", "GET"]
    }
    for (const [what, [headers, status, lines, method]] of Object.entries(others)) {
      it.effect(what, () =>
        Effect.gen(function*() {
          const answer = yield* ask(answering([{ body: "<p>" }], headers, status), lines, "/", method)
          assert.strictEqual(bodyOf(answer), "<p>")
          assert.strictEqual(headerOf(answer, "content-length"), "3")
        }))
    }

    it.effect("HEAD, and answers without a body", () =>
      Effect.gen(function*() {
        const head = yield* ask(answering([{}], [...html, ["content-length", "7"]]), "", "/", "HEAD")
        assert.strictEqual(headerOf(head, "content-length"), "7")
        const unchanged = yield* ask(answering([{}], [["content-type", "text/html"], ["etag", "\"a\""]], 304))
        assert.strictEqual(headerOf(unchanged, "etag"), "\"a\"")
        assert.strictEqual(bodyOf(unchanged), "")
      }))
  })

  describe("shows a failure of the application", () => {
    const failing = (app: App.App<unknown>) => {
      const { layer, lines } = capture()
      const asked = ask(app, "Accept: text/html\r\n").pipe(
        Effect.provideService(Development, true),
        Effect.provide(layer)
      )
      return Effect.map(asked, (answer) => ({ answer, lines }))
    }

    it.effect("that has no answer by itself, with the frames and the script [C234] [W95]", () =>
      Effect.gen(function*() {
        const { answer, lines } = yield* failing(() => Effect.die(new TypeError("kaput <b>")))
        assert.match(answer, /^HTTP\/1\.1 500 /)
        assert.match(textOf(answer), /<pre>TypeError: kaput &lt;b&gt;\n {4}at .*DevOverlay\.test\.ts:\d+:\d+/)
        assert.include(textOf(answer), tag)
        assert.strictEqual(lines.filter(({ cause }) => cause.includes("kaput")).length, 1)
      }))

    it.effect("that is a Handler, whose page may load the script [C234]", () =>
      Effect.gen(function*() {
        const { answer } = yield* failing(Handler.make(Effect.die(new TypeError("kaput"))))
        assert.match(
          headerOf(answer, "content-security-policy")!,
          /default-src 'none'.*; script-src 'self'; connect-src 'self'$/
        )
        assert.lengthOf(textOf(answer).match(/kaput/g)!, 1)
        assert.isTrue(textOf(answer).endsWith(tag))
      }))

    it.effect("that is a fetch function [C234]", () =>
      Effect.gen(function*() {
        const { answer } = yield* failing(FetchHandler.make(() => Promise.reject(new TypeError("kaput"))))
        assert.match(answer, /^HTTP\/1\.1 500 /)
        assert.match(textOf(answer), /<pre>TypeError: kaput\n {4}at .*DevOverlay\.test\.ts:\d+:\d+/)
        assert.include(textOf(answer), tag)
      }))

    it.effect("and not one that has begun to answer", () =>
      Effect.gen(function*() {
        const { answer, lines } = yield* failing(App.http(({ send }) =>
          Effect.andThen(
            send({ type: "http.response.start", status: 200, headers: html }),
            Effect.andThen(
              send({ type: "http.response.body", body: "<p>", more: true }),
              Effect.fail("kaput")
            )
          )
        ))
        assert.notInclude(answer, "kaput")
        const [line, ...others] = lines.filter(({ level }) => level === "Error")
        assert.match(line!.message, /the answer is cut short/)
        assert.deepStrictEqual(others, [])
      }))
  })

  describe("at its own addresses", () => {
    const never: App.App = () => Effect.die("the application is not asked")
    const script = (lines = "", method = "GET") => ask(never, lines, "/__slipway/dev.js", method)

    it.effect("serves the script", () =>
      Effect.gen(function*() {
        const answer = yield* script()
        assert.strictEqual(headerOf(answer, "content-type"), "text/javascript; charset=utf-8")
        assert.strictEqual(headerOf(answer, "cache-control"), "no-store")
        assert.strictEqual(textOf(answer), DevScript.script)
      }))

    it("has a script that is one", () => {
      assert.doesNotThrow(() => new Function(DevScript.script))
    })

    for (const host of ["localhost", "LOCALHOST:1", "a.localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"]) {
      it.effect(`answers to ${host}`, () =>
        Effect.gen(function*() {
          assert.match(yield* script(`Host: ${host}\r\n`), /^HTTP\/1\.1 200 /)
        }))
    }

    for (
      const lines of [
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: 192.0.2.1\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: http://localhost:5001\r\n",
        "Origin: https://localhost:5000\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n"
      ]
    ) {
      it.effect(`refuses ${lines.trim()}`, () =>
        Effect.gen(function*() {
          assert.match(yield* script(lines), /^HTTP\/1\.1 403 /)
          const events = yield* ask(never, `${lines}Accept: text/event-stream\r\n`, "/__slipway/events")
          assert.match(events, /^HTTP\/1\.1 403 /)
          assert.notInclude(events, "hello")
        }))
    }

    it.effect("answers its own page, and knows no other methods or paths", () =>
      Effect.gen(function*() {
        assert.match(yield* script("Origin: http://localhost:5000\r\nSec-Fetch-Site: same-origin\r\n"), / 200 /)
        assert.match(yield* script("", "POST"), /^HTTP\/1\.1 405 /)
        assert.match(yield* ask(never, "", "/__slipway/events"), /^HTTP\/1\.1 406 /)
        const stream = "Accept: text/event-stream\r\n"
        assert.match(yield* ask(never, stream, "/__slipway/dev.js"), /^HTTP\/1\.1 404 /)
        assert.strictEqual(bodyOf(yield* ask(answering([{ body: "mine" }], []), "", "/__slipway/other")), "mine")
      }))
  })

  describe("streams events", () => {
    const failure: DevFailure = {
      title: "Cannot load app.ts",
      message: "kaput",
      code: { file: "app.ts", line: 1, column: 1, lines: [{ number: 1, text: "f()" }] },
      frames: [{ call: "f", file: "app.ts", line: 1, column: 1 }]
    }

    const open = Effect.fnUntraced(function*(generation: string, now: Option.Option<DevFailure> = Option.none()) {
      const current = yield* SubscriptionRef.make(now)
      const middleware = DevOverlay.make({
        generation: 3,
        failures: SubscriptionRef.changes(current),
        readFile: () => Stream.empty
      })
      const { connect } = yield* serve(middleware(answering([{}])))
      const client = yield* connect()
      yield* client.send(request("Accept: text/event-stream\r\n", `/__slipway/events${generation}`))
      yield* ServerMemory.settle
      return { client, current }
    })

    it.effect("which tell a page of an earlier generation to load anew, and end [C166]", () =>
      Effect.gen(function*() {
        const { client } = yield* open("?generation=2")
        assert.match(yield* client.read, /event: hello\n.*event: reload\ndata: 3\n/s)
      }))

    for (const generation of ["?generation=3", "?generation=4", "", "?generation=x"]) {
      it.effect(`and leave a page of ${generation || "no generation"} as it is`, () =>
        Effect.gen(function*() {
          const { client } = yield* open(generation)
          const text = yield* client.read
          assert.include(text, "retry: 200")
          assert.include(text, "event: fixed")
          assert.notInclude(text, "event: reload")
          assert.isFalse(yield* client.isEnded)
        }))
    }

    it.effect("with the failure of now, later ones, and that there is none any more [W95]", () =>
      Effect.gen(function*() {
        const { client, current } = yield* open("?generation=3", Option.some(failure))
        const data = (text: string) => JSON.parse(/event: error\ndata: (.*)\n/.exec(text)![1]!)
        assert.deepStrictEqual(data(yield* client.read), {
          title: "Cannot load app.ts",
          message: "kaput",
          place: "app.ts:1:1",
          code: "> 1 | f()\n    | ^",
          frames: "at f app.ts:1:1"
        })
        yield* SubscriptionRef.set(current, Option.some({ ...failure, message: "again" }))
        yield* ServerMemory.settle
        assert.strictEqual(data(yield* client.read).message, "again")
        yield* SubscriptionRef.set(current, Option.none())
        yield* ServerMemory.settle
        assert.include(yield* client.read, "event: fixed")
      }))
  })

  it.effect("leaves everything else to the application", () =>
    Effect.gen(function*() {
      const app = Handler.make(Effect.succeed(HttpServerResponse.text("mine")))
      const answer = yield* ask(app)
      assert.strictEqual(bodyOf(answer), "mine")
      const stream = yield* ask(
        App.sse(({ send }) => Effect.andThen(send({ type: "sse.start" }), send({ type: "sse.send", data: "mine" }))),
        "Accept: text/event-stream\r\n"
      )
      assert.include(stream, "data: mine")
    }))
})
