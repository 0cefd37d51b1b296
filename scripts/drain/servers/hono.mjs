/** Hono 4 on its Node adapter and `ws`, with the stop that its documentation shows: `server.close()`. */
import { serve } from "@hono/node-server"
import { Hono } from "hono"
import { streamSSE } from "hono/streaming"
import { setTimeout as sleep } from "node:timers/promises"
import { WebSocketServer } from "ws"
import { addWebSockets, announce, slowMillis, tickMillis } from "./common.mjs"

const app = new Hono()
app.get("/", (context) => context.text("quick"))
app.get("/slow", async (context) => {
  await sleep(slowMillis)
  return context.text("slow")
})
app.get("/events", (context) =>
  streamSSE(context, async (stream) => {
    while (!stream.aborted) {
      await stream.writeSSE({ data: "tick" })
      await stream.sleep(tickMillis)
    }
  }))

const server = serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => announce(port))
addWebSockets(server, WebSocketServer)
process.on("SIGTERM", () => server.close())
