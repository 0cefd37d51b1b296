/**
 * What clients see of everything that replaces workers, in figures: keep-alive, pipelined, event stream and WebSocket
 * clients (test/utils/restartClients.ts) ask without a pause while workers are restarted, added, removed, upgraded and
 * killed.
 *
 * Needs dist/main.js. `--rounds N` (default 10) repeats every change; `--write` puts the table into docs/workers.md.
 * Ends with 1 when a request failed that was not in flight in a worker that was killed.
 */
import * as esbuild from "esbuild"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"

const root = fileURLToPath(new URL("..", import.meta.url))
const { values } = parseArgs({
  options: { rounds: { type: "string", default: "10" }, write: { type: "boolean", default: false } }
})
const rounds = Number(values.rounds)

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slipway-restart-load-"))
fs.symlinkSync(path.join(root, "node_modules"), path.join(folder, "node_modules"))
await esbuild.build({
  entryPoints: [path.join(root, "test/utils/restartClients.ts")],
  outfile: path.join(folder, "clients.mjs"),
  bundle: true,
  platform: "node",
  format: "esm",
  external: ["ws"]
})
const { app, clients, pidOf, tally } = await import(pathToFileURL(path.join(folder, "clients.mjs")).href)
fs.writeFileSync(path.join(folder, "app.mjs"), app)

const turn = () => new Promise((resolve) => setImmediate(resolve))
const isAlive = (pid) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** The program and its successors; what they print is one text. */
const started = async (drainWindow) => {
  const args = ["--workers", "2", "--host", "127.0.0.1", "--port", "0", "--env", "production", "--access-log", "none"]
  const child = spawn(
    process.execPath,
    [path.join(root, "dist/main.js"), "app.mjs", ...args, "--drain-window", drainWindow, "--max-requests", "20000"],
    { cwd: folder, stdio: ["ignore", "ignore", "pipe"] }
  )
  const program = { pid: child.pid, text: "" }
  child.stderr.setEncoding("utf8").on("data", (text) => program.text += text)
  program.until = async (pattern, from = 0) => {
    while (!pattern.test(program.text.slice(from))) {
      if (!isAlive(program.pid)) throw new Error(`it has ended:\n${program.text}`)
      await turn()
    }
    return pattern.exec(program.text.slice(from))
  }
  const [, url] = await program.until(/serving \S+ on (\S+) /)
  program.port = Number(new URL(url).port)
  return program
}

/** Each change: asks for it, and waits for the words that say it is done. */
const changes = {
  "`SIGHUP`: restart": async (program, from) => {
    process.kill(program.pid, "SIGHUP")
    await program.until(/Restarted \d workers/, from)
  },
  "`SIGTTIN`, `SIGTTOU`: one more, one less": async (program, from) => {
    process.kill(program.pid, "SIGTTIN")
    await program.until(/Adding worker 3/, from)
    process.kill(program.pid, "SIGTTOU")
    await program.until(/Removing worker 3/, from)
  },
  "`SIGUSR2`: upgrade": async (program, from) => {
    const before = program.pid
    process.kill(before, "SIGUSR2")
    const [, pid] = await program.until(/Started a successor \((\d+)\)/, from)
    await program.until(/Upgraded: /, from)
    program.pid = Number(pid)
    while (isAlive(before)) await turn()
  },
  "`kill -9` of a worker": async (program, from, all) => {
    program.killed = pidOf(all)
    process.kill(program.killed, "SIGKILL")
    await program.until(/ended by itself: SIGKILL/, from)
  }
}

const more = 50
const goOn = async (all) => {
  const before = all.map(({ count }) => count)
  while (!all.every(({ count }, index) => index % 4 === 2 || count >= before[index] + more)) await turn()
}

const rows = []
let hasFailed = false

for (const drainWindow of ["0", "1"]) {
  const program = await started(drainWindow)
  const seen = tally()
  const all = clients(program.port, seen, 4)
  await goOn(all)
  for (const [name, change] of Object.entries(changes)) {
    const before = { ...seen, failures: seen.failures.length }
    let inFlight = 0
    for (let round = 0; round < rounds; round++) {
      const known = seen.failures.length
      await change(program, program.text.length, all)
      await goOn(all)
      const { killed } = program
      program.killed = undefined
      inFlight += seen.failures.slice(known).filter(({ pid }) => killed !== undefined && pid === killed).length
    }
    const failures = seen.failures.length - before.failures - inFlight
    if (failures > 0) {
      hasFailed = true
      console.error(name, seen.failures.slice(before.failures))
    }
    rows.push([
      drainWindow === "0" ? "0" : `${drainWindow} s`,
      `${name}, ${rounds} times`,
      ...[seen.answers - before.answers, seen.reconnects - before.reconnects, seen.retries - before.retries, inFlight]
        .map((figure) => figure.toLocaleString("en")),
      String(failures)
    ])
  }
  for (const client of all) client.stop()
  process.kill(program.pid, "SIGTERM")
  while (isAlive(program.pid)) await turn()
}
fs.rmSync(folder, { recursive: true })

const heads = [
  "`drainWindow`",
  "change",
  "answers",
  "reconnects",
  "sent again",
  "in flight in the killed worker",
  "failures"
]
const table = [
  `| ${heads.join(" | ")} |`,
  `| ${heads.map((_, index) => index < 2 ? "---" : "---:").join(" | ")} |`,
  ...rows.map((row) => `| ${row.join(" | ")} |`)
].join("\n")
console.log(table)

if (values.write) {
  const page = path.join(root, "docs/workers.md")
  const text = fs.readFileSync(page, "utf8")
  const markers = /(<!-- restart-load -->\n)[^]*(<!-- \/restart-load -->)/
  if (!markers.test(text)) throw new Error(`${page} has no place for the table`)
  fs.writeFileSync(page, text.replace(markers, `$1${table}\n$2`))
}
process.exitCode = hasFailed ? 1 : 0
