import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import type { App } from "../../src/app/App.ts"
import * as Directory from "../../src/app/Directory.ts"
import type { Headers } from "../../src/schema/Scope.ts"
import * as Fake from "../utils/exchange.ts"

const modified = new Date("2024-02-03T04:05:06.789Z")
const lastModified = "Sat, 03 Feb 2024 04:05:06 GMT"

/** A root with files of every kind, and a neighbour that must stay out of reach. */
const makeRoot = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const parent = yield* fs.makeTempDirectoryScoped()
  const root = `${parent}/root`
  const write = (path: string, body: string) =>
    Effect.andThen(fs.writeFileString(path, body), fs.utimes(path, modified, modified))
  yield* Effect.forEach(
    [root, `${root}/docs`, `${root}/plain`, `${root}/.git`, `${parent}/rootless`],
    (path) => fs.makeDirectory(path)
  )
  yield* write(`${root}/ten.txt`, "0123456789")
  yield* write(`${root}/empty.bin`, "")
  yield* write(`${root}/page.html`, "<p>page")
  yield* write(`${root}/docs/index.html`, "<p>index")
  yield* write(`${root}/plain/file 10.css`, "b{}")
  yield* write(`${root}/plain/file 9.css`, "b{}")
  yield* write(`${root}/plain/<b>"'&.txt`, "x")
  yield* write(`${root}/.env`, "secret")
  yield* write(`${root}/.git/config`, "secret")
  yield* write(`${parent}/outside.txt`, "secret")
  yield* write(`${parent}/rootless/x.txt`, "secret")
  yield* fs.symlink(`${parent}/outside.txt`, `${root}/plain/leak.txt`)
  yield* fs.symlink(`${parent}/rootless`, `${root}/leak`)
  yield* fs.symlink(`${root}/.env`, `${root}/inside.txt`)
  yield* fs.symlink(`${root}/nowhere`, `${root}/plain/broken`)
  return root
})

const get = <E, R>(app: App<E, R>, target: string, headers: Headers | Record<string, string> = {}, method = "GET") =>
  Fake.request(app, { target, headers, method })

layer(Layer.merge(NodeFileSystem.layer, NodePath.layer))("Directory", (it) => {
  describe("files", () => {
    it.effect("sends a file with type, length, validators and nosniff [W107]", () =>
      Effect.gen(function*() {
        const root = yield* makeRoot
        const answer = yield* get(Directory.make({ root, cacheControl: "max-age=60" }), "/ten.txt")
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(Object.fromEntries(answer.headers), {
          "accept-ranges": "bytes",
          "cache-control": "max-age=60",
          "content-length": "10",
          "content-type": "text/plain; charset=utf-8",
          etag: `W/"a-${modified.getTime().toString(16)}"`,
          "last-modified": lastModified,
          "x-content-type-options": "nosniff"
        })
        const fs = yield* FileSystem.FileSystem
        assert.deepStrictEqual(answer.file, { path: yield* fs.realPath(`${root}/ten.txt`), offset: 0, length: 10 })
      }))

    it.effect("answers HEAD with the head of GET and without a file [W23]", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const head = yield* get(app, "/ten.txt", {}, "HEAD")
        const whole = yield* get(app, "/ten.txt")
        assert.deepStrictEqual([head.status, head.headers], [whole.status, whole.headers])
        assert.isUndefined(head.file)
      }))

    it.effect("serves the index of a directory, under the name asked for", () =>
      Effect.gen(function*() {
        const root = yield* makeRoot
        const answer = yield* get(Directory.make({ root }), "/docs/")
        assert.strictEqual(answer.header("content-type"), "text/html; charset=utf-8")
        assert.isTrue(answer.file?.path.endsWith("/docs/index.html"))
        const other = yield* get(Directory.make({ root, index: "page.html" }), "/")
        assert.isTrue(other.file?.path.endsWith("/page.html"))
        const none = yield* get(Directory.make({ root, index: false, listing: false }), "/docs/")
        assert.strictEqual(none.status, 404)
      }))

    it.effect("takes names that are percent-encoded, and paths below a mount point", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        assert.strictEqual((yield* get(app, "/plain/file%209.css")).status, 200)
        const mounted = yield* Fake.request(app, { target: "/static/ten.txt", scope: { rootPath: "/static" } })
        assert.strictEqual(mounted.status, 200)
      }))

    it.effect("answers an empty file without opening it", () =>
      Effect.gen(function*() {
        const answer = yield* get(Directory.make({ root: yield* makeRoot }), "/empty.bin")
        assert.deepStrictEqual([answer.status, answer.header("content-length"), answer.file], [200, "0", undefined])
        assert.strictEqual(answer.header("content-type"), "application/octet-stream")
      }))

    it.effect("allows GET and HEAD only", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "get"]) {
          const answer = yield* get(app, "/ten.txt", {}, method)
          assert.deepStrictEqual([answer.status, answer.header("allow")], [405, "GET, HEAD"])
        }
      }))

    it.effect("redirects a directory to its slash, never to another host", () =>
      Effect.gen(function*() {
        const root = yield* makeRoot
        const fs = yield* FileSystem.FileSystem
        yield* fs.makeDirectory(`${root}/evil.test`)
        const app = Directory.make({ root })
        const expected = [
          ["/docs", "/docs/"],
          ["/docs?a=b&c=//d", "/docs/?a=b&c=//d"],
          ["//evil.test", "/evil.test/"],
          ["///evil.test?x", "/evil.test/?x"],
          ["/docs/../evil.test", undefined],
          ["/%5cevil.test", undefined]
        ] as const
        for (const [target, location] of expected) {
          const answer = yield* get(app, target)
          assert.deepStrictEqual([answer.status, answer.header("location")], [location ? 301 : 404, location], target)
        }
        const mounted = yield* Fake.request(app, { target: "/m", scope: { rootPath: "/m" } })
        assert.strictEqual(mounted.header("location"), "/m/")
        const slashed = yield* Fake.request(app, { target: "//m.test/docs", scope: { rootPath: "//m.test" } })
        assert.strictEqual(slashed.header("location"), "/m.test/docs/")
      }))

    it.effect("follows a root that is moved to another place", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const first = yield* makeRoot
        const second = yield* makeRoot
        const current = `${yield* fs.makeTempDirectoryScoped()}/current`
        const app = Directory.make({ root: current })
        yield* fs.symlink(first, current)
        assert.strictEqual((yield* get(app, "/ten.txt")).file?.path, yield* fs.realPath(`${first}/ten.txt`))
        yield* fs.remove(current)
        yield* fs.symlink(second, current)
        assert.strictEqual((yield* get(app, "/ten.txt")).file?.path, yield* fs.realPath(`${second}/ten.txt`))
      }))
  })

  describe("protection", () => {
    it.effect("refuses to leave the root, however the path is written [W10]", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const targets = [
          "/../outside.txt",
          "/docs/../../outside.txt",
          "/%2e%2e/outside.txt",
          "/.%2E/outside.txt",
          "/%2e%2e%2foutside.txt",
          "/docs%2f..%2f..%2foutside.txt",
          "/docs%2findex.html",
          "/docs%2F..%2F.env",
          "/docs%5c..%5c.env",
          "/..%5coutside.txt",
          "/..\\outside.txt",
          "/%252e%252e/outside.txt",
          "/..%00/outside.txt",
          "/ten.txt%00.html",
          "/ten.txt\0",
          "/%",
          "/%ff",
          "/%c0%ae%c0%ae/outside.txt",
          "/./ten.txt",
          "/../root/ten.txt",
          "/../rootless/x.txt",
          // Links that lead outside.
          "/plain/leak.txt",
          "/leak/x.txt",
          "/leak/",
          "/leak"
        ]
        for (const target of targets) {
          const answer = yield* get(app, target)
          assert.deepStrictEqual([answer.status, answer.file], [404, undefined], target)
        }
      }))

    it.effect("refuses the same with hidden files shown", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot, showHidden: true })
        for (const target of ["/../outside.txt", "/docs/%2e%2e/ten.txt", "/./ten.txt", "/leak/x.txt"]) {
          assert.strictEqual((yield* get(app, target)).status, 404, target)
        }
      }))

    it.effect("hides names that begin with a dot unless told to show them", () =>
      Effect.gen(function*() {
        const root = yield* makeRoot
        for (const target of ["/.env", "/%2eenv", "/.git/config", "/.git/", "/.git"]) {
          assert.strictEqual((yield* get(Directory.make({ root }), target)).status, 404, target)
        }
        assert.strictEqual((yield* get(Directory.make({ root, showHidden: true }), "/.env")).status, 200)
      }))

    it.effect("follows links within the root, as the operator laid them", () =>
      Effect.gen(function*() {
        const answer = yield* get(Directory.make({ root: yield* makeRoot }), "/inside.txt")
        assert.deepStrictEqual([answer.status, answer.header("content-type")], [200, "text/plain; charset=utf-8"])
      }))

    it.effect("finds nothing below a file, behind its slash, or under names too long", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        for (const target of ["/ten.txt/", "/ten.txt/x", "/none", "/none/", `/${"x".repeat(300)}`]) {
          assert.strictEqual((yield* get(app, target)).status, 404, target)
        }
      }))

    it.effect("refuses devices", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: "/dev" })
        assert.strictEqual((yield* get(app, "/null")).status, 404)
        assert.strictEqual((yield* get(app, "/null/")).status, 404)
      }))

    it.effect("fails on errors that the client is not to blame for", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const app = Directory.make({ root: yield* makeRoot })
        const failing = (_tag: PlatformError.SystemErrorTag) =>
          get(app, "/ten.txt").pipe(Effect.provideService(FileSystem.FileSystem, {
            ...fs,
            stat: () => Effect.fail(PlatformError.systemError({ _tag, module: "FileSystem", method: "stat" }))
          }))
        assert.strictEqual((yield* Effect.flip(failing("Unknown")))._tag, "PlatformError")
        assert.strictEqual((yield* failing("PermissionDenied")).status, 404)
      }))
  })

  describe("conditions", () => {
    it.effect("answers 304 to a client that has the file [W24] [W108]", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot, cacheControl: "no-cache" })
        const { header } = yield* get(app, "/ten.txt")
        const etag = header("etag")!
        const fresh: ReadonlyArray<Record<string, string>> = [
          { "if-none-match": etag },
          { "if-none-match": etag.slice(2) },
          { "if-none-match": `"other, one", ${etag}` },
          { "if-none-match": "*" },
          { "if-modified-since": lastModified },
          { "if-modified-since": "Sun, 04 Feb 2024 00:00:00 GMT" },
          { "if-modified-since": "Saturday, 03-Feb-24 04:05:06 GMT" }
        ]
        for (const method of ["GET", "HEAD"]) {
          for (const headers of fresh) {
            const answer = yield* get(app, "/ten.txt", headers, method)
            assert.strictEqual(answer.status, 304, JSON.stringify(headers))
            assert.deepStrictEqual(Object.fromEntries(answer.headers), {
              "cache-control": "no-cache",
              etag,
              "last-modified": lastModified,
              "x-content-type-options": "nosniff"
            })
            assert.isUndefined(answer.file)
          }
        }
        const stale: ReadonlyArray<Record<string, string>> = [
          { "if-none-match": `"other"` },
          { "if-none-match": `"other"`, "if-modified-since": lastModified },
          { "if-modified-since": "Sat, 03 Feb 2024 04:05:05 GMT" },
          { "if-modified-since": "no date" }
        ]
        for (const headers of stale) {
          assert.strictEqual((yield* get(app, "/ten.txt", headers)).status, 200, JSON.stringify(headers))
        }
      }))

    it.effect("answers 412 when a precondition fails, before anything else", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const { header } = yield* get(app, "/ten.txt")
        const etag = header("etag")!
        const status = (headers: Record<string, string>) =>
          Effect.map(get(app, "/ten.txt", headers), (answer) => answer.status)
        assert.strictEqual(yield* status({ "if-match": `"other"` }), 412)
        // Weak tags never match strongly.
        assert.strictEqual(yield* status({ "if-match": etag }), 412)
        assert.strictEqual(yield* status({ "if-match": "*" }), 200)
        assert.strictEqual(yield* status({ "if-match": `"other"`, "if-none-match": etag }), 412)
        assert.strictEqual(yield* status({ "if-unmodified-since": "Sat, 03 Feb 2024 04:05:05 GMT" }), 412)
        assert.strictEqual(yield* status({ "if-unmodified-since": lastModified }), 200)
        assert.strictEqual(
          yield* status({ "if-match": "*", "if-unmodified-since": "Sat, 03 Feb 2024 04:05:05 GMT" }),
          200
        )
      }))
  })

  describe("ranges", () => {
    it.effect("sends one range with 206, from the front, the middle and the end [W113]", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const expected = [
          ["bytes=0-0", 0, 1],
          ["bytes=2-4", 2, 3],
          ["bytes=7-", 7, 3],
          ["bytes=7-99", 7, 3],
          ["bytes=-3", 7, 3],
          ["bytes=-99", 0, 10],
          ["Bytes = 1-1", 1, 1]
        ] as const
        for (const [range, offset, length] of expected) {
          const answer = yield* get(app, "/ten.txt", { range })
          assert.strictEqual(answer.status, 206, range)
          assert.strictEqual(answer.header("content-range"), `bytes ${offset}-${offset + length - 1}/10`)
          assert.strictEqual(answer.header("content-length"), String(length))
          assert.deepStrictEqual([answer.file?.offset, answer.file?.length], [offset, length])
        }
      }))

    it.effect("answers 416 to a range outside of the file", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        for (const range of ["bytes=10-", "bytes=10-20", "bytes=-0", `bytes=${"9".repeat(40)}-`]) {
          const answer = yield* get(app, "/ten.txt", { range })
          assert.deepStrictEqual([answer.status, answer.header("content-range")], [416, "bytes */10"], range)
        }
        assert.strictEqual((yield* get(app, "/empty.bin", { range: "bytes=0-" })).header("content-range"), "bytes */0")
      }))

    it.effect("ignores ranges it cannot read, several at once, and ranges on HEAD", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        for (const range of ["bytes=5-2", "bytes=0-1,3-4", "bytes=", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=1"]) {
          assert.strictEqual((yield* get(app, "/ten.txt", { range })).status, 200, range)
        }
        assert.strictEqual((yield* get(app, "/ten.txt", { range: "bytes=0-0" }, "HEAD")).status, 200)
      }))

    it.effect("honours If-Range: a part for the same file, the whole for another", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const { header } = yield* get(app, "/ten.txt")
        const status = (ifRange: string) =>
          Effect.map(get(app, "/ten.txt", { range: "bytes=0-0", "if-range": ifRange }), (answer) => answer.status)
        assert.strictEqual(yield* status(lastModified), 206)
        assert.strictEqual(yield* status("Sun, 04 Feb 2024 00:00:00 GMT"), 200)
        assert.strictEqual(yield* status("Sat, 03 Feb 2024 04:05:05 GMT"), 200)
        assert.strictEqual(yield* status(`"other"`), 200)
        // Weak tags cannot vouch for single bytes.
        assert.strictEqual(yield* status(header("etag")!), 200)
      }))

    it.effect("prefers 304 to a range", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const answer = yield* get(app, "/ten.txt", { range: "bytes=0-0", "if-none-match": "*" })
        assert.strictEqual(answer.status, 304)
      }))
  })

  describe("listings", () => {
    it.effect("lists folders first, then files, with what is hidden or outside left out", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const top = yield* get(app, "/", { accept: "application/json" })
        assert.strictEqual(top.header("content-type"), "application/json")
        assert.deepStrictEqual((top.json as Array<{ name: string }>).map((entry) => entry.name), [
          "docs",
          "plain",
          "empty.bin",
          "inside.txt",
          "page.html",
          "ten.txt"
        ])
        const plain = yield* get(app, "/plain/", { accept: "application/json" })
        assert.deepStrictEqual(plain.json, [
          { name: "<b>\"'&.txt", type: "file", size: 1, modified: modified.toISOString() },
          { name: "file 9.css", type: "file", size: 3, modified: modified.toISOString() },
          { name: "file 10.css", type: "file", size: 3, modified: modified.toISOString() }
        ])
      }))

    it.effect("writes escaped HTML with local links, a parent, sizes and dates", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const answer = yield* get(app, "/plain/")
        assert.strictEqual(answer.header("content-type"), "text/html; charset=utf-8")
        assert.strictEqual(answer.header("x-content-type-options"), "nosniff")
        assert.include(answer.header("content-security-policy"), "default-src 'none'")
        assert.include(answer.text, `<a href="./%3Cb%3E%22&#39;%26.txt">&lt;b&gt;&quot;&#39;&amp;.txt</a>`)
        assert.include(answer.text, `<a href="./file%209.css">file 9.css</a></td><td>3 B</td><td>2024-02-03 04:05</td>`)
        assert.include(answer.text, `<a href="../">../</a>`)
        assert.notInclude(answer.text, "<b>")
        assert.notInclude(answer.text, "leak")
        assert.notInclude((yield* get(app, "/")).text, `href="../"`)
      }))

    it.effect("chooses JSON by weight, and HTML when nothing is preferred", () =>
      Effect.gen(function*() {
        const app = Directory.make({ root: yield* makeRoot })
        const type = (accept?: string) =>
          Effect.map(get(app, "/", accept === undefined ? {} : { accept }), (answer) => answer.header("content-type"))
        const json = "application/json"
        const html = "text/html; charset=utf-8"
        const expected = [
          [undefined, html],
          ["*/*", html],
          ["application/*", json],
          ["text/html, application/json", html],
          ["text/html;q=0.8, application/json", json],
          ["application/json;q=0.5, */*;q=0.4", json],
          ["application/json;q=0, */*", html],
          ["Application/JSON; q=1", json]
        ] as const
        for (const [accept, found] of expected) assert.strictEqual(yield* type(accept), found, accept)
      }))

    it.effect("lists hidden files when they are shown, and nothing when listings are off", () =>
      Effect.gen(function*() {
        const root = yield* makeRoot
        const shown = yield* get(Directory.make({ root, showHidden: true }), "/", { accept: "application/json" })
        const names = (shown.json as Array<{ name: string }>).map((entry) => entry.name)
        assert.includeMembers(names, [".env", ".git"])
        assert.strictEqual((yield* get(Directory.make({ root, listing: false }), "/plain/")).status, 404)
      }))
  })
})
