/**
 * Where a worker begins, a thread or a process: joins the WorkerRunner with the message channel that it was started
 * with. Loaded by the layers with `new Worker` and `fork`, never imported.
 *
 * A process ends when its parent has gone, even one that computes and reads no message; a thread cannot outlive its own.
 */
import * as Context from "effect/Context"
import { parentPort, type Transferable, Worker, workerData } from "node:worker_threads"
import { defaultExport } from "./TypeScript.ts"
import type { ToWorker } from "./WorkerMessage.ts"
import { type Channel, WorkerRunner } from "./WorkerRunner.ts"

const ofThread = (port: NonNullable<typeof parentPort>): Channel => ({
  // A list, even an empty one, costs 0.5 µs.
  send: (message, transfer) =>
    transfer === undefined || transfer.length === 0
      ? port.postMessage(message)
      : port.postMessage(message, transfer as ReadonlyArray<Transferable>),
  exit: () => process.exit(0)
})

const ofProcess: Channel = {
  // The callback takes the error of a channel that has closed meanwhile.
  send: (message) => void process.send!(message, undefined, undefined, () => {}),
  exit: () => process.exit(0)
}

const start = (channel: Channel, module: string): WorkerRunner => {
  const runner = new WorkerRunner(channel, Context.empty())
  runner.start(() => import(module).then(defaultExport))
  return runner
}

/** In a thread, since ours may be busy and read no message: fd 4 ends with the parent. */
const lifeline = `
new (require("node:net").Socket)({ fd: 4 }).on("error", () => {}).resume()
  .on("close", () => process.kill(process.pid, "SIGKILL"))
`

if (parentPort !== null) {
  const runner = start(ofThread(parentPort), workerData.module)
  parentPort.on("message", (message: ToWorker) => runner.receive(message))
} else {
  const runner = start(ofProcess, process.argv[2]!)
  process.on("message", (message) => runner.receive(message as ToWorker))
  process.once("disconnect", () => process.exit(0))
  new Worker(lifeline, { eval: true, env: {}, execArgv: [] }).unref()
  // A ctrl-c in the terminal and systemd's stop reach every process; the parent says when it is over.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {})
}
