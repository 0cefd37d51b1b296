/**
 * News as server-sent events: a page publishes, every page follows, and one whose connection breaks gets what it missed:
 * `slipway examples/news.ts`.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Router, Server, Topic } from "slipway"
import * as PubSubMemory from "slipway/layers/PubSubMemory"
import { page, pageHeaders } from "./news/page.ts"

const Title = Schema.Trimmed.check(Schema.isNonEmpty(), Schema.isMaxLength(200))

/** The last hundred are kept, for whoever comes back. */
const News = Topic.make("news", Schema.Struct({ title: Title, at: Schema.Date }), { keep: 100 })

const routes = Router.make(
  Router.get(
    "/",
    () =>
      Effect.succeed(HttpServerResponse.text(page, { headers: pageHeaders, contentType: pageHeaders["content-type"] }))
  ),
  Router.post(
    "/articles",
    { body: Schema.Struct({ title: Title }), success: Schema.Void },
    ({ body }) => Effect.flatMap(DateTime.nowAsDate, (at) => News.publish({ title: body.title, at }))
  ),
  Router.sse("/feed", ({ session }) =>
    // What breaks without a word is noticed by both sides.
    Effect.andThen(session.keepAlive("15 seconds"), News.feed(session, { last: 20 })))
)

export default Server.serve(routes).pipe(Layer.provide(PubSubMemory.layer()))
