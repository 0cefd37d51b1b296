/** Files: responses of the platform, whole and in part, and HttpStaticServer with its conditions, ranges and mounts. */
import { assert, describe } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpStaticServer from "effect/http/HttpStaticServer"
import { File } from "node:buffer"
import { type Answer, answersIn } from "../../utils/answers.ts"
import { ask, closing, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

/** A directory of its own with these files, in the order of their names. */
const directory = (files: Record<string, string>) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const root = yield* fs.makeTempDirectoryScoped()
    for (const [name, content] of Object.entries(files)) {
      const path = `${root}/${name}`
      yield* fs.makeDirectory(path.slice(0, path.lastIndexOf("/")), { recursive: true })
      yield* fs.writeFileString(path, content)
    }
    return root
  })

const site = {
  "index.html": "<p>home</p>",
  "app.js": "app()",
  "a b.txt": "0123456789",
  "docs/index.html": "<p>docs</p>",
  "data.unknown": "data",
  "empty.txt": "",
  ".hidden": "hidden"
}

const asked = (line: string, headers: ReadonlyArray<string> = []) =>
  Effect.map(ask(closing(line, headers)), (bytes) => answersIn(bytes, [line.split(" ")[0]!])[0]!)

const summary = (answer: Answer) => [answer.status, answer.header("content-type"), answer.body]

export const files = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("file responses", () => {
    test("have type, length, ETag and date, and are whole or a part", () =>
      Effect.gen(function*() {
        const root = yield* directory({ "a.txt": "0123456789" })
        const file = (options?: Parameters<typeof HttpServerResponse.file>[1]) =>
          Effect.orDie(HttpServerResponse.file(`${root}/a.txt`, options))
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/whole", file()),
          HttpRouter.route(
            "GET",
            "/part",
            file({ offset: ByteSize.bytes(2), bytesToRead: ByteSize.bytes(3), status: 206 })
          ),
          HttpRouter.route("GET", "/rest", file({ offset: ByteSize.bytes(7) })),
          HttpRouter.route("GET", "/beyond", file({ offset: ByteSize.bytes(20) })),
          HttpRouter.route("GET", "/typed", file({ contentType: "text/x", headers: { "x-own": "1" } }))
        ]))
        const whole = yield* asked("GET /whole")
        assert.deepStrictEqual(summary(whole), [200, "text/plain", "0123456789"])
        assert.strictEqual(whole.header("content-length"), "10")
        assert.match(whole.header("etag")!, /^W?\/?".+"$/)
        assert.match(whole.header("last-modified")!, / GMT$/)
        const part = yield* asked("GET /part")
        assert.deepStrictEqual([part.status, part.header("content-length"), part.body], [206, "3", "234"])
        assert.strictEqual((yield* asked("GET /rest")).body, "789")
        const beyond = yield* asked("GET /beyond")
        assert.deepStrictEqual([beyond.header("content-length"), beyond.body], ["0", ""])
        const typed = yield* asked("GET /typed")
        assert.deepStrictEqual([typed.header("content-type"), typed.header("x-own")], ["text/x", "1"])
        const head = yield* asked("HEAD /whole")
        assert.deepStrictEqual([head.header("content-length"), head.body], ["10", ""])
      }))

    test("of a file that does not exist, or is gone when it is read, are no success", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* directory({ "a.txt": "0123456789" })
        const path = `${root}/a.txt`
        const gone = Effect.tap(HttpServerResponse.file(path), () => fs.remove(path))
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/missing", HttpServerResponse.file(`${root}/missing`)),
          HttpRouter.route("GET", "/gone", gone)
        ]))
        assert.deepStrictEqual(summary(yield* asked("GET /missing")), [500, undefined, ""])
        const bytes = yield* ask(closing("GET /gone"))
        const [answer] = bytes === "" ? [] : answersIn(bytes)
        assert.isFalse(answer !== undefined && answer.status === 200 && answer.complete)
        assert.notInclude(bytes, root)
      }))

    test("of a web File have its type, length and date", () =>
      Effect.gen(function*() {
        const file = new File(["content"], "a.css", { type: "text/css", lastModified: 0 })
        yield* HttpServer.serveEffect(HttpServerResponse.fileWeb(file as never))
        const answer = yield* asked("GET /")
        assert.deepStrictEqual(summary(answer), [200, "text/css", "content"])
        assert.strictEqual(answer.header("content-length"), "7")
        assert.strictEqual(answer.header("last-modified"), "Thu, 01 Jan 1970 00:00:00 GMT")
      }))

    test("of any size arrive whole", () =>
      Effect.gen(function*() {
        const content = "0123456789".repeat(300_000)
        const root = yield* directory({ "large.bin": content })
        yield* HttpServer.serveEffect(Effect.orDie(HttpServerResponse.file(`${root}/large.bin`)))
        assert.isTrue((yield* asked("GET /")).body === content)
      }))
  })

  describe("HttpStaticServer", () => {
    const serveSite = (options: Partial<Parameters<typeof HttpStaticServer.layer>[0]> = {}) =>
      Effect.gen(function*() {
        const root = yield* directory(site)
        yield* serveRoutes(HttpStaticServer.layer({ root, ...options }))
      })

    test("serves files and indexes with their types", () =>
      Effect.gen(function*() {
        yield* serveSite({ mimeTypes: { unknown: "application/x-own" }, cacheControl: "max-age=60" })
        const home = yield* asked("GET /")
        assert.deepStrictEqual(summary(home), [200, "text/html; charset=utf-8", "<p>home</p>"])
        assert.deepStrictEqual(
          [home.header("accept-ranges"), home.header("cache-control"), home.header("content-length")],
          ["bytes", "max-age=60", "11"]
        )
        assert.deepStrictEqual(summary(yield* asked("GET /app.js")), [200, "text/javascript; charset=utf-8", "app()"])
        assert.deepStrictEqual(summary(yield* asked("GET /a%20b.txt?v=1")), [
          200,
          "text/plain; charset=utf-8",
          "0123456789"
        ])
        assert.deepStrictEqual(summary(yield* asked("GET /data.unknown")), [200, "application/x-own", "data"])
        assert.deepStrictEqual(summary(yield* asked("GET /empty.txt")), [200, "text/plain; charset=utf-8", ""])
        assert.deepStrictEqual(summary(yield* asked("GET /docs/")), [200, "text/html; charset=utf-8", "<p>docs</p>"])
      }))

    test("redirects a directory to its slash, with the query", () =>
      Effect.gen(function*() {
        yield* serveSite()
        const answer = yield* asked("GET /docs?a=b")
        assert.deepStrictEqual([answer.status, answer.header("location")], [301, "/docs/?a=b"])
      }))

    test("answers HEAD with the head of GET", () =>
      Effect.gen(function*() {
        yield* serveSite()
        const head = yield* asked("HEAD /a%20b.txt")
        assert.deepStrictEqual([head.status, head.header("content-length"), head.body], [200, "10", ""])
      }))

    test("serves nothing outside of its directory", () =>
      Effect.gen(function*() {
        yield* serveSite()
        const paths = [
          "/../etc/passwd",
          "/..%2f..%2fetc/passwd",
          "/%2e%2e/%2e%2e/etc/passwd",
          "//etc/passwd",
          "/a%00b",
          "/%zz"
        ]
        for (const path of paths) {
          const answer = yield* asked(`GET ${path}`)
          assert.isAtLeast(answer.status, 400, path)
          assert.isBelow(answer.status, 500, path)
        }
      }))

    test("answers 404 for what is not there, and the index instead for pages of an application", () =>
      Effect.gen(function*() {
        yield* serveSite({ spa: true })
        const html = ["accept: text/html"]
        assert.strictEqual((yield* asked("GET /missing.js", html)).status, 404)
        assert.strictEqual((yield* asked("GET /page", ["accept: application/json"])).status, 404)
        assert.deepStrictEqual(summary(yield* asked("GET /page", html)), [
          200,
          "text/html; charset=utf-8",
          "<p>home</p>"
        ])
      }))

    test("can stand below a prefix", () =>
      Effect.gen(function*() {
        yield* serveSite({ prefix: "/assets" })
        assert.strictEqual((yield* asked("GET /assets/app.js")).body, "app()")
        assert.strictEqual((yield* asked("GET /assets/docs")).header("location"), "/assets/docs/")
        assert.strictEqual((yield* asked("GET /app.js")).status, 404)
      }))

    test("answers conditions: 304 for what the client has, 412 for what it does not", () =>
      Effect.gen(function*() {
        yield* serveSite()
        const full = yield* asked("GET /app.js")
        const [etag, date] = [full.header("etag")!, full.header("last-modified")!]
        const statusOf = (...headers: ReadonlyArray<string>) =>
          Effect.map(asked("GET /app.js", headers), ({ status }) => status)
        const unchanged = yield* asked("GET /app.js", [`if-none-match: "x", ${etag}`])
        assert.deepStrictEqual([unchanged.status, unchanged.header("etag"), unchanged.body], [304, etag, ""])
        assert.strictEqual(yield* statusOf("if-none-match: *"), 304)
        assert.strictEqual(yield* statusOf("if-none-match: \"x\""), 200)
        assert.strictEqual(yield* statusOf(`if-modified-since: ${date}`), 304)
        assert.strictEqual(yield* statusOf("if-modified-since: Thu, 01 Jan 1970 00:00:00 GMT"), 200)
        assert.strictEqual(yield* statusOf("if-modified-since: nonsense"), 200)
        assert.strictEqual(yield* statusOf("if-none-match: \"x\"", `if-modified-since: ${date}`), 200)
        assert.strictEqual(yield* statusOf("if-match: \"x\""), 412)
        assert.strictEqual(yield* statusOf("if-unmodified-since: Thu, 01 Jan 1970 00:00:00 GMT"), 412)
      }))

    test("answers ranges: 206 with the part, 416 beyond the end, 200 for what it does not know", () =>
      Effect.gen(function*() {
        yield* serveSite()
        const ranged = (range: string, ...more: ReadonlyArray<string>) =>
          Effect.map(asked("GET /a%20b.txt", [`range: ${range}`, ...more]), (answer) => [
            answer.status,
            answer.header("content-range"),
            answer.header("content-length"),
            answer.body
          ])
        assert.deepStrictEqual(yield* ranged("bytes=2-4"), [206, "bytes 2-4/10", "3", "234"])
        assert.deepStrictEqual(yield* ranged("bytes=7-"), [206, "bytes 7-9/10", "3", "789"])
        assert.deepStrictEqual(yield* ranged("bytes=-2"), [206, "bytes 8-9/10", "2", "89"])
        assert.deepStrictEqual(yield* ranged("bytes=8-99"), [206, "bytes 8-9/10", "2", "89"])
        const whole = [200, undefined, "10", "0123456789"]
        assert.deepStrictEqual((yield* ranged("bytes=10-12")).slice(0, 2), [416, "bytes */10"])
        for (const range of ["lines=1-2", "bytes=1-2,4-5", "bytes=a-b"]) {
          assert.deepStrictEqual(yield* ranged(range), whole)
        }
        assert.deepStrictEqual(yield* ranged("bytes=2-4", "if-range: \"x\""), whole)
      }))
  })
}
