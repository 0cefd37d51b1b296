/** The command line of `npm run bench`. */
import { parseArgs } from "node:util"
import { installedGenerator } from "./load.mjs"
import { roster } from "./roster.mjs"
import { scenarios } from "./scenarios.mjs"

/** Every name once, in lines as long as the others. */
const list = (/** @type {ReadonlyArray<{ readonly name: string }>} */ known) =>
  [...new Set(known.map(({ name }) => name))].join(", ").replace(/(.{60,80},) /g, `$1\n${" ".repeat(25)}`)

export const usage = `Usage: npm run bench -- [options]

  --rounds N             timed rounds per server and scenario (default 5)
  --duration SECONDS     length of a round, whole seconds with wrk (default 2)
  --warmup SECONDS       load before the first round (default 1)
  --only a,b             servers: ${list(roster)}
  --scenario a,b         scenarios: ${list(scenarios)}
  --idle-connections N   for the idle scenario (default 10000)
  --bundled              use the bundled generator although wrk is installed
  --json                 print every round as JSON instead of tables
  --write                put the tables of the scenarios that ran into docs/benchmarks.md; needs all servers
  --help
`

/**
 * @typedef {object} Options
 * @property {number} rounds
 * @property {number} durationSeconds
 * @property {number} warmupSeconds
 * @property {number} idleConnections
 * @property {ReadonlyArray<string> | undefined} only
 * @property {ReadonlyArray<string> | undefined} scenario
 * @property {"wrk" | "bundled"} generator
 * @property {boolean} json
 * @property {boolean} write
 */

/**
 * Reads the arguments; ends the process with the usage text when they make no sense.
 *
 * @param {ReadonlyArray<string>} args
 * @returns {Options}
 */
export const readOptions = (args) => {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        rounds: { type: "string", default: "5" },
        duration: { type: "string", default: "2" },
        warmup: { type: "string", default: "1" },
        only: { type: "string" },
        scenario: { type: "string" },
        "idle-connections": { type: "string", default: "10000" },
        bundled: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    })
    if (values.help) {
      console.log(usage)
      process.exit(0)
    }
    if (values.write && values.only !== undefined) throw new Error("--write needs all servers, so no --only")
    return {
      rounds: whole("rounds", values.rounds, 100),
      durationSeconds: whole("duration", values.duration, 60),
      warmupSeconds: whole("warmup", values.warmup, 60),
      idleConnections: whole("idle-connections", values["idle-connections"], 100_000),
      only: names("only", values.only, roster),
      scenario: names("scenario", values.scenario, scenarios),
      generator: values.bundled ? "bundled" : installedGenerator,
      json: values.json,
      write: values.write
    }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`)
    process.exit(2)
  }
}

/**
 * @param {string} name
 * @param {string} text
 * @param {number} most
 */
const whole = (name, text, most) => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > most) throw new Error(`--${name} is a number from 1 to ${most}`)
  return value
}

/**
 * @param {string} option
 * @param {string | undefined} text
 * @param {ReadonlyArray<{ readonly name: string }>} known
 */
const names = (option, text, known) => {
  const chosen = text?.split(",").filter((name) => name !== "")
  const unknown = chosen?.find((name) => !known.some((entry) => entry.name === name))
  if (unknown !== undefined) throw new Error(`--${option}: there is no ${unknown}`)
  return chosen
}
