/**
 * A stream of server-sent events of a test client. Reads as fast as the application sends and keeps events until they
 * are taken, however many; a test of backpressure reads `response.stream` instead. Never reconnects.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import type { HttpClientError } from "effect/http/HttpClientError"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { arrivals, type Raise } from "./TestClientDialer.ts"
import { Denied, StreamClosed } from "./TestClientErrors.ts"

/** An event as a client sees it. */
export interface SseEvent {
  /** `message` when it has no name. */
  readonly event: string
  readonly data: string
  /** The last id that was sent, with this event or before. */
  readonly id: string | undefined
  /** Milliseconds that the server asks to wait before a reconnect, when it has said so since the event before. */
  readonly retry: number | undefined
}

/** The client's end of a stream of events. */
export interface SseSession {
  /** Status and headers. Its body is being read already. */
  readonly response: HttpClientResponse
  /** The next event. Suspends until there is one; fails after the last. */
  readonly next: Effect.Effect<SseEvent, StreamClosed>
  /** Events until the stream ends, in whatever way. */
  readonly events: Stream.Stream<SseEvent>
  /** Succeeds with how the stream has ended, once it has. */
  readonly closed: Effect.Effect<StreamClosed>
}

/** Reads a response as a stream of events until the scope closes. **Fails with** `Denied` when it is none. */
export const open = Effect.fnUntraced(function*(
  response: HttpClientResponse,
  raise: Raise
): Effect.fn.Return<SseSession, Denied | HttpClientError, Scope.Scope> {
  const { headers, status } = response
  if (status !== 200 || headers["content-type"]?.startsWith("text/event-stream") !== true) {
    return yield* Effect.fail(new Denied({ status, headers, body: yield* response.text }))
  }
  const arrived = yield* Queue.unbounded<SseEvent, StreamClosed>()
  const end = Deferred.makeUnsafe<StreamClosed>()
  let retry: number | undefined
  const parser = Sse.makeParser((event) => {
    if (event._tag === "Retry") {
      retry = Duration.toMillis(event.duration)
      return
    }
    Queue.offerUnsafe(arrived, { event: event.event, data: event.data, id: event.id, retry })
    retry = undefined
  })
  const finish = (isComplete: boolean) =>
    Effect.sync(() => {
      const closed = new StreamClosed({ isComplete })
      Deferred.doneUnsafe(end, Effect.succeed(closed))
      Queue.failCauseUnsafe(arrived, Cause.fail(closed))
    })
  yield* response.stream.pipe(
    Stream.decodeText,
    Stream.runForEach((text) => Effect.sync(() => void parser.feed(text))),
    Effect.matchCauseEffect({ onFailure: () => finish(false), onSuccess: () => finish(true) }),
    Effect.forkScoped({ startImmediately: true })
  )
  const { clientPort = 0 } = arrivals.get(response) ?? {}
  const raising = (closed: StreamClosed): Effect.Effect<StreamClosed> =>
    Effect.flatMap(
      raise(clientPort, closed.isComplete ? 0 : 500),
      (cause) => cause === undefined ? Effect.succeed(closed) : Effect.failCause(cause)
    )
  const next = Effect.catch(Queue.take(arrived), (closed) => Effect.flatMap(raising(closed), Effect.fail))
  return {
    response,
    next,
    events: Stream.catch(Stream.fromEffectRepeat(next), () => Stream.empty),
    closed: Effect.flatMap(Deferred.await(end), raising)
  }
})
