/** Bun.serve with its native routes; run by node_modules/.bin/bun. Not Node: the figure to envy. */
import { announce, hello, streamPiece, streamPieces } from "./common.mjs"

const bytes = { headers: { "content-type": "application/octet-stream" } }
const text = { headers: { "content-type": "text/plain" } }

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 120,
  routes: {
    "/": () => new Response(hello, text),
    "/json": () => Response.json({ message: hello }),
    "/users/:id": (request) => {
      const fields = new URLSearchParams(request.url.slice(request.url.indexOf("?") + 1)).get("fields")
      return new Response(`${request.params.id} ${fields}`, text)
    },
    "/echo": { POST: async (request) => new Response(await request.arrayBuffer(), bytes) },
    "/stream": () => {
      let left = streamPieces
      const body = new ReadableStream({
        pull(controller) {
          controller.enqueue(streamPiece)
          left -= 1
          if (left === 0) controller.close()
        }
      })
      return new Response(body, bytes)
    }
  }
})

announce(server.port)
