/**
 * The floor: `node:net` with canned bytes. It looks for the end of each request head, one answer for each, and parses
 * nothing; so it can only serve the scenarios whose requests have no body and whose answer never changes.
 */
import { createServer } from "node:net"
import { announce, hello } from "./common.mjs"

const answer = `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${hello.length}\r\n\r\n${hello}`
const endOfHead = "\r\n\r\n"

const server = createServer({ noDelay: true }, (socket) => {
  /** @type {Buffer | undefined} bytes after the last whole head */
  let rest
  socket.on("data", (bytes) => {
    const data = rest === undefined ? bytes : Buffer.concat([rest, bytes])
    let answers = ""
    let from = 0
    for (let at = data.indexOf(endOfHead); at !== -1; at = data.indexOf(endOfHead, from)) {
      answers += answer
      from = at + endOfHead.length
    }
    rest = from === data.length ? undefined : data.subarray(from)
    if (answers !== "") socket.write(answers, "latin1")
  })
  socket.on("error", () => socket.destroy())
})

server.listen(0, "127.0.0.1", () => announce(server.address().port))
