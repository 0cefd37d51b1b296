/**
 * A chat: rooms in the address, names, who is here, who is writing, the last fifty messages for those who come, and what
 * they missed for those who come back: `slipway examples/chat.ts`. Processes with the same `REDIS_URL` are one chat.
 */
import * as Config from "effect/Config"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { PubSub, Rooms, Router, Server, Topic, type WebSocketSession } from "slipway"
import * as PubSubMemory from "slipway/layers/PubSubMemory"
import * as PubSubRedis from "slipway/layers/PubSubRedis"
import { page, pageHeaders } from "./chat/page.ts"

const RoomName = Schema.String.check(Schema.isPattern(/^[a-z0-9-]{1,40}$/))
/** Nothing invisible but what joins parts of an emoji: what looks like another name is another name. */
const Name = Schema.Trimmed.check(Schema.isPattern(/^(?:\u200d|[^\p{C}]){1,30}$/u))

const said = { name: Name, text: Schema.String, at: Schema.Date }

/** What a page says. */
const ToServer = Schema.Union([
  Schema.TaggedStruct("Say", { text: Schema.String.check(Schema.isPattern(/\S/), Schema.isMaxLength(1000)) }),
  Schema.TaggedStruct("Typing", {})
])

/** What a page is told. */
const ToPage = Schema.Union([
  Schema.TaggedStruct("Said", { id: Schema.String, ...said }),
  Schema.TaggedStruct("Here", { names: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("Typing", { name: Name })
])

type Session = WebSocketSession.WebSocketSession<typeof ToServer.Type, typeof ToPage.Type>

/** What is said in a room. */
const Messages = Topic.family((room: string) => `chat.${room}.messages`, Schema.Struct(said), { keep: 50 })

/** Says that somebody has come or gone. Who is there stands in the presence of `chat.<room>`. */
const Changes = Topic.family((room: string) => `chat.${room}.changes`, Schema.Null)

/** Everything that is said: after what the page has seen, or from the last fifty on. */
const messagesFor = (room: string, after: string | undefined) =>
  Stream.map(
    Messages(room).entries(after === undefined ? { last: 50 } : { after }),
    ({ id = "", value }) => ({ _tag: "Said", id, ...value } as const)
  )

/** Who is here, whenever that changes. Now and then it is asked unasked: a process that was killed says nothing. */
const namesIn = (room: string) =>
  Stream.merge(Changes(room).subscribe(), Stream.tick("10 seconds")).pipe(
    Stream.mapEffect(() => PubSub.PubSub.use(({ presence }) => presence.list(`chat.${room}`))),
    Stream.map((entries) => entries.map(({ key }) => key).sort((a, b) => a.localeCompare(b))),
    Stream.changesWith((one, other) => one.join("\n") === other.join("\n")),
    Stream.map((names) => ({ _tag: "Here", names } as const))
  )

/** One page in one room, until it is closed. */
const chat = Effect.fnUntraced(function*(session: Session, room: string, name: string, after: string | undefined) {
  const rooms = yield* Rooms.make(session)
  const typing = `chat.${room}.typing`
  const hear = Stream.runForEach(session.messages, (message) =>
    message._tag === "Typing"
      ? rooms.broadcastOthers(typing, { _tag: "Typing", name })
      : Effect.flatMap(
        DateTime.nowAsDate,
        (at) => Messages(room).publish({ name, text: message.text.trim(), at })
      ))
  const tell = session.sendAll(Stream.merge(messagesFor(room, after), namesIn(room)))
  const change = Changes(room).publish(null)
  // A page that is not there any more is found out, and has left.
  yield* session.keepAlive("20 seconds", "20 seconds")
  yield* rooms.join(typing)
  yield* rooms.channel.track(`chat.${room}`, name)
  yield* change
  yield* Effect.ensuring(
    Effect.raceFirst(tell, hear),
    // The session's end would do it as well; the others are to be told after it.
    Effect.ignore(Effect.andThen(rooms.channel.untrack(`chat.${room}`, name), change))
  )
})

const routes = Router.make(
  Router.redirect("/", "/lobby"),
  Router.get(
    "/:room",
    { path: { room: RoomName } },
    () =>
      Effect.succeed(HttpServerResponse.text(page, { headers: pageHeaders, contentType: pageHeaders["content-type"] }))
  ),
  Router.websocket(
    "/:room/socket",
    {
      path: { room: RoomName },
      query: { name: Name, after: Schema.optionalKey(Schema.String) },
      receive: ToServer,
      send: ToPage
    },
    ({ path, query, session }) => chat(session, path.room, query.name, query.after)
  )
)

const pubSub = Layer.unwrap(Effect.map(
  Config.option(Config.Redacted("REDIS_URL")),
  Option.match({ onNone: () => PubSubMemory.layer(), onSome: (url) => PubSubRedis.layerClient({ url }) })
))

export default Server.serve(routes).pipe(Layer.provide(pubSub))
