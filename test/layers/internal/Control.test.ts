import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as Control from "../../../layers/internal/Control.ts"
import * as ControlClient from "../../../layers/internal/ControlClient.ts"
import { Operations, OperationsError } from "../../../src/service/Operations.ts"
import { operationsContract, type Subject } from "../../contract/Operations.ts"
import { folder } from "../../utils/commandLine.ts"
import { capture } from "../../utils/logs.ts"
import { local, supervised } from "../../utils/operations.ts"
import { connect, turn, until } from "../../utils/sockets.ts"

const quiet = capture().layer

const listen = Effect.fnUntraced(function*(operations: Operations["Service"], options: Partial<Control.Options> = {}) {
  const file = options.path ?? path.join(yield* folder({}), "control.sock")
  const scope = yield* Scope.fork(yield* Effect.scope)
  yield* Control.make({ path: file, ...options }).pipe(
    Effect.provideService(Operations, operations),
    Scope.provide(scope),
    Effect.provide(quiet)
  )
  return { file, close: Scope.close(scope, Exit.void) }
})

const overSocket = (
  world: Effect.Effect<{ readonly subject: Subject }, unknown, Scope.Scope>
) =>
  Effect.gen(function*() {
    const { subject } = yield* world
    const { file } = yield* listen(subject.operations)
    return { ...subject, operations: ControlClient.make(file) }
  })

operationsContract("ControlClient of one process", overSocket(local))
operationsContract("ControlClient of a supervisor", overSocket(supervised))

/** Operations of which only what is given can be asked for. */
const only = (some: Partial<Operations["Service"]>): Operations["Service"] => {
  const never = Effect.die("not part of this test")
  return Operations.of({
    status: never,
    metrics: never,
    connections: () => never,
    config: Effect.succeed([]),
    reload: never,
    scale: () => never,
    drain: () => never,
    reopen: never,
    stop: never,
    ...some
  })
}

const open = (file: string) => connect({ _tag: "unix", path: file })
const ask = `{"do":"config"}\n`
const told = `{"done":[]}\n`

describe("Control", () => {
  describe("the file", () => {
    it.effect("is of mode 0600 whatever the umask, and gone at the end", () =>
      Effect.gen(function*() {
        const before = process.umask(0)
        yield* Effect.addFinalizer(() => Effect.sync(() => process.umask(before)))
        const { close, file } = yield* listen(only({}))
        assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
        assert.deepStrictEqual(fs.readdirSync(path.dirname(file)).sort(), ["control.sock", "node_modules"])
        yield* close
        assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["node_modules"])
      }))

    it.effect("is replaced when the server that made it has died", () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder({}), "control.sock")
        // Bound under another name, because Node removes what it was bound to when it closes.
        const dead = net.createServer()
        yield* Effect.callback<void>((resume) => void dead.listen(`${file}.dead`, () => resume(Effect.void)))
        fs.renameSync(`${file}.dead`, file)
        yield* Effect.callback<void>((resume) => void dead.close(() => resume(Effect.void)))
        assert.isTrue(fs.existsSync(file))
        yield* listen(only({}), { path: file })
        assert.deepStrictEqual(yield* ControlClient.make(file).config, [])
      }))

    it.effect("is never taken from a server that listens on it", () =>
      Effect.gen(function*() {
        const { file } = yield* listen(only({ config: Effect.succeed([{ key: "a", value: "1", source: "x" }]) }))
        const error = yield* Effect.flip(listen(only({}), { path: file }))
        assert.include(error.message, file)
        assert.include(error.message, "EADDRINUSE")
        assert.lengthOf(yield* ControlClient.make(file).config, 1)
      }))

    it.effect("is taken over by a successor, and left alone by the one that had it", () =>
      Effect.gen(function*() {
        const first = yield* listen(only({}))
        const second = yield* listen(only({ config: Effect.succeed([{ key: "a", value: "1", source: "x" }]) }), {
          path: first.file,
          takeOver: true
        })
        yield* first.close
        assert.lengthOf(yield* ControlClient.make(first.file).config, 1)
        yield* second.close
        assert.isFalse(fs.existsSync(first.file))
      }))

    for (
      const [what, name, code] of [
        ["something that is no socket", "app.mjs", "ENOTSOCK"],
        ["a folder that does not exist", "none/control.sock", "ENOENT"],
        ["a path that is too long for a socket", `${"x".repeat(120)}.sock`, "ENAMETOOLONG"]
      ] as const
    ) {
      it.effect(`is refused for ${what}, by name`, () =>
        Effect.gen(function*() {
          const directory = yield* folder({ "app.mjs": "kept" })
          const error = yield* Effect.flip(listen(only({}), { path: path.join(directory, name) }))
          assert.include(error.message, name)
          assert.include(error.message, code)
          assert.strictEqual(fs.readFileSync(path.join(directory, "app.mjs"), "utf8"), "kept")
        }))
    }
  })

  describe("a client", () => {
    it.effect("asks again and again on one connection, in pieces or at once", () =>
      Effect.gen(function*() {
        const { file } = yield* listen(only({}))
        const client = yield* open(file)
        for (const byte of ask) yield* client.send(byte)
        yield* until(() => client.received === told)
        yield* client.send(ask + ask + ask.slice(0, 4))
        yield* until(() => client.received === told.repeat(3))
        yield* client.send(ask.slice(4))
        yield* until(() => client.received === told.repeat(4))
        assert.isFalse(client.isEnded)
      }))

    for (
      const [what, line] of [
        ["garbage", "\u0000\u0001\u0002 GET / HTTP/1.1\n"],
        ["JSON that is no request", `{"do":"dance"}\n`],
        ["a request without what it needs", `{"do":"scale"}\n`],
        ["a name from a prototype", `{"do":"constructor"}\n`],
        ["an empty line", "\n"],
        ["deep JSON", `${"[".repeat(2000)}\n`]
      ] as const
    ) {
      it.effect(`is told so and left after ${what}`, () =>
        Effect.gen(function*() {
          const { file } = yield* listen(only({}))
          const client = yield* open(file)
          yield* client.send(line)
          const reply = JSON.parse(yield* client.readAll) as { readonly error: { readonly _tag: string } }
          assert.strictEqual(reply.error._tag, "NotPossible")
          assert.deepStrictEqual(yield* ControlClient.make(file).config, [])
        }))
    }

    it.effect("is left at a message that is too long, before it has ended", () =>
      Effect.gen(function*() {
        const { file } = yield* listen(only({}))
        const client = yield* open(file)
        yield* client.send("x".repeat(Control.maxRequestBytes))
        yield* turn
        assert.strictEqual(client.received, "")
        yield* client.send("x")
        assert.include(yield* client.readAll, `at most ${Control.maxRequestBytes} bytes`)
      }))

    it.effect("gets its answer also when it has ended its own side by then, and is left", () =>
      Effect.gen(function*() {
        const go = yield* Deferred.make<void>()
        const begun = yield* Deferred.make<void>()
        const reload = Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go))
        const { file } = yield* listen(only({ reload }))
        const client = yield* open(file)
        client.socket.end(`{"do":"reload"}\n`)
        yield* Deferred.await(begun)
        for (let i = 0; i < 20; i++) yield* turn
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual(yield* client.readAll, `{"done":null}\n`)
      }))

    it.effect("is left after a minute of silence", () =>
      Effect.gen(function*() {
        const { file } = yield* listen(only({}))
        const client = yield* open(file)
        yield* client.send(ask)
        yield* until(() => client.received === told)
        yield* TestClock.adjust("59 seconds")
        yield* client.send(ask)
        yield* until(() => client.received === told.repeat(2))
        yield* TestClock.adjust("59 seconds")
        yield* turn
        assert.isFalse(client.isEnded)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* client.readAll, told.repeat(2))
      }))

    it.effect("finds a place again once another one has left", () =>
      Effect.gen(function*() {
        const { file } = yield* listen(only({}))
        const clients = yield* Effect.forEach(Array.from({ length: Control.maxClients }), () => open(file))
        for (const client of clients) {
          yield* client.send(ask)
          yield* until(() => client.received === told)
        }
        const surplus = yield* open(file)
        assert.include(yield* surplus.readAll, `There are ${Control.maxClients} clients already`)
        assert.strictEqual(
          (yield* Effect.flip(ControlClient.make(file).config)).message,
          `There are ${Control.maxClients} clients already`
        )
        clients[0]!.socket.destroy()
        let found = false
        while (!found) found = Exit.isSuccess(yield* Effect.exit(ControlClient.make(file).config))
      }))

    it.effect("may go away in the middle: what it has asked for goes on, and others are served", () =>
      Effect.gen(function*() {
        const begun = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const { file } = yield* listen(only({
          reload: Effect.andThen(
            Deferred.succeed(begun, undefined),
            Effect.andThen(Deferred.await(go), Effect.asVoid(Deferred.succeed(ended, undefined)))
          )
        }))
        const client = yield* open(file)
        yield* client.send(`{"do":"reload"}\n`)
        yield* Deferred.await(begun)
        client.socket.destroy()
        assert.deepStrictEqual(yield* ControlClient.make(file).config, [])
        yield* Deferred.succeed(go, undefined)
        yield* Deferred.await(ended)
        assert.deepStrictEqual(yield* ControlClient.make(file).config, [])
      }))

    it.effect("hears of a defect that there was one, and no more", () =>
      Effect.gen(function*() {
        const { file } = yield* listen(only({ status: Effect.die(new Error("secret")) }))
        const { reason } = yield* Effect.flip(ControlClient.make(file).status)
        assert.strictEqual(reason._tag, "Failed")
        assert.notInclude(reason.problem, "secret")
      }))

    it.effect("gets the answer to a stop which closes the socket", () =>
      Effect.gen(function*() {
        let close: Effect.Effect<void> = Effect.void
        const closed = yield* Deferred.make<void>()
        const stop = Effect.suspend(() =>
          Effect.asVoid(
            Effect.forkDetach(Effect.andThen(close, Deferred.succeed(closed, undefined)), { startImmediately: true })
          )
        )
        const listening = yield* listen(only({ stop }))
        close = listening.close
        yield* ControlClient.make(listening.file).stop
        yield* Deferred.await(closed)
        assert.isFalse(fs.existsSync(listening.file))
      }))
  })

  it.effect("tells the log what it was told to do, and not what it was asked", () =>
    Effect.gen(function*() {
      const log = capture()
      const file = path.join(yield* folder({}), "control.sock")
      yield* Control.make({ path: file }).pipe(
        Effect.provideService(Operations, only({ scale: () => Effect.void, drain: () => Effect.void })),
        Effect.provide(log.layer)
      )
      const client = ControlClient.make(file)
      yield* client.config
      yield* client.scale(3)
      yield* client.drain(true)
      assert.deepStrictEqual(log.lines.map(({ message }) => message), [
        "Told by the control socket: scale 3",
        "Told by the control socket: drain on"
      ])
    }))
})

describe("ControlClient", () => {
  const problemAt = (file: string) =>
    Effect.map(Effect.flip(ControlClient.make(file).config), ({ reason }) => {
      assert.strictEqual(reason._tag, "Unreachable")
      assert.include(reason.problem, file)
      return reason.problem
    })

  it.effect("says what is wrong where nobody listens", () =>
    Effect.gen(function*() {
      const directory = yield* folder({ "app.mjs": "" })
      assert.include(yield* problemAt(path.join(directory, "none.sock")), "There is no control socket")
      assert.match(yield* problemAt(path.join(directory, "app.mjs")), /Nobody listens|is not a socket/)
    }))

  /** A server of something else. */
  const serving = (handle: (socket: net.Socket) => void) =>
    Effect.gen(function*() {
      const file = path.join(yield* folder({}), "other.sock")
      const server = net.createServer((socket) => {
        socket.resume()
        handle(socket)
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(file, () => resume(Effect.void))),
        () => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
      )
      return file
    })

  it.effect("says so when the other side closes without an answer", () =>
    Effect.gen(function*() {
      const file = yield* serving((socket) => socket.destroy())
      assert.include(yield* problemAt(file), "closed the connection without an answer")
    }))

  it.effect("says so when what listens there is something else", () =>
    Effect.gen(function*() {
      const file = yield* serving((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
      assert.include(yield* problemAt(file), "is no control socket")
    }))

  it.effect("does not believe an answer that is none", () =>
    Effect.gen(function*() {
      const file = yield* serving((socket) => socket.end(`{"done":[{"key":1}]}\n`))
      const error = yield* Effect.flip(ControlClient.make(file).config)
      assert.instanceOf(error, OperationsError)
      assert.strictEqual(error.reason._tag, "Failed")
      assert.include(error.message, "not understood")
    }))

  it.effect("waits for as long as it takes", () =>
    Effect.gen(function*() {
      const go = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const reload = Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go))
      const { file } = yield* listen(only({ reload }))
      const reloading = yield* Effect.forkChild(ControlClient.make(file).reload, { startImmediately: true })
      yield* Deferred.await(begun)
      yield* TestClock.adjust("1 hour")
      for (let i = 0; i < 20; i++) yield* turn
      assert.isUndefined(reloading.pollUnsafe())
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(reloading)
    }))
})
