/** Which scope a request gets, in every split of its bytes. */
import { assert, describe, it } from "@effect/vitest"
import type { Kind } from "../../src/protocol/RequestHead.ts"
import { read, readOne } from "../utils/splits.ts"

const get = (...lines: ReadonlyArray<string>): string =>
  `GET / HTTP/1.1\r\nHost: a\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`

describe("RequestHead", () => {
  describe("kind", () => {
    const ws = ["Upgrade: websocket", "Connection: Upgrade"]
    const cases: ReadonlyArray<readonly [kind: Kind, lines: ReadonlyArray<string>, version?: string]> = [
      ["http", []],
      ["http", ["Accept: */*"]],
      ["http", ["Accept: text/html,application/xml;q=0.9,application/signed-exchange;v=b3;q=0.7"]],
      ["http", ["Accept: text/event-stream;q=0"]],
      ["http", ["Accept: text/*", "Accept: */*"]],
      ["http", ["X-Accept: text/event-stream"]],
      ["sse", ["Accept: text/event-stream"]],
      ["sse", ["ACCEPT: Text/Event-Stream;charset=utf-8"]],
      ["sse", ["Accept: text/html", "Accept: text/event-stream"]],
      ["sse", ["Accept: text/event-stream", "Accept: text/html"]],
      ["sse", ["Accept: text/event-stream"], "1.0"],
      ["websocket", ws],
      ["websocket", ["upgrade: WebSocket", "connection: keep-alive, \tUPGRADE"]],
      ["websocket", ["Upgrade: h2c", "Upgrade: websocket", "Connection: keep-alive", "Connection: upgrade"]],
      ["websocket", ["Upgrade: foo/2, websocket", "Connection: upgrade, close"]],
      ["websocket", ["Accept: text/event-stream", ...ws]],
      ["websocket", [...ws, "Accept: text/event-stream"]],
      ["http", ["Upgrade: websocket"]],
      ["http", ["Connection: Upgrade"]],
      ["http", ["Upgrade: websocket", "Connection: keep-alive"]],
      ["http", ["Upgrade: websocket", "Connection: upgraded"]],
      ["http", ["Upgrade: websocket/13", "Connection: Upgrade"]],
      ["http", ["Upgrade: websockets", "Connection: Upgrade"]],
      ["http", ["Upgrade: \xa0websocket", "Connection: Upgrade"]],
      ["http", ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"]],
      ["http", ["Upgrade:", "Connection: Upgrade"]],
      ["http", ws, "1.0"],
      ["sse", ["Upgrade: websocket", "Accept: text/event-stream"]],
      ["sse", [...ws, "Accept: text/event-stream"], "1.0"]
    ]
    for (const [kind, lines, version = "1.1"] of cases) {
      it(`is ${kind} for ${lines.length === 0 ? "nothing" : JSON.stringify(lines.join(" | "))} in HTTP/${version}`, () => {
        const { head } = readOne(get(...lines).replace("HTTP/1.1", `HTTP/${version}`))
        assert.strictEqual(head.kind, kind)
        const headers = lines.map((line) => {
          const colon = line.indexOf(":")
          return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).replace(/^[ \t]+/, "")] as const
        })
        assert.deepStrictEqual(head.headers, [["host", "a"], ...headers])
      })
    }

    it("does not depend on the method", () => {
      for (const method of ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]) {
        const kindOf = (...lines: ReadonlyArray<string>) => readOne(get(...lines).replace("GET", method)).head.kind
        assert.strictEqual(kindOf("Accept: text/event-stream"), "sse")
        assert.strictEqual(kindOf(...ws), "websocket")
      }
    })

    it("is of one request, not of the next", () => {
      const events = get("Accept: text/event-stream")
      const { messages } = read([get(...ws), get(), events, get(), get("Connection: Upgrade"), events].join(""))
      assert.deepStrictEqual(messages.map(({ head }) => head.kind), ["websocket", "http", "sse", "http", "http", "sse"])
    })

    it("is not changed by trailers", () => {
      const trailers = `0\r\n${ws.join("\r\n")}\r\nAccept: text/event-stream\r\n\r\n`
      const { messages } = read(`${get("Transfer-Encoding: chunked")}${trailers}${get()}`)
      assert.deepStrictEqual(messages.map(({ head }) => head.kind), ["http", "http"])
    })
  })
})
