/**
 * Lines for the syslog daemon of this machine. Node has no datagram sockets in the file system, so the program `logger` of
 * util-linux writes to /dev/log: one child, fed by its standard input, started again when it has ended, with growing pauses.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import type { Writable } from "node:stream"
import type { SyslogTarget } from "../../src/schema/SyslogTarget.ts"
import type { Destination, WriteFailure } from "./LogBuffer.ts"

/** What `logger` writes to. */
const socketPath = "/dev/log"

/** Pause after the child has ended; doubled each time that the next one ends before it is over. */
const leastPauseMillis = 1000
const mostPauseMillis = 60_000

/** How long the last lines may take at the end. */
const endTimeoutMillis = 5000

/** What tests replace. */
export interface Program {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly socketPath: string
}

interface Running {
  readonly child: ChildProcess
  readonly input: Writable
  readonly sinceMillis: number
  /** How it ended; `undefined` while it runs. */
  ended: string | undefined
}

const programOf = ({ facility, tag }: SyslogTarget): Program => ({
  command: "logger",
  args: ["--tag", tag, "--priority", `${facility}.info`, `--id=${process.pid}`, "--size", "8KiB"],
  socketPath
})

const start = ({ args, command }: Program, now: number): Effect.Effect<Running, Error> =>
  Effect.callback((resume) => {
    // A group of its own: Ctrl+C is for us, and the child ends when its input does.
    const child = spawn(command, args, { stdio: ["pipe", "ignore", "pipe"], detached: true })
    const running: Running = { child, input: child.stdin, sinceMillis: now, ended: undefined }
    let said = ""
    child.stdin.on("error", () => {})
    child.stderr.setEncoding("utf8").on("data", (text: string) => said = (said + text).slice(-200))
    child.once("spawn", () => resume(Effect.succeed(running)))
    child.once("error", (error) => resume(Effect.fail(error)))
    child.once("close", (code, signal) => {
      running.ended = `${command} ended with ${signal ?? code}${said === "" ? "" : `: ${said.trim()}`}`
    })
  })

const feed = (running: Running, bytes: Uint8Array): Effect.Effect<void, unknown> =>
  Effect.callback((resume) => {
    running.input.write(bytes, (error) => resume(error ? Effect.fail(running.ended ?? error) : Effect.void))
  })

/** Lets it finish what it has been given. */
const end = ({ child, ended, input }: Running): Effect.Effect<void> =>
  ended !== undefined ? Effect.void : Effect.callback<void>((resume) => {
    child.once("close", () => resume(Effect.void))
    input.end()
  }).pipe(
    Effect.interruptible,
    Effect.timeoutOption(endTimeoutMillis),
    Effect.andThen(Effect.sync(() => void child.kill("SIGKILL")))
  )

/**
 * Starts the child. **Fails with** an error that says what is missing: the daemon's socket, or `logger`.
 */
export const make = Effect.fnUntraced(function*(target: SyslogTarget, program: Program = programOf(target)) {
  if (!fs.existsSync(program.socketPath)) {
    return yield* Effect.fail(
      new Error(`there is no syslog daemon on this machine: ${program.socketPath} does not exist`)
    )
  }
  const first = yield* Effect.mapError(
    start(program, yield* Clock.currentTimeMillis),
    (error) => new Error(`the program ${program.command} of util-linux is needed: ${error.message}`)
  )
  let running = first
  let pauseMillis = leastPauseMillis
  let notBefore = 0
  yield* Effect.addFinalizer(() => Effect.suspend(() => end(running)))

  const alive = Effect.clockWith((clock): Effect.Effect<Running, unknown> => {
    if (running.ended === undefined) return Effect.succeed(running)
    const now = clock.currentTimeMillisUnsafe()
    if (notBefore === 0) {
      // One that has lived for a while has earned a quick return.
      pauseMillis = now - running.sinceMillis > mostPauseMillis ? leastPauseMillis : pauseMillis
      notBefore = now + pauseMillis
      pauseMillis = Math.min(pauseMillis * 2, mostPauseMillis)
    }
    if (now < notBefore) return Effect.fail(running.ended)
    return Effect.map(start(program, now), (started) => {
      notBefore = 0
      return running = started
    })
  })

  const write = (bytes: Uint8Array): Effect.Effect<void, WriteFailure> =>
    Effect.mapError(
      Effect.flatMap(alive, (running) => feed(running, bytes)),
      (cause): WriteFailure => ({ cause, writtenBytes: 0 })
    )
  const destination: Destination = { name: "syslog:", write }
  return destination
})
