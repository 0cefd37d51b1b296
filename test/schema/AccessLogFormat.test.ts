import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  AccessLogFormat,
  atoms,
  compile,
  type Formatter,
  presetNames,
  presets
} from "../../src/schema/AccessLogFormat.ts"
import { LineWriter } from "../../src/schema/LineWriter.ts"
import type { WebSocketScope } from "../../src/schema/Scope.ts"
import type { AccessLogEntry } from "../../src/service/AccessLog.ts"
import { entry, scope } from "../contract/AccessLog.ts"

const printed = (format: Formatter, of: AccessLogEntry): string => {
  const line = new LineWriter(8)
  format(of, line)
  return line.textFrom(0)
}

const print = (format: string, of: AccessLogEntry = entry()): string => printed(Result.getOrThrow(compile(format)), of)

const failure = (format: string): string => {
  const compiled = compile(format)
  assert.isTrue(Result.isFailure(compiled), format)
  return Result.isFailure(compiled) ? compiled.failure.message : ""
}

const refused = entry({ scope: undefined, status: 400, bodyBytes: 0, durationMillis: 0, problem: "bad_request_line" })

const websocket: WebSocketScope = {
  type: "websocket",
  slipway: { version: "0.3", specVersion: "0.3" },
  httpVersion: "2",
  scheme: "wss",
  path: "/chat",
  rawPath: "/chat",
  queryString: "",
  rootPath: "",
  headers: [],
  extensions: {},
  subprotocols: []
}

describe("AccessLogFormat", () => {
  describe("presets", () => {
    const cases = [
      ["clf", `192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "GET /a%20b?x=1&y=%22" 200 1.235s`],
      ["common", `192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "GET /a%20b?x=1&y=%22 HTTP/1.1" 200 1234`],
      [
        "combined",
        `192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "GET /a%20b?x=1&y=%22 HTTP/1.1" 200 1234 `
        + `"https://example.org/" "curl/8.5.0"`
      ],
      ["tiny", "GET /a%20b?x=1&y=%22 200 1234567us"]
    ] as const
    for (const [preset, line] of cases) {
      it(`prints ${preset} [C156]`, () => assert.strictEqual(print(preset), line))
    }

    it("prints a refused request with a dash for what it has not", () => {
      assert.strictEqual(print("clf", refused), `192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "- -" 400 0.000s`)
      assert.strictEqual(print("combined", refused), `192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "-" 400 - "-" "-"`)
      assert.strictEqual(print("tiny", refused), "- - 400 0us")
    })
  })

  describe("atoms", () => {
    const cases: ReadonlyArray<readonly [atom: string, text: string, refused: string]> = [
      ["%h", "192.0.2.7", "192.0.2.7"],
      ["%l", "-", "-"],
      ["%u", "-", "-"],
      ["%t", "10/Oct/2000:13:55:36 +0000", "10/Oct/2000:13:55:36 +0000"],
      ["%r", "GET /a%20b?x=1&y=%22 HTTP/1.1", "-"],
      ["%m", "GET", "-"],
      ["%U", "/a%20b", "-"],
      ["%q", "?x=1&y=%22", ""],
      ["%H", "HTTP/1.1", "-"],
      ["%s", "200", "400"],
      ["%b", "1234", "-"],
      ["%B", "1234", "0"],
      ["%d", "1.235", "0.000"],
      ["%D", "1234567", "0"],
      ["%T", "1", "0"],
      ["%I", "r1", "r1"],
      ["%X", "-", "bad_request_line"],
      ["%{Referer}i", "https://example.org/", "-"],
      ["%%", "%", "%"]
    ]
    for (const [atom, text, none] of cases) {
      it(`prints ${atom} [C156]`, () => {
        assert.strictEqual(print(`<${atom}>`), `<${text}>`)
        assert.strictEqual(print(`<${atom}>`, refused), `<${none}>`)
      })
    }

    it("has a case here for every atom", () => {
      assert.deepStrictEqual(
        Object.keys(atoms),
        cases.map(([atom]) => atom === "%{Referer}i" ? "%{Header}i" : atom)
      )
    })

    it("prints literal text around atoms as it stands", () => {
      assert.strictEqual(print("é\t100%% %s%s\\x %B."), "é\t100% 200200\\x 1234.")
    })

    it("finds a header by its name in any case, joins several, and prints a dash for a missing or empty one", () => {
      const of = entry({ scope: scope({ headers: [["x-a", "1"], ["x-b", ""], ["x-a", "2"]] }) })
      assert.strictEqual(print("\"%{X-A}i\" %{x-b}i %{constructor}i", of), "\"1, 2\" - -")
    })

    it("never prints credentials", () => {
      const headers = [["authorization", "Basic c2VjcmV0"], ["cookie", "id=secret"], ["x-api-key", "secret"]] as const
      const of = entry({ scope: scope({ headers }) })
      const format = "%{Authorization}i %{Cookie}i %{X-Api-Key}i %{Proxy-Authorization}i"
      assert.strictEqual(print(format, of), "<redacted> <redacted> <redacted> -")
    })

    it("prints a websocket session as the GET of its handshake", () => {
      assert.strictEqual(print("%r", entry({ scope: websocket })), "GET /chat HTTP/2")
    })

    it("prints a dash for the status of a client that left before an answer", () => {
      const of = entry({ status: 0, bodyBytes: 0, problem: "client_closed" })
      assert.strictEqual(print("%s %b %X", of), "- - client_closed")
    })

    it("prints a duration that a clock turned negative as zero", () => {
      for (const durationMillis of [-1, -0.4, NaN]) {
        assert.strictEqual(print("%d %D %T", entry({ durationMillis })), "0.000 0 0")
      }
    })

    it("rounds seconds to milliseconds and cuts the smaller and larger units", () => {
      assert.strictEqual(print("%d %D %T", entry({ durationMillis: 999.9996 })), "1.000 999999 0")
      assert.strictEqual(print("%d %D %T", entry({ durationMillis: 61_007 })), "61.007 61007000 61")
    })

    it("prints each second's own time, in any order", () => {
      const line = Result.getOrThrow(compile("%t"))
      const at = (...time: [number, number, number, number, number, number, number]) =>
        printed(line, entry({ startedAtMillis: Date.UTC(...time) }))
      assert.strictEqual(at(2024, 1, 29, 23, 59, 59, 999), "29/Feb/2024:23:59:59 +0000")
      assert.strictEqual(at(2024, 2, 1, 0, 0, 0, 0), "01/Mar/2024:00:00:00 +0000")
      assert.strictEqual(at(2024, 1, 29, 23, 59, 59, 0), "29/Feb/2024:23:59:59 +0000")
      assert.strictEqual(at(1970, 0, 1, 0, 0, 0, 1), "01/Jan/1970:00:00:00 +0000")
    })
  })

  describe("escapes", () => {
    it("escapes every byte that is not printable ASCII, quotes and backslashes", () => {
      for (let code = 0; code <= 0xff; code++) {
        const character = String.fromCharCode(code)
        const hex = `\\x${code.toString(16).padStart(2, "0")}`
        const printable = code >= 0x20 && code <= 0x7e
        const expected = character === "\"" || character === "\\" ? `\\${character}` : printable ? character : hex
        const headers = [["user-agent", `a${character}b`]] as const
        const of = entry({ scope: scope({ rawPath: character, queryString: "", headers }) })
        assert.strictEqual(print("\"%{User-Agent}i\"", of), `"a${expected}b"`)
        assert.strictEqual(print("%{User-Agent}i", of), `a${character === " " ? hex : expected}b`)
        assert.strictEqual(print("%U", of), character === " " ? hex : expected)
      }
    })

    it("escapes whatever comes from outside, in every atom", () => {
      const evil = "a\n\" 200 \u2028"
      const of = entry({
        client: evil,
        requestId: evil,
        problem: evil,
        scope: scope({ method: evil, rawPath: evil, queryString: evil, headers: [["evil", evil]] })
      })
      const escaped = "a\\x0a\\\"\\x20200\\x20\\u2028"
      for (const atom of ["%h", "%I", "%X", "%m", "%U", "%{evil}i"]) assert.strictEqual(print(atom, of), escaped)
      assert.strictEqual(print("%q", of), `?${escaped}`)
      assert.strictEqual(print("\"%r\"", of), `"${escaped} ${escaped}?${escaped} HTTP/1.1"`)
    })
  })

  describe("json", () => {
    it("prints every field that is known, in order [C157]", () => {
      const of = entry({ traceId: "0af7651916cd43dd8448eb211c80319c", problem: "client_closed" })
      assert.strictEqual(
        print("json", of),
        `{"time":"2000-10-10T13:55:36.078Z","client":"192.0.2.7","method":"GET","path":"/a%20b","query":"x=1&y=%22",`
          + `"protocol":"HTTP/1.1","status":200,"bytes":1234,"duration_ms":1234.568,"request_id":"r1",`
          + `"trace_id":"0af7651916cd43dd8448eb211c80319c","user_agent":"curl/8.5.0","referer":"https://example.org/",`
          + `"problem":"client_closed"}`
      )
    })

    it("leaves out what is not known [C157]", () => {
      assert.strictEqual(
        print("json", { ...refused, status: 0 }),
        `{"time":"2000-10-10T13:55:36.078Z","client":"192.0.2.7","bytes":0,"duration_ms":0,"request_id":"r1",`
          + `"problem":"bad_request_line"}`
      )
      assert.strictEqual(
        print("json", entry({ scope: websocket, status: 101 })),
        `{"time":"2000-10-10T13:55:36.078Z","client":"192.0.2.7","method":"GET","path":"/chat","protocol":"HTTP/2",`
          + `"status":101,"bytes":1234,"duration_ms":1234.568,"request_id":"r1"}`
      )
    })

    it("reads back as what came, in printable ASCII only [C157]", () => {
      let all = "\u2028\u{1f600}\ud800"
      for (let code = 0; code <= 0xff; code++) all += String.fromCharCode(code)
      const of = entry({ scope: scope({ rawPath: all, headers: [["user-agent", all]] }), problem: all })
      const line = print("json", of)
      assert.match(line, /^[\x20-\x7e]+$/)
      const read = JSON.parse(line)
      assert.deepStrictEqual([read.path, read.user_agent, read.problem], [all, all, all])
    })
  })

  describe("the setting", () => {
    const decode = Schema.decodeUnknownResult(AccessLogFormat)

    it("takes every preset and a format string", () => {
      for (const format of [...presetNames, ...Object.values(presets), "%s"]) {
        assert.deepStrictEqual(decode(format), Result.succeed(format))
      }
    })

    it("names the unknown atom and lists the known ones [C156]", () => {
      for (const atom of ["%Z", "%", "%{Referer}", "%{Referer}o", "%{}i", "%i", "%{a}%", "%🙂"]) {
        const message = failure(`%h ${atom}`)
        assert.include(message, `'${atom}'`)
        for (const known of Object.keys(atoms)) assert.include(message, known)
        const decoded = decode(`%h ${atom}`)
        assert.isTrue(Result.isFailure(decoded) && decoded.failure.message.includes(message))
      }
    })

    it("refuses a text that is neither a preset nor has an atom, and lists the presets", () => {
      for (const format of ["combinde", "", "JSON", "constructor"]) {
        const message = failure(format)
        for (const preset of presetNames) assert.include(message, preset)
      }
    })

    it("refuses a format that would break an entry into lines", () => {
      for (const format of ["%h\n%s", "%h\r", "\u0000%h", "%h\u2028"]) {
        assert.include(failure(format), "control character")
      }
    })
  })
})
