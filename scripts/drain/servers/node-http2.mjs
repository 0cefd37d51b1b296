/** The core API of `node:http2` in clear text, with `server.close()` and a `session.close()` for each session. */
import { createServer } from "node:http2"
import { announce, eventHeaders, slowMillis, tick, tickMillis } from "./common.mjs"

const server = createServer()
const sessions = new Set()

server.on("session", (session) => {
  sessions.add(session)
  session.on("close", () => sessions.delete(session))
})
server.on("stream", (stream, headers) => {
  stream.on("error", () => {})
  if (headers[":path"] === "/events") {
    stream.respond({ ":status": 200, ...eventHeaders })
    stream.write(tick)
    const timer = setInterval(() => stream.write(tick), tickMillis)
    return void stream.on("close", () => clearInterval(timer))
  }
  const isSlow = headers[":path"] === "/slow"
  setTimeout(() => {
    stream.respond({ ":status": 200 })
    stream.end(isSlow ? "slow" : "quick")
  }, isSlow ? slowMillis : 0)
})
process.on("SIGTERM", () => {
  server.close()
  for (const session of sessions) session.close()
})
server.listen(0, "127.0.0.1", () => announce(server.address().port))
