/** `slipway app.mjs --workers 2` as a process, and clients that ask it who they are talking to. */
import * as Effect from "effect/Effect"
import * as http from "node:http"
import * as Url from "node:url"
import { folder, type Program, start } from "./commandLine.ts"
import { isAlive } from "./processes.ts"
import { until } from "./sockets.ts"

/** Says which process answers, does harm on demand, and answers slowly until a file is there. */
export const source = `
import * as fs from "node:fs"
import * as Effect from "effect/Effect"

const whenThere = (path) => Effect.callback((resume) => {
  const look = () => fs.existsSync(path) ? resume(Effect.void) : setImmediate(look)
  look()
})

export default ({ scope, send, type }) => {
  if (type !== "http") return Effect.void
  const body = JSON.stringify({ pid: process.pid, number: process.env.SLIPWAY_WORKER_NUMBER })
  const answer = Effect.andThen(
    send({ type: "http.response.start", status: 200, headers: [] }),
    send({ type: "http.response.body", body })
  )
  switch (scope.path) {
    case "/die": return Effect.sync(() => process.kill(process.pid, "SIGKILL"))
    case "/block": return Effect.sync(() => { for (;;); })
    case "/slow": return Effect.andThen(
      Effect.sync(() => fs.writeFileSync("begun", "")),
      Effect.andThen(whenThere("go"), answer)
    )
    default: return answer
  }
}
`

export interface Told {
  readonly pid: number
  readonly number: string
}

/** One request on a connection of its own; `undefined` where nobody answers. */
export const ask = (target: string | { readonly socketPath: string; readonly path: string }) =>
  Effect.callback<Told | undefined>((resume) => {
    const options: http.RequestOptions = typeof target === "string" ? Url.urlToHttpOptions(new URL(target)) : target
    const request = http.get({ ...options, agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => body += text)
      response.on("end", () => resume(Effect.succeed(JSON.parse(body) as Told)))
    })
    request.on("error", () => resume(Effect.succeed(undefined)))
  })

/** Asks until as many processes have answered. */
export const pidsOf = Effect.fnUntraced(function*(url: string, count: number) {
  const pids = new Map<string, number>()
  while (new Set(pids.values()).size < count) {
    const told = yield* ask(url)
    if (told !== undefined) pids.set(told.number, told.pid)
  }
  return pids
})

/** Serves with two workers on a port, unless the arguments say otherwise; a config file says it all. */
export const serving = Effect.fnUntraced(function*(
  args: ReadonlyArray<string> = [],
  files: Record<string, string> = {}
) {
  const cwd = yield* folder({ "app.mjs": source, ...files })
  const has = (flag: string) => args.includes(flag) || args.includes("--config")
  const program = yield* start([
    "app.mjs",
    ...has("--workers") ? [] : ["--workers", "2"],
    ...has("--unix") ? [] : ["--host", "127.0.0.1", "--port", "0"],
    ...args.includes("--access-log") ? [] : ["--access-log", "none"],
    "--env",
    "production",
    ...args
  ], { cwd })
  const url = yield* program.ready
  return { cwd, program, url }
})

export const signal = (program: Program, name: NodeJS.Signals) => Effect.sync(() => void program.child.kill(name))

/** The exit code of the process itself: those that it has started may still hold its output. */
export const exitOf = ({ child }: Program): Effect.Effect<number | null> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null) return resume(Effect.succeed(child.exitCode))
    child.once("exit", (code) => resume(Effect.succeed(code)))
  })

/** The process that takes over from this one, once it is there. Ended with the scope. */
export const successorOf = Effect.fnUntraced(function*(program: Program, nth = 1) {
  const pattern = new RegExp(`(?:Started a successor \\((\\d+)\\)[^]*){${nth}}`)
  yield* until(() => pattern.test(program.stderr))
  const pid = pattern.exec(program.stderr)![1]
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      if (isAlive(Number(pid))) process.kill(Number(pid), "SIGKILL")
      return Effect.void
    })
  )
  return Number(pid)
})
