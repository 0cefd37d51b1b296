import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/testing/TestClock"
import * as Reload from "../../../layers/internal/Reload.ts"
import type * as Message from "../../../layers/internal/ReloadMessage.ts"
import type { ChildExit } from "../../../layers/internal/Supervisor.ts"
import type { DevFailure } from "../../../src/app/DevFailure.ts"
import { capture } from "../../utils/logs.ts"

const failure: DevFailure = { title: "Cannot load app.ts", message: "kaput", frames: [] }

/** Lets the fibers that can go on do so; no time passes. */
const turn = TestClock.adjust(0)

/** A process of which the test decides everything. */
class FakeWorker implements Reload.Worker {
  readonly pid: number
  readonly number: number
  readonly isReady = Deferred.makeUnsafe<void>()
  readonly end = Deferred.makeUnsafe<ChildExit>()
  readonly asked: Array<Message.ToWorker> = []
  isKilled = false

  constructor(pid: number, number: number) {
    this.pid = pid
    this.number = number
  }

  readonly ready = Deferred.await(this.isReady)
  readonly exited = Deferred.await(this.end)
  readonly ask = (what: unknown) =>
    Effect.sync(() => {
      this.asked.push(what as Message.ToWorker)
      return null
    })
  readonly kill = Effect.suspend(() => {
    this.isKilled = true
    return Effect.asVoid(Deferred.succeed(this.end, { code: null, signal: "SIGKILL" }))
  })
  readonly serve = Effect.andThen(Deferred.succeed(this.isReady, undefined), turn)
  readonly exit = (code: number) => Effect.andThen(Deferred.succeed(this.end, { code, signal: null }), turn)
}

/** A program with one place for a worker: a small supervisor, a folder that is a Map, and what was printed. */
const open = Effect.fnUntraced(function*(options: Partial<Reload.Options> = {}) {
  const events = yield* Queue.unbounded<string>()
  const contents = new Map([["/app/app.ts", "1"], ["/app/lib.ts", "1"]])
  const printed: Array<string> = []
  const added: Array<string> = []
  const reload = yield* Reload.make({
    app: "/app/app.ts",
    files: [],
    delay: Duration.millis(250),
    startTimeout: Duration.seconds(30),
    watcher: {
      events,
      files: [...contents.keys()],
      add: (files) =>
        Effect.sync(() => {
          added.push(...files)
          return files
        })
    },
    fingerprint: (file) => Effect.sync(() => contents.get(file)),
    print: (text) => void printed.push(text),
    ...options
  })
  const workers: Array<FakeWorker> = []
  const spawn = reload.spawn((number: number) =>
    Effect.sync(() => {
      const worker = new FakeWorker(100 + workers.length, number)
      workers.push(worker)
      return worker
    })
  )
  let current: FakeWorker | undefined
  const start = Effect.flatMap(spawn(1), (worker) =>
    Effect.map(
      Effect.raceFirst(Effect.as(worker.ready, true), Effect.as(worker.exited, false)),
      (serves) => {
        if (serves) current = worker
        return serves
      }
    ))
  const last = () => workers.at(-1)!
  const change = (file: string, content: string) => {
    contents.set(file, content)
    Queue.offerUnsafe(events, file)
  }
  const ask = <A = unknown>(what: Message.FromWorker) => reload.answer(what)! as Effect.Effect<A>
  const begin = (worker: FakeWorker) => ask<Message.Begin>({ type: "reload.begin", pid: worker.pid })
  const fail = (worker: FakeWorker, told = failure) =>
    Effect.andThen(ask({ type: "reload.failed", pid: worker.pid, failure: told }), worker.exit(3))
  yield* Effect.forkScoped(start)
  yield* turn
  return {
    reload,
    workers,
    last,
    change,
    begin,
    fail,
    ask,
    printed,
    added,
    contents,
    events,
    current: () => current,
    running: Effect.forkScoped(reload.run(start), { startImmediately: true })
  }
})

/** With a worker that serves. */
const serving = Effect.fnUntraced(function*(options: Partial<Reload.Options> = {}) {
  const program = yield* open(options)
  yield* program.last().serve
  yield* program.running
  return program
})

describe("Reload", () => {
  describe("a change", () => {
    it.effect("starts new workers once it has been quiet for the delay, and says why [C166] [W94]", () =>
      Effect.gen(function*() {
        const { change, printed, workers } = yield* serving()
        change("/app/app.ts", "2")
        yield* TestClock.adjust("200 millis")
        change("/app/lib.ts", "2")
        yield* TestClock.adjust("249 millis")
        assert.lengthOf(workers, 1)
        yield* TestClock.adjust("1 millis")
        assert.lengthOf(workers, 2)
        assert.deepStrictEqual(printed, ["/app/app.ts, /app/lib.ts changed; restarting\n"])
      }))

    it.effect("that leaves the content as it was is none [C166]", () =>
      Effect.gen(function*() {
        const { change, contents, events, printed, workers } = yield* serving()
        Queue.offerUnsafe(events, "/app/app.ts")
        change("/app/lib.ts", "2")
        change("/app/lib.ts", "1")
        change("/app/new.ts", "1")
        contents.delete("/app/new.ts")
        yield* TestClock.adjust("1 minute")
        assert.lengthOf(workers, 1)
        assert.deepStrictEqual(printed, [])
      }))

    it.effect("may be a new file, or one that has gone", () =>
      Effect.gen(function*() {
        const { change, contents, events, last, printed, workers } = yield* serving()
        change("/app/new.ts", "1")
        yield* TestClock.adjust("1 second")
        yield* last().serve
        contents.delete("/app/new.ts")
        Queue.offerUnsafe(events, "/app/new.ts")
        yield* TestClock.adjust("1 second")
        assert.lengthOf(workers, 3)
        assert.deepStrictEqual(printed, Array(2).fill("/app/new.ts changed; restarting\n"))
      }))

    it.effect("names some of many files, in one line each", () =>
      Effect.gen(function*() {
        const { change, printed } = yield* serving()
        for (const name of ["a", "b\n\x1b[2J", "c", "d", "e"]) change(`/x/${name}`, "1")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(printed, ["/x/a, /x/b\\n\\x1b[2J, /x/c and 2 more changed; restarting\n"])
      }))

    it.effect("gives each start a higher generation [W94]", () =>
      Effect.gen(function*() {
        const { begin, change, last, workers } = yield* serving()
        change("/app/app.ts", "2")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* begin(workers[0]!), { generation: 0, isPage: false, failure: null })
        assert.deepStrictEqual(yield* begin(last()), { generation: 1, isPage: false, failure: null })
      }))

    it.effect("while another one is being tried ends that, and is tried then", () =>
      Effect.gen(function*() {
        const { change, current, last, printed, workers } = yield* serving()
        change("/app/app.ts", "2")
        yield* TestClock.adjust("1 second")
        const outdated = last()
        change("/app/app.ts", "3")
        yield* TestClock.adjust("1 second")
        assert.isTrue(outdated.isKilled)
        assert.lengthOf(workers, 3)
        yield* last().serve
        assert.strictEqual(current(), workers[2])
        assert.deepStrictEqual(printed, Array(2).fill("/app/app.ts changed; restarting\n"))
      }))

    it.effect("is not needed where the developer asks for a restart", () =>
      Effect.gen(function*() {
        const { printed, reload, workers } = yield* serving()
        yield* reload.restartNow
        yield* turn
        assert.lengthOf(workers, 2)
        assert.deepStrictEqual(printed, ["Asked to; restarting\n"])
      }))
  })

  describe("a change that does not start", () => {
    const broken = Effect.fnUntraced(function*() {
      const program = yield* serving()
      program.change("/app/app.ts", "2")
      yield* TestClock.adjust("1 second")
      // As if another worker had told the same.
      yield* program.ask({ type: "reload.failed", pid: program.last().pid, failure })
      yield* program.fail(program.last())
      return program
    })

    it.effect("leaves the old worker, says the failure once, and has it shown [W95] [C166]", () =>
      Effect.gen(function*() {
        const { current, printed, workers } = yield* broken()
        assert.strictEqual(current(), workers[0])
        assert.isFalse(workers[0]!.isKilled)
        assert.lengthOf(workers, 2)
        assert.deepStrictEqual(workers[0]!.asked, [{ type: "reload.failure", failure }])
        assert.deepStrictEqual(printed.slice(1), ["\nCannot load app.ts\n\nkaput\n\n"])
      }))

    it.effect("is mended by the next one [C166]", () =>
      Effect.gen(function*() {
        const { begin, change, current, last } = yield* broken()
        change("/app/app.ts", "3")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* begin(last()), { generation: 2, isPage: false, failure: null })
        yield* last().serve
        assert.strictEqual(current(), last())
      }))

    it.effect("is said again when the next one fails in the same way", () =>
      Effect.gen(function*() {
        const { change, fail, last, printed, workers } = yield* broken()
        change("/app/app.ts", "3")
        yield* TestClock.adjust("1 second")
        yield* fail(last())
        assert.strictEqual(printed.filter((text) => text.includes("kaput")).length, 2)
        assert.lengthOf(workers[0]!.asked, 2)
      }))

    it.effect("and has not said why is shown as well", () =>
      Effect.gen(function*() {
        const { change, last, printed, workers } = yield* serving()
        change("/app/app.ts", "2")
        yield* TestClock.adjust("1 second")
        yield* last().exit(7)
        assert.include(printed.at(-1), "It ended with exit code 7 before it served")
        assert.lengthOf(workers[0]!.asked, 1)
      }))
  })

  it.effect("a restart that is not even tried is shown as such", () =>
    Effect.gen(function*() {
      const { change, last, printed, reload, workers } = yield* open()
      yield* last().serve
      yield* Effect.forkScoped(reload.run(Effect.succeed(false)), { startImmediately: true })
      change("/app/app.ts", "2")
      yield* TestClock.adjust("1 second")
      assert.lengthOf(workers, 1)
      assert.deepStrictEqual(printed.slice(1), ["\nNot restarted\n\nAll goes on as it was. The terminal says why\n\n"])
    }))

  describe("an application that does not even start", () => {
    it.effect("is served as its failure, until a change mends it [C166] [W95]", () =>
      Effect.gen(function*() {
        const { begin, change, current, fail, last, printed, running, workers } = yield* open()
        yield* fail(workers[0]!)
        assert.lengthOf(workers, 2)
        assert.deepStrictEqual(yield* begin(last()), { generation: 0, isPage: true, failure })
        yield* last().serve
        assert.strictEqual(current(), workers[1])
        assert.deepStrictEqual(printed, ["\nCannot load app.ts\n\nkaput\n\n"])
        yield* running
        change("/app/app.ts", "2")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* begin(last()), { generation: 1, isPage: false, failure: null })
        yield* last().serve
        assert.strictEqual(current(), workers[2])
      }))

    it.effect("keeps its page, with the newer failure, where a change does not mend it", () =>
      Effect.gen(function*() {
        const { change, current, fail, last, running, workers } = yield* open()
        yield* fail(workers[0]!)
        yield* last().serve
        yield* running
        change("/app/app.ts", "2")
        yield* TestClock.adjust("1 second")
        yield* fail(last(), { ...failure, message: "other" })
        assert.strictEqual(current(), workers[1])
        assert.deepStrictEqual(workers[1]!.asked, [{
          type: "reload.failure",
          failure: { ...failure, message: "other" }
        }])
      }))

    it.effect("and hangs is killed after the time for a start", () =>
      Effect.gen(function*() {
        const { begin, last, workers } = yield* open()
        yield* TestClock.adjust("29 seconds")
        assert.lengthOf(workers, 1)
        yield* TestClock.adjust("1 second")
        assert.isTrue(workers[0]!.isKilled)
        const { failure, isPage } = yield* begin(last())
        assert.isTrue(isPage)
        assert.include(failure!.message, "It does not serve")
      }))

    it.effect("and hangs is started anew when something changes", () =>
      Effect.gen(function*() {
        const { begin, change, running, workers } = yield* open()
        yield* running
        change("/app/app.ts", "2")
        yield* TestClock.adjust("1 second")
        assert.isTrue(workers[0]!.isKilled)
        assert.isAbove(workers.length, 1)
        assert.isFalse((yield* begin(workers[1]!)).isPage)
      }))
  })

  describe("a worker that ends while it serves", () => {
    it.effect("is followed by one with the page, where it cannot be started again", () =>
      Effect.gen(function*() {
        const program = yield* serving()
        yield* program.last().exit(1)
        const again = yield* Effect.forkScoped(
          program.reload.spawn((number: number) =>
            Effect.sync(() => {
              const worker = new FakeWorker(200 + program.workers.length, number)
              program.workers.push(worker)
              return worker
            })
          )(1)
        )
        yield* turn
        yield* program.fail(program.last())
        assert.isTrue((yield* program.begin(program.last())).isPage)
        again.interruptUnsafe()
      }))
  })

  it.effect("says which folder it was to watch that is none", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      yield* open({ dirs: ["/no/such/folder"] })
      assert.deepStrictEqual(lines.map(({ message }) => message), [
        "reloadDirs names /no/such/folder, which is no folder: nothing is watched there"
      ])
    }).pipe(Effect.provide(layer))
  })

  describe("a question", () => {
    it.effect("of which files were loaded has them watched, and their changes count [W94]", () =>
      Effect.gen(function*() {
        const { added, ask, change, contents, last, printed } = yield* serving()
        contents.set("/shared/a.ts", "1")
        yield* ask({ type: "reload.loaded", pid: last().pid, files: ["/shared/a.ts"] })
        assert.deepStrictEqual(added, ["/shared/a.ts"])
        change("/shared/a.ts", "1")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(printed, [])
        change("/shared/a.ts", "2")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(printed, ["/shared/a.ts changed; restarting\n"])
      }))

    it.effect("that is about something else is somebody else's", () =>
      Effect.gen(function*() {
        const { reload } = yield* open()
        for (const what of [undefined, null, 1, "reload.begin", {}, { type: "report" }]) {
          assert.isUndefined(reload.answer(what))
        }
      }))

    it.effect("of a worker of an earlier generation says nothing about this one", () =>
      Effect.gen(function*() {
        const { ask, change, printed, workers } = yield* serving()
        change("/app/app.ts", "2")
        yield* TestClock.adjust("1 second")
        yield* ask({ type: "reload.failed", pid: workers[0]!.pid, failure })
        assert.lengthOf(printed, 1)
      }))
  })
})
