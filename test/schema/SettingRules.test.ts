import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Rules from "../../src/schema/SettingRules.ts"
import * as Settings from "../../src/schema/Settings.ts"

interface Written {
  readonly server?: Settings.ServerOptions
  readonly command?: Settings.CommandOptions
  readonly mode?: "development" | "production"
}

const nameOf = (key: string): string => `--${key}`

/** What the command line program would say: the first problem, or nothing. */
const problemOf = ({ command = {}, mode = "production", server = {} }: Written): string => {
  const checked = Result.flatMap(
    Settings.resolve(server, nameOf),
    (resolved) =>
      Result.map(Settings.resolveCommand(command, nameOf), (own) => ({ server: resolved, command: own, mode }))
  )
  if (Result.isFailure(checked)) return checked.failure.message
  const isSet = (key: string) => Object.hasOwn(server, key) || Object.hasOwn(command, key)
  return Option.match(Settings.problemOf(checked.success, { nameOf, isSet }), {
    onNone: () => "",
    onSome: (error) => error.message
  })
}

const remarksOn = ({ command = {}, mode = "production", server = {} }: Written): ReadonlyArray<string> =>
  Settings.remarksOn(
    {
      server: Result.getOrThrow(Settings.resolve(server)),
      command: Result.getOrThrow(Settings.resolveCommand(command)),
      mode
    },
    { nameOf, isSet: (key) => Object.hasOwn(server, key) || Object.hasOwn(command, key) }
  )

const pair = { tlsCert: "c.pem", tlsKey: "k.pem" }
const token = { adminToken: "secret" }

/** For every rule: what breaks it, and the nearest that does not. */
const cases: ReadonlyArray<readonly [option: string, other: string, broken: Written, kept: Written]> = [
  ["listen", "host", { server: { listen: ["1"], host: "::1" } }, { server: { listen: ["1"] } }],
  ["listen", "port", { server: { listen: ["1"], port: 2 } }, { server: { port: 2 } }],
  ["listen", "unix", { server: { listen: ["1"], unix: "/x" } }, { server: { listen: ["1", "/x"] } }],
  ["unix", "host", { server: { unix: "/x", host: "::1" } }, { server: { unix: "/x" } }],
  ["unix", "port", { server: { unix: "/x", port: 1 } }, { server: { host: "::1", port: 1 } }],
  [
    "quiet",
    "logLevel",
    { command: { quiet: true, logLevel: "debug" } },
    { command: { quiet: false, logLevel: "debug" } }
  ],
  ["unixMode", "unix", { server: { unixMode: "0600" } }, { server: { unixMode: "0600", listen: ["/x"] } }],
  ["reusePort", "unix", { server: { reusePort: true, unix: "/x" } }, { server: { reusePort: false, unix: "/x" } }],
  ["reusePort", "listen", { server: { reusePort: true, listen: ["1", "/x"] } }, {
    server: { reusePort: true, listen: ["1"] }
  }],
  ["tlsCert", "tlsKey", { server: { tlsCert: "c" } }, { server: pair }],
  ["tlsSni", "tlsCert", { server: { tlsSni: ["a=c,k"] } }, { server: { ...pair, tlsSni: ["a=c,k"] } }],
  ["tlsCa", "tlsCert", { server: { tlsCa: "a" } }, {
    server: { ...pair, tlsCa: "a", tlsClientCertificate: "optional" }
  }],
  ["tlsClientCertificate", "tlsCert", { server: { tlsClientCertificate: "required" } }, {
    server: { tlsClientCertificate: "none" }
  }],
  ["listen", "tlsCert", { server: { listen: ["https://1"] } }, { server: { ...pair, listen: ["https://1"] } }],
  ["tlsClientCertificate", "tlsCa", { server: { ...pair, tlsClientCertificate: "optional" } }, {
    server: { ...pair, tlsClientCertificate: "none" }
  }],
  ["tlsCa", "tlsClientCertificate", { server: { ...pair, tlsCa: "a" } }, {
    server: { ...pair, tlsCa: "a", tlsClientCertificate: "none" }
  }],
  ["proxyProtocol", "trustedProxies", { server: { proxyProtocol: true } }, {
    server: { proxyProtocol: true, trustedProxies: ["unix"] }
  }],
  ["writeLowWaterMark", "writeHighWaterMark", { server: { writeLowWaterMark: 70_000 } }, {
    server: { writeHighWaterMark: 10 }
  }],
  ["daemonize", "reload", { command: { daemonize: true, reload: true }, mode: "development" }, {
    command: { daemonize: true, reload: false }
  }],
  ["daemonize", "inspect", { command: { daemonize: true, inspect: true }, mode: "development" }, {
    command: { inspect: true },
    mode: "development"
  }],
  ["maxRequestsJitter", "maxRequests", { command: { maxRequestsJitter: 1 } }, {
    command: { maxRequestsJitter: 1, maxRequests: 1 }
  }],
  ["adminListen", "adminToken", { command: { adminListen: "0.0.0.0:9000" } }, {
    command: { adminListen: "127.0.0.9:9000" }
  }],
  ["adminListen", "controlSocket", { command: { adminListen: "/x", controlSocket: "/x" } }, {
    command: { adminListen: "/x", controlSocket: "/y" }
  }],
  ["livePath", "readyPath", { command: { livePath: "/a", readyPath: "/a" } }, {
    command: { livePath: "/a", readyPath: "/b" }
  }],
  ["livePath", "metricsPath", { command: { livePath: "/a", metricsPath: "/a" } }, { command: { livePath: "/a" } }],
  ["readyPath", "metricsPath", { command: { readyPath: "/a", metricsPath: "/a" } }, { command: { readyPath: "/a" } }],
  ["reload", "env", { command: { reload: true } }, { command: { reload: true }, mode: "development" }],
  ["inspect", "env", { command: { inspect: true } }, { command: { inspect: true }, mode: "development" }],
  ["metricsPath", "adminToken", { command: { metricsPath: "/m" } }, { command: { metricsPath: "/m", ...token } }],
  ["adminListen", "tlsCert", { command: { adminListen: "https://9000" } }, {
    server: pair,
    command: { adminListen: "https://9000" }
  }],
  ["adminListen", "port", { command: { adminListen: "5000" } }, { command: { adminListen: "5001" } }],
  ["adminListen", "listen", { server: { listen: ["0.0.0.0:1"] }, command: { adminListen: "1" } }, {
    server: { listen: ["127.0.0.2:1"] },
    command: { adminListen: "1" }
  }],
  ["adminListen", "unix", { server: { unix: "/x" }, command: { adminListen: "/x" } }, {
    server: { unix: "/x" },
    command: { adminListen: "5000" }
  }],
  ["controlSocket", "unix", { server: { unix: "/x" }, command: { controlSocket: "/x" } }, {
    server: { unix: "/x" },
    command: { controlSocket: "/y" }
  }],
  ["controlSocket", "listen", { server: { listen: ["/x"] }, command: { controlSocket: "/x" } }, {
    command: { controlSocket: "/x" }
  }]
]

describe("SettingRules", () => {
  for (const [option, other, broken, kept] of cases) {
    it(`refuses ${option} and ${other} that cannot be together, naming both [C137]`, () => {
      const problem = problemOf(broken)
      assert.isTrue(problem.startsWith(`--${option} and --${other} `), problem)
      assert.strictEqual(problemOf(kept), "")
    })
  }

  it("has a case for every rule", () => {
    const rules = [...Rules.exclusives, ...Rules.serverRules, ...Rules.commandRules, ...Rules.callRules]
      .map(({ option, other }) => `${option} ${other}`)
      // A control socket is no TCP address; what APP is, the command line knows (ConfigCheck.test.ts).
      .filter((pair) => pair !== "controlSocket port" && pair !== "eval APP")
    assert.deepStrictEqual([...new Set(cases.map(([option, other]) => `${option} ${other}`))].sort(), rules.sort())
  })

  it("lets an admin address share a port that is chosen when it is bound", () => {
    assert.strictEqual(problemOf({ server: { port: 0 }, command: { adminListen: "0" } }), "")
  })

  it("lets whoever develops see the metrics without a token", () => {
    assert.strictEqual(problemOf({ command: { metricsPath: "/m" }, mode: "development" }), "")
  })

  describe("remarks", () => {
    for (
      const [option, useless, useful] of [
        ["maxRequests", { maxRequests: 1 }, { maxRequests: 1, workers: 2 }],
        ["maxRss", { maxRss: 1 }, { maxRss: 1, workers: "auto" }],
        ["heartbeatTimeout", { heartbeatTimeout: 1 }, { heartbeatTimeout: 1, reload: true }],
        ["reloadDirs", { reloadDirs: ["a"] }, { reloadDirs: ["a"], reload: true }],
        ["reloadInclude", { reloadInclude: ["a"] }, { reloadInclude: ["a"], reload: true }],
        ["reloadExclude", { reloadExclude: ["a"] }, { reloadExclude: ["a"], reload: true }],
        ["reloadDelay", { reloadDelay: 1 }, { reloadDelay: 1, reload: true }],
        ["accessLogFormat", { accessLog: false, accessLogFormat: "tiny" }, { accessLogFormat: "tiny" }],
        ["logRotateBytes", { logRotateBytes: 1 }, { logRotateBytes: 1, accessLog: "a.log" }],
        ["logRotateInterval", { logRotateInterval: 1 }, { logRotateInterval: 1, errorLog: "a.log" }],
        ["logRotateKeep", { logRotateKeep: 1 }, { logRotateKeep: 1, logRotateBytes: 1, accessLog: "a.log" }],
        ["adminToken", { adminToken: "a" }, { adminToken: "a", metricsPath: "/m" }]
      ] as const
    ) {
      it(`says that ${option} has no effect where it has none, and nothing where it has`, () => {
        const said = remarksOn({ command: useless })
        assert.strictEqual(said.length, 1)
        assert.isTrue(said[0]!.startsWith(`--${option} `), said[0])
        assert.deepStrictEqual(remarksOn({ command: useful }), [])
      })
    }

    it("has nothing to say about the defaults", () => {
      assert.deepStrictEqual(remarksOn({}), [])
    })
  })

  describe("modeOf", () => {
    it("is what env says, else development on a terminal and for what only development has", () => {
      const mode = (command: Settings.CommandOptions, isTerminal = false) =>
        Settings.modeOf(Result.getOrThrow(Settings.resolveCommand(command)), isTerminal)
      assert.strictEqual(mode({}), "production")
      assert.strictEqual(mode({}, true), "development")
      assert.strictEqual(mode({ env: "production" }, true), "production")
      assert.strictEqual(mode({ env: "development" }), "development")
      assert.strictEqual(mode({ reload: true }), "development")
      assert.strictEqual(mode({ inspect: true }), "development")
      assert.strictEqual(mode({ env: "production", reload: true }), "production")
    })
  })
})
