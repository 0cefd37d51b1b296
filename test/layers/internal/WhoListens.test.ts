import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import type * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ProcFs from "../../../layers/internal/ProcFs.ts"
import { formatProcess, whoListens } from "../../../layers/internal/WhoListens.ts"
import * as Program from "../../utils/program.ts"

const listener = (listen: string) =>
  Effect.gen(function*() {
    const program = yield* Program.start(`
      import * as Net from "node:net"
      const server = Net.createServer()
      server.listen(${listen}, () => console.log("at", JSON.stringify(server.address()), process.pid, "."))
    `)
    const [, address, pid] = yield* program.prints(/at (.*) (\d+) \./)
    return { address: JSON.parse(address!) as Net.AddressInfo, pid: Number(pid) }
  })

const at = (host: string, port: number) => whoListens({ _tag: "tcp", host, port })

const pidOf = (found: Option.Option<ProcFs.Process>) => Option.getOrUndefined(found)?.pid

describe.skipIf(process.platform !== "linux")("whoListens (reads Linux's /proc)", () => {
  it.live("names the process that listens on a port, by every address that collides [C168] [W99]", () =>
    Effect.gen(function*() {
      const { address: { port }, pid } = yield* listener(`0, "127.0.0.1"`)
      for (const host of ["127.0.0.1", "localhost", "0.0.0.0", "::", "::ffff:127.0.0.1"]) {
        const found = yield* at(host, port)
        assert.strictEqual(pidOf(found), pid, host)
        assert.match(
          formatProcess(Option.getOrThrow(found)),
          new RegExp(`^node \\S+program\\.mjs \\(process ${pid}\\)$`)
        )
      }
      assert.isTrue(Option.isNone(yield* at("127.0.0.2", port)))
    }))

  it.live("sees a listener on all addresses of IPv6 behind every address", () =>
    Effect.gen(function*() {
      const { address, pid } = yield* listener(`0, "::"`)
      if (address.family !== "IPv6") return
      for (const host of ["127.0.0.1", "::1", "::"]) assert.strictEqual(pidOf(yield* at(host, address.port)), pid, host)
    }))

  it.live("names the process that listens on a unix socket", () =>
    Effect.gen(function*() {
      const path = Path.join(Os.tmpdir(), `slipway who ${process.pid}.sock`)
      const { pid } = yield* listener(JSON.stringify(path))
      assert.strictEqual(pidOf(yield* whoListens({ _tag: "unix", path })), pid)
      assert.isTrue(Option.isNone(yield* whoListens({ _tag: "unix", path: `${path}2` })))
      Fs.rmSync(path, { force: true })
    }))

  it.effect("knows nobody where there is no /proc", () =>
    Effect.gen(function*() {
      assert.isTrue(Option.isNone(yield* whoListens({ _tag: "tcp", host: "127.0.0.1", port: 1 }, "/nowhere")))
    }))
})

describe("ProcFs", () => {
  const commandOf = (cmdline: string) =>
    Effect.acquireUseRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-proc-"))),
      (root) =>
        Effect.sync(() => {
          Fs.mkdirSync(Path.join(root, "9"))
          Fs.writeFileSync(Path.join(root, "9/cmdline"), cmdline)
          Fs.writeFileSync(Path.join(root, "9/comm"), "kworker\n")
          return ProcFs.commandOf(9, root)
        }),
      (root) => Effect.sync(() => Fs.rmSync(root, { recursive: true }))
    )

  it.effect("calls a process by its program and what it runs, and shows no options", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* commandOf("/usr/bin/node\0/srv/app.js\0--token=x\0"), "node /srv/app.js")
      assert.strictEqual(yield* commandOf("/usr/bin/redis-server\0--requirepass\0x\0"), "redis-server")
      assert.strictEqual(
        yield* commandOf("nginx: master process /usr/sbin/nginx"),
        "nginx: master process /usr/sbin/nginx"
      )
      assert.strictEqual(yield* commandOf(""), "kworker")
      assert.strictEqual(yield* commandOf("/bin/a\u001b[2J\0b\n\0"), "a [2J b")
    }))

  it("has one spelling for an address", () => {
    assert.strictEqual(ProcFs.canonicalHost("0:0:0:0:0:0:0:1"), "::1")
    assert.strictEqual(ProcFs.canonicalHost("2001:DB8::0:1"), "2001:db8::1")
    assert.strictEqual(ProcFs.canonicalHost("::ffff:10.0.0.1"), "10.0.0.1")
    assert.strictEqual(ProcFs.canonicalHost("fe80::1%eth0"), "fe80::1%eth0")
    assert.strictEqual(ProcFs.canonicalHost("example.org"), "example.org")
  })
})
