/**
 * The load suite itself: that `npm run bench` measures what it says, and what many connections at once get at their limit.
 * How fast it is, the tables of docs/benchmarks.md say; no test does.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as ServerNode from "../layers/ServerNode.ts"
import * as App from "../src/app/App.ts"
import { root } from "./utils/commandLine.ts"
import { capture } from "./utils/logs.ts"
import * as Sockets from "./utils/sockets.ts"

const hello = App.http(({ send }) => App.respond(send, 200, "hello"))
const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

describe("load", { timeout: 120_000 }, () => {
  for (const scenario of ["hello-close", "ws-echo"]) {
    it(`is measured for ${scenario}: CPU, throughput, and latency where there is one [W147]`, () => {
      const flags = ["--scenario", scenario, "--only", "slipway", "--rounds", "1", "--duration", "1", "--warmup", "1"]
      const { status, stderr, stdout } = spawnSync(
        process.execPath,
        [path.join(root, "scripts/bench.mjs"), ...flags, "--bundled", "--json"],
        { cwd: root, encoding: "utf8" }
      )
      assert.strictEqual(status, 0, stderr)
      const [{ measured }] = JSON.parse(stdout).results
      assert.deepStrictEqual(measured.map((one: { server: string }) => one.server), ["slipway"])
      const [round] = measured[0].rounds
      assert.isAbove(round.cpuMicros, 0)
      assert.isAbove(round.requestsPerSecond, 0)
      if (scenario.startsWith("hello")) assert.isAtLeast(round.p99Millis, round.p50Millis)
    })
  }

  it("has its published tables: hello, JSON, parameters, 10 to 500 connections, new ones, and raw Node [C174]", () => {
    const page = fs.readFileSync(path.join(root, "docs/benchmarks.md"), "utf8")
    for (const name of ["hello", "json", "path", "hello-10", "hello-100", "hello-500", "hello-close"]) {
      const section = page.split(/^### /m).find((text) => text.startsWith(`${name}: `)) ?? ""
      assert.match(section, /^\| slipway +\| +[\d.]+ \|/m, name)
      assert.match(section, /^\| (?:raw|node-http) +\| +[\d.]+ \|/m, name)
    }
  })

  it.live("at the limit of connections: as many as may are served, the others are told when to come back [W147]", () =>
    Effect.gen(function*() {
      const server = yield* ServerNode.make({ port: 0, maxConnections: 200 })
      yield* server.serve(hello)
      const [address] = yield* server.addresses
      const clients = yield* Effect.forEach(
        Array.from({ length: 300 }),
        () => Sockets.connect(address!),
        { concurrency: "unbounded" }
      )
      yield* Effect.forEach(clients, (client) => client.send(get), { concurrency: "unbounded", discard: true })
      const answers = yield* Effect.forEach(
        clients,
        (client) => client.until(/\r\n\r\n[^]*hello$|\r\n\r\nService Unavailable$/),
        { concurrency: "unbounded" }
      )
      const served = answers.filter((answer) => answer.startsWith("HTTP/1.1 200 OK\r\n"))
      const refused = answers.filter((answer) => /^HTTP\/1\.1 503 [^]*^retry-after: \d+\r$/im.test(answer))
      assert.deepStrictEqual([served.length, refused.length], [200, 100])
      for (const { socket } of clients) socket.destroy()
      while ((yield* server.stats).connections > 0) yield* Sockets.turn
      const again = yield* Sockets.connect(address!)
      yield* again.send(get)
      yield* again.until(/hello$/)
    }).pipe(Effect.provide(capture().layer)))
})
