/** The little of RFC 6455 that a generator needs: it opens a session, and knows the bytes of one message each way. */
import { createHash } from "node:crypto"
import { Connection } from "./common.mjs"

const key = "c2xpcHdheS1iZW5jaC13cw=="
/** RFC 6455 section 1.3. */
const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d])

/**
 * @typedef {object} Message
 * @property {Buffer} payload
 * @property {boolean} binary
 */

/**
 * Opens a session without extensions; fails when the server's answer is not the right one.
 *
 * @param {number} port
 * @param {string} path
 */
export const openSession = async (port, path) => {
  const connection = new Connection(port)
  connection.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`
  )
  const head = await connection.head()
  if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`not upgraded: ${head.split("\r\n", 1)[0]}`)
  if (/\r\nsec-websocket-accept: *(.*)/i.exec(head)?.[1] !== accept) throw new Error("another sec-websocket-accept")
  if (/\r\nsec-websocket-extensions:/i.test(head)) throw new Error("extensions that nobody asked for")
  return connection
}

/**
 * A whole message as the server has to send it.
 *
 * @param {Message} message
 */
export const serverFrame = (message) => Buffer.concat([head(message, 0), message.payload])

/**
 * A whole message as a client sends it, masked.
 *
 * @param {Message} message
 */
export const clientFrame = (message) =>
  Buffer.concat([head(message, 0x80), mask, message.payload.map((byte, index) => byte ^ mask[index & 3])])

/**
 * Opcode and length in their shortest form, RFC 6455 section 5.2. Up to 64 KiB.
 *
 * @param {Message} message
 * @param {0 | 0x80} masked
 */
const head = ({ binary, payload }, masked) => {
  const first = binary ? 0x82 : 0x81
  const { length } = payload
  return Buffer.from(
    length < 126 ? [first, masked | length] : [first, masked | 126, length >> 8, length & 0xff]
  )
}
