import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as SettingsSources from "../../../layers/internal/SettingsSources.ts"
import * as Settings from "../../../src/schema/Settings.ts"

const filesystem = (files: Record<string, string>) =>
  FileSystem.layerNoop({
    exists: (path) => Effect.succeed(files[path] !== undefined),
    readFileString: (path) =>
      files[path] !== undefined
        ? Effect.succeed(files[path])
        : Effect.fail(
          PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "readFileString" })
        )
  })

const collect = (
  sources: Partial<SettingsSources.Sources>,
  files: Record<string, string> = {}
) => Effect.provide(SettingsSources.collect({ flags: {}, env: {}, ...sources }), filesystem(files))

const resolveAll = (collected: SettingsSources.Collected): Record<string, unknown> => ({
  ...Result.getOrThrow(Settings.resolve(collected.server, collected.nameOf)),
  ...Result.getOrThrow(Settings.resolveCommand(collected.command, collected.nameOf))
})

/** One value per setting, none the default: as text, and as a program writes it. */
const samples: Record<string, readonly [text: string, option: unknown]> = {
  host: ["::1", "::1"],
  port: ["8080", 8080],
  unix: ["/run/app.sock", "/run/app.sock"],
  unixMode: ["0600", 0o600],
  listen: ["127.0.0.1:1,[::1]:2", ["127.0.0.1:1", "[::1]:2"]],
  backlog: ["7", 7],
  reusePort: ["on", true],
  maxConnections: ["7", 7],
  maxRequestLineBytes: ["1KiB", 1024],
  maxHeaderBytes: ["2000", 2000],
  maxHeaderCount: ["7", 7],
  maxBodyBytes: ["1MB", 1_000_000],
  maxChunkExtensionBytes: ["100", 100],
  maxUnreadBodyBytes: ["0", 0],
  headerTimeout: ["1", "1 second"],
  bodyTimeout: ["500 millis", 500],
  requestTimeout: ["2 minutes", 120_000],
  keepAliveTimeout: ["0", 0],
  writeTimeout: ["0.5", 500],
  shutdownTimeout: ["3", 3000],
  preStopDelay: ["5", 5000],
  drainWindow: ["250 millis", 250],
  disconnectGrace: ["4", 4000],
  writeHighWaterMark: ["128KiB", 131072],
  writeLowWaterMark: ["1", 1],
  serverHeader: ["wharf", "wharf"],
  fullFlush: ["off", false],
  earlyHints: ["false", false],
  trustedProxies: ["10.0.0.0/8, ::1,unix", ["10.0.0.0/8", "::1", "unix"]],
  proxyHeaders: ["forwarded", "forwarded"],
  proxyProtocol: ["on", true],
  rootPath: ["/api", "/api"],
  lifespan: ["on", "on"],
  lifespanStartupTimeout: ["5", 5000],
  workerNumber: ["3", 3],
  http2: ["off", false],
  http2MaxConcurrentStreams: ["7", 7],
  http2MaxHeaderListBytes: ["32KiB", 32768],
  http2InitialWindowBytes: ["1MB", 1_000_000],
  http2MaxFrameBytes: ["20000", 20_000],
  wsMaxMessageBytes: ["16MiB", 16_777_216],
  wsMaxQueue: ["7", 7],
  wsIdleTimeout: ["1 minute", 60_000],
  wsCloseTimeout: ["3", 3000],
  wsPingInterval: ["30", 30_000],
  wsPingTimeout: ["0", 0],
  wsCompression: ["on", true],
  wsCompressionThreshold: ["0", 0],
  wsCompressionContext: ["true", true],
  wsCompressionWindowBits: ["12", 12],
  sseIdleTimeout: ["2 minutes", 120_000],
  sseShutdownRetry: ["0", 0],
  tlsCert: ["/etc/a.pem", "/etc/a.pem"],
  tlsKey: ["/etc/a.key", "/etc/a.key"],
  tlsPassphrase: ["secret", "secret"],
  tlsCa: ["/etc/ca.pem", "/etc/ca.pem"],
  tlsClientCertificate: ["required", "required"],
  tlsMinVersion: ["TLSv1.3", "TLSv1.3"],
  tlsCiphers: ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"],
  tlsSni: ["a.test=/a.pem,/a.key;*.b.test=/b.pem,/b.key", ["a.test=/a.pem,/a.key", "*.b.test=/b.pem,/b.key"]],
  tlsSessionTickets: ["off", false],
  tlsHandshakeTimeout: ["3", 3000],
  tlsMaxHandshakes: ["7", 7],
  tlsReload: ["0", 0],
  env: ["production", "production"],
  accessLog: ["none", false],
  accessLogFormat: ["tiny", "tiny"],
  logLevel: ["debug", "debug"],
  logFormat: ["json", "json"],
  workers: ["auto", "auto"],
  heartbeatTimeout: ["7", "7 seconds"],
  maxRequests: ["7", 7],
  maxRequestsJitter: ["7", 7],
  maxRss: ["1MB", 1_000_000],
  logLevels: ["Supervisor=debug, http=warn", ["Supervisor=debug", "http=warn"]],
  quiet: ["on", true],
  errorLog: ["/var/log/app.log", "/var/log/app.log"],
  logRotateBytes: ["10MB", 10_000_000],
  logRotateInterval: ["1 day", "1 day"],
  logRotateKeep: ["3", 3],
  pidFile: ["/run/app.pid", "/run/app.pid"],
  daemonize: ["on", true],
  user: ["nobody", "nobody"],
  group: ["nogroup", "nogroup"],
  umask: ["027", 0o027],
  chdir: ["/srv/app", "/srv/app"],
  title: ["my app", "my app"],
  controlSocket: ["/run/ctl.sock", "/run/ctl.sock"],
  adminListen: ["127.0.0.1:9000", "127.0.0.1:9000"],
  adminToken: ["secret", "secret"],
  livePath: ["/live", "/live"],
  readyPath: ["/ready", "/ready"],
  metricsPath: ["/metrics", "/metrics"],
  otlpUrl: ["http://127.0.0.1:4318", "http://127.0.0.1:4318"],
  reload: ["on", true],
  reloadDirs: ["lib, src", ["lib", "src"]],
  reloadInclude: ["*.sql", ["*.sql"]],
  reloadExclude: ["*.log, tmp/**", ["*.log", "tmp/**"]],
  reloadDelay: ["0.5", 500],
  inspect: ["on", true],
  open: ["on", true],
  config: ["./other.json", "./other.json"],
  profile: ["other", "other"],
  envFile: ["./other.env", "./other.env"],
  checkConfig: ["on", true],
  printConfig: ["on", true],
  require: ["./a.js, b", ["./a.js", "b"]],
  eval: ["Handler.text('hello')", "Handler.text('hello')"],
  server: ["./server.js", "./server.js"]
}

/** What makes a setting that needs another one valid. */
const certificate = { tlsCert: "/etc/b.pem", tlsKey: "/etc/b.key" }
const companions: Record<string, Record<string, string | ReadonlyArray<string>>> = {
  unixMode: { unix: "/run/app.sock" },
  tlsCert: { tlsKey: "/etc/b.key" },
  tlsKey: { tlsCert: "/etc/b.pem" },
  tlsCa: { ...certificate, tlsClientCertificate: "optional" },
  tlsClientCertificate: { ...certificate, tlsCa: "/etc/ca.pem" },
  tlsSni: certificate,
  proxyProtocol: { trustedProxies: ["10.0.0.0/8"] },
  maxRequestsJitter: { maxRequests: "10" },
  profile: { config: "./other.json" }
}

/** The files that samples name. */
const named = { "./other.json": `{ "profiles": { "other": {} } }`, "./other.env": "" }

describe("SettingsSources", () => {
  describe("collect", () => {
    for (const entry of Settings.entries) {
      const [text, option] = samples[entry.key]!
      const companion = companions[entry.key] ?? {}
      const written = Object.fromEntries(
        Object.entries(companion).map(([key, value]) =>
          [key, Settings.entries.find((other) => other.key === key)!.kind.fromText(value)] as const
        )
      )
      const expected = Effect.sync(() =>
        entry.group === "server"
          ? Result.getOrThrow(Settings.resolve({ ...written, [entry.key]: option }))
          : Result.getOrThrow(Settings.resolveCommand({ ...written, [entry.key]: option }))
      )
      const check = (sources: Partial<SettingsSources.Sources>, files: Record<string, string> = {}) =>
        Effect.gen(function*() {
          const wanted = (yield* expected) as unknown as Record<string, unknown>
          const settings = resolveAll(yield* collect(sources, { ...named, ...files }))
          assert.deepStrictEqual(settings[entry.key], wanted[entry.key])
          const defaults: Record<string, unknown> = entry.group === "server"
            ? { ...Result.getOrThrow(Settings.resolve({})) }
            : { ...Result.getOrThrow(Settings.resolveCommand({})) }
          assert.notDeepEqual(settings[entry.key], defaults[entry.key])
        })

      it.effect(`takes ${entry.key} from --${entry.flag}`, () =>
        check({
          flags: {
            ...companion,
            [entry.key]: entry.kind.isList === true ? text.split(entry.key === "tlsSni" ? ";" : /, */) : text
          }
        }))

      it.effect(`takes ${entry.key} from ${entry.env} [C168]`, () =>
        check({ flags: companion, env: { [entry.env]: text } }))

      if (entry.notInFile !== true) {
        it.effect(`takes ${entry.key} from a config file in TOML, YAML and JSON [C168]`, () =>
          Effect.gen(function*() {
            const values = { ...companion, [entry.key]: text }
            const lines = (separator: string) =>
              Object.entries(values).map(([key, value]) => `${key}${separator}${JSON.stringify(value)}\n`).join("")
            yield* check({ flags: { config: "a.toml" } }, { "a.toml": lines(" = ") })
            yield* check({ flags: { config: "a.yaml" } }, { "a.yaml": lines(": ") })
            yield* check({ env: { SLIPWAY_CONFIG: "a.json" } }, { "a.json": JSON.stringify(values) })
          }))
      }
    }

    it.effect("takes numbers, arrays and false from a config file as they are", () =>
      Effect.gen(function*() {
        const toml = "maxBodyBytes = 5\nheaderTimeout = 1.5\nlisten = [\"1\", \"2\"]\naccessLog = false\n"
        const settings = resolveAll(yield* collect({ flags: { config: "a.toml" } }, { "a.toml": toml }))
        const written = Result.getOrThrow(
          Settings.resolve({ maxBodyBytes: 5, headerTimeout: "1500 millis", listen: ["1", "2"] })
        )
        assert.deepStrictEqual(settings.maxBodyBytes, 5)
        assert.deepStrictEqual(settings.headerTimeout, written.headerTimeout)
        assert.deepStrictEqual(settings.listen, written.listen)
        assert.strictEqual(settings.accessLog, false)
      }))

    it.effect("prefers a flag to a variable, a variable to the file, and SLIPWAY_PORT to PORT", () =>
      Effect.gen(function*() {
        const files = { "a.toml": "port = 1\nhost = \"::1\"\n" }
        const portOf = (sources: Partial<SettingsSources.Sources>) =>
          Effect.map(
            collect({ ...sources, env: { SLIPWAY_CONFIG: "a.toml", ...sources.env } }, files),
            (all) => [resolveAll(all).port, all.nameOf("port")]
          )
        assert.deepStrictEqual(yield* portOf({}), [1, "port in a.toml"])
        assert.deepStrictEqual(yield* portOf({ env: { PORT: "2" } }), [2, "PORT"])
        assert.deepStrictEqual(yield* portOf({ env: { PORT: "2", SLIPWAY_PORT: "3" } }), [3, "SLIPWAY_PORT"])
        assert.deepStrictEqual(
          yield* portOf({ env: { PORT: "2", SLIPWAY_PORT: "3" }, flags: { port: "4" } }),
          [4, "--port"]
        )
      }))

    it.effect("lets the environment override host, port, workers and log level of the config file [W137]", () =>
      Effect.gen(function*() {
        const json = JSON.stringify({ host: "::1", port: 1, workers: 2, logLevel: "debug" })
        const sources = { flags: { config: "a.json" } }
        const pick = ({ host, logLevel, port, workers }: Record<string, unknown>) => [host, port, workers, logLevel]
        const written = resolveAll(yield* collect(sources, { "a.json": json }))
        assert.deepStrictEqual(pick(written), ["::1", 1, 2, "debug"])
        const env = { SLIPWAY_HOST: "::2", PORT: "3", WEB_CONCURRENCY: "4", SLIPWAY_LOG_LEVEL: "error" }
        const overridden = resolveAll(yield* collect({ ...sources, env }, { "a.json": json }))
        assert.deepStrictEqual(pick(overridden), ["::2", 3, 4, "error"])
      }))

    it.effect("takes trusted proxies from FORWARDED_ALLOW_IPS, which is weaker than its own variable", () =>
      Effect.gen(function*() {
        const trusted = (env: Record<string, string>, flags: SettingsSources.Sources["flags"] = {}) =>
          Effect.map(
            collect({ env, flags }),
            ({ nameOf, server }) => Result.getOrThrow(Settings.resolve(server, nameOf)).trustedProxies?.map(String)
          )
        const FORWARDED_ALLOW_IPS = "127.0.0.1, ::1,10.0.0.0/8"
        assert.deepStrictEqual(yield* trusted({ FORWARDED_ALLOW_IPS }), ["127.0.0.1/32", "::1/128", "10.0.0.0/8"])
        assert.deepStrictEqual(yield* trusted({ FORWARDED_ALLOW_IPS: "*" }), ["*"])
        assert.isUndefined(yield* trusted({ FORWARDED_ALLOW_IPS: "" }))
        assert.deepStrictEqual(yield* trusted({ FORWARDED_ALLOW_IPS, SLIPWAY_TRUSTED_PROXIES: "unix" }), ["unix"])
        assert.deepStrictEqual(
          yield* trusted({ FORWARDED_ALLOW_IPS }, { trustedProxies: ["192.0.2.1", "unix"] }),
          ["192.0.2.1/32", "unix"]
        )
        const { nameOf, server } = yield* collect({ env: { FORWARDED_ALLOW_IPS: "proxy.internal" } })
        const resolved = Settings.resolve(server, nameOf)
        assert.isTrue(Result.isFailure(resolved) && resolved.failure.message.startsWith("FORWARDED_ALLOW_IPS is "))
      }))

    it.effect("knows what was set, even to the default", () =>
      Effect.gen(function*() {
        const collected = yield* collect({ env: { PORT: "5000" } })
        assert.isTrue(collected.isSet("port"))
        assert.isFalse(collected.isSet("host"))
      }))

    it.effect("takes an empty variable for one that is not set, except where empty is a value", () =>
      Effect.gen(function*() {
        const settings = resolveAll(yield* collect({ env: { PORT: "", SLIPWAY_HOST: "", SLIPWAY_SERVER_HEADER: "" } }))
        assert.strictEqual(settings.port, 5000)
        assert.strictEqual(settings.host, "127.0.0.1")
        assert.strictEqual(settings.serverHeader, "")
      }))

    it.effect("names the option and the value as the user wrote them", () =>
      Effect.gen(function*() {
        const messageOf = (sources: Partial<SettingsSources.Sources>, files: Record<string, string> = {}) =>
          Effect.map(collect(sources, files), ({ nameOf, server }) => {
            const resolved = Settings.resolve(server, nameOf)
            return Result.isFailure(resolved) ? resolved.failure.message : "accepted"
          })
        const expected = "expected a whole number from 0 to 65535"
        assert.strictEqual(yield* messageOf({ flags: { port: "http" } }), `--port is "http": ${expected}`)
        assert.strictEqual(yield* messageOf({ env: { PORT: "-1" } }), `PORT is "-1": ${expected}`)
        assert.strictEqual(
          yield* messageOf({ flags: { config: "./a.yml" } }, { "./a.yml": "port: 70000" }),
          `port in ./a.yml is 70000: ${expected}`
        )
        assert.include(yield* messageOf({ flags: { headerTimeout: "10s" } }), "--header-timeout is \"10s\"")
        const bareMode = yield* messageOf({ flags: { config: "a.toml" } }, { "a.toml": "unixMode = 660" })
        assert.include(bareMode, "unixMode in a.toml is \"660 (a number)\"")
      }))

    it.effect("refuses exclusive settings of one source, naming both [C137]", () =>
      Effect.gen(function*() {
        const { nameOf, server } = yield* collect({ flags: { unix: "/x", port: "80" } })
        const resolved = Settings.resolve(server, nameOf)
        assert.isTrue(Result.isFailure(resolved) && resolved.failure.message.startsWith("--unix and --port exclude"))
      }))

    it.effect("lets a stronger source say where to listen instead of a weaker one", () =>
      Effect.gen(function*() {
        const files = { "a.toml": "unix = \"/x\"\nunixMode = \"0600\"\n" }
        const moved = yield* collect({ flags: { config: "a.toml" }, env: { PORT: "80" } }, files)
        assert.deepStrictEqual(moved.server, { port: 80 })
        const fixed = yield* collect({ flags: { unix: "/y" }, env: { PORT: "80", SLIPWAY_HOST: "::1" } })
        assert.deepStrictEqual(fixed.server, { unix: "/y" })
      }))

    it.effect("refuses a key that is no setting, naming it, the file and the nearest one", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(collect({ flags: { config: "./a.toml" } }, { "./a.toml": "maxbodybites = 1" }))
        assert.strictEqual(error.message, "Unknown option maxbodybites in ./a.toml. Did you mean maxBodyBytes?")
        const files = { "a.json": "{\"config\": \"b.json\"}" }
        const inner = yield* Effect.flip(collect({ flags: { config: "a.json" } }, files))
        assert.include(inner.message, "config in a.json")
      }))

    it.effect("says why a config file cannot be used", () =>
      Effect.gen(function*() {
        const messageOf = (path: string, content?: string) =>
          Effect.map(
            Effect.flip(collect({ flags: { config: path } }, content === undefined ? {} : { [path]: content })),
            (error) => error.message
          )
        assert.strictEqual(yield* messageOf("a.toml"), "Cannot use the config file a.toml: there is no such file")
        assert.include(yield* messageOf("a.ini", "port = 1"), "must end in .toml, .yaml, .yml or .json")
        assert.include(yield* messageOf("a.toml", "port = "), "Cannot use the config file a.toml: ")
        assert.include(yield* messageOf("a.yaml", "port: [1"), "Cannot use the config file a.yaml: ")
        assert.include(yield* messageOf("a.json", "{port: 1}"), "Cannot use the config file a.json: ")
        assert.include(yield* messageOf("a.json", "[1]"), "it must hold option names with values")
        assert.include(yield* messageOf("a.toml", "[profile.staging]\nport = 1"), "Did you mean profiles?")
      }))

    it.effect("takes a config file of nothing but comments for no settings", () =>
      Effect.gen(function*() {
        for (const path of ["a.toml", "a.yaml", "a.yml"]) {
          const collected = yield* collect({ flags: { config: path } }, { [path]: "# port: 1\n" })
          assert.isFalse(collected.isSet("port"), path)
        }
      }))

    it.effect("says that a folder is not a file", () =>
      Effect.gen(function*() {
        const folders = FileSystem.layerNoop({
          exists: () => Effect.succeed(true),
          readFileString: () =>
            Effect.fail(PlatformError.systemError({ _tag: "BadResource", module: "FileSystem", method: "readFile" }))
        })
        const messageOf = (flags: SettingsSources.Sources["flags"]) =>
          SettingsSources.collect({ flags, env: {} }).pipe(
            Effect.provide(folders),
            Effect.flip,
            Effect.map((error) => error.message)
          )
        assert.strictEqual(
          yield* messageOf({ config: "a.toml" }),
          "Cannot use the config file a.toml: it is not a file"
        )
        assert.strictEqual(yield* messageOf({ envFile: "a" }), "Cannot use the environment file a: it is not a file")
      }))

    it.effect("lets a stronger source say what is logged instead of a weaker one, unless it says nothing", () =>
      Effect.gen(function*() {
        const files = { "a.toml": "logLevel = \"debug\"\n" }
        const quiet = yield* collect({ flags: { config: "a.toml", quiet: "on" } }, files)
        assert.isFalse(quiet.isSet("logLevel"))
        const loud = yield* collect({ flags: { config: "a.toml", quiet: "off" } }, files)
        assert.strictEqual(resolveAll(loud).logLevel, "debug")
      }))

    it.effect("remarks on variables that look like settings and are none", () =>
      Effect.gen(function*() {
        const { warnings } = yield* collect({ env: { SLIPWAY_PROT: "80", SLIPWAY_PORT: "80", HOME: "/" } })
        assert.deepStrictEqual(warnings, [
          "The environment variable SLIPWAY_PROT is no setting. Did you mean SLIPWAY_PORT?"
        ])
      }))
  })

  describe("collect, with a file of variables", () => {
    const files = { "./a.env": "SLIPWAY_HOST=::1\nPORT=1\nSECRET='s'\nHOME=/x\n" }

    it.effect("takes settings from it, weaker than the environment and stronger than the config file", () =>
      Effect.gen(function*() {
        const all = { ...files, "a.toml": "host = \"::2\"\nport = 2\nbacklog = 2\n" }
        const at = (sources: Partial<SettingsSources.Sources>) =>
          Effect.map(
            collect({ ...sources, flags: { envFile: "./a.env", config: "a.toml", ...sources.flags } }, all),
            (collected) => {
              const { backlog, host, port } = resolveAll(collected)
              return [host, port, backlog, collected.nameOf("port")]
            }
          )
        assert.deepStrictEqual(yield* at({}), ["::1", 1, 2, "PORT in ./a.env"])
        assert.deepStrictEqual(yield* at({ env: { PORT: "3", SLIPWAY_HOST: "::3" } }), ["::3", 3, 2, "PORT"])
        assert.deepStrictEqual(yield* at({ flags: { port: "4" } }), ["::1", 4, 2, "--port"])
      }))

    it.effect("lets PORT of the environment count before SLIPWAY_PORT of the file", () =>
      Effect.gen(function*() {
        const collected = yield* collect(
          { flags: { envFile: "a" }, env: { PORT: "8080" } },
          { a: "SLIPWAY_PORT=3000" }
        )
        assert.strictEqual(resolveAll(collected).port, 8080)
      }))

    it.effect("hands over the variables that the environment lacks, for the application", () =>
      Effect.gen(function*() {
        const collected = yield* collect({ env: { SLIPWAY_ENV_FILE: "./a.env", HOME: "/", PORT: "" } }, files)
        assert.deepStrictEqual(collected.variables, { SLIPWAY_HOST: "::1", SECRET: "s" })
        assert.strictEqual(collected.envFile, "./a.env")
        assert.strictEqual(resolveAll(collected).port, 5000)
      }))

    it.effect("may name the config file and the profile", () =>
      Effect.gen(function*() {
        const env = "SLIPWAY_CONFIG=a.json\nSLIPWAY_PROFILE=b\n"
        const collected = yield* collect({ flags: { envFile: "a" } }, {
          a: env,
          "a.json": `{"profiles":{"b":{"port":1}}}`
        })
        assert.strictEqual(resolveAll(collected).port, 1)
      }))

    it.effect("says why it cannot be used, with the line and nothing of what it says", () =>
      Effect.gen(function*() {
        const messageOf = (all: Record<string, string>) =>
          Effect.map(Effect.flip(collect({ flags: { envFile: "./a.env" } }, all)), (error) => error.message)
        assert.strictEqual(yield* messageOf({}), "Cannot use the environment file ./a.env: there is no such file")
        assert.strictEqual(
          yield* messageOf({ "./a.env": "A=1\nsecret" }),
          "Cannot use the environment file ./a.env: line 2 is not NAME=value"
        )
        const { nameOf, server } = yield* collect({ flags: { envFile: "./a.env" } }, { "./a.env": "PORT=x" })
        const resolved = Settings.resolve(server, nameOf)
        assert.isTrue(Result.isFailure(resolved) && resolved.failure.message.startsWith(`PORT in ./a.env is "x"`))
      }))

    it.effect("remarks on its variables that look like settings and are none", () =>
      Effect.gen(function*() {
        const { warnings } = yield* collect({ flags: { envFile: "a" } }, { a: "SLIPWAY_PROT=1" })
        assert.deepStrictEqual(warnings, [
          "The environment variable SLIPWAY_PROT in a is no setting. Did you mean SLIPWAY_PORT?"
        ])
      }))
  })

  describe("collect, with profiles", () => {
    const toml = "port = 1\nhost = \"::1\"\n[profiles.production]\nport = 2\n[profiles.staging]\nport = 3\n"
    const files = {
      "a.toml": toml,
      "a.yaml": "port: 1\nprofiles:\n  production:\n    port: 2\n  staging:\n    port: 3\n",
      "a.json": `{ "port": 1, "profiles": { "production": { "port": 2 }, "staging": { "port": 3 } } }`
    }

    it.effect("lets the profile that is named count before the rest of the file [W138]", () =>
      Effect.gen(function*() {
        for (const config of Object.keys(files)) {
          const collected = yield* collect({ flags: { config, profile: "staging" } }, files)
          assert.deepStrictEqual(collected.server.port, 3)
          assert.strictEqual(collected.nameOf("port"), `port in profile staging of ${config}`)
          assert.deepStrictEqual(collected.configFile, { path: config, profile: "staging" })
        }
        const rest = yield* collect({ flags: { config: "a.toml", profile: "staging" } }, files)
        assert.strictEqual(rest.nameOf("host"), "host in a.toml")
        const stronger = yield* collect({ flags: { config: "a.toml", profile: "staging" }, env: { PORT: "4" } }, files)
        assert.strictEqual(stronger.server.port, 4)
      }))

    it.effect("takes the profile that is called like the mode, if there is one [W138]", () =>
      Effect.gen(function*() {
        const profileOf = (sources: Partial<SettingsSources.Sources>) =>
          Effect.map(
            collect({ ...sources, flags: { config: "a.toml", ...sources.flags } }, files),
            ({ configFile }) => configFile?.profile
          )
        assert.strictEqual(yield* profileOf({}), "production")
        assert.isUndefined(yield* profileOf({ isTerminal: true }))
        assert.isUndefined(yield* profileOf({ env: { SLIPWAY_ENV: "development" } }))
        assert.isUndefined(yield* profileOf({ flags: { reload: "on" } }))
        assert.strictEqual(yield* profileOf({ isTerminal: true, flags: { env: "production" } }), "production")
        assert.strictEqual(yield* profileOf({ isTerminal: true, flags: { profile: "staging" } }), "staging")
        const byFile = yield* collect(
          { flags: { config: "b.json" }, isTerminal: true },
          { "b.json": `{"env":"production","profiles":{"production":{"port":9}}}` }
        )
        assert.strictEqual(byFile.server.port, 9)
      }))

    it.effect("names the profiles there are where the wanted one is not", () =>
      Effect.gen(function*() {
        const messageOf = (sources: Partial<SettingsSources.Sources>, all: Record<string, string> = files) =>
          Effect.map(Effect.flip(collect(sources, all)), (error) => error.message)
        assert.strictEqual(
          yield* messageOf({ flags: { config: "a.toml", profile: "stagin" } }),
          "Cannot use the config file a.toml: it has no profile \"stagin\", which --profile asks for. "
            + "It has production, staging"
        )
        assert.include(
          yield* messageOf({ flags: { config: "b.json" }, env: { SLIPWAY_PROFILE: "x" } }, { "b.json": "{}" }),
          "which SLIPWAY_PROFILE asks for. It has no profiles"
        )
        assert.strictEqual(
          yield* messageOf({ flags: { profile: "x" } }),
          "--profile and --config belong together: without a config file there are no profiles"
        )
      }))

    it.effect("refuses names that are no settings in every profile, taken or not", () =>
      Effect.gen(function*() {
        const messageOf = (json: string) =>
          Effect.map(
            Effect.flip(collect({ flags: { config: "a.json" } }, { "a.json": json })),
            ({ message }) => message
          )
        assert.strictEqual(
          yield* messageOf(`{"profiles":{"other":{"prot":1}}}`),
          "Unknown option prot in profile other of a.json. Did you mean port?"
        )
        assert.include(yield* messageOf(`{"profiles":[1]}`), "profiles must hold the names of profiles")
        assert.include(yield* messageOf(`{"profiles":{"a":1}}`), "its profile a must hold option names")
        assert.include(yield* messageOf(`{"profiles":{"a":{"profiles":{}}}}`), "Unknown option profiles in profile a")
      }))
  })

  describe("collect, with files that nobody named", () => {
    const files = { ".env": "SLIPWAY_HOST=::1\nA=b\n", "slipway.yml": "port: 1\n" }

    it.effect("reads .env and slipway.yml of the current directory where it may", () =>
      Effect.gen(function*() {
        const collected = yield* collect({ discover: true }, files)
        assert.deepStrictEqual(collected.server, { host: "::1", port: 1 })
        assert.deepStrictEqual(collected.configFile, { path: "slipway.yml", profile: undefined })
        assert.strictEqual(collected.envFile, ".env")
        assert.deepStrictEqual(yield* Effect.map(collect({ discover: true }), ({ server }) => server), {})
      }))

    it.effect("reads them where an expression is served, which is code of the operator as well", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual((yield* collect({ flags: { eval: "1" } }, files)).server, { host: "::1", port: 1 })
      }))

    it.effect("reads none of them where it may not: whose folder it is must not decide what runs", () =>
      Effect.gen(function*() {
        const collected = yield* collect({}, files)
        assert.deepStrictEqual(collected.server, {})
        assert.deepStrictEqual(collected.variables, {})
        assert.isUndefined(collected.configFile)
      }))

    it.effect("reads what is named instead, or nothing", () =>
      Effect.gen(function*() {
        const other = yield* collect(
          { discover: true, flags: { config: "b.json", envFile: "b.env" } },
          { ...files, "b.json": `{"port":2}`, "b.env": "" }
        )
        assert.deepStrictEqual(other.server, { port: 2 })
        const none = yield* collect(
          { discover: true, flags: { config: "none" }, env: { SLIPWAY_ENV_FILE: "none" } },
          files
        )
        assert.deepStrictEqual(none.server, {})
      }))

    it.effect("refuses to choose between two config files", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(collect({ discover: true }, { ...files, "slipway.toml": "" }))
        assert.strictEqual(
          error.message,
          "Cannot use the config file slipway.toml: there is slipway.yml as well. Name one with --config, or none with "
            + "--no-config"
        )
      }))
  })
})
