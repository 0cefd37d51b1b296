/** Hono 4 on its Node adapter. */
import { serve } from "@hono/node-server"
import { Hono } from "hono"
import { announce, hello, keepAliveMillis, streamPiece, streamPieces } from "./common.mjs"

const app = new Hono()
const bytes = { "content-type": "application/octet-stream" }

app.get("/", (context) => context.text(hello))
app.get("/json", (context) => context.json({ message: hello }))
app.get("/users/:id", (context) => context.text(`${context.req.param("id")} ${context.req.query("fields")}`))
app.post("/echo", async (context) => context.body(await context.req.arrayBuffer(), 200, bytes))
app.get("/stream", (context) => {
  let left = streamPieces
  const body = new ReadableStream({
    pull(controller) {
      controller.enqueue(streamPiece)
      left -= 1
      if (left === 0) controller.close()
    }
  })
  return context.body(body, 200, bytes)
})

const serverOptions = { keepAliveTimeout: keepAliveMillis }
serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1", serverOptions }, (address) => announce(address.port))
