import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { EventEmitter } from "node:events"
import * as ReloadKeys from "../../../layers/internal/ReloadKeys.ts"

class Terminal extends EventEmitter {
  readonly isTTY: boolean
  readonly calls: Array<string> = []
  constructor(isTTY = true) {
    super()
    this.isTTY = isTTY
  }
  resume(): void {
    this.calls.push("resume")
  }
  pause(): void {
    this.calls.push("pause")
  }
}

const open = Effect.fnUntraced(function*(input: Terminal, isInForeground = true) {
  const done: Array<string> = []
  const printed: Array<string> = []
  const note = (what: string) => Effect.sync(() => void done.push(what))
  const scope = yield* Scope.make()
  yield* Scope.provide(
    ReloadKeys.listen({
      restart: note("restart"),
      open: note("open"),
      quit: note("quit"),
      input,
      print: (text) => void printed.push(text),
      isInForeground: () => isInForeground
    }),
    scope
  )
  return { done, printed, close: Scope.close(scope, Exit.void) }
})

describe("ReloadKeys", () => {
  it.effect("obey a letter and enter, however the bytes come", () =>
    Effect.gen(function*() {
      const input = new Terminal()
      const { done } = yield* open(input)
      for (const data of ["r\n", Buffer.from("o\r\n"), "q", "\n", " r \n", "r\nr\n"]) input.emit("data", data)
      assert.deepStrictEqual(done, ["restart", "open", "quit", "restart", "restart", "restart"])
    }))

  it.effect("say what there is at the start and for another word, and nothing for enter alone", () =>
    Effect.gen(function*() {
      const input = new Terminal()
      const { done, printed } = yield* open(input)
      assert.lengthOf(printed, 1)
      for (const data of ["x\n", "\n", "rr\n", `${"r".repeat(1000)}\n`]) input.emit("data", data)
      assert.deepStrictEqual(done, [])
      assert.deepStrictEqual(printed, Array(4).fill("r restarts, o opens the browser, q quits, each with enter\n"))
    }))

  it.effect("leave the terminal as it was", () =>
    Effect.gen(function*() {
      const input = new Terminal()
      const { close, done } = yield* open(input)
      yield* close
      input.emit("data", "r\n")
      assert.deepStrictEqual([done, input.calls, input.listenerCount("data")], [[], ["resume", "pause"], 0])
    }))

  for (
    const [what, input, isInForeground] of [["no terminal", false, true], ["the background", true, false]] as const
  ) {
    it.effect(`are not read in ${what}`, () =>
      Effect.gen(function*() {
        const terminal = new Terminal(input)
        const { printed } = yield* open(terminal, isInForeground)
        assert.deepStrictEqual([printed, terminal.calls, terminal.listenerCount("data")], [[], [], 0])
      }))
  }
})
