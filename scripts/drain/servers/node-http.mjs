/** `node:http` and `ws`, with the stop that its documentation shows: `server.close()`. */
import { createServer } from "node:http"
import { WebSocketServer } from "ws"
import { addWebSockets, announce, listener } from "./common.mjs"

const server = createServer(listener)
addWebSockets(server, WebSocketServer)
process.on("SIGTERM", () => server.close())
server.listen(0, "127.0.0.1", () => announce(server.address().port))
