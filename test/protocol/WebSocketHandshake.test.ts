import { assert, describe, it } from "@effect/vitest"
import { malformed, type Reason } from "../../src/protocol/Malformed.ts"
import { type Handshake, readConnect, readHandshake } from "../../src/protocol/WebSocketHandshake.ts"
import { read, readOne } from "../utils/splits.ts"

const key = "dGhlIHNhbXBsZSBub25jZQ=="

/** A handshake over HTTP/1.1; a line in `lines` replaces the usual one of its name, and `Name` alone removes it. */
const handshake = (lines: ReadonlyArray<string> = [], method = "GET"): string => {
  const usual = [
    "Host: a",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`
  ]
  const nameOf = (line: string): string => line.split(":", 1)[0]!.toLowerCase()
  const names = new Set(lines.map(nameOf))
  const fields = [...usual.filter((line) => !names.has(nameOf(line))), ...lines.filter((line) => line.includes(":"))]
  return `${method} /chat HTTP/1.1\r\n${fields.map((line) => `${line}\r\n`).join("")}\r\n`
}

const ask = (lines?: ReadonlyArray<string>, method?: string) =>
  readHandshake(read(handshake(lines, method)).messages[0]!.head)

const accepted = (lines?: ReadonlyArray<string>): Handshake => {
  const found = ask(lines)
  assert.strictEqual(found._tag, "Handshake", JSON.stringify(found))
  return found as Handshake
}

const versionMissing: ReadonlyArray<ReadonlyArray<string>> = [
  ["Sec-WebSocket-Version"],
  ["Sec-WebSocket-Version:"],
  ["Sec-WebSocket-Version: 8"],
  ["Sec-WebSocket-Version: 14"],
  ["Sec-WebSocket-Version: 013"],
  ["Sec-WebSocket-Version: 13.0"],
  ["Sec-WebSocket-Version: 13, 8"],
  ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"],
  ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"]
]

const subprotocolsOf: ReadonlyArray<readonly [lines: ReadonlyArray<string>, expected: ReadonlyArray<string>]> = [
  [[], []],
  [["chat"], ["chat"]],
  [["chat, superchat"], ["chat", "superchat"]],
  [["chat,superchat \t,\tx"], ["chat", "superchat", "x"]],
  [["b", "a, c"], ["b", "a", "c"]],
  [["Chat, chat"], ["Chat", "chat"]],
  [["!#$%&'*+-.^_`|~09"], ["!#$%&'*+-.^_`|~09"]]
]

const subprotocolsInvalid: ReadonlyArray<ReadonlyArray<string>> = [
  [""],
  [","],
  ["chat,"],
  [",chat"],
  ["a,,b"],
  ["a b"],
  ["a/b"],
  ["\"chat\""],
  ["chat;q=1"],
  ["ch\x80t"],
  ["chat, chat"],
  ["chat", "chat"],
  ["a, b", "c, a"],
  ["chat", ""]
]

const extensionsOf: ReadonlyArray<readonly [lines: ReadonlyArray<string>, expected: string]> = [
  [[], ""],
  [["permessage-deflate; client_max_window_bits"], "permessage-deflate; client_max_window_bits"],
  [["a;x=\"1, 2\"", "b"], "a;x=\"1, 2\", b"]
]

const field = (name: string, values: ReadonlyArray<string>): Array<string> => values.map((value) => `${name}: ${value}`)

describe("WebSocketHandshake", () => {
  describe("readHandshake", () => {
    const refuses = (reason: Reason, lines: ReadonlyArray<string>, method?: string): void => {
      it(`refuses ${method ?? "GET"} with ${JSON.stringify(lines)} as ${reason}`, () =>
        assert.strictEqual(ask(lines, method), malformed[reason]))
    }

    it("reads the handshake of RFC 6455 section 1.3", () => {
      const { head } = readOne([
        "GET /chat HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        `Sec-WebSocket-Key: ${key}`,
        "Origin: http://example.com",
        "Sec-WebSocket-Protocol: chat, superchat",
        "Sec-WebSocket-Version: 13",
        "",
        ""
      ].join("\r\n"))
      assert.deepStrictEqual(readHandshake(head), {
        _tag: "Handshake",
        key,
        subprotocols: ["chat", "superchat"],
        extensions: ""
      })
    })

    for (const method of ["POST", "HEAD", "get", "OPTIONS"]) refuses("WebSocketMethodInvalid", [], method)
    for (const lines of versionMissing) refuses("WebSocketVersionUnsupported", lines)
    it("answers another version with 426", () => {
      assert.strictEqual(malformed.WebSocketVersionUnsupported.status, 426)
    })

    it("takes every key of 16 bytes in base64, whatever its last bits", () => {
      for (const good of [key, "AAAAAAAAAAAAAAAAAAAAAA==", "++++////////0123456789==", "AAAAAAAAAAAAAAAAAAAAAB=="]) {
        assert.strictEqual(accepted([`Sec-WebSocket-Key: \t${good} `]).key, good)
      }
    })
    for (
      const bad of [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQx=",
        "dGhlIHNhbXBsZSBub25jZQxx",
        "dGhlIHNhbXBsZSBub25jZ===",
        "GhlIHNhbXBsZSBub25jZQ==",
        "xdGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25j-_==",
        "dGhlIHNhbXBsZSBub25j Q==",
        `"${key}"`,
        `${key}, ${key}`
      ]
    ) refuses("WebSocketKeyInvalid", [`Sec-WebSocket-Key: ${bad}`])
    refuses("WebSocketKeyInvalid", ["Sec-WebSocket-Key"])
    refuses("WebSocketKeyInvalid", field("Sec-WebSocket-Key", [key, key]))

    refuses("WebSocketBodyPresent", ["Content-Length: 1"])
    refuses("WebSocketBodyPresent", ["Transfer-Encoding: chunked"])
    it("takes a Content-Length of 0", () => {
      assert.strictEqual(accepted(["Content-Length: 0"]).key, key)
    })

    it("names the first fault: method, version, key, body, subprotocols", () => {
      const faults: ReadonlyArray<readonly [reason: Reason, line: string]> = [
        ["WebSocketVersionUnsupported", "Sec-WebSocket-Version: 8"],
        ["WebSocketKeyInvalid", "Sec-WebSocket-Key: x"],
        ["WebSocketBodyPresent", "Content-Length: 5"],
        ["WebSocketSubprotocolInvalid", "Sec-WebSocket-Protocol: a, a"]
      ]
      const lines = faults.map(([, line]) => line)
      assert.strictEqual(ask(lines, "POST"), malformed.WebSocketMethodInvalid)
      for (const [index, [reason]] of faults.entries()) {
        assert.strictEqual(ask(lines.slice(index)), malformed[reason])
      }
    })

    for (const [values, expected] of subprotocolsOf) {
      it(`reads the subprotocols of ${JSON.stringify(values)}`, () => {
        assert.deepStrictEqual(accepted(field("Sec-WebSocket-Protocol", values)).subprotocols, expected)
      })
    }
    for (const values of subprotocolsInvalid) {
      refuses("WebSocketSubprotocolInvalid", field("Sec-WebSocket-Protocol", values))
    }
    for (const [values, expected] of extensionsOf) {
      it(`joins the extensions of ${JSON.stringify(values)}`, () => {
        assert.strictEqual(accepted(field("Sec-WebSocket-Extensions", values)).extensions, expected)
      })
    }
  })

  describe("readConnect", () => {
    const connect = (...headers: ReadonlyArray<readonly [string, string]>) =>
      readConnect([["host", "a"], ["sec-websocket-version", "13"], ...headers])
    const named = (name: string, values: ReadonlyArray<string>) => values.map((value) => [name, value] as const)

    it("needs no key, and ignores one", () => {
      const offer = { _tag: "Handshake", key: "", subprotocols: [], extensions: "" } as const
      assert.deepStrictEqual(connect(), offer)
      assert.deepStrictEqual(connect(["sec-websocket-key", key]), offer)
      assert.deepStrictEqual(connect(["sec-websocket-key", "x"], ["sec-websocket-key", "y"]), offer)
    })

    it("has no rule for a body: the stream itself is the WebSocket", () => {
      assert.strictEqual(connect(["content-length", "5"])._tag, "Handshake")
    })

    for (const lines of versionMissing) {
      it(`refuses ${JSON.stringify(lines)}`, () => {
        const values = lines.filter((line) => line.includes(":")).map((line) => line.split(":")[1]!.trim())
        assert.strictEqual(
          readConnect([["host", "a"], ...named("sec-websocket-version", values)]),
          malformed.WebSocketVersionUnsupported
        )
      })
    }
    for (const [values, expected] of subprotocolsOf) {
      it(`reads the subprotocols of ${JSON.stringify(values)}`, () => {
        const found = connect(...named("sec-websocket-protocol", values))
        assert.deepStrictEqual(found, { _tag: "Handshake", key: "", subprotocols: expected, extensions: "" })
      })
    }
    for (const values of subprotocolsInvalid) {
      it(`refuses the subprotocols of ${JSON.stringify(values)}`, () => {
        assert.strictEqual(
          connect(...named("sec-websocket-protocol", values)),
          malformed.WebSocketSubprotocolInvalid
        )
      })
    }
    for (const [values, expected] of extensionsOf) {
      it(`joins the extensions of ${JSON.stringify(values)}`, () => {
        const found = connect(...named("sec-websocket-extensions", values))
        assert.deepStrictEqual(found, { _tag: "Handshake", key: "", subprotocols: [], extensions: expected })
      })
    }
  })
})
