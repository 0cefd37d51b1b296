import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as dgram from "node:dgram"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as AccessLogSyslog from "../../layers/AccessLogSyslog.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import { accessLogContract, arrived, entry, scope } from "../contract/AccessLog.ts"
import { capture } from "../utils/logs.ts"

/** Lets real input and output proceed. */
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
const turns = Effect.repeat(turn, { times: 20 })

/** A syslog server that keeps its datagrams. */
const receiver = Effect.acquireRelease(
  Effect.callback<{ readonly socket: dgram.Socket; readonly received: Array<string>; readonly to: string }>(
    (resume) => {
      const received: Array<string> = []
      const socket = dgram.createSocket("udp4")
      socket.on("message", (message) => void received.push(message.toString("latin1")))
      socket.bind(0, "127.0.0.1", () => {
        resume(Effect.succeed({ socket, received, to: `syslog://127.0.0.1:${socket.address().port}` }))
      })
    }
  ),
  ({ socket }) => Effect.sync(() => socket.close())
)

const messageOf = (datagram: string): string => datagram.split(" ").slice(7).join(" ")

accessLogContract("AccessLogSyslog", (options) =>
  Effect.map(receiver, ({ received, to }) => ({
    layer: AccessLogSyslog.layer({ to, ...options }),
    lines: Effect.map(turns, () => received.map(messageOf))
  })))

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-syslog-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

const linesOf = (file: string): ReadonlyArray<string> =>
  fs.existsSync(file) ? fs.readFileSync(file, "latin1").split("\n").slice(0, -1) : []

/** In the place of `logger`: a shell that appends what it is given to a file. */
const local = Effect.map(folder, (folder) => {
  const file = path.join(folder, "messages")
  const program = {
    command: "sh",
    args: ["-c", `echo started >> ${file}.starts; exec cat >> ${file}`],
    socketPath: folder
  }
  return { file, program, starts: () => linesOf(`${file}.starts`).length }
})

describe("AccessLogSyslog", () => {
  it.effect("sends messages of RFC 5424, one datagram each", () =>
    Effect.gen(function*() {
      const { received, to } = yield* receiver
      yield* TestClock.adjust("1 hour")
      const layer = AccessLogSyslog.layer({ to: `${to}?facility=local3&tag=shop`, format: "%m %U %s" })
      const log = Context.get(yield* Layer.build(layer), AccessLog)
      log.write(entry({ status: 200 }))
      log.write(entry({ status: 404 }))
      yield* log.flush
      while (received.length < 2) yield* turn
      const head = `<${19 * 8 + 6}>1 1970-01-01T01:00:00.000Z ${os.hostname()} shop ${process.pid} access - `
      assert.deepStrictEqual(received, [`${head}GET /a%20b 200`, `${head}GET /a%20b 404`])
    }))

  it.effect("cannot be made to send a message of the client's own making", () =>
    Effect.gen(function*() {
      const { received, to } = yield* receiver
      const log = Context.get(yield* Layer.build(AccessLogSyslog.layer({ to, format: "json" })), AccessLog)
      const forged = "x\n<0>1 - host kernel - - - panic\r\0\u2028"
      log.write(entry({ scope: scope({ rawPath: forged, headers: [["user-agent", forged]] }), problem: forged }))
      yield* log.flush
      while (received.length === 0) yield* turn
      yield* turns
      assert.lengthOf(received, 1)
      assert.match(received[0]!, /^[\x20-\x7e]+$/)
      assert.strictEqual(JSON.parse(messageOf(received[0]!)).path, forged)
    }))

  it.effect("cuts a message at 8 KiB, and goes on with the next one", () =>
    Effect.gen(function*() {
      const { received, to } = yield* receiver
      const log = Context.get(yield* Layer.build(AccessLogSyslog.layer({ to, format: "%U" })), AccessLog)
      log.write(entry({ scope: scope({ rawPath: `/${"a".repeat(20_000)}` }) }))
      log.write(entry({ scope: scope({ rawPath: "/next" }) }))
      yield* log.flush
      while (received.length < 2) yield* turn
      assert.lengthOf(received[0]!, 8192)
      assert.strictEqual(messageOf(received[1]!), "/next")
    }))

  it.effect("goes on when nobody listens", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const { to } = yield* Effect.scoped(receiver)
      const log = Context.get(yield* Layer.build(AccessLogSyslog.layer({ to, format: "%I" })), AccessLog)
      for (let round = 0; round < 3; round++) {
        log.write(entry())
        yield* log.flush
        yield* turns
      }
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("refuses a target that is none, and a server without an address, by name", () =>
    Effect.gen(function*() {
      const open = (to: string) => Effect.flip(Layer.build(AccessLogSyslog.layer({ to })))
      const invalid = yield* open("syslog:?facility=local9")
      assert.include(invalid.message, `"syslog:?facility=local9" has an unknown facility`)
      const unknown = yield* open("syslog://nowhere.invalid")
      assert.include(unknown.message, "Cannot log to syslog://nowhere.invalid: ")
      assert.strictEqual((unknown as AccessLogSyslog.AccessLogSyslogError).reason._tag, "Unavailable")
    }))

  describe("on this machine", () => {
    it.effect("feeds one program, which has everything when the log closes", () =>
      Effect.gen(function*() {
        const { file, program, starts } = yield* local
        const scope = yield* Scope.make()
        const log = yield* Scope.provide(AccessLogSyslog.make({ to: "syslog:", format: "%I" }, program), scope)
        for (let n = 1; n <= 5; n++) {
          log.write(entry({ requestId: `r${n}` }))
          yield* log.flush
        }
        log.write(entry({ requestId: "last" }))
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(linesOf(file), ["r1", "r2", "r3", "r4", "r5", "last"])
        assert.strictEqual(starts(), 1)
      }))

    it.effect("starts a program that has ended again, after a pause", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { file, program, starts } = yield* local
        const dies = { ...program, args: ["-c", `echo started >> ${file}.starts; head -n 1 >> ${file}; echo gone >&2`] }
        const log = yield* AccessLogSyslog.make({ to: "syslog:", format: "%I", bufferEntries: 1 }, dies)
        log.write(entry({ requestId: "r1" }))
        yield* arrived(Effect.sync(() => linesOf(file)), 1)
        // Until it is noticed that the program has ended, lines may go into its pipe.
        while (lines.length === 0) {
          log.write(entry({ requestId: "lost" }))
          yield* turn
        }
        assert.match(lines[0]!.message, /^The access log syslog: cannot be written/)
        assert.strictEqual(starts(), 1)
        yield* TestClock.adjust("999 millis")
        yield* turns
        assert.strictEqual(starts(), 1)
        yield* TestClock.adjust("3 seconds")
        while (starts() < 2) yield* turn
      }).pipe(Effect.provide(layer))
    })

    it.effect("says which part is missing: the daemon, or the program", () =>
      Effect.gen(function*() {
        const { program } = yield* local
        const open = (changes: Partial<typeof program>) =>
          Effect.flip(AccessLogSyslog.make({ to: "syslog:" }, { ...program, ...changes }))
        const noDaemon = yield* open({ socketPath: "/nowhere/log" })
        assert.include(noDaemon.message, "there is no syslog daemon on this machine: /nowhere/log does not exist")
        const noProgram = yield* open({ command: "no-such-logger" })
        assert.include(noProgram.message, "the program no-such-logger of util-linux is needed")
      }))
  })
})
