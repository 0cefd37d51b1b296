/**
 * Servers as child processes: starts them pinned to a core, reads what the kernel knows about them (CPU time, memory),
 * and ends exactly those that it started. Linux only, like /proc.
 */
import { spawn, spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { cpus } from "node:os"
import { createInterface } from "node:readline"
import { certificate } from "./certificate.mjs"
import { command } from "./roster.mjs"

const ticksPerSecond = Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout) || 100
const startMillis = 15_000

/** True when servers and generator get a core each. */
export const pins = cpus().length > 1 && spawnSync("taskset", ["--version"]).error === undefined

/**
 * @param {"server" | "generator"} role
 * @param {ReadonlyArray<string>} words
 */
export const pinned = (role, words) => pins ? ["taskset", "-c", role === "server" ? "0" : "1", ...words] : [...words]

/** @type {Set<import("node:child_process").ChildProcess>} */
const children = new Set()
const killAll = () => children.forEach((child) => child.kill("SIGKILL"))
process.on("exit", killAll)
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(signal, () => process.exit(130))

/**
 * A child whose stdout is read as JSON lines and whose stderr is kept for the message when it fails.
 *
 * @param {ReadonlyArray<string>} words
 */
export const start = (words) => {
  const [program, ...args] = words
  const child = spawn(program ?? "", args, { stdio: ["pipe", "pipe", "pipe"] })
  children.add(child)
  let complaint = ""
  child.stderr.on("data", (bytes) => complaint = `${complaint}${bytes}`.slice(-4000))
  child.stdin.on("error", () => {})
  const ended = new Promise((resolve) => {
    child.on("error", (error) => {
      complaint += error.message
      resolve(undefined)
    })
    child.on("close", resolve)
  }).then(() => {
    children.delete(child)
  })
  return new Child(child, ended, () => complaint)
}

export class Child {
  #child
  #complaint
  /** @type {Array<Record<string, unknown>>} */
  #lines = []
  /** @type {Array<string>} what it said on stdout for people: Effect's logger does */
  #remarks = []
  #wake = () => {}

  /**
   * @param {import("node:child_process").ChildProcessWithoutNullStreams} child
   * @param {Promise<void>} ended
   * @param {() => string} complaint
   */
  constructor(child, ended, complaint) {
    this.#child = child
    this.#complaint = complaint
    this.ended = ended
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (!line.startsWith("{")) return void this.#remarks.push(line)
      this.#lines.push(JSON.parse(line))
      this.#wake()
    })
  }

  get pid() {
    return this.#child.pid ?? 0
  }

  /** The first line of what the child complained about. */
  get complaint() {
    const lines = [...this.#complaint().split("\n"), ...this.#remarks].map((line) => line.trim())
    return lines.find((line) => /error/i.test(line)) ?? lines.find((line) => line !== "") ?? "it ended without a word"
  }

  /**
   * The next JSON line of the child.
   *
   * @param {number} millis after which it fails
   * @returns {Promise<any>}
   */
  async line(millis) {
    const deadline = performance.now() + millis
    let alive = true
    const gone = this.ended.then(() => {
      alive = false
    })
    while (this.#lines.length === 0) {
      if (!alive) throw new Error(this.complaint)
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`no word within ${millis} ms`)
      let timer
      const said = new Promise((resolve) => {
        this.#wake = () => resolve(undefined)
        timer = setTimeout(resolve, left)
      })
      await Promise.race([said, gone])
      clearTimeout(timer)
    }
    return this.#lines.shift()
  }

  /** @param {string} text */
  write(text) {
    this.#child.stdin.write(text)
  }

  async kill() {
    this.#child.kill("SIGKILL")
    await this.ended
  }
}

/** A server that accepts connections. */
export class RunningServer {
  /**
   * @param {string} name
   * @param {Child} child
   * @param {number} port
   */
  constructor(name, child, port) {
    this.name = name
    this.port = port
    this.child = child
  }

  /** CPU seconds (user and system, all threads, children too) since it was started; 10 ms steps. */
  get cpuSeconds() {
    return sum(family(this.child.pid).map(cpuTicks)) / ticksPerSecond
  }

  /** The same without children, such as a broker. */
  get ownCpuSeconds() {
    return cpuTicks(this.child.pid) / ticksPerSecond
  }

  /** Resident memory in bytes, children too. */
  get residentBytes() {
    return sum(family(this.child.pid).map(residentBytes))
  }

  /** Asks for a garbage collection and waits until it is done. */
  async collectGarbage() {
    this.child.write("gc\n")
    await this.child.line(startMillis)
  }

  stop() {
    return this.child.kill()
  }
}

/**
 * Starts a server and waits until it says where it listens. Fails with what it complained about.
 *
 * @param {import("./roster.mjs").Contestant} server
 * @param {{ readonly exposeGc?: boolean, readonly openFiles?: number }} [options]
 */
export const startServer = async (server, options = {}) => {
  const [runtime, program] = command(server)
  const flags = options.exposeGc === true && server.runtime === "node" ? ["--expose-gc"] : []
  const { certFile, keyFile } = server.wires.includes("tls") ? await certificate() : {}
  const files = certFile === undefined ? [] : [certFile, keyFile]
  // A pool is measured with the cores that it is for.
  const words = server.wires.includes("pool")
    ? [runtime, ...flags, program]
    : pinned("server", [runtime, ...flags, program, ...files])
  const child = start(options.openFiles === undefined ? words : withOpenFiles(options.openFiles, words))
  try {
    const { port } = await child.line(startMillis)
    return new RunningServer(server.name, child, port)
  } catch (error) {
    await child.kill()
    throw error
  }
}

/**
 * Raises the limit of open files first; a limit that cannot be raised stays as it is.
 *
 * @param {number} count
 * @param {ReadonlyArray<string>} words
 */
export const withOpenFiles = (count, words) => ["sh", "-c", raiseAndRun, "sh", `${count}`, ...words]

const raiseAndRun = "n=$1; shift; ulimit -n \"$n\" 2>/dev/null; exec \"$@\""

/** The limit of open files that `withOpenFiles(count)` reaches here. */
export const reachableOpenFiles = (/** @type {number} */ count) => {
  const [program, ...args] = withOpenFiles(count, ["sh", "-c", "ulimit -n"])
  const answer = spawnSync(program, args, { encoding: "utf8" }).stdout.trim()
  return answer === "unlimited" ? count : Number(answer)
}

/**
 * @param {number} pid
 * @returns {Array<number>}
 */
const family = (pid) => {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`)
    const own = tasks.flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, "latin1").split(" "))
    return [pid, ...own.filter((text) => text.trim() !== "").flatMap((text) => family(Number(text)))]
  } catch {
    return [pid]
  }
}

/** The fields of /proc/PID/stat from the state on: utime is 11, stime 12, both of waited-for children 13 and 14. */
const statFields = (/** @type {number | "self"} */ pid) => {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number)
}

const cpuTicks = (/** @type {number} */ pid) => sum(statFields(pid).slice(11, 13))

const sum = (/** @type {ReadonlyArray<number>} */ values) => values.reduce((total, value) => total + value, 0)

/**
 * CPU seconds so far of everything on the machine except this process and its children that have ended (generators);
 * what a hypervisor took away counts too. The servers are in it: subtract them.
 */
export const othersCpuSeconds = () => {
  const [, ...fields] = readFileSync("/proc/stat", "latin1").split("\n", 1)[0].split(/ +/).map(Number)
  const idle = fields[3] + fields[4]
  const guest = fields[8] + fields[9]
  return (sum(fields) - idle - guest - sum(statFields("self").slice(11, 15))) / ticksPerSecond
}

/** @param {number} pid */
const residentBytes = (pid) => {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))
  return line === null ? 0 : Number(line[1]) * 1024
}
