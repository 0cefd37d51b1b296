/**
 * One listener: its queue, its running handlers and its end. Every run is a fiber of its own, started on a later turn of
 * the scheduler, so that a handler can neither hold up nor fail who emits, and an endless chain of events starves nobody.
 *
 * Knows nothing of topics and other listeners.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as MutableList from "effect/MutableList"
import * as Option from "effect/Option"

/** What a listener tells about itself. */
export interface Host {
  /** A run ended. */
  readonly handled: (outcome: "success" | "failure" | "interrupted") => void
  /** So many events were not handled. */
  readonly dropped: (reason: "full" | "stopped", count: number) => void
}

export type Handler = (payload: unknown) => Effect.Effect<unknown, unknown>

export interface Options {
  readonly event: string
  readonly name: string
  readonly priority: number
  readonly once: boolean
  readonly concurrency: number
  readonly capacity: number
  readonly grace: Duration.Duration
}

export class Listener {
  readonly options: Options
  private readonly host: Host
  private readonly handler: Handler
  private readonly fork: (effect: Effect.Effect<unknown, unknown>) => Fiber.Fiber<unknown, unknown>
  private readonly waiting = MutableList.make<unknown>()
  private readonly running = new Set<Fiber.Fiber<unknown, unknown>>()
  private readonly idle = Latch.makeUnsafe(true)
  private readonly busy: Set<Listener>
  private isOpen = true
  private isOverflowing = false

  /**
   * `context` is that of the registration: handlers have its services, logger and clock. It is in `busy` while it runs
   * or has something waiting.
   */
  constructor(options: Options, host: Host, handler: Handler, context: Context.Context<never>, busy: Set<Listener>) {
    this.options = options
    this.host = host
    this.handler = handler
    this.fork = Effect.runForkWith(context)
    this.busy = busy
  }

  /** Completes when nothing runs and nothing waits. */
  get awaitIdle(): Effect.Effect<void> {
    return this.idle.await
  }

  /** Takes an event: runs it, or lets it wait, or drops it when too many wait already. */
  offer(payload: unknown): void {
    if (!this.isOpen) return
    if (this.options.once) this.isOpen = false
    if (this.running.size < this.options.concurrency) return this.start(payload)
    if (this.waiting.length < this.options.capacity) return MutableList.append(this.waiting, payload)
    this.host.dropped("full", 1)
    if (this.isOverflowing) return
    this.isOverflowing = true
    const { capacity, event, name } = this.options
    this.fork(Effect.logWarning(`Listener ${name} of ${event} is too slow: ${capacity} events wait, more are dropped`))
  }

  private start(payload: unknown): void {
    this.idle.closeUnsafe()
    this.busy.add(this)
    const fiber = this.fork(Effect.andThen(Effect.yieldNow, this.run(payload)))
    this.running.add(fiber)
    fiber.addObserver((exit) => this.ended(fiber, exit))
  }

  private run(payload: unknown): Effect.Effect<unknown, unknown> {
    return Effect.tapCause(
      Effect.scoped(Effect.suspend(() => this.handler(payload))),
      (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.void
          : Effect.logError(`Listener ${this.options.name} of ${this.options.event} failed`, cause)
    )
  }

  private ended(fiber: Fiber.Fiber<unknown, unknown>, exit: Exit.Exit<unknown, unknown>): void {
    this.running.delete(fiber)
    this.host.handled(
      exit._tag === "Success" ? "success" : Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failure"
    )
    const next = MutableList.take(this.waiting)
    if (next !== MutableList.Empty) return this.start(next)
    this.isOverflowing = false
    if (this.running.size > 0) return
    this.busy.delete(this)
    this.idle.openUnsafe()
  }

  /**
   * Takes no more events, gives those that it has the grace, then interrupts. A handler that ends its own listener does
   * not wait for itself: what the listener still has goes on until the events' Layer closes.
   */
  readonly leave: Effect.Effect<void> = Effect.withFiber((self) => {
    this.isOpen = false
    return this.running.has(self) ? Effect.void : this.drain
  })

  readonly drain: Effect.Effect<void> = Effect.suspend(() => {
    this.isOpen = false
    if (this.idle.isOpen()) return Effect.void
    return Effect.flatMap(
      Effect.timeoutOption(this.awaitIdle, this.options.grace),
      (ended) => Option.isSome(ended) ? Effect.void : this.cut
    )
  })

  private readonly cut: Effect.Effect<void> = Effect.suspend(() => {
    const { event, grace, name } = this.options
    const { running, waiting } = this
    const counts = `${running.size} runs are interrupted, ${waiting.length} events dropped`
    this.host.dropped("stopped", waiting.length)
    MutableList.clear(waiting)
    this.fork(
      Effect.logWarning(`Listener ${name} of ${event} did not end within ${Duration.format(grace)}: ${counts}`)
    )
    return Fiber.interruptAll([...running])
  })
}
