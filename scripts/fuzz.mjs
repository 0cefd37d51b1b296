/**
 * Runs the fuzz cases of fuzz/http1.ts until the time is up, and prints the seed and the bytes of the first one that
 * breaks an invariant. `--seconds N` (default 60) says how long, `--seed S` where to begin; a seed replays exactly.
 */
import { build } from "esbuild"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const { values } = parseArgs({ options: { seconds: { type: "string" }, seed: { type: "string" } } })
const number = (/** @type {string} */ name, /** @type {string | undefined} */ text, /** @type {number} */ fallback) => {
  const value = text === undefined ? fallback : Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  console.error(`--${name} needs a whole number, not ${text}`)
  process.exit(2)
}
const seconds = number("seconds", values.seconds, 60)
const first = number("seed", values.seed, Date.now() % 1_000_000_000)

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("fuzz/http1.ts", import.meta.url))],
  bundle: true,
  write: false,
  format: "esm",
  platform: "node"
})
const source = Buffer.from(outputFiles[0].contents).toString("base64")
const { caseOf, check } = await import(`data:text/javascript;base64,${source}`)

const until = performance.now() + seconds * 1000
/** @type {Map<string, number>} */
const outcomes = new Map()
let seed = first
for (; seed === first || performance.now() < until; seed++) {
  try {
    const { messages, problem } = check(seed)
    const outcome = problem?.reason ?? (messages.length > 0 ? "accepted" : "incomplete")
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  } catch (error) {
    const { bytes, end, limits } = caseOf(seed)
    console.error(`Seed ${seed} breaks an invariant:\n${JSON.stringify(bytes.toString("latin1"))}`)
    console.error({ limits, end })
    console.error(error instanceof Error ? error.stack?.replaceAll(/data:\S{40,}?(:\d+:\d+)/g, "http1$1") : error)
    process.exit(1)
  }
}
for (const [outcome, count] of [...outcomes].sort(([, a], [, b]) => b - a)) {
  console.log(String(count).padStart(8), outcome)
}
console.log(`${seed - first} cases from seed ${first}: no invariant is broken`)
