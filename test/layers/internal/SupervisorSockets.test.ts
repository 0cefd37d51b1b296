import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as SupervisorSockets from "../../../layers/internal/SupervisorSockets.ts"
import * as Settings from "../../../src/schema/Settings.ts"
import { folder } from "../../utils/commandLine.ts"
import { capture } from "../../utils/logs.ts"

const settingsOf = (options: Settings.ServerOptions) => Result.getOrThrow(Settings.resolve(options))
const listening = (...listen: ReadonlyArray<string>) => settingsOf({ listen })

/** Whether somebody listens on the port. */
const isTaken = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const server = Net.createServer()
    server.once("error", () => resume(Effect.succeed(true)))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(false))))
  })

const portOf = ({ address }: SupervisorSockets.Bound) => address._tag === "tcp" ? address.port : 0

const hasReusePort = Exit.isSuccess(Effect.runSyncExit(SupervisorSockets.checkReusePort()))

describe("SupervisorSockets", () => {
  it.live("keeps the addresses that stay, binds new ones, and closes the others once all workers are new", () =>
    Effect.gen(function*() {
      const sockets = yield* SupervisorSockets.open(listening("127.0.0.1:0", "127.0.0.2:0"))
      const [first, second] = sockets.bound()
      const settled = yield* sockets.change(listening("127.0.0.1:0", "127.0.0.3:0"))
      const [kept, third] = sockets.bound()
      assert.strictEqual(kept!.descriptor, first!.descriptor)
      assert.strictEqual(third!.key, "http://127.0.0.3:0")
      yield* settled(false)
      assert.isTrue(Fs.fstatSync(second!.descriptor).isSocket())
      // Given up: what was there is what it was.
      yield* sockets.change(listening("127.0.0.1:0", "127.0.0.2:0"))
      assert.deepStrictEqual(sockets.bound().map(({ descriptor }) => descriptor), [
        first!.descriptor,
        second!.descriptor
      ])
      const again = yield* sockets.change(listening("127.0.0.1:0"))
      yield* again(true)
      assert.lengthOf(sockets.bound(), 1)
      assert.isTrue(Fs.fstatSync(first!.descriptor).isSocket())
      assert.throws(() => Fs.fstatSync(third!.descriptor))
      assert.throws(() => Fs.fstatSync(second!.descriptor))
    }))

  it.live("keeps a socket that speaks TLS from now on, under its new name", () =>
    Effect.gen(function*() {
      const sockets = yield* SupervisorSockets.open(settingsOf({ port: 0 }))
      const [before] = sockets.bound()
      yield* sockets.change(settingsOf({ port: 0, tlsCert: "/a", tlsKey: "/b" }))
      const [after] = sockets.bound()
      assert.deepStrictEqual([before!.key, after!.key], ["http://127.0.0.1:0", "https://127.0.0.1:0"])
      assert.strictEqual(after!.descriptor, before!.descriptor)
      assert.include(after!.address, { scheme: "https", port: portOf(before!) })
    }))

  it.live("takes what it was handed once: an address that goes and comes back is bound anew", () =>
    Effect.gen(function*() {
      const [key, other] = ["http://127.0.0.5:0", "127.0.0.6:0"] as const
      const descriptor = Fs.openSync("/dev/null", "r")
      const address = { _tag: "tcp", host: "127.0.0.5", port: 1 } as const
      const inherited = [{ key, descriptor, address, isShared: false, removesFile: true }]
      const sockets = yield* SupervisorSockets.open(listening("127.0.0.5:0"), { inherited })
      assert.strictEqual(sockets.bound()[0]!.descriptor, descriptor)
      const settled = yield* sockets.change(listening(other))
      yield* settled(true)
      yield* sockets.change(listening("127.0.0.5:0", other))
      assert.isTrue(Fs.fstatSync(sockets.bound()[0]!.descriptor).isSocket())
    }))

  it.live("changes nothing when a new address cannot be had", () =>
    Effect.gen(function*() {
      const sockets = yield* SupervisorSockets.open(listening("127.0.0.1:0"))
      const before = sockets.bound()
      const error = yield* Effect.flip(sockets.change(listening("127.0.0.4:0", "192.0.2.1:0")))
      assert.include(error.message, "Cannot listen on http://192.0.2.1:0 (EADDRNOTAVAIL)")
      assert.deepStrictEqual(sockets.bound(), before)
    }))

  it.live("removes the file of its unix socket, but not once a successor has it [C151]", () =>
    Effect.gen(function*() {
      const path = `${yield* folder({})}/app.sock`
      const settings = settingsOf({ unix: path })
      const ours = yield* Scope.make()
      const sockets = yield* Scope.provide(SupervisorSockets.open(settings), ours)
      const theirs = yield* Scope.make()
      // As the successor gets it: another descriptor of the same socket.
      const handed = sockets.handover().map((socket) => ({
        ...socket,
        descriptor: Fs.openSync("/dev/null", "r")
      }))
      const successor = yield* Scope.provide(SupervisorSockets.open(settings, { inherited: handed }), theirs)
      assert.strictEqual(successor.bound()[0]!.descriptor, handed[0]!.descriptor)
      // One that has not taken over leaves it.
      const failed = yield* Scope.make()
      yield* Scope.provide(
        SupervisorSockets.open(settings, {
          inherited: sockets.handover().map((socket) => ({ ...socket, descriptor: Fs.openSync("/dev/null", "r") }))
        }),
        failed
      )
      yield* Scope.close(failed, Exit.void)
      assert.isTrue(Fs.existsSync(path))
      yield* successor.takeOver
      yield* sockets.release
      yield* Scope.close(ours, Exit.void)
      assert.isTrue(Fs.existsSync(path))
      yield* Scope.close(theirs, Exit.void)
      assert.isFalse(Fs.existsSync(path))
    }))

  it.live("never removes the file of a socket that init has made, and closes what nobody wants [C138]", () =>
    Effect.gen(function*() {
      const path = `${yield* folder({ "app.sock": "" })}/app.sock`
      const { layer, lines } = capture()
      const inherited = [
        { key: `unix:${path}`, address: { _tag: "unix", path } },
        { key: "http://127.0.0.9:1", address: { _tag: "tcp", host: "127.0.0.9", port: 1 } }
      ] as const
      const given = inherited.map((socket) => ({
        ...socket,
        descriptor: Fs.openSync("/dev/null", "r"),
        isShared: false,
        removesFile: false
      }))
      yield* Effect.scoped(Effect.gen(function*() {
        const sockets = yield* SupervisorSockets.open(settingsOf({ unix: path }), { inherited: given })
        yield* sockets.takeOver
        assert.strictEqual(sockets.bound()[0]!.descriptor, given[0]!.descriptor)
        assert.throws(() => Fs.fstatSync(given[1]!.descriptor))
      })).pipe(Effect.provide(layer))
      assert.isTrue(Fs.existsSync(path))
      assert.include(lines.map(({ message }) => message).join(), "Closed http://127.0.0.9:1, which was handed")
    }))

  describe("reusePort", () => {
    for (
      const [version, isThere] of [
        ["20.20.2", false],
        ["22.11.0", false],
        ["22.12.0", true],
        ["23.0.0", false],
        ["23.1.0", true],
        ["24.0.0", true]
      ] as const
    ) {
      it.live(`is ${isThere ? "to be had" : "refused, with the version,"} on Node ${version} [C153]`, () =>
        Effect.gen(function*() {
          const result = yield* Effect.result(SupervisorSockets.checkReusePort(version))
          if (isThere) return assert.isTrue(Result.isSuccess(result))
          assert(Result.isFailure(result))
          assert.include(result.failure.message, `reusePort needs Node 22.12 or newer, and this is ${version}`)
        }))
    }

    it.live.skipIf(!hasReusePort)(
      "holds the port for workers that bind it themselves [C153]",
      () =>
        Effect.gen(function*() {
          const sockets = yield* SupervisorSockets.open(settingsOf({ port: 0, reusePort: true }))
          const [bound] = sockets.bound()
          assert.isTrue(bound!.isShared)
          const listen = Effect.acquireRelease(
            Effect.callback<Net.Server, NodeJS.ErrnoException>((resume) => {
              const server = Net.createServer()
              server.once("error", (error) => resume(Effect.fail(error)))
              const options = { host: "127.0.0.1", port: portOf(bound!), reusePort: true }
              server.listen(options, () => resume(Effect.succeed(server)))
            }),
            (server) => Effect.sync(() => server.close())
          )
          yield* listen
          yield* listen
          assert.isTrue(yield* isTaken(portOf(bound!)))
        })
    )
  })

  describe("on Windows, where workers bind by themselves", () => {
    const platform = "win32"

    it.live("chooses a port, and lets go of it", () =>
      Effect.gen(function*() {
        const bound = (yield* SupervisorSockets.open(settingsOf({ port: 0 }), { platform })).bound()
        assert.lengthOf(bound, 1)
        assert.deepInclude(bound[0], { key: "http://127.0.0.1:0", descriptor: -1, isShared: true })
        assert.isAbove(portOf(bound[0]!), 0)
        assert.isFalse(yield* isTaken(portOf(bound[0]!)))
      }))

    it.live("refuses a port that is taken, the files of unix sockets, and reusePort", () =>
      Effect.gen(function*() {
        const server = yield* Effect.acquireRelease(
          Effect.callback<Net.Server>((resume) => {
            const server = Net.createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.sync(() => server.close())
        )
        const { port } = server.address() as Net.AddressInfo
        const refused = (settings: Settings.ServerOptions) =>
          Effect.map(
            Effect.flip(SupervisorSockets.open(settingsOf(settings), { platform, nodeVersion: "24.0.0" })),
            ({ message }) => message
          )
        assert.include(yield* refused({ port }), "(EADDRINUSE)")
        assert.include(yield* refused({ unix: "/app.sock" }), "(EAFNOSUPPORT)")
        assert.include(yield* refused({ port: 0, reusePort: true }), "Windows has no reusePort")
      }))
  })
})
