import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Settings from "../../src/schema/Settings.ts"
import * as SettingsReport from "../../src/schema/SettingsReport.ts"

const report = (options: Record<string, unknown>) => {
  const of = (group: Settings.Entry["group"]) =>
    Object.fromEntries(
      Object.entries(options).filter(([key]) => Settings.entries.find((entry) => entry.key === key)!.group === group)
    )
  const resolved = {
    server: Result.getOrThrow(Settings.resolve(of("server"))),
    command: Result.getOrThrow(Settings.resolveCommand(of("command")))
  }
  const rows = SettingsReport.rows(
    { nameOf: (key) => `--${key}`, isSet: (key) => Object.hasOwn(options, key) },
    resolved
  )
  return { resolved, rows, of: (key: string) => rows.find((row) => row.key === key)! }
}

describe("SettingsReport", () => {
  describe("rows", () => {
    it("has every setting once, in the order of the documentation", () => {
      assert.deepStrictEqual(report({}).rows.map(({ key }) => key), Settings.entries.map(({ key }) => key))
    })

    it("says what set a value, or that nobody did", () => {
      const { of } = report({ port: 80 })
      assert.deepStrictEqual(of("port"), { key: "port", value: "80", source: "--port" })
      assert.deepStrictEqual(of("host"), { key: "host", value: "127.0.0.1", source: "default" })
      assert.strictEqual(of("unix").value, "not set")
    })

    it("shows no secret, and no password in a URL", () => {
      const { rows, of } = report({
        tlsCert: "c",
        tlsKey: "k",
        tlsPassphrase: "open sesame",
        adminToken: "open sesame",
        otlpUrl: "https://user:sesame@collector:4318/in?a=b"
      })
      assert.notInclude(JSON.stringify(rows), "sesame")
      assert.strictEqual(of("adminToken").value, "<redacted>")
      assert.strictEqual(of("otlpUrl").value, "https://<redacted>@collector:4318/in?a=b")
    })

    it("writes every value in words that its kind reads again", () => {
      const { resolved, rows } = report({
        listen: ["http://[::1]:80", "unix:/run/a.sock"],
        tlsCert: "c",
        tlsKey: "k",
        tlsSni: ["a.test=c,k", "*.b.test=d,l"],
        trustedProxies: ["10.0.0.0/8", "unix"],
        bodyTimeout: 1500,
        keepAliveTimeout: "2 minutes",
        accessLog: false,
        config: false,
        umask: 0o027,
        adminListen: "127.0.0.1:9000",
        logLevels: ["A=debug", "B=warn"],
        daemonize: true
      })
      const values: Record<string, unknown> = { ...resolved.server, ...resolved.command }
      for (const entry of Settings.entries) {
        const wanted = values[entry.key]
        if (wanted === undefined) continue
        const options = { [entry.key]: entry.kind.fromText(rows.find(({ key }) => key === entry.key)!.value) }
        const companions = { tlsCert: "c", tlsKey: "k" }
        const again: Record<string, unknown> = entry.group === "server"
          ? Result.getOrThrow(
            Settings.resolve({ ...entry.section === "TLS" ? companions : {}, ...companionOf(entry.key), ...options })
          )
          : Result.getOrThrow(Settings.resolveCommand(options))
        assert.deepStrictEqual(again[entry.key], wanted, entry.key)
      }
    })

    it("keeps control characters from the terminal", () => {
      assert.strictEqual(report({ title: "a\u001b[2Jb\n\u009b" }).of("title").value, "a\\u001b[2Jb\\u000a\\u009b")
    })
  })

  describe("toText", () => {
    it("puts values and sources below each other", () => {
      const text = SettingsReport.toText([
        { key: "port", value: "80", source: "PORT" },
        { key: "host", value: "127.0.0.1", source: "default" }
      ])
      assert.strictEqual(text, "port  80         PORT\nhost  127.0.0.1  default")
    })
  })
})

const companionOf = (key: string): Record<string, unknown> =>
  key === "unixMode" ? { unix: "/x" } : key === "listen" ? { tlsCert: "c", tlsKey: "k" } : {}
