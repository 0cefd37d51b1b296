/** The Slipway application of the benchmark, written straight on the contract: no router, no handler. */
import * as Effect from "effect/Effect"
import { App } from "slipway"
import { hello, streamPiece, streamPieces } from "./common.mjs"

const text = [["content-type", "text/plain"]]
const json = [["content-type", "application/json"]]
const bytes = [["content-type", "application/octet-stream"]]

/** Reads the whole request body; one piece, the usual case, is not copied. */
const readAll = (receive, pieces) =>
  Effect.flatMap(receive, (event) => {
    if (event.type !== "http.request") return Effect.interrupt
    if (!event.more && pieces.length === 0) return Effect.succeed(event.body)
    pieces.push(event.body)
    return event.more ? readAll(receive, pieces) : Effect.succeed(Buffer.concat(pieces))
  })

const stream = Effect.fnUntraced(function*(send) {
  yield* send({ type: "http.response.start", status: 200, headers: bytes })
  for (let left = streamPieces; left > 0; left -= 1) {
    yield* send({ type: "http.response.body", body: streamPiece, more: left > 1 })
  }
})

/** @type {import("slipway").App.App} */
const app = App.http(({ scope, receive, send }) => {
  const { path } = scope
  if (path === "/") return App.respond(send, 200, hello, text)
  if (path === "/json") return App.respond(send, 200, JSON.stringify({ message: hello }), json)
  if (path.startsWith("/users/")) {
    const fields = new URLSearchParams(scope.queryString).get("fields")
    return App.respond(send, 200, `${path.slice(7)} ${fields}`, text)
  }
  if (path === "/echo") {
    return Effect.flatMap(readAll(receive, []), (body) => App.respond(send, 200, body, bytes))
  }
  if (path === "/stream") return stream(send)
  return App.respond(send, 404, "")
})

export default app
