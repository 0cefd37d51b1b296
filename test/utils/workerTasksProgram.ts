/** Programs of their own that use a pool, for what can only be seen from outside: how a process begins and ends. */
import { spawn } from "node:child_process"
import * as WorkerModule from "../../layers/internal/WorkerModule.ts"
import { moduleOf } from "./workerTasksMarks.ts"

const addressOf = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href)

/** Starts a program with `make` of a layer, `module`, `tasks`, `Effect` and `pid`s of its workers at hand. */
export const start = (layer: string, program: string, execArgv: ReadonlyArray<string> = []) => {
  const source = `
    import * as Effect from "effect/Effect"
    import { make } from ${addressOf(`layers/${layer}.ts`)}
    import * as tasks from ${addressOf("test/utils/workerTasks.ts")}
    const module = new URL(${JSON.stringify(moduleOf("workerTasks").href)})
    ${program}`
  const args = [...WorkerModule.execArgv(moduleOf("workerTasks"), execArgv), "--input-type=module", "--eval", source]
  // A limit that a program can reach. It leads a group of its own, which a test can signal.
  const child = spawn("/bin/sh", ["-c", `ulimit -n 512; exec "$0" "$@"`, process.execPath, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: true
  })
  let output = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text)
  const ended = new Promise<{ readonly code: number | null; readonly output: string }>((resolve) =>
    child.once("close", (code) => resolve({ code, output }))
  )
  return { child, ended, output: () => output }
}
