/** Server-sent events on `node:http`: the loop that everyone writes, started by a POST. */
import { createServer } from "node:http"
import { announce, keepAliveMillis, tick } from "./common.mjs"

const text = `data: ${tick}\n\n`
/** @type {Set<import("node:http").ServerResponse>} */
const clients = new Set()

const server = createServer({ keepAliveTimeout: keepAliveMillis }, (request, response) => {
  if (request.url === "/events") {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
    response.flushHeaders()
    clients.add(response)
    response.on("close", () => clients.delete(response))
  } else {
    for (const client of clients) client.write(text)
    response.writeHead(200, { "content-length": 0 })
    response.end()
  }
})

server.listen(0, "127.0.0.1", () => announce(server.address().port))
