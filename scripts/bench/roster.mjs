/** The servers that are compared, in the order of the tables. Each is one program under servers/. */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

/**
 * @typedef {object} Contestant
 * @property {string} name
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
 * @returns {Contestant}
 */
const contestant = (name) => ({
  name,
  program: fromRoot(`scripts/bench/servers/${name}.mjs`),
  runtime: name === "bun" ? "bun" : "node",
  canned: name === "raw"
})

/** @type {ReadonlyArray<Contestant>} */
export const roster = [
  "raw",
  "slipway",
  "slipway-all",
  "slipway-handler",
  "node-http",
  "fastify",
  "hono",
  "effect",
  "bun"
].map(contestant)

/** @param {Contestant} server */
export const command = (server) =>
  server.runtime === "bun" ? [bunProgram, server.program] : [process.execPath, server.program]

/** @param {Contestant} server */
export const isInstalled = (server) => server.runtime === "node" || existsSync(bunProgram)
