/** The servers that are compared, in the order of the tables. Each is one program under servers/. */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

/**
 * @typedef {"http" | "log" | "routes" | "rpc" | "express" | "ws" | "sse" | "h2" | "tls" | "callbacks" | "streams" | "redis" | "pool"} Wire what a server and a scenario have in
 *   common
 *
 * @typedef {object} Contestant
 * @property {string} name unique on each wire
 * @property {ReadonlyArray<Wire>} wires a server on tls takes the files of its certificate and key as arguments
 * @property {string} program
 * @property {"node" | "bun"} runtime
 * @property {boolean} canned true for the floor, which answers without parsing
 */

/** @param {string} path from the repository's root */
export const fromRoot = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export const bunProgram = fromRoot("node_modules/.bin/bun")
export const mainProgram = fromRoot("dist/main.js")

/**
 * @param {string} name
 * @param {ReadonlyArray<Wire>} [wires]
 * @param {string} [program]
 * @returns {Contestant}
 */
const contestant = (name, wires = ["http"], program = name) => ({
  name,
  wires,
  program: fromRoot(`scripts/bench/servers/${program}.mjs`),
  runtime: name === "bun" ? "bun" : "node",
  canned: name === "raw"
})

/** @type {ReadonlyArray<Contestant>} */
export const roster = [
  contestant("raw"),
  contestant("slipway"),
  contestant("slipway-all"),
  contestant("slipway-handler"),
  contestant("node-http"),
  contestant("fastify"),
  contestant("hono"),
  contestant("effect"),
  contestant("slipway-effect"),
  contestant("bun"),
  contestant("off", ["log"], "slipway"),
  contestant("combined", ["log"], "slipway-all"),
  contestant("json", ["log"], "slipway-log-json"),
  contestant("slipway-10", ["routes"], "slipway-routes-10"),
  contestant("slipway-1000", ["routes"], "slipway-routes-1000"),
  contestant("fastify-10", ["routes"], "fastify-routes-10"),
  contestant("fastify-1000", ["routes"], "fastify-routes-1000"),
  contestant("slipway", ["rpc"], "slipway-rpc"),
  contestant("jayson", ["rpc"]),
  contestant("slipway", ["express"], "slipway-express"),
  contestant("node-http", ["express"], "node-express"),
  contestant("slipway", ["ws", "sse", "h2"], "slipway-wires"),
  contestant("slipway", ["tls"], "slipway-tls"),
  contestant("ws", ["ws"]),
  contestant("node-http", ["sse"], "node-sse"),
  contestant("node-http2", ["h2"]),
  contestant("node-https", ["tls"]),
  contestant("slipway", ["callbacks"], "callbacks-slipway"),
  contestant("loop", ["callbacks"], "callbacks-loop"),
  contestant("slipway", ["streams"], "streams-slipway"),
  contestant("effect-pubsub", ["streams"], "streams-effect"),
  contestant("slipway", ["redis"], "redis-slipway"),
  contestant("node-redis", ["redis"], "redis-bare"),
  contestant("slipway", ["pool"], "pool-slipway"),
  contestant("piscina", ["pool"], "pool-piscina"),
  contestant("tinypool", ["pool"], "pool-tinypool")
]

/** @param {Contestant} server */
export const command = (server) =>
  server.runtime === "bun" ? [bunProgram, server.program] : [process.execPath, server.program]

/** @param {Contestant} server */
export const isInstalled = (server) => server.runtime === "node" || existsSync(bunProgram)
