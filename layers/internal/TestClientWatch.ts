/**
 * Watches an application that a test client serves: remembers why exchanges failed, by the connection they came over,
 * and what the lifespan left; ends what still runs when the server stops, since a test's clock would never end it.
 *
 * Changes nothing that the application or its client sees.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import type { App } from "../../src/app/App.ts"
import type { ClientExchange, Exchange } from "../../src/app/Exchange.ts"
import type { State } from "../../src/schema/Scope.ts"

/** What went wrong in one exchange. */
interface Trouble {
  /** The application ended with it. */
  failed?: Cause.Cause<unknown>
  /** It was logged as an error, as handlers do that answer a failure with 500 themselves. */
  logged?: Cause.Cause<unknown>
}

export class Watch {
  /** Filled by the application's lifespan startup. */
  state: State = {}
  /** Why exchanges failed, in the order in which they did. */
  readonly failures: Array<Cause.Cause<unknown>> = []
  private readonly troubles = new Map<number, Trouble>()
  private readonly running = new Set<Fiber.Fiber<unknown, unknown>>()

  /** The application, watched. */
  readonly wrap = <E, R>(app: App<E, R>): App<E, R> => (exchange) =>
    exchange.type === "lifespan" ? this.lifespan(app, exchange) : this.exchange(app, exchange)

  /**
   * Why the exchange over a connection failed, `undefined` when it did not. A failure that a handler has answered and
   * logged counts when the answer is 500: any other status is a handler's decision.
   */
  causeOf(clientPort: number, status: number): Cause.Cause<unknown> | undefined {
    const trouble = this.troubles.get(clientPort)
    return trouble?.failed ?? (status === 500 ? trouble?.logged : undefined)
  }

  /** Interrupts what still runs, and waits for it. */
  readonly interruptAll: Effect.Effect<void> = Effect.suspend(() => Fiber.interruptAll(this.running))

  private lifespan<E, R>(app: App<E, R>, exchange: Extract<Exchange, { readonly type: "lifespan" }>) {
    this.state = exchange.scope.state ?? {}
    return app(exchange)
  }

  private exchange<E, R>(app: App<E, R>, exchange: ClientExchange): Effect.Effect<void, E, R> {
    return Effect.withFiber((fiber) => {
      this.running.add(fiber)
      const trouble: Trouble = {}
      const clientPort = exchange.scope.client?.[1]
      if (clientPort !== undefined) this.troubles.set(clientPort, trouble)
      const recorder = Logger.make(({ cause, logLevel }) => {
        const isError = logLevel === "Error" || logLevel === "Fatal"
        if (isError && cause.reasons.length > 0) this.note(trouble, "logged", cause)
      })
      return Effect.suspend(() => app(exchange)).pipe(
        Effect.updateService(Logger.CurrentLoggers, (loggers) => new Set([...loggers, recorder])),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            this.running.delete(fiber)
            if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) {
              this.note(trouble, "failed", exit.cause)
            }
          })
        )
      )
    })
  }

  private note(trouble: Trouble, how: keyof Trouble, cause: Cause.Cause<unknown>): void {
    trouble[how] = cause
    this.failures.push(cause)
  }
}

/** The same cause where nothing can fail: its failures as defects. */
export const asDefects = (cause: Cause.Cause<unknown>): Cause.Cause<never> =>
  Cause.fromReasons(
    cause.reasons.map((reason) => Cause.isFailReason(reason) ? Cause.makeDieReason(reason.error) : reason)
  )
