import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Settings from "../../src/schema/Settings.ts"

const settingsOf = (options: Settings.ServerOptions): Settings.ServerSettings =>
  Result.getOrThrow(Settings.resolve(options))

const refusalOf = (options: Record<string, unknown>): Settings.SettingsError => {
  const resolved = Settings.resolve(options as Settings.ServerOptions)
  if (Result.isSuccess(resolved)) throw new Error(`accepted ${JSON.stringify(options)}`)
  return resolved.failure
}

const refused = (options: Record<string, unknown>, ...parts: ReadonlyArray<string>): void => {
  const message = refusalOf(options).message
  for (const part of parts) assert.include(message, part)
}

/** A certificate and its key: what every other setting of TLS needs. */
const pair = { tlsCert: "cert.pem", tlsKey: "key.pem" }

describe("Settings", () => {
  describe("resolve", () => {
    it("fills in every default", () => {
      assert.deepStrictEqual(settingsOf({}), {
        host: "127.0.0.1",
        port: 5000,
        unix: undefined,
        unixMode: 0o660,
        listen: undefined,
        backlog: 2048,
        reusePort: false,
        maxConnections: 1000,
        maxRequestLineBytes: 8192,
        maxHeaderBytes: 8192,
        maxHeaderCount: 100,
        maxBodyBytes: 10_000_000,
        maxChunkExtensionBytes: 16384,
        maxUnreadBodyBytes: 65536,
        headerTimeout: Duration.seconds(10),
        bodyTimeout: Duration.seconds(30),
        requestTimeout: Duration.zero,
        keepAliveTimeout: Duration.seconds(60),
        writeTimeout: Duration.seconds(30),
        shutdownTimeout: Duration.seconds(30),
        preStopDelay: Duration.zero,
        drainWindow: Duration.zero,
        disconnectGrace: Duration.seconds(5),
        writeHighWaterMark: 65536,
        writeLowWaterMark: 16384,
        serverHeader: "slipway",
        fullFlush: true,
        earlyHints: true,
        http2: true,
        http2MaxConcurrentStreams: 100,
        http2MaxHeaderListBytes: 65536,
        http2InitialWindowBytes: 65535,
        http2MaxFrameBytes: 16384,
        wsMaxMessageBytes: 1_048_576,
        wsMaxQueue: 1000,
        wsIdleTimeout: Duration.zero,
        wsCloseTimeout: Duration.seconds(10),
        wsPingInterval: Duration.zero,
        wsPingTimeout: Duration.seconds(20),
        wsCompression: false,
        wsCompressionThreshold: 1024,
        wsCompressionContext: false,
        wsCompressionWindowBits: 15,
        sseIdleTimeout: Duration.zero,
        sseShutdownRetry: Duration.seconds(2),
        tlsCert: undefined,
        tlsKey: undefined,
        tlsPassphrase: undefined,
        tlsCa: undefined,
        tlsClientCertificate: "none",
        tlsMinVersion: "TLSv1.2",
        tlsCiphers: undefined,
        tlsSni: undefined,
        tlsSessionTickets: true,
        tlsHandshakeTimeout: Duration.seconds(10),
        tlsMaxHandshakes: 500,
        tlsReload: Duration.seconds(10),
        trustedProxies: undefined,
        proxyHeaders: "x-forwarded",
        proxyProtocol: false,
        rootPath: "",
        workerNumber: undefined,
        lifespan: "auto",
        lifespanStartupTimeout: Duration.seconds(30)
      })
    })

    it("names the option and the value that it refuses", () => {
      assert.strictEqual(refusalOf({ port: 65536 }).message, "port is 65536: expected a whole number from 0 to 65535")
      assert.deepStrictEqual(refusalOf({ lifespan: "maybe" }).reason, {
        _tag: "InvalidValue",
        option: "lifespan",
        value: "maybe",
        expected: "auto, on or off"
      })
    })

    it("refuses what HTTP/2 has no room for", () => {
      const { message } = refusalOf({ http2InitialWindowBytes: 2 ** 31 })
      assert.include(
        message,
        "http2InitialWindowBytes is 2147483648: expected a number of bytes from 1024 to 2147483647"
      )
      assert.include(refusalOf({ http2MaxHeaderListBytes: 2 ** 32 }).message, "from 16 to 4294967295")
    })

    it("names the option in the words of its source", () => {
      const resolved = Settings.resolve({ port: -1 }, (key) => `--${key}`)
      assert.isTrue(Result.isFailure(resolved) && resolved.failure.message.startsWith("--port is -1"))
    })

    it("names an option that does not exist and the one that is like it", () => {
      refused({ prot: 80 }, "Unknown option prot", "Did you mean port?")
      refused({ "max-body-bytes": 80 }, "max-body-bytes", "Did you mean maxBodyBytes?")
      assert.strictEqual(refusalOf({ zzzzzzzzz: 1 }).message, "Unknown option zzzzzzzzz.")
    })

    it("takes an option that is undefined for one that is not given", () => {
      assert.strictEqual(settingsOf({ port: undefined, host: undefined, unix: "/run/app.sock" }).port, 5000)
    })

    it("refuses two ways to say where to listen, naming both options [C137]", () => {
      const listen = ["127.0.0.1:80"]
      refused({ listen, host: "::1" }, "listen", "host")
      refused({ listen, port: 80 }, "listen", "port")
      refused({ listen, unix: "/x" }, "listen", "unix")
      refused({ unix: "/x", host: "::1" }, "unix", "host")
      refused({ unix: "/x", port: 80 }, "unix", "port")
      refused({ unix: "/x", port: 5000 }, "unix", "port")
    })

    it("refuses unixMode where nothing is a unix socket [C137]", () => {
      refused({ unixMode: "0600" }, "unixMode", "unix")
      refused({ unixMode: "0600", listen: ["127.0.0.1:80"] }, "unixMode", "unix")
      assert.strictEqual(settingsOf({ unixMode: "0600", listen: ["./x"] }).unixMode, 0o600)
    })

    it("reads permission bits as octal text or as a number", () => {
      assert.strictEqual(settingsOf({ unix: "/x", unixMode: "0666" }).unixMode, 0o666)
      assert.strictEqual(settingsOf({ unix: "/x", unixMode: "600" }).unixMode, 0o600)
      assert.strictEqual(settingsOf({ unix: "/x", unixMode: 0o640 }).unixMode, 0o640)
      for (const unixMode of ["0888", "66", "rw", 0o1777, -1]) refused({ unix: "/x", unixMode }, "unixMode")
    })

    it("reads every form of a listen spec", () => {
      assert.deepStrictEqual(
        settingsOf({
          listen: ["localhost:80", "[::1]:81", "[fe80::1%eth0]:0", ":82", "83", "unix:x", "/y", "./z"]
        }).listen,
        [
          { _tag: "tcp", host: "localhost", port: 80 },
          { _tag: "tcp", host: "::1", port: 81 },
          { _tag: "tcp", host: "fe80::1%eth0", port: 0 },
          { _tag: "tcp", host: "127.0.0.1", port: 82 },
          { _tag: "tcp", host: "127.0.0.1", port: 83 },
          { _tag: "unix", path: "x" },
          { _tag: "unix", path: "/y" },
          { _tag: "unix", path: "./z" }
        ]
      )
      for (const spec of ["", "host", "::1:80", "[::1]", "host:", "host:65536", "host:80x", "unix:", "a b:1"]) {
        refused({ listen: [spec] }, "listen")
      }
      refused({ listen: [] }, "listen")
    })

    it("reads the scheme of a listen spec, and refuses one that is not http or https", () => {
      assert.deepStrictEqual(settingsOf({ listen: ["http://80", "http://[::1]:81", "http://a:82"] }).listen, [
        { _tag: "tcp", host: "127.0.0.1", port: 80, scheme: "http" },
        { _tag: "tcp", host: "::1", port: 81, scheme: "http" },
        { _tag: "tcp", host: "a", port: 82, scheme: "http" }
      ])
      for (const spec of ["ftp://a:1", "HTTP://a:1", "http:a:1", "https://unix:/x", "https:///x", "http://a:1/"]) {
        refused({ ...pair, listen: [spec] }, "listen")
      }
    })

    it("refuses what TLS cannot do without the rest, naming both options", () => {
      refused({ tlsCert: "c.pem" }, "tlsCert", "tlsKey")
      refused({ tlsKey: "k.pem" }, "tlsCert", "tlsKey")
      refused({ tlsSni: ["a=c,k"] }, "tlsSni", "tlsCert")
      refused({ tlsCa: "ca.pem", tlsClientCertificate: "required" }, "tlsCa", "tlsCert")
      refused({ tlsClientCertificate: "required" }, "tlsClientCertificate", "tlsCert")
      refused({ listen: ["80", "https://443"] }, "listen", "tlsCert")
      refused({ ...pair, tlsClientCertificate: "optional" }, "tlsClientCertificate", "tlsCa")
      refused({ ...pair, tlsCa: "ca.pem" }, "tlsCa", "tlsClientCertificate")
      assert.strictEqual(settingsOf({ tlsClientCertificate: "none" }).tlsClientCertificate, "none")
      for (const tlsClientCertificate of ["none", "optional", "required"] as const) {
        assert.strictEqual(settingsOf({ ...pair, tlsCa: "ca.pem", tlsClientCertificate }).tlsCa, "ca.pem")
      }
    })

    it("reads certificates by name, in any case, each name once", () => {
      const tlsSni = ["A.Example=a.pem,a.key", "*.example=/b c/w.pem,w.key", "xn--bcher-kva.example=x,y"]
      assert.deepStrictEqual(settingsOf({ ...pair, tlsSni }).tlsSni, [
        { name: "a.example", cert: "a.pem", key: "a.key" },
        { name: "*.example", cert: "/b c/w.pem", key: "w.key" },
        { name: "xn--bcher-kva.example", cert: "x", key: "y" }
      ])
      for (
        const specs of [[], ["a"], ["a=c"], ["a=c,k,x"], ["=c,k"], ["*=c,k"], ["a.*=c,k"], ["*.*.a=c,k"], ["a/b=c,k"], [
          "a=c,k",
          "A=d,l"
        ]]
      ) {
        refused({ ...pair, tlsSni: specs }, "tlsSni", "each name once")
      }
    })

    it("reads trusted proxies: addresses, networks, unix and any peer [C191]", () => {
      const trusted = (...trustedProxies: ReadonlyArray<string>) =>
        settingsOf({ trustedProxies }).trustedProxies!.map(String)
      assert.deepStrictEqual(trusted("127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "0.0.0.0/0"), [
        "127.0.0.1/32",
        "10.0.0.0/8",
        "::1/128",
        "fd00::/8",
        "0.0.0.0/0"
      ])
      assert.deepStrictEqual(trusted("unix", "*"), ["unix", "*"])
      assert.deepStrictEqual(trusted("::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "::/0"), [
        "10.0.0.1/32",
        "10.0.0.0/8",
        "::/0"
      ])
    })

    it("refuses proxies that are not addresses or networks, naming option and value [C191]", () => {
      for (
        const spec of [
          "",
          "localhost",
          "10.0.0.1/8",
          "10.0.0.0/33",
          "10.0.0",
          "010.0.0.1",
          "[::1]",
          "::1/129",
          "::1%lo"
        ]
      ) {
        refused({ trustedProxies: [spec] }, "trustedProxies", spec, "a network such as 10.0.0.0/8")
      }
      for (const trustedProxies of [[], "10.0.0.1", [1]]) refused({ trustedProxies }, "trustedProxies")
    })

    it("refuses the PROXY protocol where nobody may speak it, naming both options", () => {
      refused({ proxyProtocol: true }, "proxyProtocol", "trustedProxies")
      assert.isTrue(settingsOf({ proxyProtocol: true, trustedProxies: ["unix"] }).proxyProtocol)
    })

    it("never shows the passphrase of a key", () => {
      const { tlsPassphrase } = settingsOf({ ...pair, tlsPassphrase: "open sesame" })
      assert.strictEqual(Redacted.value(tlsPassphrase!), "open sesame")
      assert.notInclude(`${String(tlsPassphrase)} ${JSON.stringify({ tlsPassphrase })}`, "sesame")
    })

    it("keeps the low watermark at or below the high one", () => {
      assert.strictEqual(settingsOf({ writeHighWaterMark: 1000 }).writeLowWaterMark, 1000)
      assert.strictEqual(settingsOf({ writeHighWaterMark: 1000, writeLowWaterMark: 1000 }).writeLowWaterMark, 1000)
      refused({ writeLowWaterMark: 65537 }, "writeLowWaterMark", "writeHighWaterMark", "65537", "65536")
    })

    it("refuses what could not be a header value or a mount point", () => {
      for (const serverHeader of ["a\r\nb", "a\u0000", " a", "a ", "\u20ac"]) refused({ serverHeader }, "serverHeader")
      for (const rootPath of ["api", "/", "/api/", "/a?b", "/a b", "//a", "/a//b", "/\\a"]) {
        refused({ rootPath }, "rootPath")
      }
      assert.strictEqual(settingsOf({ serverHeader: "", rootPath: "/api/v1" }).rootPath, "/api/v1")
      assert.strictEqual(settingsOf({ rootPath: "/a" }).rootPath, "/a")
    })

    it("reads durations as Effect does, and refuses negative and endless ones", () => {
      assert.deepStrictEqual(settingsOf({ bodyTimeout: 250 }).bodyTimeout, Duration.millis(250))
      assert.deepStrictEqual(settingsOf({ bodyTimeout: "2 minutes" }).bodyTimeout, Duration.minutes(2))
      for (const bodyTimeout of [-1, "soon", Number.NaN, Duration.infinity, null]) {
        refused({ bodyTimeout }, "bodyTimeout")
      }
    })

    it("reads sizes in bytes or with a unit, and refuses negative, fractional and too small ones", () => {
      assert.strictEqual(settingsOf({ maxBodyBytes: "64KiB" }).maxBodyBytes, 65536)
      assert.strictEqual(settingsOf({ maxBodyBytes: 0 }).maxBodyBytes, 0)
      for (const maxBodyBytes of [-1, 1.5, "many", Number.NaN]) refused({ maxBodyBytes }, "maxBodyBytes")
      refused({ maxHeaderBytes: 0 }, "maxHeaderBytes")
    })
  })

  describe("resolveCommand", () => {
    it("fills in the defaults and leaves open what depends on the terminal", () => {
      assert.deepStrictEqual(Result.getOrThrow(Settings.resolveCommand({})), {
        env: undefined,
        accessLog: "-",
        accessLogFormat: "combined",
        logLevel: "info",
        logFormat: undefined,
        logLevels: undefined,
        quiet: false,
        errorLog: "-",
        logRotateBytes: 0,
        logRotateInterval: Duration.zero,
        logRotateKeep: 10,
        workers: 1,
        heartbeatTimeout: Duration.seconds(50),
        maxRequests: 0,
        maxRequestsJitter: 0,
        maxRss: 0,
        pidFile: undefined,
        daemonize: false,
        user: undefined,
        group: undefined,
        umask: undefined,
        chdir: undefined,
        title: undefined,
        controlSocket: undefined,
        adminListen: undefined,
        adminToken: undefined,
        livePath: undefined,
        readyPath: undefined,
        metricsPath: undefined,
        otlpUrl: undefined,
        reload: false,
        reloadDirs: undefined,
        reloadInclude: undefined,
        reloadExclude: undefined,
        reloadDelay: Duration.millis(250),
        inspect: false,
        open: false,
        config: undefined,
        profile: undefined,
        envFile: undefined,
        checkConfig: false,
        printConfig: false,
        require: undefined,
        eval: undefined,
        server: undefined
      })
    })

    it("says what is wrong with an access log format", () => {
      const resolved = Settings.resolveCommand({ accessLogFormat: "%h %€" })
      assert.isTrue(Result.isFailure(resolved) && resolved.failure.message.includes("Unknown atom"))
    })
  })

  describe("listeners", () => {
    it("is every place to listen", () => {
      assert.deepStrictEqual(Settings.listeners(settingsOf({ host: "::1", port: 0 })), [
        { _tag: "tcp", host: "::1", port: 0, scheme: "http" }
      ])
      assert.deepStrictEqual(Settings.listeners(settingsOf({ unix: "x" })), [{ _tag: "unix", path: "x" }])
      assert.strictEqual(Settings.listeners(settingsOf({ listen: ["1", "2"] })).length, 2)
    })

    it("is https where there is a certificate, but for sockets and what says http", () => {
      const listen = ["1", "http://2", "https://3", "/x"]
      assert.deepStrictEqual(Settings.listeners(settingsOf({ ...pair, listen })), [
        { _tag: "tcp", host: "127.0.0.1", port: 1, scheme: "https" },
        { _tag: "tcp", host: "127.0.0.1", port: 2, scheme: "http" },
        { _tag: "tcp", host: "127.0.0.1", port: 3, scheme: "https" },
        { _tag: "unix", path: "/x" }
      ])
      assert.deepStrictEqual(Settings.listeners(settingsOf({ ...pair, port: 4 })), [
        { _tag: "tcp", host: "127.0.0.1", port: 4, scheme: "https" }
      ])
    })
  })

  describe("entries", () => {
    for (const entry of Settings.entries) {
      it(`${entry.key} has a name in every source, a default and a meaning`, () => {
        assert.match(entry.key, /^[a-z][a-zA-Z0-9]*$/)
        assert.match(entry.flag, /^[a-z][a-z0-9-]*$/)
        assert.match(entry.env, /^SLIPWAY_[A-Z0-9_]*$/)
        assert.strictEqual(entry.flag.replaceAll("-", "_").toUpperCase(), entry.env.slice("SLIPWAY_".length))
        assert.isAbove(entry.description.length, 20)
        assert.isNotEmpty(Settings.defaultText(entry))
        assert.notStrictEqual(entry.section, "Others")
      })
    }

    it("has no name twice", () => {
      const names = Settings.entries.flatMap((entry) => [`--${entry.flag}`, entry.env, ...entry.weakerEnv ?? []])
      assert.strictEqual(new Set(names).size, names.length)
    })
  })
})
