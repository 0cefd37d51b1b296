/**
 * The dashboard over HTTP: its page with the policy that lets nothing else run in it, and its stream of events.
 */
import * as Digest from "effect/crypto/Digest"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import type { Headers } from "../../schema/Scope.ts"
import type { SseExchange } from "../Exchange.ts"
import type { SendError } from "../SendError.ts"
import * as SseSession from "../SseSession.ts"
import type { Feed, Message } from "./Feed.ts"
import { page as html } from "./page.ts"
import { script } from "./script.ts"
import { style } from "./style.ts"

/** The policy of the page: its own script and style by their hashes, and this server's events. */
const policy = Effect.gen(function*() {
  const { digest } = yield* Digest.Digest
  const hash = (source: string) =>
    Effect.map(digest(Digest.sha256, new TextEncoder().encode(source)), (found) => `'sha256-${Base64.encode(found)}'`)
  return `default-src 'none'; script-src ${yield* hash(script)}; style-src ${yield* hash(style)}; connect-src 'self'; `
    + `img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
}).pipe(Effect.provide(Digest.layerWebCrypto))

/** The page and its own headers. */
export const page: Effect.Effect<{ readonly body: string; readonly headers: Headers }> = Effect.map(
  policy,
  (policy) => ({
    body: html,
    headers: [["content-type", "text/html; charset=utf-8"], ["content-security-policy", policy]]
  })
)

/** Sends the feed until the client leaves. A client that comes back gets the past again, and is whole. */
export const stream = (exchange: SseExchange, feed: Feed, headers: Headers): Effect.Effect<void, SendError> => {
  const session = SseSession.make(exchange)
  return Effect.andThen(session.start({ headers }), session.each(feed, toEvent))
}

const toEvent = (message: Message): SseSession.Event => {
  switch (message._tag) {
    case "history":
      return { event: "history", data: JSON.stringify(message.points), retry: 2000 }
    case "now":
      return { event: "now", data: JSON.stringify(message.now) }
    case "trouble":
      return { event: "trouble", data: JSON.stringify(message.problem) }
  }
}
