/** `node:http` as it comes: no framework, routes by comparison. */
import { createServer } from "node:http"
import { announce, hello, keepAliveMillis, streamPiece, streamPieces } from "./common.mjs"

const server = createServer({ keepAliveTimeout: keepAliveMillis }, (request, response) => {
  const { url } = request
  if (url === "/") {
    response.writeHead(200, { "content-type": "text/plain", "content-length": hello.length })
    response.end(hello)
  } else if (url === "/json") {
    const body = JSON.stringify({ message: hello })
    response.writeHead(200, { "content-type": "application/json", "content-length": body.length })
    response.end(body)
  } else if (url.startsWith("/users/")) {
    const query = url.indexOf("?")
    const fields = new URLSearchParams(url.slice(query + 1)).get("fields")
    const body = `${decodeURIComponent(url.slice(7, query))} ${fields}`
    response.writeHead(200, { "content-type": "text/plain", "content-length": Buffer.byteLength(body) })
    response.end(body)
  } else if (url === "/echo") {
    const pieces = []
    request.on("data", (piece) => pieces.push(piece))
    request.on("end", () => {
      const body = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length })
      response.end(body)
    })
  } else if (url === "/stream") {
    response.writeHead(200, { "content-type": "application/octet-stream" })
    stream(response, streamPieces)
  } else {
    response.writeHead(404, { "content-length": 0 })
    response.end()
  }
})

/**
 * @param {import("node:http").ServerResponse} response
 * @param {number} left
 */
const stream = (response, left) => {
  while (left > 0) {
    left -= 1
    if (!response.write(streamPiece) && left > 0) {
      const remaining = left
      response.once("drain", () => stream(response, remaining))
      return
    }
  }
  response.end()
}

server.listen(0, "127.0.0.1", () => announce(server.address().port))
