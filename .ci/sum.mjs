/**
 * Adds up the runs of `.ci/run`. Arguments: failures known already, and a file with one line for each run: its exit
 * code and the path of its Vitest JSON report. Prints "N passed, N failed" and fails unless all passed.
 */
import * as fs from "node:fs"

const [, , broken, runs] = process.argv
let passed = 0
let failed = Number(broken)

const lines = fs.existsSync(runs) ? fs.readFileSync(runs, "utf8").trim().split("\n") : []
for (const line of lines) {
  const [code, file] = line.split(/ (.*)/)
  const report = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : { testResults: [] }
  const outcomes = report.testResults.flatMap(({ assertionResults, status }) =>
    assertionResults.length > 0 ? assertionResults.map((test) => test.status) : [status === "failed" ? status : "empty"]
  )
  const count = (status) => outcomes.filter((outcome) => outcome === status).length
  passed += count("passed")
  // A run that broke outside of its tests, or left no report, is one failure too.
  failed += Math.max(count("failed"), code === "0" && outcomes.length > 0 ? 0 : 1)
}

console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1
