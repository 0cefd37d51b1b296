import { assert, describe, it } from "@effect/vitest"
import * as DevFailure from "../../src/app/DevFailure.ts"

const failure: DevFailure.DevFailure = {
  title: "Cannot load app.ts",
  message: "TypeError: kaput\nCaused by Error: deep",
  code: {
    file: "lib/a.ts",
    line: 10,
    column: 3,
    lines: [{ number: 9, text: "if (x) {" }, { number: 10, text: "\t\tf()" }, { number: 11, text: "}" }]
  },
  frames: [{ call: "f", file: "lib/a.ts", line: 10, column: 3 }, { call: "", file: "app.ts", line: 1, column: 2 }]
}

describe("DevFailure", () => {
  it("is a text with the words, the place, the lines around it and the frames", () => {
    assert.strictEqual(
      DevFailure.toText(failure),
      `Cannot load app.ts

TypeError: kaput
Caused by Error: deep

lib/a.ts:10:3
   9 | if (x) {
> 10 | \t\tf()
     | \t\t^
  11 | }

    at f (lib/a.ts:10:3)
    at (app.ts:1:2)`
    )
  })

  it("leaves out what is not known", () => {
    assert.strictEqual(DevFailure.toText({ title: "a", message: "b", frames: [] }), "a\n\nb")
  })

  it("cannot move the cursor of a terminal", () => {
    const text = DevFailure.toText({ title: "a\x1b[2J", message: "b\r\nc\rd\x9b1m\u2028", frames: [] })
    assert.strictEqual(text, "a\\x1b[2J\n\nb\nc\\x0dd\\x9b1m\\x2028")
  })
})
