/** Bare `ws` without compression: an echo, and a broadcast to everyone whenever a session says something. */
import { createServer } from "node:http"
import { WebSocketServer } from "ws"
import { announce, tick } from "./common.mjs"

const server = createServer()
const echo = new WebSocketServer({ noServer: true, perMessageDeflate: false })
const fanout = new WebSocketServer({ noServer: true, perMessageDeflate: false })
const ignore = () => {}

echo.on("connection", (socket) => {
  socket.on("error", ignore)
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }))
})

fanout.on("connection", (socket) => {
  socket.on("error", ignore)
  socket.on("message", () => {
    for (const client of fanout.clients) client.send(tick)
  })
})

server.on("upgrade", (request, socket, head) => {
  const wss = request.url === "/echo" ? echo : fanout
  wss.handleUpgrade(request, socket, head, (session) => wss.emit("connection", session, request))
})

server.listen(0, "127.0.0.1", () => announce(server.address().port))
