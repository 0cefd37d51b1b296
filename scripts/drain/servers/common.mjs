/**
 * What all servers of the drain table share: the length of a slow answer, the rhythm of an event stream, and how a server
 * says where it listens. Each answers `/` at once, `/slow` in three seconds and `/events` for ever, and takes a
 * WebSocket on `/socket` without saying anything in it.
 */
export const slowMillis = 3000
export const tickMillis = 250
export const tick = "data: tick\n\n"
export const eventHeaders = { "content-type": "text/event-stream", "cache-control": "no-cache" }

/** @param {number} port */
export const announce = (port) => console.log(JSON.stringify({ port }))

/**
 * A request listener of `node:http`.
 *
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
export const listener = (request, response) => {
  if (request.url === "/slow") return void setTimeout(() => response.end("slow"), slowMillis)
  if (request.url !== "/events") return void response.end("quick")
  response.writeHead(200, eventHeaders)
  response.write(tick)
  const timer = setInterval(() => response.write(tick), tickMillis)
  response.on("close", () => clearInterval(timer))
}

/**
 * WebSockets as everybody adds them: `ws` on the upgrades of an http server.
 *
 * @param {import("node:http").Server} server
 * @param {typeof import("ws").WebSocketServer} WebSocketServer
 */
export const addWebSockets = (server, WebSocketServer) => {
  const sockets = new WebSocketServer({ noServer: true })
  server.on("upgrade", (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (session) => session.on("error", () => {}))
  })
}
