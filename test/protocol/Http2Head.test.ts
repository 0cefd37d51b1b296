import { assert, describe, it } from "@effect/vitest"
import { readHead } from "../../src/protocol/Http2Head.ts"
import { defaults, type Limits } from "../../src/protocol/Limits.ts"
import type { RequestHead } from "../../src/protocol/RequestHead.ts"

type Fields = ReadonlyArray<readonly [name: string, value: string]>

interface Options {
  readonly limits?: Partial<Limits>
  readonly hasBody?: boolean
}

const get = (path: string, ...fields: Fields): Fields => [
  [":method", "GET"],
  [":scheme", "http"],
  [":authority", "a"],
  [":path", path],
  ...fields
]

const read = (fields: Fields, { hasBody = false, limits }: Options = {}) =>
  readHead(fields.flat(), { ...defaults, ...limits }, hasBody)

const head = (fields: Fields, options?: Options): RequestHead => {
  const found = read(fields, options)
  assert.ok(found._tag === "RequestHead", `refused: ${found._tag === "Malformed" ? found.reason : ""}`)
  return found
}

const refused = (fields: Fields, options?: Options): string => {
  const found = read(fields, options)
  assert.ok(found._tag === "Malformed", "it is not refused")
  return found.reason
}

describe("Http2Head", () => {
  it("gives the head that HTTP/1 gives", () => {
    assert.deepStrictEqual({ ...head(get("/a%20b?c=d#e", ["x-b", "1"], ["x-a", "2"], ["x-b", "3"])) }, {
      _tag: "RequestHead",
      httpVersion: "2",
      keepAlive: true,
      kind: "http",
      method: "GET",
      target: "/a%20b?c=d#e",
      rawPath: "/a%20b",
      path: "/a b",
      queryString: "c=d",
      headers: [["host", "a"], ["x-b", "1"], ["x-a", "2"], ["x-b", "3"]],
      contentLength: 0,
      expectsContinue: false
    })
  })

  describe("host", () => {
    it("is :authority, first, in place of any Host", () => {
      const { headers } = head(get("/", ["x", "1"], ["host", "b"]))
      assert.deepStrictEqual(headers, [["host", "a"], ["x", "1"]])
    })

    it("is the Host where there is no :authority, at its place", () => {
      const fields = get("/", ["x", "1"], ["host", "b:80"]).filter(([name]) => name !== ":authority")
      assert.deepStrictEqual(head(fields).headers, [["x", "1"], ["host", "b:80"]])
    })

    it("must be there, once, and be a host", () => {
      const none = get("/").filter(([name]) => name !== ":authority")
      assert.strictEqual(refused(none), "HostMissing")
      assert.strictEqual(refused([...none, ["host", "a"], ["host", "a"]]), "HostRepeated")
      assert.strictEqual(refused([...none, ["host", "a b"]]), "HostInvalid")
      assert.strictEqual(refused([[":authority", "user@a"], ...none]), "HostInvalid")
      assert.strictEqual(head([[":authority", "[::1]:80"], ...none]).headers[0]![1], "[::1]:80")
    })
  })

  describe("cookies", () => {
    it("become one, where the first stood", () => {
      const fields = get("/", ["x", "0"], ["cookie", "a"], ["x", "1"], ["cookie", "b"], ["cookie", ""])
      assert.deepStrictEqual(head(fields).headers, [["host", "a"], ["x", "0"], ["cookie", "a; b; "], ["x", "1"]])
    })
  })

  describe("paths", () => {
    for (
      const [path, rawPath, decoded, queryString] of [
        ["/", "/", "/", ""],
        ["/a//b/../c", "/a//b/../c", "/a//b/../c", ""],
        ["/%C3%BC", "/%C3%BC", "/ü", ""],
        ["/%FF%00", "/%FF%00", "/\xff\0", ""],
        ["/?", "/", "/", ""],
        ["/a?b?c", "/a", "/a", "b?c"],
        ["/a%3Fb?c%20d", "/a%3Fb", "/a?b", "c%20d"],
        ["/a#b?c", "/a", "/a", ""]
      ] as const
    ) {
      it(`splits ${path}`, () => {
        const found = head(get(path))
        assert.deepStrictEqual([found.rawPath, found.path, found.queryString], [rawPath, decoded, queryString])
      })
    }

    it("must begin with a slash and have no control, space or other character", () => {
      for (const path of ["", "a", "http://a/", "?", "/a b", "/\u007f", "/ü", "/\u0000", "/€", "*x"]) {
        assert.strictEqual(refused(get(path)), "TargetInvalid", JSON.stringify(path))
      }
      assert.strictEqual(refused(get("/").filter(([name]) => name !== ":path")), "TargetInvalid")
    })

    it("may be * for the methods that ask a whole server", () => {
      const options = get("*").map((field) => field[0] === ":method" ? [":method", "OPTIONS"] as const : field)
      assert.deepInclude(head(options), { rawPath: "*", path: "*", queryString: "" })
      assert.strictEqual(refused(get("*")), "TargetInvalid")
    })

    it("may be as long as the limit of a request line", () => {
      const path = `/${"x".repeat(99)}`
      assert.strictEqual(head(get(path), { limits: { requestLineBytes: 100 } }).path, path)
      assert.strictEqual(refused(get(`${path}x`), { limits: { requestLineBytes: 100 } }), "RequestLineTooLong")
    })
  })

  describe("kinds", () => {
    const connect = (protocol: string): Fields => [
      [":method", "CONNECT"],
      [":protocol", protocol],
      ...get("/chat").filter(([name]) => name !== ":method")
    ]

    it("are websocket for an extended CONNECT to it, and no other tunnel", () => {
      assert.deepInclude(head(connect("websocket"), { hasBody: true }), {
        kind: "websocket",
        method: "CONNECT",
        path: "/chat",
        contentLength: -1
      })
      assert.strictEqual(refused(connect("connect-udp")), "ConnectUnsupported")
      assert.strictEqual(refused([[":method", "CONNECT"], [":authority", "a:1"]]), "ConnectUnsupported")
    })

    it("are sse where Accept names events, in whichever of its lines", () => {
      assert.strictEqual(head(get("/", ["accept", "text/event-stream"])).kind, "sse")
      assert.strictEqual(head(get("/", ["accept", "text/html"], ["accept", "text/event-stream"])).kind, "sse")
      assert.strictEqual(head(get("/", ["accept", "text/html"])).kind, "http")
    })
  })

  describe("bodies", () => {
    it("have the declared length, -1 without one, and 0 when the stream has ended", () => {
      assert.strictEqual(head(get("/", ["content-length", "5"]), { hasBody: true }).contentLength, 5)
      assert.strictEqual(head(get("/"), { hasBody: true }).contentLength, -1)
      assert.strictEqual(head(get("/")).contentLength, 0)
    })

    it("may not be larger than the limit, whatever the number", () => {
      const limits = { bodyBytes: 10 }
      assert.strictEqual(head(get("/", ["content-length", "10"]), { hasBody: true, limits }).contentLength, 10)
      assert.strictEqual(refused(get("/", ["content-length", "11"]), { hasBody: true, limits }), "BodyTooLarge")
      const endless = { hasBody: true, limits: { bodyBytes: Infinity } }
      assert.strictEqual(refused(get("/", ["content-length", "9007199254740993"]), endless), "BodyTooLarge")
    })

    it("may be waited for with 100-continue, in any case, where there is one", () => {
      const fields = get("/", ["expect", "100-Continue"])
      assert.isTrue(head(fields, { hasBody: true }).expectsContinue)
      assert.isFalse(head(fields).expectsContinue)
      assert.strictEqual(refused(get("/", ["expect", "else"])), "ExpectationUnknown")
    })
  })

  it("counts the headers that the application sees", () => {
    const limits = { headerCount: 3 }
    const cookies = [["cookie", "a"], ["cookie", "b"], ["cookie", "c"]] as const
    assert.strictEqual(head(get("/", ["x", "1"], ...cookies), { limits }).headers.length, 3)
    assert.strictEqual(refused(get("/", ["x", "1"], ["x", "2"], ...cookies), { limits }), "TooManyFields")
  })

  it("ignores half a field at the end", () => {
    assert.deepStrictEqual(readHead([...get("/").flat(), "x"], defaults, false), head(get("/")))
  })
})
