import { assert, describe, it } from "@effect/vitest"
import { defaults } from "../../src/protocol/Limits.ts"
import type { Reason } from "../../src/protocol/Malformed.ts"
import { RequestHeadReader } from "../../src/protocol/RequestHead.ts"
import { read, readOne, refused, refusedAfter } from "../utils/splits.ts"

const get = (...lines: ReadonlyArray<string>): string =>
  `GET / HTTP/1.1\r\nHost: a\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`
const post = (...lines: ReadonlyArray<string>): string => get(...lines).replace("GET", "POST")

/** Titles show what cannot be seen. */
const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text)

const refuses = (reason: Reason, mark: string, cases: ReadonlyArray<string>): void => {
  for (const text of cases) {
    it(`refuses ${shown(text)} as ${reason}${mark}`, () => assert.strictEqual(refused(text), reason))
  }
}

describe("RequestHead", () => {
  it("reads a whole head", () => {
    assert.deepStrictEqual(
      readOne("GET /a%20b?c=d#e HTTP/1.1\r\nHost: h:80\r\nX-Mixed:  v \t\r\nx-mixed:\r\n\r\n").head,
      {
        _tag: "RequestHead",
        method: "GET",
        httpVersion: "1.1",
        target: "/a%20b?c=d#e",
        rawPath: "/a%20b",
        path: "/a b",
        queryString: "c=d",
        headers: [["host", "h:80"], ["x-mixed", "v"], ["x-mixed", ""]],
        contentLength: 0,
        keepAlive: true,
        expectsContinue: false,
        kind: "http"
      }
    )
  })

  describe("request line", () => {
    it("takes any token as method, case kept", () => {
      for (
        const method of [
          "GET",
          "POST",
          "HEAD",
          "get",
          "Get",
          "G",
          "GE",
          "PO",
          "GETT",
          "POSTS",
          "PROPFIND",
          "!#$%&'*+-.^_`|~09"
        ]
      ) {
        assert.strictEqual(readOne(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`).head.method, method)
      }
    })

    it("ignores empty lines before a request", () => {
      assert.strictEqual(readOne(`\r\n${get()}`).head.method, "GET")
      assert.strictEqual(readOne(`\r\n\r\n\r\n${get()}`).head.method, "GET")
      assert.strictEqual(read(`${get()}\r\n\r\n${get()}\r\n`).messages.length, 2)
      assert.deepInclude(read("\r\n\r\n"), { problem: undefined, idle: true })
    })

    it("reads HTTP/1.0, where Host is not needed [C51]", () => {
      const { head } = readOne("GET / HTTP/1.0\r\n\r\n")
      assert.deepInclude(head, { httpVersion: "1.0", headers: [], keepAlive: false })
    })

    it("takes every visible ASCII character in a target", () => {
      const visible = Array.from({ length: 94 }, (_, index) => String.fromCharCode(0x21 + index)).filter((text) =>
        text !== "#" && text !== "%"
      )
      const target = `/${visible.join("")}?${visible.join("")}`
      assert.strictEqual(readOne(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`).head.target, target)
    })

    refuses("MethodInvalid", " [C51]", [
      " GET / HTTP/1.1\r\n\r\n",
      "GET\t/ HTTP/1.1\r\n\r\n",
      "GET\r\n\r\n",
      "G(T / HTTP/1.1\r\n\r\n",
      "G\x80T / HTTP/1.1\r\n\r\n",
      "\0\r\n\r\n",
      "GET\0 / HTTP/1.1\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00",
      "{}\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\r\n",
      "\t\r\n\r\n"
    ])
    refuses("TargetInvalid", " [C51]", [
      "GET  / HTTP/1.1\r\n\r\n",
      "GET  HTTP/1.1\r\n\r\n",
      "GET \r\n\r\n",
      "GET \n",
      "GET /\x7f HTTP/1.1\r\n\r\n",
      "GET /\x80 HTTP/1.1\r\n\r\n",
      "GET /\xe2\x82\xac HTTP/1.1\r\n\r\n",
      "GET /\0 HTTP/1.1\r\n\r\n",
      "GET /\tHTTP/1.1\r\n\r\n",
      "GET /a\tb HTTP/1.1\r\n\r\n",
      "GET /\x0b HTTP/1.1\r\n\r\n",
      "GET HTTP/1.1\r\nHost: a\r\n\r\n".replace("HTTP/1.1", "a HTTP/1.1"),
      "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
      "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
      "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"
    ])
    refuses("VersionInvalid", " [C51]", [
      "GET /\r\n\r\n",
      "GET /\n",
      "GET / \r\n\r\n",
      "GET /  HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1 \r\n\r\n",
      "GET / HTTP/1.1\t\r\n\r\n",
      "GET / HTTP/1.10\r\n\r\n",
      "GET / HTTP/01.1\r\n\r\n",
      "GET / HTTP/11\r\n",
      "GET / HTTP/1\r\n",
      "GET / HTTP/1.\r\n",
      "GET / HTTP/2\r\n",
      "GET / HTTP/x",
      "GET / HTTP/1.x",
      "GET / HTTP/2.0x",
      "GET / HTTP/2x0\r\n",
      "GET / HTP/1.1\r\n\r\n",
      "GET / http/1.1\r\n\r\n",
      "GET / HTTP-1.1\r\n\r\n",
      "GET / HTTP/ 1.1\r\n\r\n",
      "GET / HTTP/+1.1\r\n\r\n",
      "GET /a b HTTP/1.1\r\n\r\n",
      "GET / ICE/1.0\r\n\r\n",
      "GET HTTP/1.1\r\n\r\n",
      "GET / HTTP/2.0 \r\n"
    ])
    refuses("VersionUnsupported", "", [
      "GET / HTTP/2.0\r\n",
      "GET / HTTP/0.9\r\n",
      "GET / HTTP/3.0\r\n",
      "GET / HTTP/1.2\r\n",
      "GET / HTTP/9.9\r\n",
      "PRI / HTTP/2.0\r\n",
      "GET / HTTP/2.1\r\n"
    ])
    refuses("Http2Preface", "", ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\nPRI * HTTP/2.0\r\n"])
    refuses("ConnectUnsupported", "", [
      "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
      "CONNECT [::1]:80 HTTP/1.0\r\n\r\n"
    ])
    refuses("LineEndInvalid", " [C51]", [
      "\n",
      "\nGET / HTTP/1.1\r\n\r\n",
      "\rGET / HTTP/1.1\r\n\r\n",
      "\r\r\n",
      "\r\n\n",
      "GET\n",
      "GET / HTTP/1.1\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\rHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\r\n",
      "GET / HTTP/1.0\n",
      "GET / HTTP/2.0\n",
      "GET / HTTP/2.0\r\r",
      "GET / HTTP/1.1\r\0"
    ])
  })

  describe("fields", () => {
    it("keeps order, duplicates and bytes, and lowers names", () => {
      const all = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).filter((text) =>
        /[\t\x20-\x7e\x80-\xff]/.test(text)
      ).join("")
      const { head } = readOne(
        get("X-B: 1", "x-a: 2", "X-B: 3", "!#$%&'*+-.^_`|~09AZaz:v", `All:<${all}>`, "Accept:\t a \t b \t")
      )
      assert.deepStrictEqual(head.headers, [
        ["host", "a"],
        ["x-b", "1"],
        ["x-a", "2"],
        ["x-b", "3"],
        ["!#$%&'*+-.^_`|~09azaz", "v"],
        ["all", `<${all}>`],
        ["accept", "a \t b"]
      ])
    })

    it("takes a name with the hash of Content-Length for another name", () => {
      assert.deepInclude(readOne(get("contenbmxaxhhc: 5")).head, {
        contentLength: 0,
        headers: [["host", "a"], ["contenbmxaxhhc", "5"]]
      })
    })

    it("joins several Cookie fields into one", () => {
      assert.deepStrictEqual(readOne(get("Cookie: a=1", "X: y", "cookie: b=2; c=3", "COOKIE:d=4")).head.headers, [
        ["host", "a"],
        ["cookie", "a=1; b=2; c=3; d=4"],
        ["x", "y"]
      ])
      assert.deepStrictEqual(readOne(get("Cookie:", "Cookie: b", "Cookie:")).head.headers, [["host", "a"], [
        "cookie",
        "b"
      ]])
    })

    refuses("FoldedLine", " [C57]", [
      get("X: a", " b"),
      get("X: a", "\tb"),
      get("X: a", " "),
      "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
      post("Transfer-Encoding:", " chunked")
    ])
    refuses("FieldNameInvalid", "", [
      get("X : a"),
      get("X\t: a"),
      get("Host : a"),
      get("Content-Length : 5"),
      get("Transfer-Encoding : chunked"),
      get(": a"),
      get("X"),
      get("X y: z"),
      get("X\0: a"),
      get("X\x80: a"),
      get("(X): a"),
      get("X/Y: a"),
      get("\"X\": a"),
      get("X;: a"),
      get("\x0bX: a"),
      get("\xa0X: a")
    ])
    refuses("FieldValueInvalid", " [C57]", [
      get("X: a\0b"),
      get("X: \0"),
      get("X:\0"),
      get("X: a\x0bb"),
      get("X: a\x0cb"),
      get("X: \x7f"),
      get("X: \x01"),
      get("X: a\x1b"),
      get("X: \b"),
      get("Host: a\0"),
      get("Transfer-Encoding: \x0bchunked"),
      get("Content-Length: 5\x0c")
    ])
    refuses("LineEndInvalid", "", [
      "GET / HTTP/1.1\r\nHost: a\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n\n",
      "GET / HTTP/1.1\r\nHost: a\r\n\rX",
      "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
      "GET / HTTP/1.1\r\n\n",
      "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
      "GET / HTTP/1.1\r\nX: \r \r\n",
      "GET / HTTP/1.1\r\nX: \n",
      "GET / HTTP/1.1\r\nX:\n",
      "GET / HTTP/1.1\r\nX\nY: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n"
    ])
  })

  describe("Host", () => {
    it("may be empty, and is replaced by the authority of an absolute target", () => {
      assert.deepStrictEqual(readOne("GET / HTTP/1.1\r\nHost:\r\n\r\n").head.headers, [["host", ""]])
      assert.deepStrictEqual(readOne("GET http://b:8/p HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n").head.headers, [
        ["x", "y"],
        ["host", "b:8"]
      ])
      const { head } = readOne("GET http://b HTTP/1.0\r\nX: y\r\n\r\n")
      assert.deepInclude(head, { target: "http://b", rawPath: "/", headers: [["host", "b"], ["x", "y"]] })
    })

    refuses("HostMissing", " [C51]", [
      "GET / HTTP/1.1\r\n\r\n",
      "GET http://a/ HTTP/1.1\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nX: y\r\n\r\n"
    ])
    refuses("HostRepeated", "", [
      get("Host: a"),
      get("HOST: b"),
      get("host:"),
      "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"
    ])
    refuses(
      "HostInvalid",
      "",
      ["a b", "a, b", "a/b", "u@a", "a:b", "[::1", "a\x80", "a%", "http://a", "a\\b"].map((host) =>
        `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`
      )
    )
  })

  describe("Content-Length", () => {
    it("is the length of the body", () => {
      assert.strictEqual(readOne(`${post("Content-Length: 5 \t")}hello`).body, "hello")
      assert.strictEqual(readOne(post("Content-Length: 0")).head.contentLength, 0)
      assert.strictEqual(readOne(`${get("CONTENT-LENGTH:1")}x`).body, "x")
      assert.strictEqual(readOne("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab").body, "ab")
    })

    const invalid = [
      "",
      "+5",
      "-5",
      "5 5",
      "5,5",
      "5, 5",
      "0x5",
      "5.0",
      "1e1",
      "05",
      "00",
      "five",
      "\xb2",
      "5;a",
      "'5'"
    ]
    refuses("ContentLengthInvalid", " [C53]", invalid.map((value) => post(`Content-Length: ${value}`)))
    refuses("ContentLengthRepeated", " [C53]", [
      post("Content-Length: 5", "Content-Length: 5"),
      post("Content-Length: 5", "content-length: 6"),
      post("Content-Length: 0", "Content-Length: 0")
    ])

    it("is refused above the limit, before the body comes [C53] [W7]", () => {
      const limits = { bodyBytes: 5 }
      assert.strictEqual(readOne(`${post("Content-Length: 5")}12345`, { limits }).body, "12345")
      for (const length of ["6", "500000", "9007199254740993", "9".repeat(400)]) {
        assert.strictEqual(refused(post(`Content-Length: ${length}`), { limits }), "BodyTooLarge")
      }
    })

    it("is refused above what a number can count, whatever the limit", () => {
      const limits = { bodyBytes: Infinity }
      assert.strictEqual(read(post("Content-Length: 9007199254740991"), { limits }).problem, undefined)
      for (const length of ["9007199254740992", "18446744073709551621", "9".repeat(400)]) {
        assert.strictEqual(refused(post(`Content-Length: ${length}`), { limits }), "BodyTooLarge")
      }
    })
  })

  describe("Transfer-Encoding", () => {
    it("is chunked, in any case and between white space", () => {
      for (const value of ["chunked", "Chunked", "CHUNKED", " \tchunked\t "]) {
        assert.deepInclude(readOne(`${post(`Transfer-Encoding:${value}`)}1\r\nx\r\n0\r\n\r\n`), { body: "x" })
      }
    })

    refuses("TransferEncodingUnsupported", " [C52]", [
      post("Transfer-Encoding: gzip, chunked"),
      post("Transfer-Encoding: gzip ,\tCHUNKED"),
      post("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"),
      post("Transfer-Encoding: identity, chunked"),
      post("Transfer-Encoding: x;q=\"1\", chunked")
    ])
    refuses(
      "TransferEncodingInvalid",
      " [C52]",
      [
        "",
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked, identity, chunked",
        "xchunked",
        "chunkedx",
        "chunked x",
        "chunked;q=1",
        "\"chunked\"",
        "chunked\xa0",
        "\xa0chunked",
        "gzip,\xa0chunked",
        "\x85chunked",
        "chun\xa0ked",
        "gzip,,chunked",
        "x;q=\"a, chunked\""
      ].map((value) => post(`Transfer-Encoding: ${value}`))
    )
    refuses("TransferEncodingInvalid", " [C52]", [
      post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
      post("Transfer-Encoding: chunked", "Transfer-Encoding: identity")
    ])
    refuses("LengthAmbiguous", " [C52]", [
      post("Content-Length: 5", "Transfer-Encoding: chunked"),
      post("Transfer-Encoding: chunked", "Content-Length: 0"),
      post("Transfer-Encoding: x", "Content-Length: 5"),
      "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    ])
    refuses("TransferEncodingIn10", "", [
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
      "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: gzip\r\n\r\n"
    ])
  })

  describe("Connection", () => {
    const cases: ReadonlyArray<readonly [version: string, lines: ReadonlyArray<string>, keepAlive: boolean]> = [
      ["1.1", [], true],
      ["1.1", ["close"], false],
      ["1.1", ["Close"], false],
      ["1.1", ["keep-alive"], true],
      ["1.1", ["TE, close"], false],
      ["1.1", ["TE", "close"], false],
      ["1.1", ["close", "keep-alive"], false],
      ["1.1", ["keep-alive, \tCLOSE\t"], false],
      ["1.1", ["closed"], true],
      ["1.1", ["close\xa0"], true],
      ["1.1", [""], true],
      ["1.1", ["Upgrade, HTTP2-Settings"], true],
      ["1.0", [], false],
      ["1.0", ["close"], false],
      ["1.0", ["keep-alive"], true],
      ["1.0", ["Keep-Alive"], true],
      ["1.0", ["KEEP-ALIVE , x"], true],
      ["1.0", ["keep-alive, close"], false],
      ["1.0", ["x"], false]
    ]
    for (const [version, lines, keepAlive] of cases) {
      it(`${keepAlive ? "keeps" : "ends"} HTTP/${version} with ${shown(lines.join(" | "))}`, () => {
        const fields = ["Host: a", ...lines.map((line) => `Connection: ${line}`), "", ""].join("\r\n")
        assert.strictEqual(readOne(`GET / HTTP/${version}\r\n${fields}`).head.keepAlive, keepAlive)
      })
    }
  })

  describe("Expect", () => {
    it("is answered for a body in HTTP/1.1 only", () => {
      const expects = (head: string): boolean => read(head).messages[0]!.head.expectsContinue
      assert.isTrue(expects(post("Expect: 100-continue", "Content-Length: 5")))
      assert.isTrue(expects(post("Transfer-Encoding: chunked", "Expect: 100-Continue", "expect:100-CONTINUE")))
      assert.isFalse(expects(post("Expect: 100-continue")))
      assert.isFalse(expects(post("Expect: 100-continue", "Content-Length: 0")))
      assert.isFalse(expects("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"))
    })

    refuses("ExpectationUnknown", "", [
      post("Expect: 200-ok"),
      post("Expect:"),
      post("Expect: 100-continue, x"),
      post("Expect: 100-continue", "Expect: x")
    ])
  })

  describe("limits", () => {
    const line = "GET /12345678 HTTP/1.1\r\n"
    const limits = { requestLineBytes: line.length, headerBytes: 40, headerCount: 3 }

    it("bound the request line while it arrives [C54] [W7]", () => {
      assert.strictEqual(readOne(`${line}Host: a\r\n\r\n`, { limits }).head.target, "/12345678")
      assert.strictEqual(refused(`${line.replace("8", "89")}Host: a\r\n\r\n`, { limits }), "RequestLineTooLong")
      for (
        const endless of [
          "G".repeat(5000),
          `GET /${"a".repeat(5000)}`,
          `${line.slice(0, -2).replace(" HTTP", "x HTTP")}\r\n`,
          "\r\n".repeat(5000)
        ]
      ) {
        assert.strictEqual(refused(endless, { limits }), "RequestLineTooLong")
        assert.strictEqual(refusedAfter(endless, { limits }), line.length + 1)
      }
    })

    it("count the empty lines before a request line", () => {
      const short = "GET /1234 HTTP/1.1\r\n"
      assert.strictEqual(readOne(`\r\n\r\n${short}Host: a\r\n\r\n`, { limits }).head.target, "/1234")
      assert.strictEqual(refused(`\r\n\r\n\r\n${short}Host: a\r\n\r\n`, { limits }), "RequestLineTooLong")
    })

    it("start again with each request", () => {
      assert.strictEqual(read(`${line}Host: a\r\n\r\n`.repeat(3), { limits }).messages.length, 3)
      assert.strictEqual(
        refused(`${line}Host: a\r\n\r\nGET /123456789 HTTP/1.1\r\n`, { limits, after: 1 }),
        "RequestLineTooLong"
      )
    })

    it("bound the field section while it arrives [C54] [W7]", () => {
      const fields = (length: number): string => `Host: a\r\nX: ${"y".repeat(length - 9 - 5 - 2)}\r\n\r\n`
      assert.strictEqual(fields(40).length, 40)
      assert.strictEqual(readOne(line + fields(40), { limits }).head.headers.length, 2)
      for (const length of [41, 42, 43, 80, 5000]) {
        assert.strictEqual(refused(line + fields(length), { limits }), "HeadTooLarge")
      }
      for (
        const endless of [
          "Host: a\r\nX".padEnd(5000, "X"),
          "X:".padEnd(5000),
          "X: ".padEnd(5000, "y"),
          "X: y\r\nX: y\r\nX: y\r\n".padEnd(5000, "X")
        ]
      ) {
        assert.strictEqual(refused(line + endless, { limits }), "HeadTooLarge")
        assert.strictEqual(refusedAfter(line + endless, { limits }), line.length + 41)
      }
    })

    it("bound the number of fields [C54] [W7]", () => {
      const fields = (count: number): string => "Host: a\r\n" + "X:\r\n".repeat(count - 1) + "\r\n"
      assert.strictEqual(readOne(line + fields(3), { limits }).head.headers.length, 3)
      assert.strictEqual(refused(line + fields(4), { limits }), "TooManyFields")
      assert.strictEqual(refused(line + fields(7), { limits }), "TooManyFields")
    })

    it("are what a line is refused for when a fault stands beyond them", () => {
      const { length } = line
      for (const fault of ["\0", "\x80"]) {
        assert.strictEqual(refused(`G /${"a".repeat(length - 3)}${fault}`, { limits }), "TargetInvalid")
        assert.strictEqual(refused(`G /${"a".repeat(length - 2)}${fault}`, { limits }), "RequestLineTooLong")
      }
      assert.strictEqual(refused(`${"G".repeat(length)}\0`, { limits }), "MethodInvalid")
      assert.strictEqual(refused(`${"G".repeat(length + 1)}\0`, { limits }), "RequestLineTooLong")
      assert.strictEqual(refused(`G /${"a".repeat(length - 9)} HTTP/x`, { limits }), "VersionInvalid")
      assert.strictEqual(refused(`G /${"a".repeat(length - 8)} HTTP/x`, { limits }), "RequestLineTooLong")
      assert.strictEqual(refused(`G /${"a".repeat(length - 14)} HTTP/2.0\r\n`, { limits }), "VersionUnsupported")
      assert.strictEqual(refused(`G /${"a".repeat(length - 12)} HTTP/2.0\r\n`, { limits }), "RequestLineTooLong")
      assert.strictEqual(refused(`${"\r\n".repeat(length / 2)}\rX`, { limits }), "RequestLineTooLong")
      for (const [fault, reason] of [["\0", "FieldValueInvalid"], ["\n", "LineEndInvalid"]] as const) {
        assert.strictEqual(refused(`${line}X: ${"y".repeat(37)}${fault}`, { limits }), reason)
        assert.strictEqual(refused(`${line}X: ${"y".repeat(38)}${fault}`, { limits }), "HeadTooLarge")
      }
      assert.strictEqual(refused(`${line}${"X".repeat(40)}\0`, { limits }), "FieldNameInvalid")
      assert.strictEqual(refused(`${line}${"X".repeat(41)}\0`, { limits }), "HeadTooLarge")
      assert.strictEqual(refused(`${line}X: ${"y".repeat(34)}\r\n\rX`, { limits }), "LineEndInvalid")
      assert.strictEqual(refused(`${line}X: ${"y".repeat(35)}\r\n\rX`, { limits }), "HeadTooLarge")
    })

    it("hold with their defaults too", () => {
      assert.strictEqual(readOne(`GET /${"a".repeat(8192 - 16)} HTTP/1.1\r\nHost: a\r\n\r\n`).head.target.length, 8177)
      assert.strictEqual(refused(`GET /${"a".repeat(8192 - 15)} HTTP/1.1\r\nHost: a\r\n\r\n`), "RequestLineTooLong")
      assert.strictEqual(readOne(get(`X: ${"y".repeat(8192 - 16)}`)).head.headers.length, 2)
      assert.strictEqual(refused(get(`X: ${"y".repeat(8192 - 15)}`)), "HeadTooLarge")
      assert.strictEqual(readOne(get(...Array<string>(99).fill("X: y"))).head.headers.length, 100)
      assert.strictEqual(refused(get(...Array<string>(100).fill("X: y"))), "TooManyFields")
    })
  })

  describe("RequestHeadReader", () => {
    it("says whether the request line was read", () => {
      const reader = new RequestHeadReader(defaults)
      assert.isFalse(reader.started)
      assert.strictEqual(reader.read("\r\n", 0), 2)
      assert.isFalse(reader.started)
      assert.strictEqual(reader.read("GET / HTTP/1.1\r\nHo", 0), 16)
      assert.isTrue(reader.started)
      reader.reset()
      assert.isFalse(reader.started)
    })
  })
})
