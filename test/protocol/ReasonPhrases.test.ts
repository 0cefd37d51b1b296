import { assert, describe, it } from "@effect/vitest"
import { reasonPhrase, reasonPhrases, statusLine } from "../../src/protocol/ReasonPhrases.ts"

/** The IANA registry; 306 and 418 are listed there as unused, and everyone knows what 418 is. */
const registry = `
100 Continue|101 Switching Protocols|102 Processing|103 Early Hints|104 Upload Resumption Supported|200 OK|201 Created
202 Accepted|203 Non-Authoritative Information|204 No Content|205 Reset Content|206 Partial Content|207 Multi-Status
208 Already Reported|226 IM Used|300 Multiple Choices|301 Moved Permanently|302 Found|303 See Other|304 Not Modified
305 Use Proxy|307 Temporary Redirect|308 Permanent Redirect|400 Bad Request|401 Unauthorized|402 Payment Required
403 Forbidden|404 Not Found|405 Method Not Allowed|406 Not Acceptable|407 Proxy Authentication Required
408 Request Timeout|409 Conflict|410 Gone|411 Length Required|412 Precondition Failed|413 Content Too Large
414 URI Too Long|415 Unsupported Media Type|416 Range Not Satisfiable|417 Expectation Failed|418 I'm a teapot
421 Misdirected Request|422 Unprocessable Content|423 Locked|424 Failed Dependency|425 Too Early|426 Upgrade Required
428 Precondition Required|429 Too Many Requests|431 Request Header Fields Too Large|451 Unavailable For Legal Reasons
500 Internal Server Error|501 Not Implemented|502 Bad Gateway|503 Service Unavailable|504 Gateway Timeout
505 HTTP Version Not Supported|506 Variant Also Negotiates|507 Insufficient Storage|508 Loop Detected|510 Not Extended
511 Network Authentication Required`.trim().split(/[|\n]/).map((entry) =>
  [Number(entry.slice(0, 3)), entry.slice(4)] as const
)

describe("ReasonPhrases", () => {
  it("has the phrase of every registered status [C58]", () => {
    assert.deepStrictEqual(
      Object.entries(reasonPhrases).map(([status, phrase]) => [Number(status), phrase]),
      registry.map(([...entry]) => entry)
    )
    for (const [status, phrase] of registry) {
      assert.strictEqual(reasonPhrase(status), phrase)
      assert.strictEqual(statusLine(status), `HTTP/1.1 ${status} ${phrase}\r\n`)
    }
  })

  it("gives a status without a registration the phrase of its class", () => {
    const phrases = [
      [199, "Informational"],
      [299, "Success"],
      [306, "Redirection"],
      [499, "Client Error"],
      [599, "Server Error"],
      [600, "Unknown"],
      [999, "Unknown"]
    ] as const
    for (const [status, phrase] of phrases) assert.strictEqual(statusLine(status), `HTTP/1.1 ${status} ${phrase}\r\n`)
  })

  it("has a line for every status from 100 to 999 that a client can read", () => {
    for (let status = 100; status < 1000; status++) {
      assert.match(statusLine(status), /^HTTP\/1\.1 \d{3} [!-~][ -~]*\r\n$/)
    }
  })
})
