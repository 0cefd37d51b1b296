/**
 * `slipway ctl` and the server that it talks to, as two programs: alone and with workers. Needs `controlSocket`, `readyPath` and
 * `ctl` in the command line program.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import type * as net from "node:net"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as ControlClient from "../layers/internal/ControlClient.ts"
import type { ConnectionReport, SettingReport, StatusReport } from "../src/schema/Report.ts"
import { folder, get, type Program, root, run, start } from "./utils/commandLine.ts"
import { connect, turn } from "./utils/sockets.ts"

const source = `
import * as fs from "node:fs"
import * as Effect from "effect/Effect"

const whenThere = (path) => Effect.callback((resume) => {
  const look = () => fs.existsSync(path) ? resume(Effect.void) : setImmediate(look)
  look()
})

export default ({ scope, send, type }) => {
  if (type !== "http") return Effect.void
  const answer = Effect.andThen(
    send({ type: "http.response.start", status: 200, headers: [] }),
    send({ type: "http.response.body", body: String(process.pid) })
  )
  return scope.path.startsWith("/slow") ? Effect.andThen(whenThere("go"), answer) : answer
}
`

interface Serving {
  readonly cwd: string
  readonly file: string
  readonly program: Program
  readonly url: string
}

const serving = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const cwd = yield* folder({ "app.mjs": source })
  const file = path.join(cwd, "control.sock")
  const program = yield* start(
    ["app.mjs", "--port", "0", "--env", "production", "--access-log", "none", "--control-socket", file, ...args],
    { cwd }
  )
  const url = yield* program.ready
  return { cwd, file, program, url } satisfies Serving
})

const ctl = ({ cwd, file }: Pick<Serving, "cwd" | "file">, ...args: ReadonlyArray<string>) =>
  run(["ctl", ...args], { cwd, env: { SLIPWAY_CONTROL_SOCKET: file } })

const client = ({ file }: Serving) => ControlClient.make(file)
const status = (server: Serving) => client(server).status

/** Done without a word on standard error. */
const done = (server: Serving, ...args: ReadonlyArray<string>) =>
  Effect.map(ctl(server, ...args), ({ code, stderr, stdout }) => {
    assert.deepStrictEqual([code, stderr], [0, ""])
    return stdout
  })

/** What the endpoint for load balancers answers, whichever worker is asked. */
const readiness = Effect.fnUntraced(function*({ url }: Serving) {
  const seen = new Set<number>()
  for (let i = 0; i < 20; i++) {
    const response = yield* Effect.promise(() => fetch(`${url}/ready`, { headers: { connection: "close" } }))
    yield* Effect.promise(() => response.arrayBuffer())
    seen.add(response.status)
  }
  return [...seen]
})

const pidsOf = ({ workers }: StatusReport) =>
  workers.filter(({ state }) => state === "serving").map(({ number, pid }) => [number, pid])

const addressOf = (url: string) => {
  const { hostname, port } = new URL(url)
  return { _tag: "tcp", host: hostname, port: Number(port) } as const
}

/** Each test starts several programs, on a machine that may be busy. */
const patience = 60_000

describe("slipway ctl", () => {
  for (const workers of [1, 2]) {
    describe(`with ${workers} worker${workers === 1 ? "" : "s"}`, () => {
      const begin = serving("--workers", String(workers))

      it.live("tells the status of the whole, with counts that go up [C170] [W144]", () =>
        Effect.gen(function*() {
          const server = yield* begin
          const requests = (report: StatusReport) =>
            report.workers.reduce((sum, { report }) => sum + (report?.server.totalExchanges ?? 0), 0)
          const before = yield* status(server)
          assert.strictEqual(before.application, "app.mjs")
          assert.deepStrictEqual(before.addresses, [server.url])
          assert.strictEqual(before.pid, server.program.child.pid)
          assert.isTrue(before.isReady)
          assert.lengthOf(before.workers, workers)
          assert.isTrue(before.workers.every(({ report }) => report !== undefined))
          for (let i = 0; i < 5; i++) yield* get(server.url)
          assert.strictEqual(requests(yield* status(server)) - requests(before), 5)
          const table = yield* done(server, "status")
          assert.match(table, /^Serving {6}app\.mjs \(production\), Slipway /)
          assert.match(table, /^State {8}ready$/m)
          assert.notInclude(table, "\u001b")
          const { stdout } = yield* run(["ctl", "--json"], { env: { SLIPWAY_CONTROL_SOCKET: server.file } })
          assert.strictEqual(JSON.parse(stdout).pid, before.pid)
        }), patience)

      it.live("ends without a complaint when its reader has what it wanted", () =>
        Effect.gen(function*() {
          const { cwd, file } = yield* begin
          const watching = yield* start(["ctl", "status", "--watch"], { cwd, env: { SLIPWAY_CONTROL_SOCKET: file } })
          yield* watching.waitFor("stdout", /Serving/)
          watching.child.stdout!.destroy()
          assert.strictEqual(yield* watching.exited, 0)
          assert.strictEqual(watching.stderr, "")
        }), patience)

      it.live("lists the connections, with what goes on in them", () =>
        Effect.gen(function*() {
          const server = yield* begin
          const caller = yield* connect(addressOf(server.url))
          yield* caller.send("GET /slow?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n")
          let connections: ReadonlyArray<ConnectionReport> = []
          while (connections.every(({ exchanges }) => exchanges.length === 0)) {
            connections = yield* client(server).connections(100)
          }
          assert.lengthOf(connections, 1)
          const { client: from, exchanges, isSecure, protocol, requests, worker } = connections[0]!
          assert.deepStrictEqual({ exchanges, isSecure, protocol, requests }, {
            exchanges: ["GET /slow"],
            isSecure: false,
            protocol: "http/1.1",
            requests: 1
          })
          assert.strictEqual(from, `127.0.0.1:${(caller.socket.address() as net.AddressInfo).port}`)
          assert.include(workers === 1 ? [0] : [1, 2], worker)
          fs.writeFileSync(path.join(server.cwd, "go"), "")
          yield* caller.until(/\r\n\r\n\d+/)
          assert.include(yield* done(server, "connections"), "idle")
        }), patience)

      it.live("tells the settings and where they come from", () =>
        Effect.gen(function*() {
          const server = yield* begin
          const settings = JSON.parse(yield* done(server, "config", "--json")) as ReadonlyArray<SettingReport>
          const socket = settings.find(({ key }) => key === "controlSocket")
          assert.deepStrictEqual(socket, { key: "controlSocket", value: server.file, source: "--control-socket" })
        }), patience)

      it.live("drains, and takes that back, while requests are answered", () =>
        Effect.gen(function*() {
          const server = yield* begin
          yield* done(server, "drain", "on")
          const drained = yield* status(server)
          assert.deepStrictEqual([drained.isReady, drained.isDrained], [false, true])
          assert.match(yield* get(server.url), /^\d+$/)
          yield* done(server, "drain", "off")
          assert.isTrue((yield* status(server)).isReady)
        }), patience)

      it.live("stops the server, which removes its socket", () =>
        Effect.gen(function*() {
          const server = yield* begin
          assert.strictEqual(yield* done(server, "stop"), "Stopping\n")
          assert.strictEqual(yield* server.program.exited, 0)
          assert.isFalse(fs.existsSync(server.file))
          const { code, stderr } = yield* ctl(server, "status")
          assert.strictEqual(code, 1)
          assert.include(stderr, `There is no control socket ${server.file}`)
        }), patience)
    })
  }

  it.live("shows a server that waits for its last requests as stopping", () =>
    Effect.gen(function*() {
      const server = yield* serving()
      const slow = yield* Effect.forkChild(get(`${server.url}/slow`), { startImmediately: true })
      let exchanges = 0
      while (exchanges === 0) exchanges = (yield* status(server)).workers[0]?.report?.server.exchanges ?? 0
      yield* client(server).stop
      yield* server.program.waitFor("stderr", /Stopping/)
      assert.include((yield* ctl(server, "status")).stdout, "State        stopping")
      fs.writeFileSync(path.join(server.cwd, "go"), "")
      assert.match(yield* Fiber.join(slow), /^\d+$/)
      assert.strictEqual(yield* server.program.exited, 0)
    }), patience)

  it.live("replaces workers one after the other, and changes their number", () =>
    Effect.gen(function*() {
      const server = yield* serving("--workers", "2")
      const before = pidsOf(yield* status(server))
      yield* done(server, "reload")
      const after = yield* status(server)
      assert.deepStrictEqual(pidsOf(after).map(([number]) => number), [1, 2])
      for (const [, pid] of before) assert.notInclude(pidsOf(after).map(([, pid]) => pid), pid)
      assert.strictEqual(after.restarts, 2)
      assert.strictEqual(yield* done(server, "scale", "3"), "Serving with 3 workers\n")
      assert.lengthOf(pidsOf(yield* status(server)), 3)
      yield* client(server).scale(1)
      assert.lengthOf(pidsOf(yield* status(server)), 1)
    }), patience)

  it.live("tells what a restart has read, and nothing of what it could not use", () =>
    Effect.gen(function*() {
      const config = (...listen: ReadonlyArray<string>) =>
        JSON.stringify({ listen, controlSocket: "./control.sock", workers: 2, accessLog: false })
      const cwd = yield* folder({ "app.mjs": source, "app.json": config("./a.sock") })
      const program = yield* start(["app.mjs", "--config", "app.json", "--env", "production"], { cwd })
      yield* program.ready
      const { config: settings, reload, status } = ControlClient.make(path.join(cwd, "control.sock"))
      const shown = Effect.gen(function*() {
        const rows = yield* settings
        return [(yield* status).addresses, rows.find(({ key }) => key === "listen")?.value]
      })
      assert.deepStrictEqual(yield* shown, [["unix:./a.sock"], "unix:./a.sock"])
      fs.writeFileSync(path.join(cwd, "app.json"), config("./a.sock", "./b.sock"))
      yield* reload
      const after = [["unix:./a.sock", "unix:./b.sock"], "unix:./a.sock,unix:./b.sock"]
      assert.deepStrictEqual(yield* shown, after)
      fs.writeFileSync(path.join(cwd, "app.json"), config("nonsense"))
      yield* Effect.flip(reload)
      assert.deepStrictEqual(yield* shown, after)
    }), patience)

  it.live("keeps workers drained that start while all of them are", () =>
    Effect.gen(function*() {
      const server = yield* serving("--workers", "2", "--ready-path", "/ready")
      const { drain, reload, scale } = client(server)
      yield* drain(true)
      yield* reload
      yield* scale(3)
      assert.deepStrictEqual(yield* readiness(server), [503])
      yield* drain(false)
      assert.deepStrictEqual(yield* readiness(server), [200])
      assert.isTrue((yield* status(server)).isReady)
    }), patience)

  it.live(
    "fails with 1 for what the server cannot do, and with 2 for what nobody understands",
    () =>
      Effect.gen(function*() {
        const server = yield* serving()
        const scaled = yield* ctl(server, "scale", "2")
        assert.deepStrictEqual([scaled.code, scaled.stdout], [1, ""])
        assert.include(scaled.stderr, "There are no workers here")
        for (
          const args of [["dance"], ["scale"], ["scale", "many"], ["drain", "maybe"], ["status", "--colour"], [
            "connections",
            "--limit",
            "0"
          ]]
        ) {
          assert.strictEqual((yield* ctl(server, ...args)).code, 2, args.join(" "))
        }
        const nowhere = yield* run(["ctl", "status"], { cwd: server.cwd })
        assert.strictEqual(nowhere.code, 2)
        assert.include(nowhere.stderr, "--socket PATH")
      }),
    patience
  )

  it.live(
    "keeps what workers have counted that were replaced, whether or not anybody has looked",
    () =>
      Effect.gen(function*() {
        const server = yield* serving("--workers", "2")
        for (let i = 0; i < 20; i++) yield* get(server.url)
        yield* client(server).reload
        const counted = Effect.map(
          client(server).metrics,
          (text) => Number(/^http_server_requests_total\{.*status="2xx".*\} (\d+)$/m.exec(text)?.[1])
        )
        // Workers that were replaced say so at their end.
        while ((yield* counted) < 20) yield* turn
        assert.strictEqual(yield* counted, 20)
      }),
    patience
  )

  it.live("is of one mind with an application that has its own copy of the package", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({})
      const there = (name: string) => JSON.stringify(pathToFileURL(path.join(root, "dist", name)).href)
      fs.writeFileSync(
        path.join(cwd, "own.mjs"),
        `
        import * as Effect from "effect/Effect"
        import * as Layer from "effect/Layer"
        import { Endpoints, Router, Server } from ${there("src/index.js")}
        import * as HealthChecks from ${there("layers/HealthChecks.js")}
        const app = Router.make(Router.get("/todos/:id", () => Effect.succeed("todo")))
        export default Server.serve(Endpoints.make({ readyPath: "/ready" })(app)).pipe(Layer.provide(HealthChecks.layer))
        `
      )
      const own = { cwd, file: path.join(cwd, "control.sock") }
      const args = ["own.mjs", "--port", "0", "--env", "production", "--control-socket", own.file]
      const program = yield* start([...args, "--admin-listen", "127.0.0.1:0"], { cwd })
      const url = yield* program.ready
      const ready = Effect.promise(() => fetch(`${url}/ready`).then(({ status }) => status))
      assert.strictEqual(yield* ready, 200)
      yield* ctl(own, "drain", "on")
      assert.strictEqual(yield* ready, 503)
      yield* get(`${url}/todos/1`)
      const { workers } = yield* ControlClient.make(own.file).status
      const routes = workers[0]?.report?.activity?.routes.map(({ route }) => route)
      assert.deepStrictEqual(routes, ["GET /ready", "GET /todos/:id"])
    }), patience)

  it.live("watches until the server has gone", () =>
    Effect.gen(function*() {
      const server = yield* serving()
      const watching = yield* start(["ctl", "workers", "--watch", "--json", "--socket", server.file], {
        cwd: server.cwd
      })
      yield* watching.waitFor("stdout", /serving.*\n/)
      yield* client(server).stop
      assert.strictEqual(yield* watching.exited, 1)
    }), patience)

  it.live("is refused a socket on which another server listens, which stays as it is", () =>
    Effect.gen(function*() {
      const server = yield* serving()
      const second = yield* run(
        ["app.mjs", "--port", "0", "--env", "production", "--control-socket", server.file],
        { cwd: server.cwd }
      )
      assert.strictEqual(second.code, 1)
      assert.include(second.stderr, `Cannot listen on unix:${server.file} (EADDRINUSE)`)
      assert.strictEqual((yield* status(server)).pid, server.program.child.pid)
    }), patience)

  it.live("is not there where no controlSocket is set", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({ "app.mjs": source })
      const program = yield* start(["app.mjs", "--port", "0", "--env", "production"], { cwd })
      yield* program.ready
      for (let i = 0; i < 20; i++) yield* turn
      assert.deepStrictEqual(fs.readdirSync(cwd).sort(), ["app.mjs", "node_modules"])
    }), patience)
})
