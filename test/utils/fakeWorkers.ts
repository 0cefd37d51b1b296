/** Workers of which a test decides everything, and a supervisor over them on the TestClock. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Supervisor from "../../layers/internal/Supervisor.ts"

export const options: Supervisor.Options = {
  workers: 2,
  startTimeout: Duration.seconds(30),
  stopTimeout: Duration.seconds(40),
  heartbeatTimeout: Duration.seconds(50)
}

/** A process that does nothing by itself. */
export class FakeProcess {
  readonly pid: number
  readonly isReady = Deferred.makeUnsafe<void>()
  readonly end = Deferred.makeUnsafe<Supervisor.ChildExit>()
  readonly asked: Array<string> = []
  constructor(pid: number) {
    this.pid = pid
  }

  readonly ready = Deferred.await(this.isReady)
  readonly exited = Deferred.await(this.end)
  readonly kill = Effect.suspend(() => {
    this.asked.push("kill")
    return Effect.asVoid(Deferred.succeed(this.end, { code: null, signal: "SIGKILL" }))
  })
  readonly serve = Effect.asVoid(Deferred.succeed(this.isReady, undefined))
  readonly exit = (code: number | null, signal: string | null = null) =>
    Effect.andThen(Effect.asVoid(Deferred.succeed(this.end, { code, signal })), turn)
}

export class FakeChild extends FakeProcess implements Supervisor.Child {
  readonly number: number
  /** The options that it was started with. */
  readonly options: Supervisor.Options
  readonly wants = Deferred.makeUnsafe<string>()
  heard = 0

  constructor(pid: number, number: number, options: Supervisor.Options) {
    super(pid)
    this.number = number
    this.options = options
  }

  readonly recycle = Deferred.await(this.wants)
  readonly heardMillis = () => this.heard
  readonly stop = (kind: "stop" | "restart") => Effect.sync(() => void this.asked.push(kind))
  readonly reopen = Effect.sync(() => void this.asked.push("reopen"))
  readonly ask = (what: unknown) =>
    Effect.as(Effect.sync(() => void this.asked.push(`ask ${String(what)}`)), `told by ${this.number}`)
}

/** Lets the fibers that can go on do so; no time passes. */
export const turn = TestClock.adjust(0)

/** A supervisor that has begun to run; nobody serves yet. */
export const start = Effect.fnUntraced(function*(changes: Partial<Supervisor.Options> = {}) {
  const children: Array<FakeChild> = []
  const supervisor = yield* Supervisor.make(
    { ...options, ...changes },
    (number, options) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const child = new FakeChild(1001 + children.length, number, options)
        child.heard = now
        children.push(child)
        return child
      })
  )
  let startedTimes = 0
  const running = yield* Effect.forkChild(supervisor.run(Effect.sync(() => void startedTimes++)))
  yield* turn
  const last = () => children[children.length - 1]!
  const states = () => supervisor.status.map(({ number, pid, state }) => [number, pid, state])
  return { supervisor, children, running, last, states, started: () => startedTimes }
})

/** A supervisor whose workers serve. */
export const serving = Effect.fnUntraced(function*(changes: Partial<Supervisor.Options> = {}) {
  const world = yield* start(changes)
  for (const child of world.children) yield* child.serve
  yield* turn
  return world
})
