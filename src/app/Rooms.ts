/**
 * Rooms for WebSocket and SSE sessions: who joins a room gets what is broadcast to it, from whatever process. A room is
 * a topic of PubSub and exists as long as somebody is in it.
 *
 * Owns a channel for the session, and what goes from the channel to the client. Everything is left when the session ends.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SseSendEvent, WebSocketSend, WebSocketSendMessage } from "../schema/Event.ts"
import {
  type Channel,
  type Message,
  type Payload,
  type PublishOptions,
  PubSub,
  type PubSubError,
  type Replay
} from "../service/PubSub.ts"
import type { SseExchange, WebSocketExchange } from "./Exchange.ts"
import { SessionBase } from "./internal/SessionBase.ts"
import { eventOf } from "./internal/SseMessage.ts"
import type { SendError } from "./SendError.ts"
import type * as SseEvents from "./SseSession.ts"
import type { SseSession } from "./SseSession.ts"
import type { WebSocketSession } from "./WebSocketSession.ts"

/** What a session is in, and what it says there. Its functions need no `this`. */
export interface Rooms<in Out> {
  /** The session's channel: presence is tracked with it, and `PubSub.send` reaches the session by its name. */
  readonly channel: Channel
  /**
   * Enters a room; again is once. A replay sends kept messages first. Does nothing once the session is over.
   *
   * **Gotchas** a pattern is every room that it matches. Check a name that a client chooses: with `**` it hears everything.
   */
  readonly join: (room: string, replay?: Replay) => Effect.Effect<void, PubSubError>
  readonly leave: (room: string) => Effect.Effect<void>
  readonly leaveAll: Effect.Effect<void>
  /** The rooms joined, in the order of joining. */
  readonly joined: ReadonlyArray<string>
  readonly isIn: (room: string) => boolean
  /**
   * Sends to everybody in the room, this session included where it is in it. Encoded once, by this session's Schema: all
   * sessions of a room have the same. Possible also when the session is not in the room, or is over.
   *
   * **Fails with** `SendError` when the value does not fit the Schema, and as `PubSub.publish` does.
   */
  readonly broadcast: (
    room: string,
    out: Out,
    options?: PublishOptions
  ) => Effect.Effect<void, PubSubError | SendError>
  /** Sends to everybody else in the room. */
  readonly broadcastOthers: Rooms<Out>["broadcast"]
}

/**
 * Gives a session rooms, and accepts or starts it. A member that is too slow misses messages: 100 wait for it, see
 * `PubSub`. Once for each session.
 *
 * The rooms are left when the session ends, in whatever way and also when the application has returned before.
 *
 * **Fails with** `SendError` when the session cannot be opened, and as `PubSub.open` does.
 *
 * **Example**
 * ```ts
 * const chat = App.websocket((exchange) =>
 *   Effect.gen(function*() {
 *     const session = WebSocketSession.make(exchange)
 *     const rooms = yield* Rooms.make(session)
 *     yield* rooms.join("chat.lobby")
 *     yield* Stream.runForEach(session.messages, (text) => rooms.broadcast("chat.lobby", text))
 *   })
 * )
 * ```
 */
export const make: {
  <In, Out>(session: WebSocketSession<In, Out>): Effect.Effect<Rooms<Out>, PubSubError | SendError, PubSub>
  <Data>(session: SseSession<Data>): Effect.Effect<Rooms<Data>, PubSubError | SendError, PubSub>
} = (
  session: WebSocketSession<any, any> | SseSession<any>
): Effect.Effect<Rooms<any>, PubSubError | SendError, PubSub> =>
  Effect.gen(function*() {
    const pubsub = yield* PubSub
    const wire = wireOf(session)
    const scope = yield* Scope.make()
    const run = Effect.runForkWith(yield* Effect.context<never>())
    // The scope of an application is its server's, so the end of the session is all there is to wait for.
    yield* session.onClose(() => void run(Scope.close(scope, Exit.void)))
    // Nothing to forward: it opens the session, and fails where it cannot.
    const channel = yield* Effect.onError(
      Effect.tap(Scope.provide(pubsub.open(), scope), wire.forward(Stream.empty)),
      () => Scope.close(scope, Exit.void)
    )
    // What it fails with says that the session is ending.
    Fiber.runIn(run(Effect.ignore(wire.forward(channel.messages))), scope)
    return new Member(pubsub, channel, wire.encode)
  })

/** How a session's values become payloads, and payloads events to its client. */
interface Wire {
  readonly encode: (out: unknown) => Effect.Effect<Payload, SendError>
  readonly forward: (messages: Stream.Stream<Message>) => Effect.Effect<void, SendError>
}

const wireOf = (session: WebSocketSession<any, any> | SseSession<any>): Wire =>
  isSse(session) ? sseWire(session) : webSocketWire(session)

const isSse = (session: WebSocketSession<any, any> | SseSession<any>): session is SseSession<any> =>
  session.exchange.type === "sse"

const webSocketWire = (session: WebSocketSession<any, any>): Wire => {
  const base = SessionBase.of<WebSocketExchange, unknown>(session)
  return {
    encode: (out) =>
      // Of the two, an encoder sets one.
      Effect.mapEager(base.encode(out), (event) => {
        const { bytes, text } = event as WebSocketSendMessage
        return (text ?? bytes)!
      }),
    forward: (messages) =>
      base.forward(
        Stream.map(messages, ({ data }): WebSocketSend =>
          typeof data === "string" ? { type: "websocket.send", text: data } : { type: "websocket.send", bytes: data })
      )
  }
}

const sseWire = (session: SseSession<any>): Wire => {
  const base = SessionBase.of<SseExchange, SseEvents.Event<unknown>>(session)
  return {
    encode: (data) => Effect.mapEager(base.encode({ data }), (event) => (event as SseSendEvent).data),
    forward: (messages) => base.forward(Stream.map(messages, eventOf))
  }
}

class Member implements Rooms<unknown> {
  readonly channel: Channel
  private readonly pubsub: PubSub["Service"]
  private readonly encode: Wire["encode"]

  constructor(pubsub: PubSub["Service"], channel: Channel, encode: Wire["encode"]) {
    this.pubsub = pubsub
    this.channel = channel
    this.encode = encode
  }

  get joined(): ReadonlyArray<string> {
    return this.channel.subscriptions
  }

  readonly isIn = (room: string): boolean => this.channel.subscriptions.includes(room)

  readonly join: Rooms<unknown>["join"] = (room, replay) =>
    Effect.catchIf(
      this.channel.subscribe(room, replay),
      // The channel has gone, with the session.
      ({ reason }) => reason._tag === "UnknownChannel",
      () => Effect.void
    )

  readonly leave: Rooms<unknown>["leave"] = (room) => this.channel.unsubscribe(room)

  get leaveAll(): Effect.Effect<void> {
    return this.channel.unsubscribeAll
  }

  readonly broadcast: Rooms<unknown>["broadcast"] = (room, out, options) =>
    Effect.flatMapEager(this.encode(out), (payload) => this.pubsub.publish(room, payload, options))

  readonly broadcastOthers: Rooms<unknown>["broadcastOthers"] = (room, out, options) =>
    Effect.flatMapEager(this.encode(out), (payload) => this.channel.publish(room, payload, options))
}
