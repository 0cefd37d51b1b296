import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { EventEmitter } from "node:events"
import * as SupervisorSignals from "../../../layers/internal/SupervisorSignals.ts"

const world = () => {
  const done: Array<string> = []
  const does = (what: string) => Effect.sync(() => void done.push(what))
  const actions = {
    restart: Effect.as(does("restart"), true),
    add: does("add"),
    remove: does("remove"),
    reopen: does("reopen"),
    upgrade: Effect.as(does("upgrade"), true)
  }
  return { actions, done, emitter: new EventEmitter(), quit: does("quit") }
}

const signals = ["SIGHUP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGQUIT"]

describe("SupervisorSignals", () => {
  it.effect("has a meaning for each, until its scope closes [C149][C150][C151]", () =>
    Effect.gen(function*() {
      const { actions, done, emitter, quit } = world()
      yield* Effect.scoped(Effect.andThen(
        SupervisorSignals.listen(actions, { emitter, platform: "linux", atQuit: quit }),
        Effect.sync(() => {
          for (const signal of signals) emitter.emit(signal)
        })
      ))
      assert.deepStrictEqual(done, ["restart", "add", "remove", "reopen", "upgrade", "quit"])
      for (const signal of signals) assert.isFalse(emitter.emit(signal))
    }))

  it.effect("leaves SIGHUP to end what runs at a terminal", () =>
    Effect.gen(function*() {
      const { actions, emitter, quit } = world()
      yield* SupervisorSignals.listen(actions, { emitter, platform: "linux", atQuit: quit, isAtTerminal: true })
      assert.deepStrictEqual(emitter.eventNames(), signals.slice(1))
    }))

  it.effect("listens for none on Windows, where they do not exist or mean something else [W134]", () =>
    Effect.gen(function*() {
      const { actions, emitter, quit } = world()
      yield* SupervisorSignals.listen(actions, { emitter, platform: "win32", atQuit: quit })
      assert.deepStrictEqual(emitter.eventNames(), [])
    }))
})
