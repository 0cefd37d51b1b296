import { assert, describe, it } from "@effect/vitest"
import * as Sse from "effect/encoding/Sse"
import {
  commentProblem,
  encodeComment,
  encodeEvent,
  type EventFields,
  eventProblem
} from "../../src/protocol/EventStream.ts"

/** What a client makes of `text`, given whole. */
const parse = (text: string): Array<Sse.AnyEvent> => {
  const events: Array<Sse.AnyEvent> = []
  const parser = Sse.makeParser((event) => void events.push(event))
  assert.isUndefined(parser.feed(text))
  // What is left unfinished would be dispatched by the first line of another event.
  assert.isUndefined(parser.feed("retry: 1\n\n"))
  assert.strictEqual(events.pop()?._tag, "Retry")
  return events
}

const parsed = (data: string, event = "message", id?: string) => ({ _tag: "Event" as const, id, event, data })

/** All texts of up to `length` characters of `alphabet`. */
const texts = (alphabet: string, length: number): Array<string> =>
  length === 0
    ? [""]
    : ["", ...texts(alphabet, length - 1).flatMap((text) => Array.from(alphabet, (first) => first + text))]

describe("EventStream", () => {
  describe("encodeEvent", () => {
    const cases: ReadonlyArray<readonly [fields: EventFields, text: string]> = [
      [{ data: "x" }, "data: x\n\n"],
      [{ data: "" }, "data: \n\n"],
      [{ data: " x " }, "data:  x \n\n"],
      [{ data: ": x" }, "data: : x\n\n"],
      [{ data: "x\0" }, "data: x\0\n\n"],
      [{ data: "x", event: "e" }, "event: e\ndata: x\n\n"],
      [{ data: "x", event: "" }, "event: \ndata: x\n\n"],
      [{ data: "x", id: "1" }, "id: 1\ndata: x\n\n"],
      [{ data: "x", id: "" }, "id: \ndata: x\n\n"],
      [{ data: "x", retry: 0 }, "retry: 0\ndata: x\n\n"],
      [{ data: "x", retry: -0 }, "retry: 0\ndata: x\n\n"],
      [{ data: "x", retry: Number.MAX_SAFE_INTEGER }, "retry: 9007199254740991\ndata: x\n\n"],
      [{ retry: 5, id: "1", event: "e", data: "x\ny" }, "event: e\nid: 1\nretry: 5\ndata: x\ndata: y\n\n"],
      [{ data: "x", event: undefined, id: undefined, retry: undefined }, "data: x\n\n"],
      [{ data: "\u{1f600} \u00fc \ud800" }, "data: \u{1f600} \u00fc \ud800\n\n"],
      [{ data: "a\u2028b\u0085c\x0bd\x0ce" }, "data: a\u2028b\u0085c\x0bd\x0ce\n\n"]
    ]
    for (const [fields, text] of cases) {
      it(`writes ${JSON.stringify(fields)}`, () => {
        assert.isUndefined(eventProblem(fields))
        assert.strictEqual(encodeEvent(fields), text)
      })
    }

    const lines: ReadonlyArray<readonly [data: string, text: string]> = [
      ["x\ny", "data: x\ndata: y\n\n"],
      ["x\ry", "data: x\ndata: y\n\n"],
      ["x\r\ny", "data: x\ndata: y\n\n"],
      ["x\n\ny", "data: x\ndata: \ndata: y\n\n"],
      ["x\n\ry", "data: x\ndata: \ndata: y\n\n"],
      ["x\r\r\ny", "data: x\ndata: \ndata: y\n\n"],
      ["\n", "data: \ndata: \n\n"],
      ["x\r", "data: x\ndata: \n\n"],
      ["\r\nx", "data: \ndata: x\n\n"],
      ["x\nid: 1\n\ndata: z", "data: x\ndata: id: 1\ndata: \ndata: data: z\n\n"]
    ]
    for (const [data, text] of lines) {
      it(`begins a further line at each line end of ${JSON.stringify(data)} [C86]`, () => {
        assert.strictEqual(encodeEvent({ data }), text)
      })
    }

    it("is read back as it was, line ends as LF, whatever the data", () => {
      for (const data of texts("a: \r\n", 5)) {
        assert.deepStrictEqual(parse(encodeEvent({ data })), [parsed(data.replace(/\r\n|\r/g, "\n"))])
      }
    })

    it("is read back with its name and id", () => {
      const text = encodeEvent({ data: "x", event: " e: \0", id: " 1:" }) + encodeEvent({ data: "y", id: "" })
      assert.deepStrictEqual(parse(text), [parsed("x", " e: \0", " 1:"), parsed("y", "message", "")])
    })

    it("is read back with its delay", () => {
      const [retry, event, ...rest] = parse(encodeEvent({ data: "x", id: "1", retry: 1500 }))
      assert.deepStrictEqual(retry, parse("id: 1\nretry: 1500\n\n")[0])
      assert.deepStrictEqual([event, ...rest], [parsed("x", "message", "1")])
    })
  })

  describe("eventProblem", () => {
    const notString = "it is not a string"
    const lineEnd = "it has a line end"
    const delay = "it is not a whole number of milliseconds from 0"
    const cases: ReadonlyArray<readonly [fields: Record<string, unknown>, field: string, problem: string]> = [
      [{}, "data", notString],
      [{ data: undefined }, "data", notString],
      [{ data: null }, "data", notString],
      [{ data: 5 }, "data", notString],
      [{ data: new Uint8Array(1) }, "data", notString],
      [{ data: ["x"] }, "data", notString],
      [{ data: "x", event: 5 }, "event", notString],
      [{ data: "x", event: null }, "event", notString],
      [{ data: "x", event: "a\nb" }, "event", lineEnd],
      [{ data: "x", event: "a\r" }, "event", lineEnd],
      [{ data: "x", event: "\r\n" }, "event", lineEnd],
      [{ data: "x", id: 5 }, "id", notString],
      [{ data: "x", id: null }, "id", notString],
      [{ data: "x", id: "1\n" }, "id", lineEnd],
      [{ data: "x", id: "\r1" }, "id", lineEnd],
      [{ data: "x", id: "1\0" }, "id", "it has a NUL"],
      [{ data: "x", retry: -1 }, "retry", delay],
      [{ data: "x", retry: 1.5 }, "retry", delay],
      [{ data: "x", retry: NaN }, "retry", delay],
      [{ data: "x", retry: Infinity }, "retry", delay],
      [{ data: "x", retry: 2 ** 53 }, "retry", delay],
      [{ data: "x", retry: "5" }, "retry", delay],
      [{ data: "x", retry: 5n }, "retry", delay],
      [{ data: "x", retry: null }, "retry", delay]
    ]
    for (const [index, [fields, field, problem]] of cases.entries()) {
      it(`says that ${field} cannot be sent: ${problem} (${index + 1})`, () => {
        assert.deepStrictEqual(eventProblem(fields), { field, problem })
      })
    }
  })

  describe("encodeComment", () => {
    const cases: ReadonlyArray<readonly [comment: string, text: string]> = [
      ["x", ":x\n\n"],
      [":x", ":x\n\n"],
      [": x", ": x\n\n"],
      [" :x", ": :x\n\n"],
      ["", ":\n\n"],
      [":", ":\n\n"],
      ["x\ny", ":x\n:y\n\n"],
      ["x\r\n:y\rz", ":x\n:y\n:z\n\n"],
      ["x\n", ":x\n:\n\n"],
      ["x\n\ndata: y", ":x\n:\n:data: y\n\n"]
    ]
    for (const [comment, text] of cases) {
      it(`writes ${JSON.stringify(comment)}`, () => {
        assert.isUndefined(commentProblem(comment))
        assert.strictEqual(encodeComment(comment), text)
      })
    }

    it("is no event to a client, whatever its text", () => {
      for (const comment of texts("d: \r\n", 5)) assert.deepStrictEqual(parse(encodeComment(comment)), [])
      const injected = "\ndata: x\n\nid: 1\r\rretry: 5\n\n"
      assert.deepStrictEqual(parse(encodeComment(injected) + encodeEvent({ data: "y" })), [parsed("y")])
    })

    it("must be a string", () => {
      for (const comment of [undefined, null, 5, new Uint8Array(1)]) {
        assert.deepStrictEqual(commentProblem(comment), { field: "comment", problem: "it is not a string" })
      }
    })
  })
})
