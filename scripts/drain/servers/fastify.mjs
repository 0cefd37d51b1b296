/** Fastify 5 and `ws`, with `app.close()`. */
import Fastify from "fastify"
import { setTimeout as sleep } from "node:timers/promises"
import { WebSocketServer } from "ws"
import { addWebSockets, announce, listener, slowMillis } from "./common.mjs"

const app = Fastify({ logger: false })
app.get("/", async () => "quick")
app.get("/slow", async () => {
  await sleep(slowMillis)
  return "slow"
})
app.get("/events", (request, reply) => {
  reply.hijack()
  listener(request.raw, reply.raw)
})
addWebSockets(app.server, WebSocketServer)
process.on("SIGTERM", () => app.close())
await app.listen({ port: 0, host: "127.0.0.1" })
announce(app.server.address().port)
