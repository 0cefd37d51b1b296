/**
 * Development as a developer has it: `slipway app.ts --reload`, a file that changes, and what the terminal and a client get
 * to see. Needs the settings reload, reloadDelay and inspect in dist/main.js.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import * as Url from "node:url"
import { folder, type Program, root, run, start } from "./utils/commandLine.ts"

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** One request on a connection of its own; `undefined` where nobody answers. */
const ask = (url: string, headers: Record<string, string> = {}) =>
  Effect.callback<Answer | undefined>((resume) => {
    const request = http.get({ ...Url.urlToHttpOptions(new URL(url)), headers, agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => body += text)
      response.on("end", () =>
        resume(Effect.succeed({ status: response.statusCode!, type: response.headers["content-type"] ?? "", body })))
    })
    request.on("error", () =>
      resume(Effect.succeed(undefined)))
  })

/** Asks until the answer is the one that is waited for. */
const until = Effect.fnUntraced(
  function*(url: string, is: (answer: Answer) => boolean, headers?: Record<string, string>) {
    while (true) {
      const answer = yield* ask(url, headers)
      if (answer !== undefined && is(answer)) return answer
    }
  }
)

const answering = (body: string) => `
interface Unused { readonly a: string }

export default ({ scope, send, type }: any): any => {
  if (type !== "http") return Effect.void
  if (scope.path === "/fail") return fail(scope.path)
  return Effect.andThen(
    send({ type: "http.response.start", status: 200, headers: [["content-type", "text/html"]] }),
    send({ type: "http.response.body", body: ${body} })
  )
}
`

const app = (body = "greeting") =>
  `import * as Effect from "effect/Effect"
import { greeting } from "./lib/greeting.ts"
const fail = (path: string): never => { throw new TypeError("kaput at " + path) }
${answering(body)}`

const greeting = (text: string) =>
  `interface Greeting {
  readonly text: string
}

const it: Greeting = { text: ${JSON.stringify(text)} }
export const greeting: string = it.text
`

const open = Effect.fnUntraced(function*(
  files: Record<string, string> = {},
  args: ReadonlyArray<string> = []
) {
  const cwd = yield* folder({ "app.ts": app(), "package.json": "{\"type\":\"module\"}" })
  fs.mkdirSync(path.join(cwd, "lib"))
  const write = (name: string, content: string) => fs.writeFileSync(path.join(cwd, name), content)
  write("lib/greeting.ts", greeting("first"))
  for (const [name, content] of Object.entries(files)) write(name, content)
  const program = yield* start(
    [
      "app.ts",
      "--reload",
      "--reload-delay",
      "50 millis",
      "--env",
      "development",
      "--access-log",
      "none",
      "--port",
      "0",
      ...args
    ],
    { cwd }
  )
  const url = (yield* program.ready).replace("127.0.0.1", "localhost")
  return { cwd, program, url, write }
})

/** The first event of this name on the stream of events, as JSON. */
const event = (url: string, name: string) =>
  Effect.callback<any>((resume) => {
    const request = http.get(
      `${url}/__slipway/events`,
      { agent: false, headers: { accept: "text/event-stream" } },
      (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part
          const found = new RegExp(`event: ${name}\\ndata: (.*)\\n`).exec(text)
          if (found !== null) resume(Effect.succeed(JSON.parse(found[1]!)))
        })
        response.on("error", () => {})
      }
    )
    request.on("error", () => {})
    return Effect.sync(() => request.destroy())
  })

const stop = (program: Program) => Effect.andThen(Effect.sync(() => program.child.kill("SIGTERM")), program.exited)

describe("--reload", { timeout: 60_000 }, () => {
  it.live("serves a changed module with a new worker, and says what has changed [C166] [W94]", () =>
    Effect.gen(function*() {
      const { program, url, write } = yield* open()
      const first = yield* until(url, () => true)
      const script = /^(\w+)<script src="\/__slipway\/dev\.js" data-generation="(\d+)" defer><\/script>\n$/
      const [, before, generation] = script.exec(first.body)!
      write("lib/greeting.ts", greeting("second"))
      const second = yield* until(url, ({ body }) => !body.startsWith("first"))
      const [, after, next] = script.exec(second.body)!
      assert.deepStrictEqual([before, after, Number(next)], ["first", "second", Number(generation) + 1])
      assert.include(program.stderr, "lib/greeting.ts changed; restarting\n")
      assert.strictEqual(yield* stop(program), 0)
      assert.notInclude(program.stderr, "does not start")
    }))

  it.live("watches what is imported from elsewhere, and what comes from elsewhere [W94] [C166]", () =>
    Effect.gen(function*() {
      const other = yield* folder({ "shared.mjs": "import \"./more.cjs\"\nexport const shared = 1\n", "more.cjs": "" })
      const shared = path.join(other, "shared.mjs")
      const imported = `import { shared } from ${JSON.stringify(Url.pathToFileURL(shared).href)}\n`
      const who = "import { readFileSync } from \"node:fs\"\nconst who = readFileSync(\".env\", \"utf8\")\n"
      const { program, url, write } = yield* open({
        "app.ts": imported + who + app("`${shared} ${who}`"),
        ".env": "WHO=a"
      })
      assert.match((yield* until(url, () => true)).body, /^1 WHO=a</)
      fs.writeFileSync(shared, "export const shared = 2\n")
      yield* until(url, ({ body }) => body.startsWith("2 WHO=a"))
      assert.include(program.stderr, "shared.mjs changed; restarting\n")
      write(".env", "WHO=b")
      yield* until(url, ({ body }) => body.startsWith("2 WHO=b"))
    }))

  it.live("goes on with the old worker while the new module is broken [C166] [W95] [W96]", () =>
    Effect.gen(function*() {
      const { program, url, write } = yield* open()
      write("lib/greeting.ts", `${greeting("x")}export const broken: string = ;\n`)
      yield* program.waitFor("stderr", /Cannot load app\.ts/)
      const failure = yield* event(url, "error")
      assert.strictEqual(failure.title, "Cannot load app.ts")
      assert.match(failure.place, /^lib\/greeting\.ts:7:/)
      assert.include(failure.code, "> 7 | export const broken: string = ;\n")
      assert.include((yield* until(url, () => true)).body, "first")
      assert.lengthOf(program.stderr.match(/Cannot load app\.ts\n/g)!, 1)
      write("lib/greeting.ts", greeting("mended"))
      yield* until(url, ({ body }) => body.startsWith("mended"))
    }))

  it.live("points to the lines of the source of what is thrown [W96] [C234]", () =>
    Effect.gen(function*() {
      const { program, url, write } = yield* open()
      const page = yield* until(`${url}/fail`, () => true, { accept: "text/html" })
      assert.strictEqual(page.status, 500)
      assert.match(page.body, /TypeError: kaput at \/fail\n {4}at fail \(.*app\.ts:3:\d+\)/)
      write("lib/greeting.ts", greeting("x").replace("const it", "throw new RangeError(\"late\")\nconst it"))
      yield* program.waitFor("stderr", /RangeError: late[^]*lib\/greeting\.ts:5:7[^]*> 5 \| throw new RangeError/)
    }))

  it.live("serves the failure of an application that has never started, until it is mended [C166] [W95]", () =>
    Effect.gen(function*() {
      const { program, url, write } = yield* open({ "lib/greeting.ts": "export const greeting: string = ;\n" })
      const plain = yield* until(url, () => true)
      assert.strictEqual(plain.status, 500)
      assert.match(plain.body, /^Cannot load app\.ts\n\n.*\n\nlib\/greeting\.ts:1:33\n> 1 \| export const greeting/)
      const page = yield* until(url, () => true, { accept: "text/html" })
      assert.strictEqual(page.status, 500)
      assert.include(page.body, "<h1>Cannot load app.ts</h1>")
      assert.include(page.body, "/__slipway/dev.js")
      const json = yield* until(url, () => true, { accept: "application/json" })
      assert.strictEqual(JSON.parse(json.body).code.file, "lib/greeting.ts")
      assert.lengthOf(program.stderr.match(/Cannot load app\.ts\n/g)!, 1)
      write("lib/greeting.ts", "process.exit(7)\n")
      yield* program.waitFor("stderr", /exit code 7|does not provide an export/)
      write("lib/greeting.ts", greeting("mended"))
      yield* until(url, ({ body }) => body.startsWith("mended"))
    }))

  it.live("ends while the application is broken, as at any other time", () =>
    Effect.gen(function*() {
      const { program, url } = yield* open({ "lib/greeting.ts": "throw new Error(\"no\")\n" })
      yield* until(url, ({ status }) => status === 500)
      assert.strictEqual(yield* stop(program), 0)
    }))

  it.live("ends while the application hangs in its start, and when a timer of it never ends", () =>
    Effect.gen(function*() {
      const { program, url, write } = yield* open({
        "lib/greeting.ts": `setInterval(() => {}, 9999)\n${greeting("first")}`
      })
      yield* until(url, ({ body }) => body.startsWith("first"))
      write("lib/greeting.ts", `console.error("hangs")\nwhile (true) {}\n${greeting("never")}`)
      yield* program.waitFor("stderr", /hangs/)
      yield* stop(program)
      assert.notInclude(program.stderr, "did not stop in time")
    }))

  it.live("does not restart for what it writes itself", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({ "app.mjs": "export default { fetch: () => new Response('a') }", "before": "" })
      const output = path.join(cwd, "output")
      const descriptor = fs.openSync(output, "a")
      const args = ["app.mjs", "--reload", "--reload-delay", "10 millis", "--access-log", "access", "--port", "0"]
      const child = spawn(process.execPath, [path.join(root, "dist/main.js"), ...args], {
        cwd,
        env: { ...process.env, SLIPWAY_CONTAINER: "0" },
        stdio: ["ignore", descriptor, descriptor]
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
      const waitFor = (pattern: RegExp) =>
        Effect.promise(async () => {
          while (!pattern.test(fs.readFileSync(output, "utf8"))) await new Promise((resolve) => setImmediate(resolve))
        })
      yield* waitFor(/serving .* on /)
      const [, url] = /serving .* on (\S+) \(/.exec(fs.readFileSync(output, "utf8"))!
      yield* until(url!, ({ body }) => body.startsWith("a"))
      fs.writeFileSync(path.join(cwd, "before"), "changed")
      yield* waitFor(/Restarted/)
      assert.match(fs.readFileSync(output, "utf8"), /\nbefore changed; restarting\n/)
      fs.writeFileSync(path.join(cwd, "before"), "again")
      yield* waitFor(/Restarted[^]*Restarted/)
      assert.notMatch(fs.readFileSync(output, "utf8"), /(?:output|access).* changed/)
      assert.include(fs.readFileSync(path.join(cwd, "access"), "utf8"), "GET / ")
      fs.closeSync(descriptor)
    }))

  it.live("has no addresses of its own, and no script, without it [W95]", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({
        "app.mjs": "export default { fetch: () => new Response('mine', { headers: { 'content-type': 'text/html' } }) }"
      })
      const program = yield* start(["app.mjs", "--env", "development", "--access-log", "none", "--port", "0"], { cwd })
      const url = yield* program.ready
      assert.strictEqual((yield* ask(`${url}/__slipway/dev.js`))!.body, "mine")
    }))
})

describe("--inspect", { timeout: 60_000 }, () => {
  it.live("shows each request on standard error, and is refused in production [W97] [C234]", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({ "app.mjs": "export default { fetch: () => Response.json({ a: 1 }) }" })
      const args = ["app.mjs", "--inspect", "--access-log", "none", "--port", "0"]
      const program = yield* start(args, { cwd })
      yield* ask(`${yield* program.ready}/todos?a=1`, { cookie: "secret" })
      yield* program.waitFor("stderr", /GET \/todos\?a=1 {2}200 [^]*cookie: \(hidden\)[^]*\| \{"a":1\}/)
      const refused = yield* run([...args, "--env", "production"], { cwd })
      assert.strictEqual(refused.code, 2)
      assert.match(refused.stderr, /^slipway: --inspect and --env exclude each other: [^\n]*development\n/)
    }))
})
