/** The servers of the drain table: how each is started, and what it speaks. */
import { fileURLToPath } from "node:url"

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {ReadonlyArray<string>} words what is given to node
 * @property {ReadonlyArray<"1.1" | "2">} versions
 */

export const fromRoot = (/** @type {string} */ path) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

const own = (/** @type {string} */ name) => fromRoot(`scripts/drain/servers/${name}.mjs`)

const slipway = (/** @type {ReadonlyArray<string>} */ ...flags) => [
  fromRoot("dist/main.js"),
  own("slipway"),
  "--port",
  "0",
  "--env",
  "production",
  "--access-log",
  "none",
  ...flags
]

const peer = (/** @type {string} */ name, /** @type {string} */ program, versions = ["1.1"]) => ({
  name,
  words: [own(program)],
  versions
})

/** @type {ReadonlyArray<Contestant>} */
export const roster = [
  { name: "Slipway", words: slipway(), versions: ["1.1", "2"] },
  { name: "Slipway, `--workers 2`", words: slipway("--workers", "2"), versions: ["1.1", "2"] },
  peer("node:http", "node-http"),
  peer("node:http2", "node-http2", ["2"]),
  peer("Express 5", "express"),
  peer("Fastify 5", "fastify"),
  peer("Hono 4 on node-server", "hono"),
  peer("Effect 4 NodeHttpServer", "effect")
]
