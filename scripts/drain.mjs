/**
 * Sends SIGTERM to Slipway and its peers while something is open, and prints what the clients saw as a table; `--write`
 * puts it in docs/drain.md. Words choose servers by a part of their name. `npm run build` comes first. Takes a good two
 * minutes: a process that does not end is killed after 15 seconds, and the scenarios of one server run side by side.
 */
import { table, writePage } from "./drain/report.mjs"
import { roster } from "./drain/roster.mjs"
import { run } from "./drain/run.mjs"
import { scenarios } from "./drain/scenarios.mjs"

const args = process.argv.slice(2)
const wanted = args.filter((arg) => !arg.startsWith("--")).map((word) => word.toLowerCase())
const contestants = roster.filter(({ name }) =>
  wanted.length === 0 || wanted.some((word) => name.toLowerCase().includes(word))
)
const results = new Map()

for (const contestant of contestants) {
  console.error(contestant.name)
  const row = new Map()
  await Promise.all(
    scenarios.filter(({ version }) => contestant.versions.includes(version)).map(async (scenario) => {
      row.set(scenario.title, await run(contestant, scenario).catch((error) => ({ problem: String(error.message) })))
    })
  )
  results.set(contestant.name, row)
}

const text = table(results)
console.log(text)
if (args.includes("--write")) console.error(`Written: ${writePage(text)}`)
process.exit()
