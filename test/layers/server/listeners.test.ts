import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import { type Address, formatAddress } from "../../../src/service/Server.ts"
import { capture } from "../../utils/logs.ts"
import { bodyOf } from "../../utils/serve.ts"
import * as Sockets from "../../utils/sockets.ts"

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, capture().layer)

/** Answers with what the scope says about both ends. */
const ends = App.http(({ scope, send }) =>
  App.respond(send, 200, JSON.stringify([scope.client ?? null, scope.server ?? null]))
)

const serving = Effect.fnUntraced(function*<E>(options: ServerNode.Options, app: App.App<E>) {
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
  const server = yield* ServerNode.make(options)
  yield* Scope.provide(server.serve(app), scope)
  return { server, addresses: yield* server.addresses, stop: Scope.close(scope, Exit.void) }
})

const ask = (address: Address) =>
  Effect.scoped(Effect.gen(function*() {
    const client = yield* Sockets.connect(address)
    yield* client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    const answer = yield* client.readAll
    return JSON.parse(bodyOf(answer)) as readonly [
      client: readonly [string, number] | null,
      server: readonly [string, number | null]
    ]
  }))

const port = (address: Address) => address._tag === "tcp" ? address.port : assert.fail("not a TCP address")

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { force: true, recursive: true }))
)

/** A socket file as a process leaves it that was killed. */
const staleSocket = (path: string) =>
  Effect.callback<void>((resume) => {
    const server = Net.createServer()
    server.listen({ path: `${path}.old` }, () => {
      Fs.renameSync(`${path}.old`, path)
      server.close(() => resume(Effect.void))
    })
  })

const listenError = (options: ServerNode.Options) =>
  Effect.gen(function*() {
    const server = yield* ServerNode.make(options)
    const error = yield* Effect.flip(Effect.scoped(server.serve(ends)))
    assert.deepStrictEqual(yield* server.addresses, [])
    return {
      message: error.message,
      code: error.reason._tag === "ListenFailed" ? error.reason.code : error.reason._tag
    }
  })

describe("listeners", () => {
  it.live("listen on a host and a port, and tell both ends of a connection apart [C135]", () =>
    quiet(Effect.gen(function*() {
      const { addresses, stop } = yield* serving({ host: "127.0.0.1", port: 0 }, ends)
      assert.strictEqual(addresses.length, 1)
      assert.isAbove(port(addresses[0]!), 0)
      const [client, server] = yield* ask(addresses[0]!)
      assert.strictEqual(client![0], "127.0.0.1")
      assert.deepStrictEqual(server, ["127.0.0.1", port(addresses[0]!)])
      yield* stop
      assert.strictEqual((yield* Effect.flip(Effect.scoped(Sockets.connect(addresses[0]!)))).code, "ECONNREFUSED")
    })))

  it.live("listen on IPv6 [C136]", () =>
    quiet(Effect.gen(function*() {
      const { addresses } = yield* serving({ host: "::1", port: 0 }, ends)
      assert.strictEqual(formatAddress(addresses[0]!), `http://[::1]:${port(addresses[0]!)}`)
      const [client, server] = yield* ask(addresses[0]!)
      assert.strictEqual(client![0], "::1")
      assert.deepStrictEqual(server, ["::1", port(addresses[0]!)])
    })))

  it.live("understand [::1]:port, and show an IPv4 client of an IPv6 listener as IPv4 [C136]", () =>
    quiet(Effect.gen(function*() {
      const { addresses } = yield* serving({ listen: ["[::1]:0", "[::]:0"] }, ends)
      assert.deepStrictEqual((yield* ask(addresses[0]!))[0]![0], "::1")
      const [client, server] = yield* ask({ _tag: "tcp", host: "127.0.0.1", port: port(addresses[1]!) })
      assert.strictEqual(client![0], "127.0.0.1")
      assert.strictEqual(server[0], "127.0.0.1")
    })))

  it.live("are several in one server, on TCP and unix sockets, with one set of counters [C135]", () =>
    quiet(Effect.gen(function*() {
      const path = Path.join(yield* folder, "app.sock")
      const { addresses, server, stop } = yield* serving({ listen: ["127.0.0.1:0", "127.0.0.1:0", path] }, ends)
      assert.deepStrictEqual(addresses.map(({ _tag }) => _tag), ["tcp", "tcp", "unix"])
      assert.notStrictEqual(port(addresses[0]!), port(addresses[1]!))
      for (const address of addresses) yield* ask(address)
      assert.strictEqual((yield* server.stats).totalConnections, 3)
      yield* stop
      for (const address of addresses) {
        assert.include(["ECONNREFUSED", "ENOENT"], (yield* Effect.flip(Effect.scoped(Sockets.connect(address)))).code)
      }
    })))

  it.live("belong to several servers of one process, which stop one by one [C135]", () =>
    quiet(Effect.gen(function*() {
      const named = (name: string) =>
        App.http(({ send }) => App.respond(send, 200, JSON.stringify([null, [name, null]])))
      const one = yield* serving({ port: 0 }, named("one"))
      const two = yield* serving({ port: 0 }, named("two"))
      assert.strictEqual((yield* ask(one.addresses[0]!))[1][0], "one")
      assert.strictEqual((yield* ask(two.addresses[0]!))[1][0], "two")
      yield* one.stop
      assert.strictEqual((yield* ask(two.addresses[0]!))[1][0], "two")
      assert.strictEqual((yield* one.server.stats).totalExchanges, 1)
    })))

  describe("on a unix socket", () => {
    it.live("have the file's mode, no client address, and leave no file behind [C135]", () =>
      quiet(Effect.gen(function*() {
        const directory = yield* folder
        const path = Path.join(directory, "app.sock")
        const { addresses, stop } = yield* serving({ unix: path }, ends)
        assert.deepStrictEqual(addresses, [{ _tag: "unix", path }])
        assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o660)
        assert.deepStrictEqual(yield* ask(addresses[0]!), [null, [path, null]])
        assert.deepStrictEqual(Fs.readdirSync(directory), ["app.sock"])
        yield* stop
        assert.deepStrictEqual(Fs.readdirSync(directory), [])
      })))

    it.live("have the mode that was asked for, whatever the umask [C135]", () =>
      quiet(Effect.gen(function*() {
        const path = Path.join(yield* folder, "app.sock")
        yield* serving({ unix: path, unixMode: "0606" }, ends)
        assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o606)
      })))

    it.live("need no more than the folder of the file, and are closed to others until they have their mode", () =>
      quiet(Effect.gen(function*() {
        const directory = yield* folder
        const parent = Path.dirname(directory)
        const appeared: Array<string> = []
        const [above, inside] = [parent, directory].map((path) =>
          Fs.watch(path, (_event, name) => {
            if (path === directory || name?.startsWith(Path.basename(directory))) appeared.push(Path.join(path, name!))
          })
        )
        yield* serving({ unix: Path.join(directory, "app.sock") }, ends)
        yield* Sockets.until(() => appeared.includes(Path.join(directory, "app.sock")))
        above!.close()
        inside!.close()
        assert.deepStrictEqual(appeared.filter((path) => !path.startsWith(`${directory}/`) && path !== directory), [])
      })))

    it.live("replace the file of a process that died [C135]", () =>
      quiet(Effect.gen(function*() {
        const path = Path.join(yield* folder, "app.sock")
        yield* staleSocket(path)
        assert.isTrue(Fs.statSync(path).isSocket())
        const { addresses } = yield* serving({ unix: path }, ends)
        assert.deepStrictEqual(yield* ask(addresses[0]!), [null, [path, null]])
      })))

    it.live("refuse a socket that another server listens on, and leave it alone [C135]", () =>
      quiet(Effect.gen(function*() {
        const path = Path.join(yield* folder, "app.sock")
        const { addresses } = yield* serving({ unix: path }, ends)
        assert.deepStrictEqual(yield* listenError({ unix: path }), {
          code: "EADDRINUSE",
          message:
            `Cannot listen on unix:${path} (EADDRINUSE): another program listens there; stop it or choose another address`
        })
        assert.deepStrictEqual(yield* ask(addresses[0]!), [null, [path, null]])
      })))

    it.live("refuse a file that is not a socket, and leave it alone", () =>
      quiet(Effect.gen(function*() {
        const path = Path.join(yield* folder, "notes.txt")
        Fs.writeFileSync(path, "precious")
        const { code, message } = yield* listenError({ unix: path })
        assert.strictEqual(code, "ENOTSOCK")
        assert.include(message, path)
        assert.strictEqual(Fs.readFileSync(path, "utf8"), "precious")
      })))

    it.live("leave a successor's file alone when they stop [C135]", () =>
      quiet(Effect.gen(function*() {
        const path = Path.join(yield* folder, "app.sock")
        const { stop } = yield* serving({ unix: path }, ends)
        Fs.rmSync(path)
        const successor = yield* serving({ unix: path }, ends)
        yield* stop
        assert.deepStrictEqual(yield* ask(successor.addresses[0]!), [null, [path, null]])
      })))
  })

  describe("that cannot listen", () => {
    it.live("name the address that is taken and say what to do", () =>
      quiet(Effect.gen(function*() {
        const { addresses } = yield* serving({ port: 0 }, ends)
        const taken = port(addresses[0]!)
        assert.deepStrictEqual(yield* listenError({ port: taken }), {
          code: "EADDRINUSE",
          message:
            `Cannot listen on http://127.0.0.1:${taken} (EADDRINUSE): another program listens there; stop it or choose another address`
        })
      })))

    it.live("leave no other listener behind, and may be tried again", () =>
      quiet(Effect.gen(function*() {
        const directory = yield* folder
        const path = Path.join(directory, "app.sock")
        const { addresses, stop } = yield* serving({ port: 0 }, ends)
        const taken = port(addresses[0]!)
        const server = yield* ServerNode.make({ listen: [path, `127.0.0.1:${taken}`] })
        const error = yield* Effect.flip(server.serve(ends))
        assert.include(error.message, `http://127.0.0.1:${taken}`)
        assert.deepStrictEqual(Fs.readdirSync(directory), [])
        yield* stop
        yield* server.serve(ends)
        for (const address of yield* server.addresses) yield* ask(address)
      })))

    for (
      const [what, options, code, advice] of [
        [
          "an address of another machine",
          { host: "192.0.2.1", port: 0 },
          "EADDRNOTAVAIL",
          "this machine has no such address"
        ],
        ["a folder that does not exist", { unix: "/nowhere/at/all.sock" }, "ENOENT", "create it first"],
        ["a file in the way of the folder", { unix: "/etc/hostname/app.sock" }, "ENOTDIR", "is not a folder"]
      ] as const
    ) {
      it.live(`say what is wrong with ${what}`, () =>
        quiet(Effect.gen(function*() {
          const error = yield* listenError(options)
          assert.strictEqual(error.code, code)
          assert.include(error.message, advice)
        })))
    }

    it.live("say so when the path is too long for a socket", () =>
      quiet(Effect.gen(function*() {
        const error = yield* listenError({ unix: Path.join(yield* folder, "x".repeat(120)) })
        assert.include(error.message, "107 bytes")
      })))
  })
})
