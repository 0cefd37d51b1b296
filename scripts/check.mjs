/**
 * Looks at the source without running the tests: format, lint, types, arrows. Runs them all, prints what it does and
 * how long it took, and fails if any of them did.
 */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

const checks = [
  // Examples see the types of the built library, as users do.
  ["build", "scripts/build.mjs", ["--if-stale"]],
  ["format", "node_modules/dprint/bin.cjs", ["check", "--list-different"], "npm run format"],
  ["lint", "node_modules/oxlint/bin/oxlint", ["--deny-warnings"]],
  ["types", "node_modules/typescript/bin/tsc", ["--noEmit", "-p", "."]],
  ["arrows", "node_modules/vitest/vitest.mjs", ["run", "--reporter=dot", "test/architecture.test.ts"]]
]

const failed = checks.filter(([name, script, args, remedy]) => {
  const since = performance.now()
  console.log(`${name}: ${path.basename(script)} ${args.join(" ")}`)
  const { status } = spawnSync(process.execPath, [path.join(root, script), ...args], { cwd: root, stdio: "inherit" })
  const verdict = status === 0 ? "passed" : `FAILED${remedy === undefined ? "" : `, try: ${remedy}`}`
  console.log(`${name}: ${verdict} (${Math.round(performance.now() - since)} ms)\n`)
  return status !== 0
})

console.log(failed.length === 0 ? "All checks passed" : `Failed: ${failed.map(([name]) => name).join(", ")}`)
process.exitCode = failed.length === 0 ? 0 : 1
