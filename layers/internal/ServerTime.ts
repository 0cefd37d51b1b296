/**
 * Time for one server, read from Effect's Clock, so that TestClock moves everything: a monotonic reading for waits and
 * durations, and the `date` header, made once a second at most.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"

export class ServerTime {
  /** Monotonic milliseconds with fractions. */
  readonly now: () => number
  private readonly clock: Clock.Clock
  private dateSecond = -1
  private date = ""
  private wallOffset = 0

  constructor(context: Context.Context<never>) {
    const clock = Context.get(context, Clock.Clock)
    this.clock = clock
    // The live clock counts with BigInt, 130 ns for a pair of readings; the same timer as a number costs 50 ns.
    this.now = clock === Context.get(Context.empty(), Clock.Clock)
      ? () => performance.now()
      : () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    this.tick()
  }

  /** Called by the sweep; keeps the coarse readings fresh. */
  tick(): boolean {
    const wall = this.clock.currentTimeMillisUnsafe()
    this.wallOffset = wall - this.now()
    const second = Math.floor(wall / 1000)
    if (second === this.dateSecond) return false
    this.dateSecond = second
    this.date = new Date(second * 1000).toUTCString()
    return true
  }

  /** The present date as RFC 9110 section 5.6.7 wants it; at most one sweep old. */
  get httpDate(): string {
    return this.date
  }

  /**
   * Unix time of a monotonic reading, in milliseconds with fractions. Not rounded: V8 keeps what `Math.round` makes here
   * in its old space, and the garbage of an access log then cost 0.3 µs for each request.
   */
  toWall(monotonic: number): number {
    return monotonic + this.wallOffset
  }
}
