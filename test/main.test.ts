import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as Settings from "../src/schema/Settings.ts"
import { folder, get, type Options, root, run, start } from "./utils/commandLine.ts"

const fetcher = (body: string): string => `export default { fetch: () => new Response(${body}) }\n`

const hello = { "app.mjs": fetcher("'hello'") }

/** Serves one file and asks it once. */
const answerOf = Effect.fnUntraced(function*(
  files: Record<string, string>,
  args: ReadonlyArray<string>,
  options: Options = {}
) {
  const cwd = yield* folder(files)
  const program = yield* start([...args, "--port", "0"], { cwd, ...options })
  return yield* Effect.flatMap(program.ready, (url) => get(`${url}/there`))
})

const occupied = Effect.fnUntraced(function*(port: number) {
  const server = net.createServer()
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.once("error", () => resume(Effect.void))
      server.listen(port, "127.0.0.1", () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close())
  )
  return (server.address() as net.AddressInfo | null)?.port ?? port
})

const source = (file: string): string => JSON.stringify(pathToFileURL(path.join(root, file)).href)

const functionApp = `import * as Effect from "effect/Effect"
const bytes = new TextEncoder().encode("function")
export default (exchange) =>
  exchange.type === "http"
    ? Effect.andThen(
      exchange.send({ type: "http.response.start", status: 200, headers: [["content-length", "8"]] }),
      exchange.send({ type: "http.response.body", body: bytes, more: false })
    )
    : Effect.void
`

const layerApp = `import * as App from ${source("src/app/App.ts")}
import * as Server from ${source("src/service/Server.ts")}
export default Server.serve(App.http(({ scope, send }) => App.respond(send, 200, scope.path)))
`

const typedApp = `import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { greet, type Greeting } from "./greet.ts"
const greeting: Greeting = greet("effect")
export default Effect.succeed(HttpServerResponse.text(greeting))
`

describe("main", { timeout: 60_000 }, () => {
  describe("calling", () => {
    it.live("explains every flag with its variable and default under --help", () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run(["--help"])
        assert.strictEqual(code, 0)
        assert.strictEqual(stderr, "")
        for (const entry of Settings.entries) {
          assert.include(stdout, `--${entry.flag}`)
          assert.include(stdout, entry.env)
        }
        assert.include(stdout, "--no-access-log")
        assert.include(stdout, "A flag is stronger than an environment variable")
      }))

    it.live("prints its name and version under --version", () =>
      Effect.gen(function*() {
        const { code, stdout } = yield* run(["--version"])
        assert.strictEqual(code, 0)
        assert.match(stdout, /^slipway \S+\n$/)
      }))

    it.live("names an unknown flag and the nearest one, and exits with 2", () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run(["--prot", "80"])
        assert.strictEqual(code, 2)
        assert.strictEqual(stderr, "slipway: Unknown option --prot. Did you mean --port?\nTry slipway --help\n")
        assert.strictEqual(stdout, "")
      }))

    it.live("names a refused flag, variable or config key with its value, and exits with 2", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "slipway.toml": "port = 65536\n", "odd.yaml": "prot: 80\n" })
        const expected = ": expected a whole number from 0 to 65535\n"
        const refusals: ReadonlyArray<readonly [ReadonlyArray<string>, Record<string, string>, string]> = [
          [["--port", "http"], {}, `--port is "http"${expected}`],
          [[], { SLIPWAY_PORT: "-1" }, `SLIPWAY_PORT is "-1"${expected}`],
          [[], { PORT: "x" }, `PORT is "x"${expected}`],
          [["-c", "./slipway.toml"], {}, `port in ./slipway.toml is 65536${expected}`],
          [["--config", "odd.yaml"], {}, "Unknown option prot in odd.yaml. Did you mean port?"],
          [["--config", "no.json"], {}, "Cannot use the config file no.json: there is no such file"],
          [["--access-log-format", "%?"], {}, "--access-log-format"]
        ]
        for (const [args, env, message] of refusals) {
          const { code, stderr } = yield* run(args, { cwd, env })
          assert.strictEqual(code, 2, stderr)
          assert.isTrue(stderr.startsWith(`slipway: ${message}`), stderr)
        }
      }))

    it.live("refuses exclusive flags, naming both [C137]", () =>
      Effect.gen(function*() {
        const { code, stderr } = yield* run(["--unix", "/tmp/x.sock", "--port", "80"])
        assert.strictEqual(code, 2)
        assert.include(stderr, "--unix and --port exclude each other")
      }))
  })

  describe("serving", () => {
    it.live("serves a function, an object with fetch, an Effect and a Layer from a file", () =>
      Effect.gen(function*() {
        const greet = `export type Greeting = string
export const greet = (name: string): Greeting => "typed " + name
`
        assert.strictEqual(yield* answerOf({ "app.mjs": functionApp }, ["./app.mjs"]), "function")
        assert.strictEqual(yield* answerOf(hello, ["app.mjs"]), "hello")
        assert.strictEqual(
          yield* answerOf({ "app.cjs": "module.exports = { fetch: () => new Response('common') }" }, ["app.cjs"]),
          "common"
        )
        assert.strictEqual(yield* answerOf({ "app.ts": typedApp, "greet.ts": greet }, ["app.ts"]), "typed effect")
        assert.strictEqual(yield* answerOf({ "app.mts": layerApp }, ["app.mts"]), "/there")
      }))

    it.live("serves the current directory without an argument", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* answerOf({ there: "file content" }, []), "file content")
      }))

    it.live("serves on a unix socket", () =>
      Effect.gen(function*() {
        const cwd = yield* folder(hello)
        const program = yield* start(["app.mjs", "--unix", "app.sock"], { cwd })
        assert.strictEqual(yield* program.ready, "unix:app.sock")
        const body = yield* Effect.callback<string>((resume) => {
          http.get({ socketPath: path.join(cwd, "app.sock"), path: "/" }, (response) => {
            let text = ""
            response.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
            response.on("end", () => resume(Effect.succeed(text)))
          })
        })
        assert.strictEqual(body, "hello")
      }))

    it.live("takes host, port and log level from the environment", () =>
      Effect.gen(function*() {
        const cwd = yield* folder(hello)
        const env = { SLIPWAY_HOST: "127.0.0.2", PORT: "1", SLIPWAY_PORT: "0" }
        const program = yield* start(["app.mjs"], { cwd, env })
        const url = yield* program.ready
        assert.match(url, /^http:\/\/127\.0\.0\.2:\d{2,}$/)
        assert.strictEqual(yield* get(url), "hello")
        const quiet = yield* run(["missing.mjs"], { cwd, env: { SLIPWAY_LOG_LEVEL: "none" } })
        assert.deepStrictEqual(quiet, { code: 1, stdout: "", stderr: "" })
      }))

    it.live("remarks on a variable that is no setting", () =>
      Effect.gen(function*() {
        const { stderr } = yield* run(["missing.mjs"], { env: { SLIPWAY_PROT: "80" } })
        assert.include(stderr, "SLIPWAY_PROT is no setting. Did you mean SLIPWAY_PORT?")
      }))
  })

  describe("modes", () => {
    it.live("is in production without a terminal, unless told, and tells the application [C164]", () =>
      Effect.gen(function*() {
        const files = { "app.mjs": fetcher("process.env.SLIPWAY_ENV + ' ' + process.env.NODE_ENV") }
        const modes = [
          [[], {}, "production production"],
          [["--env", "development"], {}, "development development"],
          [[], { SLIPWAY_ENV: "development", NODE_ENV: "test" }, "development test"],
          [["-E", "production"], { SLIPWAY_ENV: "development" }, "production production"]
        ] as const
        for (const [args, env, answer] of modes) {
          assert.strictEqual(yield* answerOf(files, ["app.mjs", ...args], { env }), answer)
        }
      }))

    it.live("checks the application's events in development and not in production [C164] [C161]", () =>
      Effect.gen(function*() {
        const careless = functionApp.replace("\"content-length\"", "\"Content-Length\"")
        const cwd = yield* folder({ "app.mjs": careless })
        for (const [mode, checked] of [["development", true], ["production", false]] as const) {
          const program = yield* start(["app.mjs", "-E", mode, "--port", "0"], { cwd })
          const url = yield* program.ready
          const response = yield* Effect.promise(() => fetch(url, { headers: { connection: "close" } }))
          yield* Effect.promise(() => response.text())
          assert.strictEqual(response.status, checked ? 500 : 200)
          program.child.kill("SIGTERM")
          yield* program.exited
          assert.strictEqual(program.stderr.includes("Contract broken"), checked, program.stderr)
        }
      }))

    it.live("shows the client why a handler failed in development, and nothing of it in production [W32]", () =>
      Effect.gen(function*() {
        const failing = `import * as Effect from "effect/Effect"\nexport default Effect.die(new Error("the inside"))\n`
        const cwd = yield* folder({ "app.mjs": failing })
        for (const [mode, isShown] of [["development", true], ["production", false]] as const) {
          const program = yield* start(["app.mjs", "-E", mode, "--port", "0"], { cwd })
          const url = yield* program.ready
          const headers = { accept: "text/html", connection: "close" }
          const response = yield* Effect.promise(() => fetch(url, { headers }))
          const page = yield* Effect.promise(() => response.text())
          assert.strictEqual(response.status, 500)
          assert.match(page, /^<!doctype html>/i)
          assert.strictEqual(page.includes("the inside"), isShown, page)
          program.child.kill("SIGTERM")
          yield* program.exited
        }
      }))

    it.live("moves on from a taken default port in development, and says so [W99]", () =>
      Effect.gen(function*() {
        yield* occupied(5000)
        const cwd = yield* folder(hello)
        const program = yield* start(["app.mjs", "-E", "development"], { cwd })
        const url = yield* program.ready
        assert.notStrictEqual(url, "http://127.0.0.1:5000")
        assert.strictEqual(yield* get(url), "hello")
        assert.match(program.stderr, /Port 5000 is taken(?: by [^\n]+)?, using \d+\. --port chooses one/)
      }))

    it.live("does not move from a port that was asked for: it names the address and exits with 1", () =>
      Effect.gen(function*() {
        const port = yield* occupied(0)
        const cwd = yield* folder(hello)
        for (const mode of ["development", "production"]) {
          const { code, stderr } = yield* run(["app.mjs", "-E", mode, "--port", String(port)], { cwd })
          assert.strictEqual(code, 1)
          assert.include(stderr, `http://127.0.0.1:${port}`)
          assert.include(stderr, "EADDRINUSE")
          assert.notMatch(stderr, /\n\s+at /)
        }
      }))
  })

  describe("logging", () => {
    it.live("keeps standard output for the access log", () =>
      Effect.gen(function*() {
        const cwd = yield* folder(hello)
        const program = yield* start(["app.mjs", "--port", "0", "--access-log-format", "%m %U %s"], { cwd })
        yield* Effect.flatMap(program.ready, (url) => get(`${url}/logged`))
        yield* program.waitFor("stdout", /\n/)
        assert.strictEqual(program.stdout, "GET /logged 200\n")
        assert.notInclude(program.stderr, "/logged")
      }))

    it.live("writes the access log to a file or nowhere", () =>
      Effect.gen(function*() {
        const cwd = yield* folder(hello)
        const outputs = [["--access-log", "access.log"], ["--no-access-log"], ["--access-log", "none"]]
        for (const args of outputs) {
          const program = yield* start(["app.mjs", "--port", "0", ...args], { cwd })
          yield* Effect.flatMap(program.ready, (url) => get(`${url}/logged`))
          program.child.kill("SIGTERM")
          yield* program.exited
          assert.strictEqual(program.stdout, "")
        }
        const lines = fs.readFileSync(path.join(cwd, "access.log"), "utf8")
        assert.strictEqual(lines.split("/logged").length, 2)
      }))

    it.live("logs JSON lines when asked to", () =>
      Effect.gen(function*() {
        const cwd = yield* folder(hello)
        const program = yield* start(["app.mjs", "--port", "0", "--log-format", "json"], { cwd })
        yield* program.waitFor("stderr", /serving app.*\n/)
        const lines = program.stderr.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, string>)
        const ready = lines.find((line) => line.message!.includes("serving app.mjs"))!
        assert.strictEqual(ready.level, "INFO")
        assert.match(ready.message!, /^Slipway \S+ serving app\.mjs on http:\/\/127\.0\.0\.1:\d+ \(production\)$/)
      }))
  })

  describe("failing to start", () => {
    it.live("says in one line of the log what is wrong with the module, and exits with 1", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({
          "throws.mjs": "throw new Error('no database')",
          "wrong.mjs": "export default 42",
          "refuses.mts": `import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
export default Layer.effectDiscard(Effect.fail(new Error("no licence")))`
        })
        for (
          const [name, message] of [
            ["throws.mjs", "Cannot load throws.mjs: no database"],
            ["wrong.mjs", "its default export is a number"],
            ["missing.mjs", "Cannot serve missing.mjs: there is no such file"],
            ["refuses.mts", "no licence"]
          ] as const
        ) {
          const { code, stderr } = yield* run([name, "--port", "0"], { cwd })
          assert.strictEqual(code, 1, stderr)
          assert.include(stderr, message)
          assert.strictEqual(stderr.trimEnd().split("\n").length, 1, stderr)
        }
      }))

    it.live("shows where a TypeScript module threw, in development", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "app.ts": "interface A {\n  b: string\n}\n\nthrow new Error('no database')\n" })
        const { code, stderr } = yield* run(["app.ts", "-E", "development", "--port", "0"], { cwd })
        assert.strictEqual(code, 1)
        assert.match(stderr, /app\.ts:5:\d+/)
      }))
  })

  describe("stopping", () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      it.live(`exits with 0 after ${signal}`, () =>
        Effect.gen(function*() {
          const cwd = yield* folder(hello)
          const program = yield* start(["app.mjs", "--port", "0"], { cwd })
          yield* program.ready
          program.child.kill(signal)
          assert.strictEqual(yield* program.exited, 0, program.stderr)
        }))
    }

    it.live("lets a request in flight finish", () =>
      Effect.gen(function*() {
        const slow = `let answer
process.on("SIGTERM", () => answer(new Response("finished")))
export default { fetch: () => { console.error("asked"); return new Promise((resolve) => { answer = resolve }) } }
`
        const cwd = yield* folder({ "app.mjs": slow })
        const program = yield* start(["app.mjs", "--port", "0"], { cwd })
        const url = yield* program.ready
        const answer = fetch(url).then((response) => response.text())
        yield* program.waitFor("stderr", /asked/)
        program.child.kill("SIGTERM")
        assert.strictEqual(yield* Effect.promise(() => answer), "finished")
        assert.strictEqual(yield* program.exited, 0, program.stderr)
      }))

    const stuck = "export default { fetch: () => { console.error('asked'); return new Promise(() => {}) } }"

    it.live("exits with 1 when it had to cut a request, and says how many", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "app.mjs": stuck })
        const program = yield* start(["app.mjs", "--port", "0", "--shutdown-timeout", "0.05"], { cwd })
        const url = yield* program.ready
        const answer = fetch(url).then(() => "answered", () => "cut")
        yield* program.waitFor("stderr", /asked/)
        program.child.kill("SIGTERM")
        assert.strictEqual(yield* program.exited, 1, program.stderr)
        assert.strictEqual(yield* Effect.promise(() => answer), "cut")
        assert.match(program.stderr, /waited for 1 request on 1 connection, cut 1 request/)
      }))

    it.live("exits at once with 1 on a second signal [C145]", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "app.mjs": stuck })
        const program = yield* start(["app.mjs", "--port", "0"], { cwd })
        const url = yield* program.ready
        const answer = fetch(url).then(() => "answered", () => "cut")
        yield* program.waitFor("stderr", /asked/)
        program.child.kill("SIGTERM")
        yield* program.waitFor("stderr", /Stopping/)
        program.child.kill("SIGINT")
        assert.strictEqual(yield* program.exited, 1, program.stderr)
        assert.strictEqual(yield* Effect.promise(() => answer), "cut")
      }))
  })
})
