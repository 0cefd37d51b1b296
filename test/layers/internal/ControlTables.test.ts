import { assert, describe, it } from "@effect/vitest"
import * as Tables from "../../../layers/internal/ControlTables.ts"
import type { ConnectionReport, ProcessReport, StatusReport } from "../../../src/schema/Report.ts"

const inBlack = { colour: false }
const inColour = { colour: true }

const report: ProcessReport = {
  pid: 4243,
  server: {
    connections: 2,
    exchanges: 1,
    totalConnections: 40,
    totalExchanges: 1234,
    totalRefused: 3,
    totalCut: 0,
    isReady: true,
    isShuttingDown: false
  },
  runtime: {
    rssBytes: 80 * 1024 * 1024,
    heapUsedBytes: 1,
    heapTotalBytes: 1,
    externalBytes: 1,
    cpuUserSeconds: 1.25,
    cpuSystemSeconds: 0.3,
    loopLagMeanMillis: 0.1,
    loopLagP99Millis: 1.26,
    loopLagMaxMillis: 3,
    loopUtilization: 0.123,
    gcCount: 4,
    gcSeconds: 0.01
  },
  metrics: []
}

const status: StatusReport = {
  version: "1.2.3",
  pid: 4242,
  application: "app.ts",
  mode: "production",
  addresses: ["http://127.0.0.1:5000", "unix:/run/app.sock"],
  startedAtMillis: 1000,
  nowMillis: 1000 + (26 * 3600 + 62) * 1000,
  isReady: true,
  isShuttingDown: false,
  isDrained: false,
  restarts: 2,
  workers: [
    { number: 1, pid: 4243, state: "serving", sinceMillis: 93_663_000 - 62_000, crashes: 0, report },
    { number: 12, state: "waiting", crashes: 3 }
  ]
}

const connection: ConnectionReport = {
  worker: 1,
  client: "192.0.2.7:50312",
  protocol: "h2",
  isSecure: true,
  openedAtMillis: 0,
  requests: 7,
  exchanges: ["GET /slow", "websocket /chat"]
}

describe("ControlTables", () => {
  it("shows the whole at a glance, sums over workers, and the workers", () => {
    assert.strictEqual(
      Tables.status(status, inBlack),
      `
Serving      app.ts (production), Slipway 1.2.3, process 4242
Listening    http://127.0.0.1:5000, unix:/run/app.sock
State        ready
Up           1 d 2 h, 2 restarts of workers
Requests     1234 in all, 1 now, 3 refused
Connections  40 in all, 2 now

WORKER   PID  STATE           UP  REQUESTS  NOW  CONNECTIONS    CPU  BUSY  LAG P99  MEMORY  CRASHES
     1  4243  serving  1 min 2 s      1234    1            2  1.6 s  12 %   1.3 ms  80 MiB        0
    12     -  waiting          -         -    -            -      -     -        -       -        3
`.trim()
    )
  })

  for (
    const [changes, words] of [
      [{ isReady: false, isDrained: true }, "drained"],
      [{ isReady: false }, "not ready"],
      [{ isReady: false, isDrained: true, isShuttingDown: true }, "stopping"]
    ] as const
  ) {
    it(`says ${words} where ${JSON.stringify(changes)}`, () => {
      assert.match(Tables.status({ ...status, ...changes }, inBlack), new RegExp(`^State {8}${words}`, "m"))
    })
  }

  it("names health checks that are not well, with their worker", () => {
    const health = [
      { name: "database", kind: "ready", isCritical: true, status: "failed", durationMillis: 1, problem: "refused" },
      { name: "cache", kind: "ready", isCritical: true, status: "ok", durationMillis: 1 }
    ] as const
    const shown = Tables.status(
      { ...status, workers: [{ ...status.workers[0]!, report: { ...report, health } }] },
      inBlack
    )
    assert.include(shown, "Unwell       database in worker 1: refused")
    assert.notInclude(shown, "cache")
  })

  it("lists connections with what goes on in them", () => {
    const idle: ConnectionReport = {
      ...connection,
      protocol: "http/1.1",
      isSecure: false,
      client: "unix",
      exchanges: []
    }
    assert.strictEqual(
      Tables.connections([connection, idle], 7_323_000, inBlack),
      `
WORKER  CLIENT           PROTOCOL       OPEN  REQUESTS  NOW
     1  192.0.2.7:50312  h2, TLS   2 h 2 min         7  GET /slow, websocket /chat
     1  unix             http/1.1  2 h 2 min         7  idle
`.trim()
    )
    assert.strictEqual(Tables.connections([], 0, inBlack), "No connections")
  })

  it("lists settings", () => {
    const settings = [
      { key: "port", value: "5001", source: "--port" },
      { key: "adminToken", value: "<redacted>", source: "SLIPWAY_ADMIN_TOKEN" }
    ]
    assert.strictEqual(
      Tables.config(settings, inBlack),
      `
SETTING     VALUE       SOURCE
port        5001        --port
adminToken  <redacted>  SLIPWAY_ADMIN_TOKEN
`.trim()
    )
  })

  it("uses colour only where it is asked for, and keeps the columns with it", () => {
    assert.notInclude(Tables.status(status, inBlack), "\u001b")
    const coloured = Tables.status(status, inColour)
    assert.include(coloured, "\u001b[32mready\u001b[0m")
    // oxlint-disable-next-line no-control-regex
    assert.strictEqual(coloured.replace(/\u001b\[\d+m/g, ""), Tables.status(status, inBlack))
  })

  describe("with what a client has written", () => {
    const evil = "GET /\u001b]0;owned\u0007\u009b2J\r\n\u202etxt\u2028\u0000"

    it("shows no control character and no change of direction", () => {
      const shown = [
        Tables.connections([{ ...connection, exchanges: [evil], client: evil }], 0, inBlack),
        Tables.status({ ...status, application: evil, addresses: [evil], version: evil }, inBlack),
        Tables.config([{ key: evil, value: evil, source: evil }], inBlack)
      ].join("\n")
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(shown, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e]/)
      assert.include(shown, "GET /?]0;owned??2J???txt??")
    })

    it("escapes the same in JSON, and loses nothing", () => {
      const text = Tables.json({ a: evil })
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(text, /[\u0000-\u001f\u007f-\u009f\u2028\u202e]/)
      assert.deepStrictEqual(JSON.parse(text), { a: evil })
    })
  })
})
