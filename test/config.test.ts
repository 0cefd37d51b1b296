/** Where the command line program takes its settings from, and what it serves, as a process: flags, files, the table. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { folder, get, root, run, start } from "./utils/commandLine.ts"

const fetcher = (body: string): string => `export default { fetch: () => new Response(${body}) }\n`
const hello = { "app.mjs": fetcher("'hello'") }
const production = { SLIPWAY_ENV: "production" }

/** Starts, asks once, and says what came back and what was logged. */
const served = Effect.fnUntraced(function*(
  files: Record<string, string>,
  args: ReadonlyArray<string>,
  env: Record<string, string> = {},
  target = "/there"
) {
  const cwd = yield* folder(files)
  const program = yield* start([...args, "--port", "0"], { cwd, env })
  const url = yield* program.ready
  const answer = yield* get(`${url}${target}`)
  return { answer, stderr: program.stderr }
})

const answerOf = (...parameters: Parameters<typeof served>) => Effect.map(served(...parameters), ({ answer }) => answer)

const refusalOf = Effect.fnUntraced(function*(files: Record<string, string>, args: ReadonlyArray<string>) {
  const { code, stderr } = yield* run([...args, "--port", "0"], { cwd: yield* folder(files) })
  return { code, stderr }
})

describe("config", { timeout: 60_000 }, () => {
  describe(".env", () => {
    const files = {
      "app.mjs": fetcher("process.env.GREETING + ' ' + process.env.NODE_ENV"),
      ".env": "GREETING=from the file\nNODE_ENV=staging\nSLIPWAY_ACCESS_LOG=none\n",
      "other.env": "GREETING=other\n"
    }

    it.live("gives settings and application what the environment lacks", () =>
      Effect.gen(function*() {
        const { answer, stderr } = yield* served(files, ["app.mjs"])
        assert.strictEqual(answer, "from the file staging")
        assert.include(stderr, "Settings come from .env")
        assert.strictEqual(yield* answerOf(files, ["app.mjs"], { GREETING: "mine" }), "mine staging")
        assert.strictEqual(yield* answerOf(files, ["app.mjs", "--env-file", "other.env"]), "other production")
        assert.strictEqual(yield* answerOf(files, ["app.mjs", "--no-env-file"]), "undefined production")
      }))

    it.live("names its line that cannot be read, and exits with 2", () =>
      Effect.gen(function*() {
        const { code, stderr } = yield* refusalOf({ ...hello, ".env": "A=1\nno assignment\n" }, ["app.mjs"])
        assert.strictEqual(code, 2)
        assert.include(stderr, "Cannot use the environment file .env: line 2 is not NAME=value")
        assert.notInclude(stderr, "no assignment")
      }))

    it.live("is not read where only files are served", () =>
      Effect.gen(function*() {
        const trap = {
          ".env": "SLIPWAY_REQUIRE=./trap.mjs\n",
          "trap.mjs": "throw new Error('trapped')",
          "a.txt": "text"
        }
        for (const args of [[], ["."]]) {
          assert.strictEqual(yield* answerOf(trap, args, {}, "/a.txt"), "text")
        }
        const { code, stderr } = yield* refusalOf({ ...trap, ...hello }, ["app.mjs"])
        assert.strictEqual(code, 1)
        assert.include(stderr, "trapped")
      }))

    it.live("reaches every worker", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* answerOf(files, ["app.mjs", "--workers", "2"]), "from the file staging")
      }))
  })

  describe("config file", () => {
    const files = {
      ...hello,
      "slipway.toml": "accessLogFormat = \"%m\"\n[profiles.production]\naccessLogFormat = \"production %U\"\n"
        + "[profiles.staging]\naccessLogFormat = \"staging %U\"\n"
    }

    it.live("of the current directory is read, with the profile of the mode or the one that is named [W138]", () =>
      Effect.gen(function*() {
        const lineOf = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
          const cwd = yield* folder(files)
          const program = yield* start(["app.mjs", "--port", "0", ...args], { cwd })
          yield* Effect.flatMap(program.ready, (url) => get(`${url}/there`))
          yield* program.waitFor("stdout", /\n/)
          return [program.stdout, /Settings come from (.*)$/m.exec(program.stderr.replaceAll("\"", ""))?.[1]]
        })
        assert.deepStrictEqual(yield* lineOf(), ["production /there\n", "slipway.toml (production)"])
        assert.deepStrictEqual(yield* lineOf("--profile", "staging"), ["staging /there\n", "slipway.toml (staging)"])
        assert.deepStrictEqual(yield* lineOf("-E", "development", "--log-format", "text"), ["GET\n", "slipway.toml"])
      }))

    it.live("is refused where there are two, and where the profile is missing", () =>
      Effect.gen(function*() {
        const two = yield* refusalOf({ ...files, "slipway.json": "{}" }, ["app.mjs"])
        assert.strictEqual(two.code, 2)
        assert.include(two.stderr, "Cannot use the config file slipway.toml: there is slipway.json as well")
        const missing = yield* refusalOf(files, ["app.mjs", "--profile", "stagin"])
        assert.strictEqual(missing.code, 2)
        assert.include(
          missing.stderr,
          "it has no profile \"stagin\", which --profile asks for. It has production, staging"
        )
      }))
  })

  describe("conflicts", () => {
    it.live("are refused with the names in the words of their sources, and exit with 2 [C137]", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ ...hello, "slipway.yaml": "daemonize: true\n" })
        const refusals: ReadonlyArray<readonly [ReadonlyArray<string>, Record<string, string>, string]> = [
          [["--reload", "-E", "development"], {}, "daemonize in slipway.yaml and --reload exclude each other"],
          [["--no-daemonize", "--inspect"], production, "--inspect and SLIPWAY_ENV exclude each other"],
          [["--no-config", "-e", "1"], {}, "--eval and APP exclude each other"],
          [["--no-config", "-q", "--log-level", "info"], {}, "--quiet and --log-level exclude each other"],
          [["--no-config", "--admin-listen", "0.0.0.0:0"], {}, "--admin-listen and adminToken belong together"]
        ]
        for (const [args, env, message] of refusals) {
          const { code, stderr } = yield* run(["app.mjs", ...args], { cwd, env })
          assert.strictEqual(code, 2, stderr)
          assert.isTrue(stderr.startsWith(`slipway: ${message}`), stderr)
        }
      }))

    it.live("say what has no effect, and serve", () =>
      Effect.gen(function*() {
        const { stderr } = yield* served(hello, ["app.mjs", "--max-requests", "5"])
        assert.include(stderr, "--max-requests is of no use without workers")
      }))
  })

  describe("--print-config", () => {
    it.live("shows settings, values and sources, as text or JSON, and no secret", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({
          ...hello,
          "slipway.json": "{\"backlog\": 7}",
          ".env": "SLIPWAY_ADMIN_TOKEN=sesame\n"
        })
        const { code, stdout } = yield* run(["app.mjs", "--print-config"], { cwd, env: { PORT: "80" } })
        assert.strictEqual(code, 0)
        assert.match(stdout, /^port +80 +PORT$/m)
        assert.match(stdout, /^backlog +7 +backlog in slipway\.json$/m)
        assert.match(stdout, /^adminToken +<redacted> +SLIPWAY_ADMIN_TOKEN in \.env$/m)
        const json = yield* run(["app.mjs", "--print-config", "--log-format", "json"], { cwd })
        const rows = JSON.parse(json.stdout) as ReadonlyArray<{ readonly key: string; readonly source: string }>
        assert.strictEqual(rows.find(({ key }) => key === "logFormat")!.source, "--log-format")
        assert.notInclude(stdout + json.stdout, "sesame")
      }))
  })

  describe("--check-config", () => {
    it.live("looks for files from where they will be looked for", () =>
      Effect.gen(function*() {
        const [cwd, inner] = [yield* folder({}), yield* folder(hello)]
        const { code, stderr } = yield* run(["app.mjs", "--chdir", inner, "--check-config"], { cwd })
        assert.deepStrictEqual([code, stderr], [0, ""])
        const nowhere = path.join(inner, "nowhere")
        const refused = yield* run(["app.mjs", "--chdir", nowhere, "--check-config"], { cwd })
        assert.strictEqual(refused.code, 2)
        assert.include(refused.stderr, `Cannot run in ${nowhere} (chdir): ENOENT`)
      }))

    it.live("loads the application without starting it, and ends with 0 though something is left open", () =>
      Effect.gen(function*() {
        const open = "setInterval(() => {}, 1000)\nexport default { fetch: () => new Response('hello') }\n"
        const { code, stderr, stdout } = yield* run(["app.mjs", "--check-config"], {
          cwd: yield* folder({ "app.mjs": open })
        })
        assert.deepStrictEqual([code, stderr], [0, ""])
        assert.strictEqual(stdout, "slipway: Settings and application can be used\n")
      }))

    it.live("names everything that is wrong, and ends with 2", () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "app.mjs": "throw new Error('no database')" })
        const refused = yield* run(["app.mjs", "--check-config", "--port", "x", "--workers", "0"], { cwd })
        assert.strictEqual(refused.code, 2)
        assert.include(refused.stderr, "--port is \"x\"")
        assert.include(refused.stderr, "--workers is 0")
        const broken = yield* run(["app.mjs", "--check-config", "--tls-cert", "no.pem", "--tls-key", "no.key"], { cwd })
        assert.strictEqual(broken.code, 2)
        assert.include(broken.stderr, "no.pem")
        assert.include(broken.stderr, "Cannot load app.mjs: no database")
      }))
  })

  describe("what is served", () => {
    const make = "export const make = (args) => ({ fetch: () => new Response(JSON.stringify(args)) })\n"

    it.live("is a package, an export, a factory with arguments, an expression or a folder [C163]", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* answerOf({ "app.mjs": make }, ["app.mjs", "a=1", "b=x=y"]), `{"a":"1","b":"x=y"}`)
        const named = "export const named = { fetch: () => new Response('named') }\n"
        assert.strictEqual(yield* answerOf({ "app.mjs": named }, ["./app.mjs:named"]), "named")
        const code = "Effect.succeed(HttpServerResponse.text('inline'))"
        assert.strictEqual(yield* answerOf({}, ["-e", code]), "inline")
        assert.strictEqual(yield* answerOf({ "a.txt": "text" }, ["."], {}, "/a.txt"), "text")
        const cwd = yield* folder({})
        const home = path.join(cwd, "inner/node_modules/my-app")
        fs.mkdirSync(home, { recursive: true })
        fs.writeFileSync(path.join(home, "package.json"), `{"type":"module","exports":{"import":"./a.js"}}`)
        fs.writeFileSync(path.join(home, "a.js"), fetcher("'package'"))
        const program = yield* start(["my-app", "--port", "0"], { cwd: path.join(cwd, "inner") })
        assert.strictEqual(yield* Effect.flatMap(program.ready, get), "package")
      }))

    it.live("is what each of several workers loads, with its arguments and the modules before it [C163]", () =>
      Effect.gen(function*() {
        const files = {
          "first.cjs": "globalThis.mark = 'first'\n",
          "app.mjs": make.replace("JSON.stringify(args)", "globalThis.mark + JSON.stringify(args)")
        }
        const args = ["-r", "./first.cjs", "--workers", "2", "app.mjs", "a=1"]
        assert.strictEqual(yield* answerOf(files, args), `first{"a":"1"}`)
      }))

    it.live("refuses an argument without a name, and exits with 2", () =>
      Effect.gen(function*() {
        const { code, stderr } = yield* refusalOf(hello, ["app.mjs", "b.mjs"])
        assert.strictEqual(code, 2)
        assert.include(stderr, "An argument after APP is \"b.mjs\": expected name=value")
      }))
  })

  describe("--server", () => {
    const source = (file: string): string => JSON.stringify(pathToFileURL(path.join(root, file)).href)

    it.live("takes the server of another module, with the options, and names the flag where there is none [C165]", () =>
      Effect.gen(function*() {
        const server = `import * as ServerNode from ${source("layers/ServerNode.ts")}
export const layer = (options) => ServerNode.layer({ ...options, serverHeader: "another" })
`
        const cwd = yield* folder({ ...hello, "server.mts": server, "none.mjs": "export default 1\n" })
        const program = yield* start(["app.mjs", "--port", "0", "--server", "./server.mts"], { cwd })
        const url = yield* program.ready
        const response = yield* Effect.promise(() => fetch(url, { headers: { connection: "close" } }))
        assert.strictEqual(response.headers.get("server"), "another")
        const none = yield* run(["app.mjs", "--port", "0", "-s", "./none.mjs"], { cwd })
        assert.strictEqual(none.code, 1)
        assert.include(none.stderr, "Cannot use ./none.mjs (--server) as the server: its export layer is missing")
        const missing = yield* run(["app.mjs", "--port", "0"], { cwd, env: { SLIPWAY_SERVER: "nowhere" } })
        assert.include(missing.stderr, "Cannot load nowhere (SLIPWAY_SERVER): there is no such file")
      }))
  })

  describe("--help", () => {
    it.live("is plain where it is piped, and coloured where that is asked for", () =>
      Effect.gen(function*() {
        const plain = yield* run(["--help"])
        assert.notInclude(plain.stdout, "\u001b")
        const colored = yield* run(["--help"], { env: { FORCE_COLOR: "1" } })
        assert.include(colored.stdout, "\u001b[1mUSAGE")
      }))
  })

  describe("--completions", () => {
    it.live.skipIf(spawnSync("bash", ["-c", "exit 0"]).status !== 0)(
      "is a script that bash can read",
      () =>
        Effect.gen(function*() {
          const { code, stdout } = yield* run(["--completions", "bash"])
          assert.strictEqual(code, 0)
          assert.strictEqual(spawnSync("bash", ["-n"], { input: stdout }).status, 0)
          assert.include(stdout, "'debug' 'info' 'warn'")
        })
    )
  })
})
