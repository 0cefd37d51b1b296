/** The core API of `node:http2` in clear text: no compatibility layer, no framework. */
import { createServer } from "node:http2"
import { announce, hello, large } from "./common.mjs"

const server = createServer()

server.on("stream", (stream, headers) => {
  if (headers[":path"] === "/large") {
    stream.respond({ ":status": 200, "content-type": "application/octet-stream", "content-length": large.length })
    stream.end(large)
  } else {
    stream.respond({ ":status": 200, "content-type": "text/plain", "content-length": hello.length })
    stream.end(hello)
  }
})

server.listen(0, "127.0.0.1", () => announce(server.address().port))
