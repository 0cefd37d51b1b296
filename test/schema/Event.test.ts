/** The event Schemas: the least and the most of each event, and what each refuses. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Event from "../../src/schema/Event.ts"

const unions = {
  HttpReceive: Schema.is(Event.HttpReceive),
  HttpSend: Schema.is(Event.HttpSend),
  WebSocketReceive: Schema.is(Event.WebSocketReceive),
  WebSocketSend: Schema.is(Event.WebSocketSend),
  SseReceive: Schema.is(Event.SseReceive),
  SseSend: Schema.is(Event.SseSend),
  LifespanReceive: Schema.is(Event.LifespanReceive),
  LifespanSend: Schema.is(Event.LifespanSend)
}

type Fields = { readonly [field: string]: unknown }

const bytes = new Uint8Array([1, 2])
const stream = Stream.make(bytes)
const badHeaders: ReadonlyArray<Fields> = [
  { headers: {} },
  { headers: [["", "v"]] },
  { headers: [["a b", "v"]] },
  { headers: [["a", "v\r\nset-cookie: x"]] },
  { headers: [["a", "v\0"]] },
  { headers: [["a", "v\x7f"]] },
  { headers: [["a", "\u20ac"]] },
  { headers: [["a\n", "v"]] },
  { headers: [["a", 1]] },
  { headers: [["a"]] }
]
const goodHeaders: ReadonlyArray<Fields> = [{ headers: [] }, { headers: [["a", "\t ~\u0080\u00ff"], ["a", ""]] }]
const badStatus: ReadonlyArray<Fields> = [{ status: 199 }, { status: 1000 }, { status: 200.5 }, { status: "200" }]

interface Case {
  /** The least that the event needs. */
  readonly least: Fields
  /** Put over the least, each is accepted. */
  readonly good?: ReadonlyArray<Fields>
  /** Put over the least, each is refused. */
  readonly bad?: ReadonlyArray<Fields>
}

const cases: { readonly [U in keyof typeof unions]: { readonly [type: string]: Case } } = {
  HttpReceive: {
    "http.request": {
      least: { body: bytes, more: false },
      good: [{ body: Buffer.from("x"), more: true }],
      bad: [{ body: "x" }, { more: 0 }, { more: undefined }]
    },
    "http.disconnect": { least: {} }
  },
  HttpSend: {
    "http.response.start": {
      least: { status: 200 },
      good: [{ status: 999 }, { trailers: true }, ...goodHeaders],
      bad: [{ trailers: 1 }, ...badStatus, ...badHeaders]
    },
    "http.response.body": {
      least: {},
      good: [
        { body: bytes },
        { body: "text", more: true },
        { file: "/srv/a.txt" },
        { file: "C:\\a.txt", offset: 0, length: 0 },
        { stream, offset: 3, length: 5 }
      ],
      bad: [
        { body: [1, 2] },
        { file: "a.txt" },
        { file: "/srv/a\0.txt" },
        { file: "/srv/a.txt", offset: -1 },
        { file: "/srv/a.txt", length: 1.5 },
        { stream: { pipe: () => undefined } },
        { more: 1 }
      ]
    },
    "http.response.trailers": { least: {}, good: goodHeaders, bad: badHeaders },
    "http.fullflush": { least: {} },
    "http.response.early_hint": {
      least: { links: [] },
      good: [{ links: ["</a.css>; rel=preload", "</b.js>; rel=preload"] }],
      bad: [{ links: "</a.css>" }, { links: ["a\r\nb"] }, { links: [1] }]
    }
  },
  WebSocketReceive: {
    "websocket.connect": { least: {} },
    "websocket.receive": {
      least: { text: "" },
      bad: [{ text: 1 }, { bytes }]
    },
    "websocket.disconnect": {
      least: { code: 1006, reason: "client_closed" },
      bad: [{ code: "1006" }, { reason: null }]
    }
  },
  WebSocketSend: {
    "websocket.accept": {
      least: {},
      good: [{ subprotocol: "chat.v1" }, ...goodHeaders],
      bad: [{ subprotocol: "a, b" }, { subprotocol: "" }, ...badHeaders]
    },
    "websocket.send": { least: { bytes }, bad: [{ text: "both" }, { bytes: "text" }] },
    "websocket.close": {
      least: {},
      good: [{ code: 1000 }, { code: 1014 }, { code: 3000 }, { code: 4999, reason: "\u00e9".repeat(61) }],
      bad: [{ code: 1005 }, { code: 1006 }, { code: 1015 }, { code: 999 }, { reason: "\u00e9".repeat(62) }]
    },
    "websocket.keepalive": {
      least: { interval: 0 },
      good: [{ interval: 0.5, timeout: 20 }],
      bad: [{ interval: -1 }, { interval: Infinity }, { interval: NaN }, { timeout: -1 }]
    },
    "websocket.http.response.start": { least: { status: 401 }, good: goodHeaders, bad: [...badStatus, ...badHeaders] },
    "websocket.http.response.body": {
      least: {},
      good: [{ body: "no", more: true }, { body: bytes }],
      bad: [{ body: null }, { more: "yes" }]
    }
  },
  SseReceive: {
    "sse.request": { least: { body: bytes, more: true }, bad: [{ body: "x" }, { more: 1 }] },
    "sse.disconnect": {
      least: { reason: "client_closed" },
      good: [{ reason: "x-maintenance" }],
      bad: [{ reason: "bored" }, { reason: undefined }]
    }
  },
  SseSend: {
    "sse.start": { least: {}, good: [{ status: 200 }, ...goodHeaders], bad: [...badStatus, ...badHeaders] },
    "sse.send": {
      least: { data: "" },
      good: [{ data: "a\nb\r\nc", event: "tick", id: "1", retry: 0 }, { event: "", id: "" }],
      bad: [
        { data: { a: 1 } },
        { event: "a\nb" },
        { event: "a\rb" },
        { id: "a\nb" },
        { id: "a\rb" },
        { id: "a\0b" },
        { retry: -1 },
        { retry: 1.5 },
        { retry: "1000" }
      ]
    },
    "sse.comment": { least: { comment: "" }, bad: [{ comment: 1 }] },
    "sse.keepalive": {
      least: { interval: 15 },
      good: [{ comment: "still here" }],
      bad: [{ interval: -1 }, { comment: 1 }]
    },
    "sse.close": { least: {}, good: [{ reason: "done" }], bad: [{ reason: 1 }] },
    "sse.http.response.start": { least: { status: 204 }, good: goodHeaders, bad: [...badStatus, ...badHeaders] },
    "sse.http.response.body": { least: {}, good: [{ body: "no", more: false }], bad: [{ body: 1 }] }
  },
  LifespanReceive: {
    "lifespan.startup": { least: {} },
    "lifespan.shutdown": { least: {} }
  },
  LifespanSend: {
    "lifespan.startup.complete": { least: {} },
    "lifespan.startup.failed": { least: {}, good: [{ message: "no database" }], bad: [{ message: new Error("x") }] },
    "lifespan.shutdown.complete": { least: {} },
    "lifespan.shutdown.failed": { least: {}, good: [{ message: "" }], bad: [{ message: null }] }
  }
}

/** Fields as text for a failing assertion; streams and bytes by name only. */
const show = (type: string, fields: Fields): string => `${type} with ${Object.entries(fields).map(String).join("; ")}`

for (const [union, accepts] of Object.entries(unions)) {
  describe(union, () => {
    for (const [type, { bad = [], good = [], least }] of Object.entries(cases[union as keyof typeof unions])) {
      it(`accepts ${type} with every default left out, and each field by itself`, () => {
        for (const fields of [{}, ...good]) {
          assert.isTrue(accepts({ type, ...least, ...fields }), show(type, fields))
        }
      })

      it(`refuses ${type} without a required field or with a field of the wrong type`, () => {
        for (const key of Object.keys(least)) {
          const rest = Object.fromEntries(Object.entries(least).filter(([name]) => name !== key))
          assert.isFalse(accepts({ type, ...rest }), `${type} without ${key}`)
        }
        for (const fields of bad) {
          assert.isFalse(accepts({ type, ...least, ...fields }), show(type, fields))
        }
      })

      it(`accepts ${type} with a field nobody knows`, () => {
        assert.isTrue(accepts({ type, ...least, note: "x", traceId: 7 }))
      })

      it(`is the only union with ${type}`, () => {
        const others = Object.entries(unions).filter(([name]) => name !== union)
        assert.deepStrictEqual(others.filter(([, accepts]) => accepts({ type, ...least })).map(([name]) => name), [])
      })
    }
  })
}

describe("HttpResponseBody", () => {
  const accepts = Schema.is(Event.HttpResponseBody)

  it("refuses any two of body, file and stream [C41]", () => {
    const type = "http.response.body"
    assert.isFalse(accepts({ type, body: "a", file: "/a" }))
    assert.isFalse(accepts({ type, body: bytes, stream }))
    assert.isFalse(accepts({ type, file: "/a", stream }))
    assert.isFalse(accepts({ type, body: "", file: "/a", stream }))
  })

  it("is read without narrowing", () => {
    const event: Event.HttpResponseBody = { type: "http.response.body", file: "/a", length: 3 }
    const read: ReadonlyArray<unknown> = [event.body, event.file, event.stream, event.offset, event.length, event.more]
    assert.deepStrictEqual(read, [undefined, "/a", undefined, undefined, 3, undefined])
  })
})

describe("defaults", () => {
  it("lets body, more, headers and trailers be left out of an http answer [C28]", () => {
    const start: Event.HttpSend = { type: "http.response.start", status: 200 }
    const body: Event.HttpSend = { type: "http.response.body" }
    const trailers: Event.HttpSend = { type: "http.response.trailers" }
    for (const event of [start, body, trailers]) assert.isTrue(unions.HttpSend(event))
  })
})
