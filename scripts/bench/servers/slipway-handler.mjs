/** Slipway through `Handler.make`: applications that return an HttpServerResponse, as Effect users write them. */
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import { Handler } from "slipway"
import { hello, streamPiece, streamPieces } from "./common.mjs"
import { serve } from "./slipway-serve.mjs"

const bytes = { contentType: "application/octet-stream" }
const pieces = Stream.rechunk(Stream.fromIterable(Array.from({ length: streamPieces }, () => streamPiece)), 1)

const answer = (request) => {
  const { url } = request
  if (url === "/") return Effect.succeed(HttpServerResponse.text(hello))
  if (url === "/json") return HttpServerResponse.json({ message: hello })
  if (url.startsWith("/users/")) {
    const query = url.indexOf("?")
    const fields = new URLSearchParams(url.slice(query + 1)).get("fields")
    return Effect.succeed(HttpServerResponse.text(`${url.slice(7, query)} ${fields}`))
  }
  if (url === "/echo") {
    return Effect.map(request.arrayBuffer, (body) => HttpServerResponse.uint8Array(new Uint8Array(body), bytes))
  }
  if (url === "/stream") return Effect.succeed(HttpServerResponse.stream(pieces, bytes))
  return Effect.succeed(HttpServerResponse.empty({ status: 404 }))
}

serve(Handler.make(Effect.flatMap(HttpServerRequest.HttpServerRequest, answer)), [])
