/** `node:https` as it comes; arguments: certificate file, key file. */
import { readFileSync } from "node:fs"
import { createServer } from "node:https"
import { announce, hello, keepAliveMillis } from "./common.mjs"

const [cert = "", key = ""] = process.argv.slice(2)
const options = { cert: readFileSync(cert), key: readFileSync(key), keepAliveTimeout: keepAliveMillis }

const server = createServer(options, (_request, response) => {
  response.writeHead(200, { "content-type": "text/plain", "content-length": hello.length })
  response.end(hello)
})

server.listen(0, "127.0.0.1", () => announce(server.address().port))
