/**
 * What WebSocket and SSE sessions have in common: opening once and by themselves, sending with and without waiting,
 * streams and clocks that stop with the session, declining, the end. The protocols add their events.
 *
 * Knows the contract of Exchange.ts and nothing of a server. Members are functions and values that need no `this`.
 */
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Headers } from "../../schema/Scope.ts"
import type { CloseInfo } from "../CloseInfo.ts"
import type { SseExchange, WebSocketExchange } from "../Exchange.ts"
import { SendError } from "../SendError.ts"
import { SessionEnd } from "./SessionEnd.ts"

type Sent<X extends WebSocketExchange | SseExchange> = Parameters<X["send"]>[0]

/** `closed`: we have closed it. `declined`: it never opened, by our word. */
type Stage = "waiting" | "open" | "closed" | "declined"

/** Headers of a declining answer, unless there are others. */
export const headersFor = (body: string | Uint8Array): Headers =>
  typeof body === "string" && body !== "" ? [["content-type", "text/plain; charset=utf-8"]] : []

export abstract class SessionBase<X extends WebSocketExchange | SseExchange, Out> {
  readonly exchange: X
  protected stage: Stage = "waiting"
  /** Who comes while the session is being opened waits for the outcome. */
  private opening: Deferred.Deferred<void> | undefined = undefined
  private endCache: SessionEnd | undefined = undefined

  constructor(exchange: X) {
    this.exchange = exchange
  }

  /** What stands behind a session: all of them are made here. */
  static of<X extends WebSocketExchange | SseExchange, Out>(
    session: { readonly exchange: X; readonly send: (out: Out) => Effect.Effect<void, SendError> }
  ): SessionBase<X, Out> {
    if (session instanceof SessionBase) return session
    throw new TypeError("The session was not made by SseSession.make or WebSocketSession.make")
  }

  /** The event that opens the session when nobody has said how. */
  protected abstract readonly openingEvent: Sent<X>
  /** The event that carries `out`. */
  abstract encode(out: Out): Effect.Effect<Sent<X>, SendError>
  /** What the end was, once the connection says that there was one. */
  protected abstract readonly findEnd: Effect.Effect<CloseInfo>

  private get end(): SessionEnd {
    return this.endCache ??= new SessionEnd(this.exchange.connection, this.findEnd)
  }

  get closed(): Effect.Effect<CloseInfo> {
    return this.end.closed
  }

  get isOpen(): boolean {
    return this.stage === "open" && this.exchange.connection.isConnected
  }

  readonly onClose = (callback: (info: CloseInfo) => void): Effect.Effect<void> => this.end.onClose(callback)

  // ---- opening

  /** TypeScript cannot see that the event of a protocol fits the `send` of the same protocol. */
  protected tell(event: Sent<X>): Effect.Effect<void, SendError> {
    return this.exchange.send(event as never)
  }

  /** Opens with an event. A refused event leaves the session as it was. */
  protected open(event: Sent<X>): Effect.Effect<void, SendError> {
    return this.settled(Effect.suspend(() => {
      if (this.stage !== "waiting") return this.tell(event)
      const opening = this.opening = Deferred.makeUnsafe<void>()
      return Effect.onExit(this.tell(event), (exit) =>
        Effect.sync(() => {
          this.opening = undefined
          // Interrupted while the event waited for the client: the server has taken it or it has not.
          if (Exit.isSuccess(exit) || (Exit.hasInterrupts(exit) && this.exchange.connection.responseStarted)) {
            this.stage = "open"
          }
          Deferred.doneUnsafe(opening, Effect.void)
        }))
    }))
  }

  /** Opens the session unless that has been done. */
  protected readonly ready: Effect.Effect<void, SendError> = this.settled(
    Effect.suspend(() => this.stage === "waiting" ? this.open(this.openingEvent) : Effect.void)
  )

  /** Runs `effect` after an opening that is under way, whatever comes of that. */
  protected settled<A>(effect: Effect.Effect<A, SendError>): Effect.Effect<A, SendError> {
    return Effect.suspend(() =>
      this.opening === undefined ? effect : Effect.andThen(Deferred.await(this.opening), this.settled(effect))
    )
  }

  /** Says `word`, our last one; when it is refused, everything is as before. */
  protected lastWord(stage: "closed" | "declined", word: Sent<X>): Effect.Effect<void, SendError> {
    return Effect.suspend(() => {
      const before = this.stage
      this.stage = stage
      return Effect.tapError(this.tell(word), () => Effect.sync(() => void (this.stage = before)))
    })
  }

  /** Says instead of an opening that there will be none. */
  protected decline(first: Sent<X>, ...others: ReadonlyArray<Sent<X>>): Effect.Effect<void, SendError> {
    return this.settled(Effect.suspend(() =>
      this.stage === "waiting"
        ? Effect.andThen(
          this.lastWord("declined", first),
          Effect.forEach(others, (event) => this.tell(event), { discard: true })
        )
        : this.tooLate(first.type)
    ))
  }

  private tooLate(event: string): Effect.Effect<never, SendError> {
    const state = this.stage === "declined" ? "the session is declined" : "the session has been opened"
    return Effect.fail(
      new SendError({ protocol: this.exchange.type, reason: { _tag: "EventOutOfOrder", event, state } })
    )
  }

  // ---- sending

  /** Opens first where needed. A suspended effect, so that it can be run again. */
  protected deliver(event: Sent<X>): Effect.Effect<void, SendError> {
    return Effect.suspend(() =>
      this.stage === "waiting" ? Effect.andThen(this.ready, this.tell(event)) : this.tell(event)
    )
  }

  readonly send = (out: Out): Effect.Effect<void, SendError> =>
    Effect.flatMapEager(this.encode(out), (event) => this.deliver(event))

  readonly trySend = (out: Out): Effect.Effect<boolean> =>
    Effect.matchEffect(
      Effect.andThen(this.ready, Effect.suspend(() => this.mayTry ? this.encode(out) : Effect.undefined)),
      {
        onFailure: () => Effect.succeed(false),
        onSuccess: (event) => event === undefined || !this.mayTry ? Effect.succeed(false) : this.handOver(event)
      }
    )

  private get mayTry(): boolean {
    const { bufferedAmount, highWaterMark } = this.exchange.transport
    return this.isOpen && bufferedAmount < highWaterMark
  }

  /** The event is taken when `send` begins; a fiber of its own waits for the buffer that this very event has filled. */
  private handOver(event: Sent<X>): Effect.Effect<boolean> {
    return Effect.map(
      Effect.forkChild(Effect.exit(this.tell(event)), { startImmediately: true }),
      (fiber) => {
        const exit = fiber.pollUnsafe()
        return exit === undefined || (Exit.isSuccess(exit) && Exit.isSuccess(exit.value))
      }
    )
  }

  /** False, and nothing sent, when the session is over. */
  private readonly sendIfOpen = (out: Out): Effect.Effect<boolean, SendError> =>
    this.isOpen ? Effect.as(this.send(out), true) : Effect.succeed(false)

  readonly sendAll = <E, R>(stream: Stream.Stream<Out, E, R>): Effect.Effect<void, E | SendError, R> =>
    this.whileOpen(
      // Looks before each element: a stream yields many at once.
      Stream.runForEachWhile(stream, this.sendIfOpen)
    )

  /** As `sendAll`, for events that are encoded already: what many sessions get is encoded once. */
  readonly forward = <E, R>(events: Stream.Stream<Sent<X>, E, R>): Effect.Effect<void, E | SendError, R> =>
    this.whileOpen(
      Stream.runForEachWhile(
        events,
        (event) => this.isOpen ? Effect.as(this.deliver(event), true) : Effect.succeed(false)
      )
    )

  readonly every = <E = never, R = never>(
    interval: Duration.Input,
    out: Out | Effect.Effect<Out, E, R>
  ): Effect.Effect<void, E | SendError, R> => {
    const next = Effect.isEffect(out) ? out as Effect.Effect<Out, E, R> : Effect.succeed(out)
    const tick = Effect.flatMap(next, this.sendIfOpen)
    return this.whileOpen(
      Effect.asVoid(Effect.repeat(tick, { schedule: Schedule.spaced(interval), while: (goOn) => goOn }))
    )
  }

  /** Opens, and runs `work` until it ends or the session does. */
  private whileOpen<E, R>(work: Effect.Effect<void, E, R>): Effect.Effect<void, E | SendError, R> {
    return Effect.andThen(
      this.ready,
      Effect.suspend(() => this.isOpen ? Effect.raceFirst(work, Effect.asVoid(this.closed)) : Effect.void)
    )
  }
}
