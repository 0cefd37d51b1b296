/**
 * What is measured, as data: the request of each scenario and the answer that every server has to give before it is
 * timed. The drivers build their load from these fields, `wrk.lua` and the bundled generator the same one.
 */
import { hello, large, streamPiece, streamPieces } from "./servers/common.mjs"

/**
 * @typedef {object} Exchange
 * @property {"GET" | "POST"} method
 * @property {string} path
 * @property {string} body of the request, ASCII
 * @property {string} [contentType] of the body. Default `application/octet-stream`
 *
 * @typedef {object} Common
 * @property {string} name
 * @property {string} title
 * @property {import("./roster.mjs").Wire} wire which servers take part
 * @property {boolean} canned whether raw, which parses nothing, can serve it
 *
 * @typedef {object} Bar what a server of ours may cost
 * @property {string} server
 * @property {string} peer
 * @property {number} most in times of the peer
 * @property {"time"} [by] the time that passes, instead of CPU time
 *
 * @typedef {object} Timed
 * @property {"throughput"} kind
 * @property {string} unit what the CPU time is divided by
 * @property {ReadonlyArray<Bar>} [bars] what Slipway may cost at most
 *
 * @typedef {object} HttpLoad
 * @property {"http"} driver
 * @property {Exchange} request
 * @property {number} pipeline requests written at once on each connection
 * @property {number} [connections] held open all the time. Default 64
 * @property {boolean} [close] a new connection for each request
 * @property {boolean} secure over TLS
 * @property {Buffer} answer the body of the 200 that is expected
 * @property {boolean} [anyOrder] the answer is JSON, and its members may stand in another order
 * @property {"content-length" | "chunked"} framing how that body must be delimited
 *
 * @typedef {{ driver: "h2load", path: string, contentType: string, answer: Buffer }} Http2Load
 * @typedef {{ driver: "echo", sessions: number, inFlight: number, bytes: number, binary: boolean }} EchoLoad
 * @typedef {{ driver: "fanout", clients: number }} FanoutLoad
 * @typedef {{ driver: "handshake", atOnce: number }} HandshakeLoad
 *
 * @typedef {object} WorkLoad
 * @property {"work"} driver
 * @property {string} circumstances for the line above the table
 * @property {string} answer what comes of doing it once
 * @property {number} [inFlight] where the contestants leave it to the scenario
 * @property {string} [needs] a program that has to be installed
 *
 * @typedef {Common & Timed & HttpLoad} Http
 * @typedef {Common & Timed & Http2Load} Http2
 * @typedef {Common & Timed & EchoLoad} Echo
 * @typedef {Common & Timed & FanoutLoad} Fanout
 * @typedef {Common & Timed & HandshakeLoad} Handshake
 * @typedef {Common & Timed & WorkLoad} Work
 * @typedef {Http | Http2 | Echo | Fanout | Handshake | Work} Throughput
 *
 * @typedef {Common & { kind: "idle" | "startup", request: Exchange }} Special
 *
 * @typedef {Throughput | Special} Scenario
 */

/** @type {Exchange} */
const getHello = { method: "GET", path: "/", body: "" }
/** 10 KiB. */
const echoed = "0123456789abcdef".repeat(640)

const call = JSON.stringify({ jsonrpc: "2.0", method: "subtract", params: [42, 23], id: 1 })

const timed = /** @type {const} */ ({ kind: "throughput", unit: "request", canned: false })
const usual = /** @type {const} */ ({
  ...timed,
  driver: "http",
  wire: "http",
  pipeline: 1,
  secure: false,
  framing: "content-length"
})

/** @type {ReadonlyArray<Scenario>} */
const overHttp = [
  {
    ...usual,
    name: "hello",
    title: "a 13 byte text answer",
    request: getHello,
    bars: [
      { server: "slipway-handler", peer: "raw", most: 1.35 },
      { server: "slipway-effect", peer: "effect", most: 0.82 }
    ],
    answer: Buffer.from(hello),
    canned: true
  },
  {
    ...usual,
    name: "json",
    title: "a small object, serialized for each request",
    request: { method: "GET", path: "/json", body: "" },
    answer: Buffer.from(JSON.stringify({ message: hello }))
  },
  {
    ...usual,
    name: "path",
    title: "a path parameter and a query field",
    request: { method: "GET", path: "/users/42?fields=name", body: "" },
    answer: Buffer.from("42 name")
  },
  {
    ...usual,
    name: "echo",
    title: "a POST of 10 KiB, answered with the same bytes",
    request: { method: "POST", path: "/echo", body: echoed },
    answer: Buffer.from(echoed)
  },
  {
    ...usual,
    name: "stream",
    title: "1 MiB in pieces of 16 KiB, chunked",
    request: { method: "GET", path: "/stream", body: "" },
    answer: Buffer.concat(Array.from({ length: streamPieces }, () => streamPiece)),
    framing: "chunked"
  },
  {
    ...usual,
    name: "pipeline",
    title: "hello, 16 requests per write",
    request: getHello,
    pipeline: 16,
    answer: Buffer.from(hello),
    canned: true
  },
  ...[10, 100, 500].map((connections) => ({
    ...usual,
    name: `hello-${connections}`,
    title: `hello on ${connections} connections`,
    request: getHello,
    connections,
    answer: Buffer.from(hello),
    canned: true
  })),
  {
    ...usual,
    name: "hello-close",
    title: "hello, a new connection for each request",
    request: getHello,
    close: true,
    answer: Buffer.from(hello)
  },
  {
    kind: "idle",
    wire: "http",
    name: "idle",
    title: "memory of idle keep-alive connections",
    request: getHello,
    canned: true
  },
  {
    kind: "startup",
    wire: "http",
    name: "startup",
    title: "from spawn to the first answer",
    request: getHello,
    canned: true
  }
]

/**
 * Parts of the toolkit beside what else does their work.
 *
 * @type {ReadonlyArray<Scenario>}
 */
const withToolkit = [
  {
    ...usual,
    wire: "log",
    name: "access-log",
    title: "hello without an access log, and with buffered ones",
    request: getHello,
    bars: [
      { server: "combined", peer: "off", most: 1.08 },
      { server: "json", peer: "off", most: 1.08 }
    ],
    answer: Buffer.from(hello)
  },
  {
    ...usual,
    wire: "routes",
    name: "routes",
    title: "one of 10 routes and one of 1,000, each with a parameter",
    request: { method: "GET", path: "/group7/items/42", body: "" },
    bars: [{ server: "slipway-1000", peer: "slipway-10", most: 1.05 }],
    answer: Buffer.from("item 42")
  },
  {
    ...usual,
    wire: "rpc",
    name: "rpc",
    title: "a JSON-RPC call over HTTP",
    request: { method: "POST", path: "/", body: call, contentType: "application/json" },
    answer: Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, result: 19 })),
    anyOrder: true
  },
  {
    ...usual,
    wire: "express",
    name: "express",
    title: "a route of an Express app",
    request: { method: "GET", path: "/users/42?fields=name", body: "" },
    answer: Buffer.from("42 name")
  }
]

/** @type {ReadonlyArray<Scenario>} */
const overWebSocket = [
  {
    ...timed,
    wire: "ws",
    driver: "echo",
    name: "ws-echo",
    title: "a WebSocket text of 16 bytes, sent back",
    unit: "message",
    bars: [{ server: "slipway", peer: "ws", most: 1.1 }],
    sessions: 64,
    inFlight: 1,
    bytes: 16,
    binary: false
  },
  {
    ...timed,
    wire: "ws",
    driver: "echo",
    name: "ws-echo-16k",
    title: "a binary WebSocket message of 16 KiB, sent back",
    unit: "message",
    bars: [{ server: "slipway", peer: "ws", most: 1.1 }],
    sessions: 64,
    inFlight: 4,
    bytes: 16_384,
    binary: true
  },
  {
    ...timed,
    wire: "ws",
    driver: "fanout",
    name: "ws-fanout",
    title: "a WebSocket text of 16 bytes, sent to everyone",
    unit: "delivery",
    bars: [{ server: "slipway", peer: "ws", most: 1.1 }],
    clients: 1000
  }
]

/** @type {ReadonlyArray<Scenario>} */
const overSse = [
  {
    ...timed,
    wire: "sse",
    driver: "fanout",
    name: "sse-fanout",
    title: "a server-sent event of 16 bytes, sent to everyone",
    unit: "delivery",
    bars: [{ server: "slipway", peer: "node-http", most: 1 }],
    clients: 1000
  }
]

/** @type {ReadonlyArray<Scenario>} */
const overHttp2 = [
  {
    ...timed,
    wire: "h2",
    driver: "h2load",
    name: "h2-hello",
    title: "a 13 byte text answer over HTTP/2 in clear text",
    bars: [{ server: "slipway", peer: "node-http2", most: 1.1 }],
    path: "/",
    contentType: "text/plain",
    answer: Buffer.from(hello)
  },
  {
    ...timed,
    wire: "h2",
    driver: "h2load",
    name: "h2-100k",
    title: "100 KiB over HTTP/2 in clear text",
    bars: [{ server: "slipway", peer: "node-http2", most: 1.1 }],
    path: "/large",
    contentType: "application/octet-stream",
    answer: large
  }
]

/** @type {ReadonlyArray<Scenario>} */
const overTls = [
  {
    ...usual,
    wire: "tls",
    secure: true,
    name: "tls-hello",
    title: "hello over TLS 1.3, connections kept",
    bars: [{ server: "slipway", peer: "node-https", most: 0.85 }],
    request: getHello,
    answer: Buffer.from(hello)
  },
  {
    ...timed,
    wire: "tls",
    driver: "handshake",
    name: "tls-handshake",
    title: "hello over TLS 1.3, a full handshake for each",
    unit: "connection",
    atOnce: 16
  }
]

const poolTask = /** @type {const} */ ({
  ...timed,
  driver: "work",
  wire: "pool",
  unit: "task",
  circumstances: "2 workers, not pinned",
  bars: [
    { server: "slipway", peer: "piscina", most: 1.2, by: "time" },
    { server: "slipway", peer: "tinypool", most: 1.2, by: "time" },
    { server: "slipway", peer: "piscina", most: 1.2 },
    { server: "slipway", peer: "tinypool", most: 1.2 }
  ],
  answer: "42"
})

/**
 * Services of the program, which make their load themselves.
 *
 * @type {ReadonlyArray<Scenario>}
 */
const services = [
  {
    ...timed,
    driver: "work",
    wire: "callbacks",
    name: "pubsub-callbacks",
    title: "a message of PubSub to 10,000 callbacks",
    unit: "delivery",
    circumstances: "one process",
    bars: [{ server: "slipway", peer: "loop", most: 1.2 }],
    answer: "65000"
  },
  {
    ...timed,
    driver: "work",
    wire: "streams",
    name: "pubsub-streams",
    title: "a message of PubSub to 100 Streams",
    unit: "delivery",
    circumstances: "one process, bursts of 50",
    bars: [{ server: "slipway", peer: "effect-pubsub", most: 1 }],
    answer: "100"
  },
  {
    ...timed,
    driver: "work",
    wire: "redis",
    name: "pubsub-redis",
    title: "a message of 100 bytes through Redis and back",
    unit: "message",
    circumstances: "64 messages in flight, unix socket, without the CPU of Redis",
    needs: "redis-server",
    bars: [{ server: "slipway", peer: "node-redis", most: 1.3 }],
    answer: "200"
  },
  {
    ...poolTask,
    name: "pool",
    title: "a task to a worker thread and back, one at a time",
    inFlight: 1
  },
  {
    ...poolTask,
    name: "pool-8",
    title: "a task to a worker thread and back, 8 at a time",
    inFlight: 8
  }
]

/** In the order of the page. */
export const scenarios = [
  ...overHttp,
  ...withToolkit,
  ...overWebSocket,
  ...overSse,
  ...overHttp2,
  ...overTls,
  ...services
]
