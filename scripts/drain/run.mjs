/**
 * Runs one scenario against one server in a process of its own: opens, waits a second, sends SIGTERM, and writes down what
 * the client saw, the exit code and the seconds. Ends only what it has started, a process that does not end after 15 s.
 */
import { spawn } from "node:child_process"
import { setTimeout as sleep } from "node:timers/promises"
import { fromRoot } from "./roster.mjs"

const startMillis = 20_000
const openMillis = 1000
export const killMillis = 15_000

/** @type {Set<import("node:child_process").ChildProcess>} */
const children = new Set()
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")))
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130))

/** A server that listens, and what is known when it has ended. */
const start = async ({ words }) => {
  const child = spawn(process.execPath, words, { cwd: fromRoot("."), stdio: ["ignore", "pipe", "pipe"] })
  children.add(child)
  let said = ""
  const ended = new Promise((resolve) =>
    child.once("close", (code, signal) => {
      children.delete(child)
      resolve({ code, signal })
    })
  )
  const port = await new Promise((resolve, reject) => {
    const hear = (bytes) => {
      said = `${said}${bytes}`.slice(-4000)
      // The peers say it in JSON, ours in its first line.
      const found = /"port":(\d+)/.exec(said) ?? /serving .* on http:\/\/[^ ]+:(\d+) \(/.exec(said)
      if (found !== null) resolve(Number(found[1]))
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    void ended.then(() => reject(new Error(said.trim() || "it ended without a word")))
    void sleep(startMillis, undefined, { ref: false }).then(() => reject(new Error("it did not start")))
  })
  return { child, ended, port }
}

/**
 * @param {import("./roster.mjs").Contestant} contestant
 * @param {import("./scenarios.mjs").Scenario} scenario
 */
export const run = async (contestant, scenario) => {
  const { child, ended, port } = await start(contestant)
  let since = Infinity
  let seen
  let signal = () => {}
  const signalled = new Promise((resolve) => signal = resolve)
  const see = (what) => seen ??= { what, seconds: (performance.now() - since) / 1000 }
  const opened = Promise.race([
    scenario.open(port, see, signalled),
    sleep(startMillis, undefined, { ref: false }).then(() => Promise.reject(new Error("it did not open")))
  ])
  const close = await opened.catch((error) => {
    child.kill("SIGKILL")
    throw error
  })
  await sleep(openMillis)
  since = performance.now()
  child.kill("SIGTERM")
  signal()
  const outcome = await Promise.race([ended, sleep(killMillis, undefined, { ref: false })])
  const seconds = (performance.now() - since) / 1000
  if (outcome === undefined) child.kill("SIGKILL")
  // What the client sees of a killed process is the kernel's doing.
  else await sleep(100)
  const what = seen
  await ended
  close()
  return { seen: what, exit: outcome === undefined ? undefined : outcome.code ?? outcome.signal, seconds }
}
