/** The command line program on Windows, in Wine: what is made otherwise there, and what is said not to be there. */
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as path from "node:path"
import { folder, get } from "./utils/commandLine.ts"
import * as Windows from "./utils/wine.ts"
import { missing, type Program } from "./utils/wine.ts"

const source = (word: string) => `
export default { fetch: () => new Response("${word} " + process.pid) }
`

const pipe = "\\\\.\\pipe\\slipway-test"
const serving = /serving app\.mjs on (http:\S+) /

const address = (program: Program) => Effect.map(program.says(serving), (match) => match[1]!)

/** Who answers, one after the other. */
const answers = (url: string, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => get(url), { concurrency: 1 })

describe.skipIf(missing !== undefined)(`Windows${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  layer(Windows.layer, { excludeTestServices: true, timeout: 60_000 })((it) => {
    it.effect("has workers that share a socket, are restarted and counted through a pipe, and stop [W134]", () =>
      Effect.gen(function*() {
        const { run, start } = yield* Windows.Windows
        const cwd = yield* folder({ "app.mjs": source("one") })
        const args = ["app.mjs", "--port", "0", "--workers", "2", "--control-socket", pipe]
        // On a busy machine there may be more than half a second between a connection of ours and its request.
        const program = yield* start(cwd, ...args, "--drain-window", "10")
        const url = yield* address(program)
        const first = new Set(yield* answers(url, 20))
        assert.strictEqual(first.size, 2)

        fs.writeFileSync(path.join(cwd, "app.mjs"), source("two"))
        const ctl = (...args: ReadonlyArray<string>) => run(cwd, "ctl", ...args, "--socket", pipe)
        const reloading = yield* Effect.forkChild(ctl("reload"))
        // Nobody is turned away meanwhile.
        const meanwhile: Array<string> = []
        while (reloading.pollUnsafe() === undefined) meanwhile.push(yield* get(url))
        assert.deepInclude(yield* Fiber.join(reloading), { code: 0, output: "Reloaded\n" })
        assert.isAbove(meanwhile.length, 1)
        const second = yield* answers(url, 20)
        assert.isTrue(second.every((answer) => answer.startsWith("two ")), second.join())
        assert.strictEqual(new Set(second).size, 2)

        assert.deepInclude(yield* ctl("scale", "3"), { code: 0, output: "Serving with 3 workers\n" })
        const status = yield* ctl("status", "--json")
        assert.lengthOf(JSON.parse(status.output).workers, 3)
        assert.deepInclude(yield* ctl("stop"), { code: 0, output: "Stopping\n" })
        const { code, output } = yield* program.ended
        assert.strictEqual(code, 0)
        assert.lengthOf(output.match(/Stopped: waited for 0 requests/g)!, 5)
      }))

    it.effect("has an end by Ctrl-C for all workers, and replaces one that dies [W134]", () =>
      Effect.gen(function*() {
        const { start } = yield* Windows.Windows
        const cwd = yield* folder({
          "app.mjs":
            `export default { fetch: (request) => request.url.endsWith("/die") ? process.exit(7) : new Response("hi") }`
        })
        const program = yield* start(cwd, "app.mjs", "--port", "0", "--workers", "2")
        const url = yield* address(program)
        yield* Effect.exit(get(`${url}/die`))
        yield* program.says(/ended by itself: exit code 7[^]*no lifespan/)
        assert.deepStrictEqual(yield* answers(url, 4), ["hi", "hi", "hi", "hi"])
        // Wine makes a Ctrl-C of it.
        program.child.kill("SIGINT")
        const { code, output } = yield* program.ended
        assert.strictEqual(code, 0)
        assert.lengthOf(output.match(/Stopped: waited for 0 requests/g)!, 2)
      }))

    it.effect("restarts what has changed with --reload [W134]", () =>
      Effect.gen(function*() {
        const { start } = yield* Windows.Windows
        const cwd = yield* folder({ "app.mjs": source("one") })
        const program = yield* start(cwd, "app.mjs", "--port", "0", "--reload")
        const url = yield* address(program)
        assert.match(yield* get(url), /^one /)
        fs.writeFileSync(path.join(cwd, "app.mjs"), source("two"))
        yield* program.says(/app\.mjs changed; restarting[^]*Restarted 1 worker/)
        assert.match(yield* get(url), /^two /)
      }))

    it.effect("stops as it should by Ctrl-Break, and when the console closes [W134]", () =>
      Effect.gen(function*() {
        const { start } = yield* Windows.Windows
        for (const signal of ["SIGBREAK", "SIGHUP"]) {
          const cwd = yield* folder({
            // Nobody else can send it.
            "app.mjs":
              `export default { fetch: () => { process.emit("${signal}", "${signal}"); return new Response("hi") } }`
          })
          const program = yield* start(cwd, "app.mjs", "--port", "0")
          assert.strictEqual(yield* get(yield* address(program)), "hi")
          const { code, output } = yield* program.ended
          assert.strictEqual(code, 0)
          assert.include(output, "Stopped: ")
        }
      }))

    it.effect("refuses what it has not, by name [W134]", () =>
      Effect.gen(function*() {
        const { run } = yield* Windows.Windows
        const cwd = yield* folder({ "app.mjs": source("one") })
        for (
          const [args, why] of [
            [["--daemonize"], /Windows has services instead/],
            [["--user", "me"], /Windows has no way to change the user/],
            [["--workers", "2", "--reuse-port", "true"], /Windows has no reusePort/],
            [["--workers", "2", "--unix", "app.sock"], /EAFNOSUPPORT/]
          ] as const
        ) {
          const { code, output } = yield* run(cwd, "app.mjs", ...args)
          assert.notStrictEqual(code, 0)
          assert.match(output, why)
        }
      }))
  })
})
