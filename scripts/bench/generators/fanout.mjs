/**
 * One message to many: asks for a broadcast, waits until it has arrived everywhere, asks for the next. Over WebSocket
 * one of the sessions asks; over SSE a connection of its own does, with a POST.
 *
 * Compares the first message of each client byte by byte, later ones by their length, all together.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Connection, generate, openAll } from "./common.mjs"
import { clientFrame, openSession, serverFrame } from "./websocket.mjs"

/** For servers that count a client in only after it has its answer. */
const settleMillis = 100

const overWebSocket = async ({ clients, port, text }) => {
  const message = { payload: Buffer.from(text), binary: false }
  const opened = await openAll(clients, () => openSession(port, "/fanout"))
  const ask = clientFrame(message)
  return { opened, expected: serverFrame(message), ask: () => opened[0].write(ask) }
}

const overSse = async ({ clients, port, text }) => {
  const event = `data: ${text}\n\n`
  const chunk = Buffer.from(`${event.length.toString(16)}\r\n${event}\r\n`)
  const opened = await openAll(clients, () => openStream(port))
  const control = new Connection(port)
  control.count(() => {})
  const post = Buffer.from("POST /broadcast HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
  return { opened, expected: chunk, ask: () => control.write(post) }
}

const openStream = async (/** @type {number} */ port) => {
  const connection = new Connection(port)
  connection.write("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n")
  const head = await connection.head()
  if (!head.startsWith("HTTP/1.1 200 ")) throw new Error(`no stream: ${head.split("\r\n", 1)[0]}`)
  if (!/\r\ncontent-type: *text\/event-stream/i.test(head)) throw new Error("not a text/event-stream")
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) throw new Error("a stream that is not chunked")
  return connection
}

generate(async (job) => {
  const { ask, expected, opened } = await (job.wire === "ws" ? overWebSocket(job) : overSse(job))
  await sleep(settleMillis)
  ask()
  await Promise.all(opened.map((connection) => connection.exactly(expected)))

  const whole = expected.length * opened.length
  /** Bytes of the broadcast under way that are still to come. */
  let left = 0
  let broadcasts = 0
  let errors = 0
  let ended = false
  const broadcast = () => {
    left = whole
    ask()
  }

  for (const connection of opened) {
    connection.count((length) => {
      left -= length
      if (left > 0) return
      if (left < 0) errors += 1
      left = 0
      broadcasts += 1
      if (!ended) broadcast()
    })
  }
  return {
    begin: broadcast,
    end: () => {
      ended = true
    },
    pending: () => Math.ceil(left / expected.length),
    counts: () => ({
      requests: broadcasts * opened.length,
      errors: errors + opened.filter(({ isLost }) => isLost).length
    })
  }
})
