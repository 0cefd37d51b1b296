import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Systemd from "../../../layers/internal/Systemd.ts"
import * as Logs from "../../utils/logs.ts"
import * as Program from "../../utils/program.ts"
import * as Sockets from "../../utils/sockets.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-systemd-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

const runs = (program: string, ...args: ReadonlyArray<string>) => spawnSync(program, args).status === 0

const isLinux = process.platform === "linux"
const hasSystemd = isLinux && runs("systemd-socket-activate", "--version")
const hasNetworks = isLinux && runs("unshare", "--net", "true")

/** A server on what systemd hands over, all of it or the addresses of `listen`. Tells what it got, and then serves. */
const served = (listen?: string) => `
  import * as ChildProcess from "node:child_process"
  import * as Fs from "node:fs"
  import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
  import * as Effect from "effect/Effect"
  import * as Layer from "effect/Layer"
  import * as Result from "effect/Result"
  import { InheritedSockets } from "./layers/internal/InheritedSockets.ts"
  import * as Systemd from "./layers/internal/Systemd.ts"
  import * as ServerNode from "./layers/ServerNode.ts"
  import * as App from "./src/app/App.ts"
  import { listeners, resolve } from "./src/schema/Settings.ts"
  import * as Server from "./src/service/Server.ts"

  const inodeOf = (descriptor) => { try { return Fs.fstatSync(descriptor).ino } catch { return undefined } }
  process.on("exit", () => console.log("ended"))
  const main = Effect.gen(function*() {
    const activated = yield* Systemd.take()
    const inodes = activated.map(({ descriptor }) => inodeOf(descriptor))
    const options = { listen: ${listen ?? "Systemd.listenOf(activated)"} }
    const bound = yield* Systemd.match(activated, listeners(Result.getOrThrow(resolve(options))))
    const open = activated.map(({ descriptor }) => descriptor).filter((descriptor, at) => inodeOf(descriptor) === inodes[at])
    const listed = ChildProcess.execFileSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" })
    const app = App.http(({ send }) => App.respond(send, 200, "served"))
    const announce = Layer.effectDiscard(Effect.gen(function*() {
      const addresses = (yield* (yield* Server.Server).addresses).map(Server.formatAddress)
      console.log("told " + JSON.stringify({
        activated,
        bound,
        addresses,
        env: Object.keys(process.env).filter((name) => name.startsWith("LISTEN_")),
        pid: process.pid,
        inherited: inodes.filter((inode) => listed.includes("socket:[" + inode + "]")),
        open
      }) + "\\n")
    }))
    return yield* announce.pipe(
      Layer.provide(Server.serve(app)),
      Layer.provide(ServerNode.layer(options)),
      Layer.provide(Layer.succeed(InheritedSockets, Systemd.descriptorsOf(bound))),
      Layer.launch
    )
  })
`

/** Binds sockets, and starts the program with them as systemd does: at 3 and above, named in the environment. */
const activating = (sockets: ReadonlyArray<object>, program: string, wrapper = "") => `
  ${program}
  import { spawn } from "node:child_process"
  import * as Net from "node:net"
  if (process.env.LISTEN_FDS === undefined) {
    const servers = await Promise.all(${JSON.stringify(sockets)}.map((options) => new Promise((resolve) => {
      const server = Net.createServer()
      server.listen(options, () => resolve(server))
    })))
    const child = spawn("sh", ["-c", 'export LISTEN_PID=$$; exec ${wrapper} "$0" "$1"', process.execPath, process.argv[1]], {
      env: { ...process.env, LISTEN_FDS: String(servers.length), LISTEN_FDNAMES: servers.map((_, at) => "name" + at).join(":") },
      stdio: ["ignore", "inherit", "inherit", ...servers.map((server) => server._handle.fd), "ipc"]
    })
    // Like systemd it accepts nobody.
    process.kill(process.pid, "SIGSTOP")
  } else {
    // The end of the test is the end of the one that has bound the sockets.
    process.channel.unref()
    process.once("disconnect", () => process.exit())
    NodeRuntime.runMain(main)
  }
`

const told = Effect.fnUntraced(function*(program: Program.Program) {
  const [, text] = yield* program.prints(/told (.*)\n/)
  return JSON.parse(text!)
})

const answerAt = Effect.fnUntraced(function*(address: Parameters<typeof Sockets.connect>[0]) {
  const client = yield* Sockets.connect(address)
  yield* client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
  return yield* client.readAll
})

describe.skipIf(!isLinux)("Systemd (of Linux)", { timeout: 60_000 }, () => {
  it.live("has its sockets served where nobody said where to listen, and its files stay [C138] [W136]", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* folder, "a b.sock")
      const program = yield* Program.start(
        activating([{ path }, { host: "127.0.0.1", port: 0 }, { host: "::1", port: 0 }], served())
      )
      const facts = yield* told(program)
      assert.deepStrictEqual(facts.activated.map(({ name }: { name: string }) => name), ["name0", "name1", "name2"])
      const [file, four, six] = facts.activated.map(({ address }: Systemd.Activated) => address)
      assert.deepStrictEqual(file, { _tag: "unix", path })
      assert.deepStrictEqual([four.host, six.host], ["127.0.0.1", "::1"])
      assert.deepStrictEqual(facts.addresses, [
        `unix:${path}`,
        `http://127.0.0.1:${four.port}`,
        `http://[::1]:${six.port}`
      ])
      for (const address of [file, four, six]) assert.match(yield* answerAt(address), /^HTTP\/1\.1 200 .*served$/s)
      process.kill(facts.pid, "SIGTERM")
      yield* program.prints(/ended/)
      assert.isTrue(Fs.statSync(path).isSocket())
    }))

  it.live("is forgotten by the environment, and children get neither variables nor sockets [C138]", () =>
    Effect.gen(function*() {
      const program = yield* Program.start(activating([{ host: "127.0.0.1", port: 0 }], served()))
      const facts = yield* told(program)
      assert.deepStrictEqual(facts.env, [])
      assert.deepStrictEqual(facts.inherited, [])
      assert.deepStrictEqual(facts.open, [3])
    }))

  it.live("gives each address of the settings its socket; others are closed with a warning [C138]", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [wanted, other] = [Path.join(place, "wanted"), Path.join(place, "other")]
      const own = Path.join(place, "own")
      const program = yield* Program.start(
        activating(
          [{ path: other }, { host: "127.0.0.1", port: 0 }, { path: wanted }],
          served(JSON.stringify([`unix:${wanted}`, `unix:${own}`]))
        )
      )
      const facts = yield* told(program)
      assert.deepStrictEqual(facts.bound, [
        { key: `unix:${wanted}`, descriptor: 5, isShared: false, address: { _tag: "unix", path: wanted } }
      ])
      assert.deepStrictEqual(facts.open, [5])
      assert.deepStrictEqual(facts.addresses, [`unix:${wanted}`, `unix:${own}`])
      assert.include(
        program.output,
        `Closing a socket of systemd that no setting names: descriptor 3, name0, unix:${other}`
      )
      assert.match(program.output, /no setting names: descriptor 4, name1, http:\/\/127\.0\.0\.1:\d+/)
      assert.match(yield* answerAt({ _tag: "unix", path: wanted }), /served$/)
    }))

  it.live("finds a port that is bound for IPv6 and IPv4 where the settings want all of IPv4", () =>
    Effect.gen(function*() {
      const program = yield* Program.start(
        activating(
          [{ host: "::", port: 0 }],
          served(`["0.0.0.0:" + activated[0].address.port]`)
        )
      )
      const facts = yield* told(program)
      const { port } = facts.activated[0].address
      assert.strictEqual(facts.bound[0].key, `http://0.0.0.0:${port}`)
      assert.match(yield* answerAt({ _tag: "tcp", host: "127.0.0.1", port }), /served$/)
    }))

  it.live.skipIf(!hasNetworks)(
    "is understood in another network than that of the sockets",
    () =>
      Effect.gen(function*() {
        const program = yield* Program.start(
          activating([{ host: "127.0.0.1", port: 0 }], served(), "unshare --net")
        )
        const facts = yield* told(program)
        assert.strictEqual(facts.activated[0].address.host, "127.0.0.1")
        assert.match(yield* answerAt(facts.activated[0].address), /served$/)
      })
  )

  it.live.skipIf(!hasSystemd)(
    "hands over what systemd-socket-activate binds [C138] [W136]",
    () =>
      Effect.gen(function*() {
        const place = yield* folder
        const [web, admin] = [Path.join(place, "web"), Path.join(place, "admin")]
        const program = yield* Program.start(
          `${served()}; NodeRuntime.runMain(main)`,
          `exec systemd-socket-activate --fdname=web:admin -l ${web} -l ${admin} "$0" "$1"`
        )
        yield* program.prints(/Listening on \S+admin/)
        // It starts the program for the first client.
        assert.match(yield* answerAt({ _tag: "unix", path: web }), /served$/)
        const facts = yield* told(program)
        assert.deepStrictEqual(facts.activated.map(({ name }: { name: string }) => name), ["web", "admin"])
        assert.match(yield* answerAt({ _tag: "unix", path: admin }), /served$/)
        yield* program.signal("SIGTERM")
        yield* program.exits
        assert.isTrue(Fs.statSync(web).isSocket() && Fs.statSync(admin).isSocket())
      })
  )

  it.live("is not believed when it promises what is no socket, which stays open", () =>
    Effect.gen(function*() {
      const program = yield* Program.start(
        `
        import * as Effect from "effect/Effect"
        import * as Fs from "node:fs"
        import * as Systemd from "./layers/internal/Systemd.ts"
        Effect.runPromise(Systemd.take()).then((activated) =>
          console.log("took", activated.length, Fs.readFileSync(3, "utf8").length, ".")
        )
      `,
        "export LISTEN_FDS=9999 LISTEN_PID=$$; exec 3</etc/passwd"
      )
      yield* program.prints(/took 0 [1-9]\d* \./)
      assert.include(program.output, "systemd has promised a socket as descriptor 3, unknown: it is none")
      assert.isBelow(program.output.split("it is none").length, 100)
    }))
})

describe("Systemd", () => {
  const taking = Effect.fnUntraced(function*(variables: Record<string, string>) {
    const { layer, lines } = Logs.capture()
    const env: Record<string, string | undefined> = { ...variables, OTHER: "x" }
    const activated = yield* Effect.provide(Systemd.take({ env, pid: 42 }), layer)
    return { activated, env, warnings: lines.map(({ message }) => message) }
  })

  it.effect("is silent where the program was started otherwise", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* taking({}), { activated: [], env: { OTHER: "x" }, warnings: [] })
    }))

  it.effect("leaves sockets of another process alone, and says why they do not arrive", () =>
    Effect.gen(function*() {
      const { activated, env, warnings } = yield* taking({ LISTEN_FDS: "1", LISTEN_PID: "41", LISTEN_FDNAMES: "web" })
      assert.deepStrictEqual([activated, env], [[], { OTHER: "x" }])
      assert.deepStrictEqual(warnings, [
        "The sockets of systemd are for process 41, and this is 42: start it without a launcher between"
      ])
    }))

  it.effect("is not believed when it counts in words", () =>
    Effect.gen(function*() {
      const words = yield* taking({ LISTEN_FDS: "two", LISTEN_PID: "42" })
      assert.deepStrictEqual(words.warnings, [`LISTEN_FDS is "two" and not a number: no socket of systemd is used`])
    }))

  it("writes addresses as the setting listen has them", () => {
    const activated = (address: Systemd.Activated["address"]) => ({ descriptor: 3, name: "a", address })
    assert.deepStrictEqual(
      Systemd.listenOf([
        activated({ _tag: "tcp", host: "::", port: 80 }),
        activated({ _tag: "tcp", host: "10.0.0.1", port: 81 }),
        activated(undefined),
        activated({ _tag: "unix", path: "/run/app.sock" })
      ]),
      ["[::]:80", "10.0.0.1:81", "unix:/run/app.sock"]
    )
  })
})
