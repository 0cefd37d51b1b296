/**
 * Hands the client's events of one exchange to handlers, by type, one after the other, until the client is gone or a
 * handler stops it. For applications that speak the raw contract; sessions and routes need none of this.
 *
 * Owns the loop around `receive` and where failures of handlers go. Sends nothing by itself.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { ClientExchange } from "./Exchange.ts"

/** Every event that a client can cause on an exchange. */
export type Received<X extends ClientExchange> = Effect.Success<X["receive"]>

/** What a handler can do to the loop that called it. */
export interface Dispatch {
  /** Ends the loop once the handler is over. Needed after declining: nothing can be received then. */
  readonly stop: Effect.Effect<void>
}

/** One handler for each type of event, all optional. */
export type Handlers<X extends ClientExchange> = {
  readonly [Type in Received<X>["type"]]?: (
    event: Extract<Received<X>, { readonly type: Type }>,
    dispatch: Dispatch
  ) => Effect.Effect<unknown, any, any>
}

type Outcome<H> = H[keyof H] extends infer F
  ? F extends (...args: ReadonlyArray<never>) => infer Result ? Result : never
  : never

/** Why a loop is over. */
export type Ended<X extends ClientExchange> =
  | { readonly _tag: "Stopped" }
  | {
    readonly _tag: "Disconnected"
    /** The last event; `connection.disconnectReason` says on http whether the end was a normal one. */
    readonly event: Extract<Received<X>, { readonly type: `${string}.disconnect` }>
  }

/** What `run` does with events. */
export interface Options<X extends ClientExchange, H, E, R, R2> {
  /** Handlers by type. A `*.disconnect` is handed over too, as the last event. */
  readonly on: H & { readonly [Key in Exclude<keyof H, Received<X>["type"]>]: never }
  /** For events that have no handler. Default: they are dropped. */
  readonly onDefault?: (event: Received<X>, dispatch: Dispatch) => Effect.Effect<unknown, E, R>
  /** For failures and defects of handlers; the loop goes on. Default: they are logged as errors. */
  readonly onError?: (
    cause: Cause.Cause<Effect.Error<Outcome<H>> | E>,
    event: Received<X>
  ) => Effect.Effect<unknown, never, R2>
}

/**
 * Receives events until the exchange ends or a handler stops, and calls a handler for each. The next event is received
 * when the handler of the one before is over, so a slow handler slows its client down.
 *
 * **Returns** why it ended. Never fails: failures of handlers go to `onError`. Interruption ends it as it ends anything.
 *
 * **Example**
 * ```ts
 * const app = App.websocket((exchange) =>
 *   EventDispatcher.run(exchange, {
 *     on: {
 *       "websocket.connect": () => exchange.send({ type: "websocket.accept" }),
 *       "websocket.receive": ({ text }, { stop }) => text === "bye" ? stop : Effect.logInfo("Received")
 *     }
 *   })
 * )
 * ```
 */
export const run = <X extends ClientExchange, const H extends Handlers<X>, E = never, R = never, R2 = never>(
  exchange: X,
  options: Options<X, H, E, R, R2>
): Effect.Effect<Ended<X>, never, Effect.Services<Outcome<H>> | R | R2> =>
  Effect.suspend(() => {
    let stopped = false
    const dispatch: Dispatch = { stop: Effect.sync(() => void (stopped = true)) }
    // The types above tie every handler to its event; here they are all the same.
    const { on, onDefault, onError = logged } = options as unknown as AnyOptions
    const handle = (event: AnyEvent): Effect.Effect<unknown> => {
      const handler = Object.hasOwn(on, event.type) ? on[event.type] : onDefault
      if (handler === undefined) return Effect.void
      return guarded(() => handler(event, dispatch), (cause) => guarded(() => onError(cause, event), failedAgain))
    }
    const next: Effect.Effect<Ended<X>> = Effect.flatMap(
      exchange.receive as Effect.Effect<AnyEvent>,
      (event) =>
        Effect.flatMap(handle(event), (): Effect.Effect<Ended<X>> => {
          if (stopped) return Effect.succeed({ _tag: "Stopped" })
          return event.type.endsWith(".disconnect")
            ? Effect.succeed({ _tag: "Disconnected", event: event as never })
            : next
        })
    )
    return next
  })

type AnyEvent = Received<ClientExchange>
type AnyHandler = (event: AnyEvent, dispatch: Dispatch) => Effect.Effect<unknown, unknown>

interface AnyOptions {
  readonly on: { readonly [type: string]: AnyHandler | undefined }
  readonly onDefault?: AnyHandler
  readonly onError?: (cause: Cause.Cause<unknown>, event: AnyEvent) => Effect.Effect<unknown>
}

/** Runs what an application gave us, which may also throw; interruption goes through. */
const guarded = (
  run: () => Effect.Effect<unknown, unknown>,
  failed: (cause: Cause.Cause<unknown>) => Effect.Effect<unknown>
): Effect.Effect<unknown> =>
  Effect.catchCause(
    Effect.suspend(run),
    (cause) => Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause as Cause.Cause<never>) : failed(cause)
  )

const logged = (cause: Cause.Cause<unknown>, event: AnyEvent): Effect.Effect<void> =>
  Effect.logError(`The handler of ${event.type} failed`, cause)

const failedAgain = (cause: Cause.Cause<unknown>): Effect.Effect<void> => Effect.logError("onError failed", cause)
