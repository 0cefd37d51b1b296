/**
 * Clients that never stop asking, and write down what a restart did to them: one request at a time on a connection that
 * is kept, several at once, event streams, WebSockets. Each comes back when its connection ends.
 *
 * A connection may end at any time between two requests. A request that went out and got no byte of an answer may be
 * sent again (RFC 9112 section 9.5, and 9.6 for what follows `connection: close`); that is counted apart. Everything
 * else that goes wrong is a failure.
 */
import * as net from "node:net"
import { WebSocket } from "ws"

/** What has happened to all clients together. */
export interface Tally {
  /** Answers, events of new streams, echoes. */
  answers: number
  /** Connections after the first one of each client. */
  reconnects: number
  /** Requests that were sent again: the connection had ended without a byte of an answer. */
  retries: number
  /** With what codes WebSockets were closed. */
  readonly codes: Set<number>
  readonly failures: Array<Failure>
}

export interface Failure {
  readonly client: string
  readonly problem: string
  /** Who served the connection, where that is known. */
  readonly pid: number | undefined
}

export const tally = (): Tally => ({ answers: 0, reconnects: 0, retries: 0, codes: new Set(), failures: [] })

/** What the clients talk to: its answers, events and echoes name the process. */
export const app = `
import * as Effect from "effect/Effect"
const body = JSON.stringify({ pid: process.pid })
export default ({ type, send, receive }) => {
  switch (type) {
    case "http": return Effect.andThen(
      send({ type: "http.response.start", status: 200, headers: [["content-length", String(body.length)]] }),
      send({ type: "http.response.body", body })
    )
    case "sse": return Effect.andThen(
      send({ type: "sse.start" }),
      Effect.andThen(send({ type: "sse.send", data: body }), Effect.never)
    )
    case "websocket": {
      const echo = Effect.flatMap(receive, (event) =>
        event.type === "websocket.disconnect" ? Effect.void
          : Effect.andThen(send({ type: "websocket.send", text: body }), Effect.suspend(() => echo)))
      return Effect.andThen(Effect.andThen(receive, send({ type: "websocket.accept" })), echo)
    }
    default: return Effect.void
  }
}
`

/** Something that goes on until it is stopped. */
export interface Client {
  /** Successes of this client. */
  readonly count: number
  /** Who serves its connection, where that is known. */
  readonly pid: number | undefined
  readonly stop: () => void
}

const answerPattern = /^HTTP\/1\.1 (\d+) [^]*?\r\n\r\n/

/** Asks with so many requests at once, again and again. */
export class HttpClient implements Client {
  count = 0
  private readonly name: string
  private isStopped = false
  private socket!: net.Socket
  private received = ""
  /** Requests on their way, on this connection. */
  private waiting = 0
  /** Requests that have to be sent again on the next one. */
  private owed = 0
  private isClosing = false
  pid: number | undefined
  private readonly port: number
  private readonly depth: number
  private readonly seen: Tally

  constructor(port: number, depth: number, seen: Tally) {
    this.port = port
    this.depth = depth
    this.seen = seen
    this.name = depth === 1 ? "keep-alive" : "pipelined"
    this.connect()
  }

  readonly stop = (): void => {
    this.isStopped = true
    this.socket.destroy()
  }

  private connect(): void {
    this.received = ""
    this.isClosing = false
    this.pid = undefined
    const socket = net.connect({ host: "127.0.0.1", port: this.port, noDelay: true }, () => {
      const count = this.owed > 0 ? this.owed : this.depth
      this.owed = 0
      this.ask(count)
    })
    this.socket = socket
    let problem = "closed"
    socket.setEncoding("latin1").on("data", (text: string) => this.read(text))
    socket.on("error", (error: NodeJS.ErrnoException) => problem = error.code ?? error.message)
    socket.on("close", () => this.closed(problem))
  }

  private ask(count: number): void {
    this.waiting += count
    this.socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(count))
  }

  private read(text: string): void {
    this.received += text
    for (;;) {
      const head = answerPattern.exec(this.received)
      if (head === null) return
      const length = Number(/content-length: (\d+)/i.exec(head[0])?.[1] ?? 0)
      const end = head[0].length + length
      if (this.received.length < end) return
      if (head[1] !== "200") this.fail(`status ${head[1]}`)
      else this.pid = (JSON.parse(this.received.slice(head[0].length, end)) as { pid: number }).pid
      this.received = this.received.slice(end)
      this.waiting--
      this.count++
      this.seen.answers++
      if (/^connection: close/im.test(head[0])) {
        this.isClosing = true
        this.socket.end()
      } else if (this.waiting === 0 && !this.isStopped) this.ask(this.depth)
    }
  }

  private closed(problem: string): void {
    if (this.isStopped) return
    if (this.received !== "") this.fail(`an answer was cut (${problem})`)
    else if (problem === "ECONNREFUSED") this.fail("nobody listens")
    this.owed = this.waiting
    // After "connection: close" the rest of a pipeline was never taken: the answer has said so.
    if (!this.isClosing) this.seen.retries += this.waiting
    this.waiting = 0
    this.seen.reconnects++
    this.connect()
  }

  private fail(problem: string): void {
    this.seen.failures.push({ client: this.name, problem, pid: this.pid })
  }
}

/** Holds one event stream open, and opens the next when it has ended as it should. */
export class EventClient implements Client {
  count = 0
  pid: number | undefined
  private isStopped = false
  private socket!: net.Socket
  private readonly port: number
  private readonly seen: Tally

  constructor(port: number, seen: Tally) {
    this.port = port
    this.seen = seen
    this.connect()
  }

  readonly stop = (): void => {
    this.isStopped = true
    this.socket.destroy()
  }

  private connect(): void {
    let received = ""
    let problem = "closed"
    this.pid = undefined
    const socket = net.connect(this.port, "127.0.0.1", () => {
      socket.write("GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
    })
    this.socket = socket
    socket.setEncoding("latin1").on("data", (text: string) => {
      received += text
      const first = this.pid === undefined ? /data: \{"pid":(\d+)\}/.exec(received) : null
      if (first !== null) {
        this.pid = Number(first[1])
        this.count++
        this.seen.answers++
      }
      if (received.endsWith("0\r\n\r\n")) socket.end()
    })
    socket.on("error", (error: NodeJS.ErrnoException) => problem = error.code ?? error.message)
    socket.on("close", () => {
      if (this.isStopped) return
      if (received === "" && problem !== "ECONNREFUSED") this.seen.retries++
      else if (!received.endsWith("0\r\n\r\n")) {
        this.seen.failures.push({ client: "event stream", problem: `cut (${problem})`, pid: this.pid })
      }
      this.seen.reconnects++
      this.connect()
    })
  }
}

/** Has one message after the other echoed. */
export class WebSocketClient implements Client {
  count = 0
  pid: number | undefined
  private isStopped = false
  private socket!: WebSocket
  private readonly port: number
  private readonly seen: Tally

  constructor(port: number, seen: Tally) {
    this.port = port
    this.seen = seen
    this.connect()
  }

  readonly stop = (): void => {
    this.isStopped = true
    this.socket.terminate()
  }

  private connect(): void {
    this.pid = undefined
    let problem = ""
    const socket = new WebSocket(`ws://127.0.0.1:${this.port}/`, { perMessageDeflate: false })
    this.socket = socket
    socket.on("open", () => socket.send("hello"))
    socket.on("message", (data) => {
      this.pid = (JSON.parse(String(data)) as { pid: number }).pid
      this.count++
      this.seen.answers++
      socket.send("hello")
    })
    socket.on("error", (error: NodeJS.ErrnoException) => problem = error.code ?? error.message)
    socket.on("close", (code) => {
      if (this.isStopped) return
      this.seen.codes.add(code)
      // 1012 at a restart; 1001 where a worker goes for good. Before it was open: a request without an answer.
      if (code === 1006 && this.pid === undefined && (problem === "socket hang up" || problem === "ECONNRESET")) {
        this.seen.retries++
      } else if (code !== 1012 && code !== 1001) {
        this.seen.failures.push({ client: "WebSocket", problem: `closed with ${code} ${problem}`, pid: this.pid })
      }
      this.seen.reconnects++
      this.connect()
    })
  }
}

/** Some of each. */
export const clients = (port: number, seen: Tally, each: number): ReadonlyArray<Client> =>
  Array.from({ length: each }, () => [
    new HttpClient(port, 1, seen),
    new HttpClient(port, 4, seen),
    new EventClient(port, seen),
    new WebSocketClient(port, seen)
  ]).flat()

/** A process that serves one of them. */
export const pidOf = (all: ReadonlyArray<Client>): number => all.find(({ pid }) => pid !== undefined)!.pid!
