/**
 * What is measured, as data: the request of each scenario and the answer that every server has to give before it is
 * timed. `wrk.lua` and the bundled generator both build their requests from these fields.
 */
import { hello, streamPiece, streamPieces } from "./servers/common.mjs"

/**
 * @typedef {object} Exchange
 * @property {"GET" | "POST"} method
 * @property {string} path
 * @property {number} bodyBytes size of the request body, filled by `requestBody`
 *
 * @typedef {object} Throughput
 * @property {"throughput"} kind
 * @property {string} name
 * @property {string} title
 * @property {Exchange} request
 * @property {number} pipeline requests written at once on each connection
 * @property {Buffer} answer the body of the 200 that is expected
 * @property {"content-length" | "chunked"} framing how that body must be delimited
 * @property {boolean} canned whether raw, which parses nothing, can serve it
 *
 * @typedef {object} Special
 * @property {"idle" | "startup"} kind
 * @property {string} name
 * @property {string} title
 * @property {Exchange} request
 * @property {boolean} canned
 *
 * @typedef {Throughput | Special} Scenario
 */

/** Connections of the load generator. */
export const connections = 64

/** @param {number} bytes a multiple of 16 */
export const requestBody = (bytes) => "0123456789abcdef".repeat(bytes / 16)

/** @type {Exchange} */
const getHello = { method: "GET", path: "/", bodyBytes: 0 }
const echoBytes = 10_240

/** @type {Pick<Throughput, "kind" | "pipeline" | "framing" | "canned">} */
const usual = { kind: "throughput", pipeline: 1, framing: "content-length", canned: false }

/** @type {ReadonlyArray<Scenario>} */
export const scenarios = [
  {
    ...usual,
    name: "hello",
    title: "a 13 byte text answer",
    request: getHello,
    answer: Buffer.from(hello),
    canned: true
  },
  {
    ...usual,
    name: "json",
    title: "a small object, serialized for each request",
    request: { method: "GET", path: "/json", bodyBytes: 0 },
    answer: Buffer.from(JSON.stringify({ message: hello }))
  },
  {
    ...usual,
    name: "path",
    title: "a path parameter and a query field",
    request: { method: "GET", path: "/users/42?fields=name", bodyBytes: 0 },
    answer: Buffer.from("42 name")
  },
  {
    ...usual,
    name: "echo",
    title: "a POST of 10 KiB, answered with the same bytes",
    request: { method: "POST", path: "/echo", bodyBytes: echoBytes },
    answer: Buffer.from(requestBody(echoBytes))
  },
  {
    ...usual,
    name: "stream",
    title: "1 MiB in pieces of 16 KiB, chunked",
    request: { method: "GET", path: "/stream", bodyBytes: 0 },
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
  { kind: "idle", name: "idle", title: "memory of idle keep-alive connections", request: getHello, canned: true },
  { kind: "startup", name: "startup", title: "from spawn to the first answer", request: getHello, canned: true }
]
