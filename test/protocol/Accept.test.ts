import { assert, describe, it } from "@effect/vitest"
import { namesEventStream } from "../../src/protocol/Accept.ts"

const named = [
  "text/event-stream",
  "Text/Event-Stream",
  "TEXT/EVENT-STREAM",
  " \ttext/event-stream\t ",
  "text/event-stream;charset=utf-8",
  "text/event-stream ; charset=\"utf-8\"",
  "text/event-stream;q=1",
  "text/event-stream; q=0.001",
  "text/event-stream;q=0.5;x=y",
  "text/event-stream;q",
  "text/event-stream;q=",
  "text/event-stream;q=.0",
  "text/event-stream;x=\"q=0\"",
  "text/event-stream;x=\";q=0;\"",
  "text/event-stream;x=\"\\\";q=0;\"",
  "text/event-stream;xq=0",
  "application/json, text/event-stream",
  "application/json,text/event-stream",
  "text/event-stream, */*;q=0.1",
  "x-a/signed-b, text/event-stream",
  "text/html;x=\",\", text/event-stream",
  "text/html;x=\"\\\"\",text/event-stream",
  ",,text/event-stream,",
  "text/event-stream;q=0, text/event-stream;charset=utf-8"
]

const notNamed = [
  "",
  "*/*",
  "text/*",
  "*/event-stream",
  "text/html",
  "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
  "text/event-stream;q=0",
  "text/event-stream; Q=0.",
  "text/event-stream;q=0.000",
  "text/event-stream;charset=utf-8 ; q=0.0",
  "*/*, text/event-stream;q=0",
  "text/event-streams",
  "xtext/event-stream",
  "text/event-stream/x",
  "text/event_stream",
  "text /event-stream",
  "text/event-stream x",
  "application/event-stream",
  "application/x-text/event-stream",
  "\xa0text/event-stream",
  "text/html;x=\"text/event-stream\"",
  "text/html;x=\",text/event-stream,\"",
  "text/html;x=\"\\\",text/event-stream",
  "text/html text/event-stream",
  "x-y-s"
]

describe("Accept", () => {
  for (const accept of named) {
    it(`finds text/event-stream in ${JSON.stringify(accept)}`, () => assert.isTrue(namesEventStream(accept)))
  }
  for (const accept of notNamed) {
    it(`does not find text/event-stream in ${JSON.stringify(accept)}`, () => assert.isFalse(namesEventStream(accept)))
  }

  it("says of several lines the same as of their list", () => {
    for (const first of [...named, ...notNamed]) {
      // A quoted string that never ends takes what follows it in a list.
      if (first.replaceAll("\\\"", "").split("\"").length % 2 === 0) continue
      for (const second of [...named, ...notNamed]) {
        assert.strictEqual(
          namesEventStream(`${first}, ${second}`),
          namesEventStream(first) || namesEventStream(second),
          `${first}, ${second}`
        )
      }
    }
  })
})
