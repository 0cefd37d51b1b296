/**
 * What the bundled generators of the other wires share. Each is a program of its own, so that it runs on its own core;
 * its one JSON argument is the job.
 *
 * It opens its connections, compares the first answer on each with what has to arrive, and prints `{"ready":true}`, or
 * `{"problem":"..."}`. A line on stdin (milliseconds) starts the load. After that time it asks for nothing more, waits
 * for what is still under way, and prints one JSON line with the counts; what never came is an error.
 */
import { connect } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

/** Connections that are being opened at the same time: below every listen backlog. */
const batch = 100
const drainMillis = 2000
const pollMillis = 2

/**
 * @typedef {object} Load
 * @property {() => void} begin
 * @property {() => void} end asks for nothing more
 * @property {() => number} pending answers or messages that are still under way
 * @property {() => { requests: number, errors: number }} counts since `begin`
 */

const say = (/** @type {unknown} */ word) => console.log(JSON.stringify(word))

/**
 * Runs a generator.
 *
 * @param {(job: any) => Promise<Load>} open
 */
export const generate = async (open) => {
  process.stdin.on("end", () => process.exit(0))
  const load = await open(JSON.parse(process.argv[2] ?? "{}")).catch((error) => {
    say({ problem: error.message })
    process.exit(0)
  })
  process.stdin.once("data", async (millis) => {
    const began = performance.now()
    load.begin()
    await sleep(Number(millis))
    load.end()
    const deadline = performance.now() + drainMillis
    while (load.pending() > 0 && performance.now() < deadline) await sleep(pollMillis)
    const { errors, requests } = load.counts()
    say({ requests, errors: errors + load.pending(), seconds: (performance.now() - began) / 1000 })
    process.exit(0)
  })
  say({ ready: true })
}

/**
 * @template A
 * @param {number} count
 * @param {(index: number) => Promise<A>} open
 * @returns {Promise<Array<A>>}
 */
export const openAll = async (count, open) => {
  const opened = []
  for (let from = 0; from < count; from += batch) {
    const size = Math.min(batch, count - from)
    opened.push(...await Promise.all(Array.from({ length: size }, (_, index) => open(from + index))))
  }
  return opened
}

/**
 * Where all connections of a generator read to. A callback is done with the bytes before the next read, so that
 * counting them takes neither allocations nor streams: the generator must not be slower than what it measures.
 */
const room = Buffer.allocUnsafe(65_536)

/** A connection that first compares what arrives, then only counts it. */
export class Connection {
  #socket
  /** What has arrived and was not compared yet. */
  #arrived = Buffer.alloc(0)
  /** @type {((length: number, bytes: Buffer) => void) | undefined} */
  #count
  #look = () => {}
  #fail = (/** @type {Error} */ _error) => {}
  /** @type {Error | undefined} */
  #lost

  /** @param {number} port */
  constructor(port) {
    const callback = (/** @type {number} */ length) => {
      if (this.#count === undefined) this.#collect(length)
      else this.#count(length, room)
      return true
    }
    this.#socket = connect({ host: "127.0.0.1", port, noDelay: true, onread: { buffer: room, callback } })
    this.#socket.on("error", (error) => this.#lose(error))
    this.#socket.on("close", () => this.#lose(new Error("the connection was closed")))
  }

  /** Whether the connection was cut, which no server may do during a benchmark. */
  get isLost() {
    return this.#lost !== undefined
  }

  /** @param {Buffer | string} bytes */
  write(bytes) {
    this.#socket.write(bytes)
  }

  /** Waits for the head of an HTTP answer; yields it without the blank line. */
  head() {
    return this.#next((arrived) => {
      const end = arrived.indexOf("\r\n\r\n")
      return end === -1 ? undefined : [arrived.toString("latin1", 0, end), end + 4]
    })
  }

  /**
   * Waits for as many bytes as `expected` has; fails when they are others.
   *
   * @param {Buffer} expected
   */
  exactly(expected) {
    return this.#next((arrived) => {
      if (arrived.length < expected.length) return undefined
      if (expected.equals(arrived.subarray(0, expected.length))) return [undefined, expected.length]
      throw new Error(`other bytes: ${JSON.stringify(arrived.toString("latin1", 0, 60))}`)
    })
  }

  /**
   * Hands on how much arrives from now on, and where it is for the moment.
   *
   * @param {(length: number, bytes: Buffer) => void} callback
   */
  count(callback) {
    if (this.#arrived.length > 0) throw new Error(`${this.#arrived.length} bytes too many`)
    this.#count = callback
  }

  /** @param {number} length */
  #collect(length) {
    this.#arrived = Buffer.concat([this.#arrived, room.subarray(0, length)])
    this.#look()
  }

  /** @param {Error} error */
  #lose(error) {
    this.#lost ??= error
    this.#fail(this.#lost)
  }

  /**
   * @template A
   * @param {(arrived: Buffer) => [value: A, used: number] | undefined} read
   * @returns {Promise<A>}
   */
  #next(read) {
    return new Promise((resolve, reject) => {
      this.#fail = reject
      this.#look = () => {
        try {
          const found = read(this.#arrived)
          if (found === undefined) return
          this.#look = () => {}
          this.#arrived = this.#arrived.subarray(found[1])
          resolve(found[0])
        } catch (error) {
          reject(error)
        }
      }
      this.#look()
      if (this.#lost !== undefined) reject(this.#lost)
    })
  }
}
