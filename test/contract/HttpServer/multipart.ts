/** Forms with files: persisted, streamed, decoded, limited, broken, and put away afterwards. */
import { assert, describe } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Multipart from "effect/http/Multipart"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { answersIn } from "../../utils/answers.ts"
import { ask, closing, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

const file = (text: string, type = "text/plain") => new Blob([text], { type })

const form = (...entries: ReadonlyArray<readonly [name: string, value: string | Blob, filename?: string]>) => {
  const form = new FormData()
  for (const [name, value, filename] of entries) {
    if (typeof value === "string") form.append(name, value)
    else form.append(name, value, filename)
  }
  return HttpBody.formData(form)
}

const post = (body: HttpBody.HttpBody) => HttpClient.post("/", { body })

/** Bytes of a multipart request with the boundary `b`. */
const raw = (body: string): string =>
  closing("POST /", ["content-type: multipart/form-data; boundary=b", `content-length: ${body.length}`]) + body

export const multipart = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("multipart bodies", () => {
    test("are persisted: fields as text, files on disk, several of one name as a list", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("POST", "/", (request) =>
          Effect.gen(function*() {
            const fs = yield* FileSystem.FileSystem
            const parts = yield* request.multipart
            const files = parts["file"] as ReadonlyArray<Multipart.PersistedFile>
            const contents = yield* Effect.forEach(files, ({ path }) => fs.readFileString(path))
            return HttpServerResponse.jsonUnsafe({
              title: parts["title"],
              tags: parts["tags"],
              files: files.map((
                { contentType, name, path },
                i
              ) => [name, contentType, contents[i], path.split("/").at(-1)])
            })
          })))
        const response = yield* post(form(
          ["title", "grüße"],
          ["tags", "1"],
          ["tags", "2"],
          ["file", file("one"), "../one.txt"],
          ["file", file("{}", "text/csv"), "zwölf.csv"],
          ["file", file(""), "one.txt"]
        ))
        assert.deepStrictEqual(yield* response.json, {
          title: "grüße",
          tags: ["1", "2"],
          files: [
            ["../one.txt", "text/plain", "one", "one.txt"],
            ["zwölf.csv", "text/csv", "{}", "zwölf.csv"],
            ["one.txt", "text/plain", "", "0-one.txt"]
          ]
        })
      }))

    test("leave nothing on disk when the request is over", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        let path = ""
        yield* serveRoutes(HttpRouter.add("POST", "/", (request) =>
          Effect.gen(function*() {
            const parts = yield* request.multipart
            path = (parts["file"] as ReadonlyArray<Multipart.PersistedFile>)[0]!.path
            return HttpServerResponse.text(`${yield* fs.exists(path)}`)
          })))
        assert.strictEqual(yield* (yield* post(form(["file", file("x"), "x.txt"]))).text, "true")
        yield* Effect.repeat(fs.exists(path), { until: (exists) => !exists })
      }))

    test("are persisted once, however often they are asked for", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("POST", "/", (request) =>
          Effect.map(Effect.all([request.multipart, request.multipart]), ([first, second]) =>
            HttpServerResponse.jsonUnsafe([first["a"], first === second]))))
        assert.deepStrictEqual(yield* (yield* post(form(["a", "1"]))).json, ["1", true])
      }))

    test("are streamed part by part", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("POST", "/", (request) =>
          request.multipartStream.pipe(
            Stream.mapEffect((part) =>
              part._tag === "Field"
                ? Effect.succeed([part.key, part.value])
                : Effect.map(
                  Stream.mkString(Stream.decodeText(part.content)),
                  (text) => [part.key, part.name, text.length]
                )
            ),
            Stream.runCollect,
            Effect.map((parts) => HttpServerResponse.jsonUnsafe(parts))
          )))
        const large = "x".repeat(500_000)
        const response = yield* post(form(["a", "1"], ["f", file(large), "f.txt"], ["b", "2"]))
        assert.deepStrictEqual(yield* response.json, [["a", "1"], ["f", "f.txt", 500_000], ["b", "2"]])
      }))

    test("are decoded with Schemas", () =>
      Effect.gen(function*() {
        const Upload = Schema.Struct({ file: Multipart.SingleFileSchema, count: Schema.FiniteFromString })
        const Field = Schema.Struct({ a: Schema.Number })
        yield* serveRoutes(HttpRouter.add(
          "POST",
          "/",
          Effect.gen(function*() {
            const { count, file } = yield* HttpServerRequest.schemaBodyMultipart(Upload)
            const again = yield* HttpServerRequest.schemaBodyForm(Upload)
            const json = yield* HttpServerRequest.schemaBodyFormJson(Field)("json")
            return HttpServerResponse.jsonUnsafe([count, file.name, again.count, json])
          })
        ))
        const json = ["json", file("{\"a\":1}", "application/json"), "a.json"] as const
        const response = yield* post(form(["count", "3"], ["file", file("x"), "x.txt"], ["json", "{\"a\":1}"]))
        assert.deepStrictEqual(yield* response.json, [3, "x.txt", 3, { a: 1 }])
        const asFile = yield* post(form(["count", "3"], ["file", file("x"), "x.txt"], json))
        assert.deepStrictEqual(yield* asFile.json, [3, "x.txt", 3, { a: 1 }])
        assert.strictEqual((yield* post(form(["count", "3"]))).status, 400)
      }))

    const limits = {
      MaxParts: Effect.provideService(Multipart.MaxParts, 1),
      MaxFieldSize: Effect.provideService(Multipart.MaxFieldSize, ByteSize.bytes(10)),
      MaxFileSize: Effect.provideService(Multipart.MaxFileSize, ByteSize.bytes(10)),
      MaxBodySize: Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(50))
    }
    const reasons = {
      MaxParts: "TooManyParts",
      MaxFieldSize: "FieldTooLarge",
      MaxFileSize: "FileTooLarge",
      MaxBodySize: "BodyTooLarge"
    }
    for (
      const [name, limit] of Object.entries(limits) as ReadonlyArray<[keyof typeof limits, typeof limits.MaxParts]>
    ) {
      test(`over ${name} are answered with 413, persisted and streamed, and say why`, () =>
        Effect.gen(function*() {
          let reason = ""
          const noted = Effect.tapError((error: unknown) =>
            Effect.sync(() => void (reason = Multipart.isMultipartError(error) ? error.reason._tag : String(error)))
          )
          const body = form(["a", "x".repeat(100)], ["f", file("x".repeat(100)), "f.txt"])
          const drain = (request: HttpServerRequest.HttpServerRequest) =>
            Stream.runForEach(
              request.multipartStream,
              (part) => part._tag === "File" ? Stream.runDrain(part.content) : Effect.void
            )
          yield* serveRoutes(
            HttpRouter.add("POST", "/", (request) =>
              limit(noted(request.headers["x-streamed"] === undefined ? request.multipart : drain(request))).pipe(
                Effect.as(HttpServerResponse.empty())
              ))
          )
          for (const headers of [{}, { "x-streamed": "yes" }]) {
            reason = ""
            const response = yield* HttpClient.post("/", { body, headers })
            assert.deepStrictEqual([response.status, yield* response.text, reason], [413, "", reasons[name]])
          }
        }))
    }

    test("that are broken are answered with 400", () =>
      Effect.gen(function*() {
        yield* serveRoutes(
          HttpRouter.add("POST", "/", (request) => Effect.as(request.multipart, HttpServerResponse.empty()))
        )
        const part = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
        const statusOf = (bytes: string) => Effect.map(ask(bytes), (answer) => answersIn(answer)[0]!.status)
        assert.strictEqual(yield* statusOf(raw(`${part}--b--\r\n`)), 204)
        for (const body of [part, "", "--c--", "--b\r\nno header\r\n\r\n1\r\n--b--\r\n"]) {
          assert.strictEqual(yield* statusOf(raw(body)), 400, JSON.stringify(body))
        }
        assert.strictEqual(yield* statusOf(raw(`${part}--b--\r\n`).replace("; boundary=b", "")), 400)
      }))
  })
}
