/**
 * The one timer of a pool. It sleeps on Effect's Clock until the earliest of all deadlines, asks the pool to look, and
 * sleeps again until the deadline that is then the earliest; without any it does not sleep at all.
 *
 * A deadline that is met in time is not taken back: at a thousand jobs a second that would be a thousand timers, and one
 * look too many every `timeout` costs nothing.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** What a timer of Node can wait for; later deadlines are looked at once on the way. */
const maxSleepMillis = 2 ** 31 - 1

export class Alarm {
  private readonly context: Context.Context<never>
  private readonly clock: Clock.Clock
  private readonly look: (now: number) => number
  private sleeper: Fiber.Fiber<void> | undefined
  private wakeAt = Infinity

  /** `look` does what is due and yields the next deadline, `Infinity` for none. */
  constructor(context: Context.Context<never>, look: (now: number) => number) {
    this.context = context
    this.clock = Context.get(context, Clock.Clock)
    this.look = look
  }

  get now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** Has the pool looked at by `deadline`, in the Clock's milliseconds. */
  set(deadline: number): void {
    if (deadline >= this.wakeAt) return
    this.sleeper?.interruptUnsafe()
    this.wakeAt = deadline
    const millis = Math.min(Math.max(0, Math.ceil(deadline - this.now)), maxSleepMillis)
    this.sleeper = Effect.runForkWith(this.context)(Effect.andThen(Effect.sleep(Duration.millis(millis)), this.ring))
  }

  stop(): void {
    this.sleeper?.interruptUnsafe()
    this.sleeper = undefined
    // Nothing is earlier.
    this.wakeAt = -Infinity
  }

  private readonly ring = Effect.sync(() => {
    this.sleeper = undefined
    this.wakeAt = Infinity
    this.set(this.look(this.now))
  })
}
