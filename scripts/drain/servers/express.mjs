/** Express 5 and `ws`, with the stop that its documentation shows: `server.close()`. */
import express from "express"
import { WebSocketServer } from "ws"
import { addWebSockets, announce, listener } from "./common.mjs"

const app = express()
app.get(["/", "/slow", "/events"], listener)
const server = app.listen(0, "127.0.0.1", () => announce(server.address().port))
addWebSockets(server, WebSocketServer)
process.on("SIGTERM", () => server.close())
