/**
 * WebSocket messages that come back: a fixed number in flight on each session, a new one for each that returns.
 * Compares the first echo of each session byte by byte, later ones by their length and first byte.
 */
import { generate, openAll } from "./common.mjs"
import { clientFrame, openSession, serverFrame } from "./websocket.mjs"

generate(async ({ binary, bytes, inFlight, port, sessions }) => {
  const message = { payload: Buffer.alloc(bytes, "0123456789abcdef"), binary }
  const expected = serverFrame(message)
  const sent = clientFrame(message)
  /** So many messages in one write. */
  const burst = Array.from({ length: inFlight + 1 }, (_, count) => Buffer.alloc(sent.length * count, sent))
  let requests = 0
  let pending = 0
  let errors = 0
  let ended = false

  const opened = await openAll(sessions, async () => {
    const session = await openSession(port, "/echo")
    session.write(sent)
    await session.exactly(expected)
    return session
  })

  const send = (session, count) => {
    pending += count
    session.write(burst[count])
  }

  for (const session of opened) {
    let received = 0
    session.count((length, bytes) => {
      if (received === 0 && bytes[0] !== expected[0]) errors += 1
      received += length
      if (received < expected.length) return
      const complete = Math.floor(received / expected.length)
      received -= complete * expected.length
      requests += complete
      pending -= complete
      if (!ended) send(session, complete)
    })
  }
  return {
    begin: () => opened.forEach((session) => send(session, inFlight)),
    end: () => {
      ended = true
    },
    pending: () => pending,
    counts: () => ({ requests, errors: errors + opened.filter(({ isLost }) => isLost).length })
  }
})
