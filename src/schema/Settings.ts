/**
 * Every setting of Slipway in one table: its kind, default and meaning. Constructor options, command line flags,
 * environment variables, config file keys, `--help` and docs/settings.md are all derived from this table, so a setting
 * that is added here exists everywhere.
 *
 * Checks and fills in defaults; never reads the environment or a file (layers/internal/SettingsSources.ts does).
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { presetNames } from "./AccessLogFormat.ts"
import * as Kind from "./SettingKind.ts"
import { SettingsError, type SettingsErrorReason, unknownOption } from "./SettingsError.ts"

export type { ListenSpec } from "./SettingKind.ts"
export * from "./SettingsError.ts"

/** One row of the table. `A` is what the server uses, `I` what a program may write, `D` its default. */
export interface Setting<A, I, D extends I | undefined = I | undefined> {
  readonly kind: Kind.Kind<A, I>
  readonly default: D
  /** What the default is, in words, where it is not a constant. */
  readonly defaultText?: string
  /** What it does, in which unit, and what happens at the limit. */
  readonly description: string
  /** One letter that stands for the flag. */
  readonly alias?: string
  /** Environment variables read when the setting's own is not set. */
  readonly weakerEnv?: ReadonlyArray<string>
  /** A flag without a value that stands for this text. */
  readonly offFlag?: { readonly name: string; readonly text: string; readonly description: string }
  /** True for what cannot be said in a config file. */
  readonly notInFile?: true
}

const setting = <A, I, const D extends I | undefined>(
  kind: Kind.Kind<A, I>,
  defaultValue: D,
  description: string,
  more?: Pick<Setting<A, I>, "alias" | "defaultText" | "weakerEnv" | "offFlag" | "notInFile">
): Setting<A, I, D> => ({ kind, default: defaultValue, description, ...more })

/** What the server needs to know. */
const server = {
  host: setting(
    Kind.host,
    Kind.defaultHost,
    `Address to listen on. "0.0.0.0" or "::" is every network, not only this machine.`
  ),
  port: setting(Kind.integer(0, 65535), 5000, "TCP port to listen on; 0 takes any free one. The ready line names it.", {
    alias: "p",
    weakerEnv: ["PORT"]
  }),
  unix: setting(
    Kind.path,
    undefined,
    "Unix socket to listen on, instead of host and port. A stale socket file is replaced."
  ),
  unixMode: setting(Kind.fileMode, "0660", "Permission bits of the unix sockets. Needs a unix socket to listen on."),
  listen: setting(
    Kind.listenSpecs,
    undefined,
    "Several places to listen, instead of host, port and unix. A port alone is on 127.0.0.1. http:// before an address "
      + "keeps it in clear text beside tlsCert."
  ),
  backlog: setting(Kind.integer(1, 65535), 2048, "Connections the operating system holds until they are accepted."),
  maxConnections: setting(
    Kind.integer(1),
    1000,
    "Connections open at once; one more gets 503 with Retry-After and is closed."
  ),
  maxRequestLineBytes: setting(Kind.bytes(16), 8192, "Bytes of a request line; a longer one gets 414."),
  maxHeaderBytes: setting(Kind.bytes(16), 8192, "Bytes of all headers of a request together; more get 431."),
  maxHeaderCount: setting(Kind.integer(1), 100, "Headers of a request; more get 431."),
  maxBodyBytes: setting(Kind.bytes(0), 10_000_000, "Bytes of a request body; a larger one gets 413. 0 is unlimited."),
  maxChunkExtensionBytes: setting(
    Kind.bytes(16),
    16384,
    "Bytes of chunk extensions and needless zeros in one chunked request body; more get 400."
  ),
  maxUnreadBodyBytes: setting(
    Kind.bytes(0),
    65536,
    "Bytes of a request body left unread that are skipped to keep the connection; with more it is closed."
  ),
  headerTimeout: setting(
    Kind.duration,
    "10 seconds",
    "Time for a request head to arrive; later it gets 408. 0 is off."
  ),
  bodyTimeout: setting(
    Kind.duration,
    "30 seconds",
    "Time without a byte of the request body while the application waits for one; then client_timeout. 0 is off."
  ),
  requestTimeout: setting(
    Kind.duration,
    "0 seconds",
    "Time for a request, its whole answer and what the application does after it; then it is interrupted. Open event streams and WebSockets have no such end. 0 is off."
  ),
  keepAliveTimeout: setting(
    Kind.duration,
    "60 seconds",
    "Time between two requests of a connection; then it is closed. 0 is off."
  ),
  writeTimeout: setting(
    Kind.duration,
    "30 seconds",
    "Time without the client taking a byte of the answer; then write_timeout and a reset. 0 is off."
  ),
  shutdownTimeout: setting(
    Kind.duration,
    "30 seconds",
    "Time for requests in flight when the server stops; what is left is cut with server_shutdown. 0 does not wait."
  ),
  disconnectGrace: setting(
    Kind.duration,
    "5 seconds",
    "Time for an application to end after its answer or after it was cut off: what cannot be interrupted, finalizers, lifespan."
  ),
  writeHighWaterMark: setting(Kind.bytes(1), 65536, "Unsent bytes of a connection at which send waits."),
  writeLowWaterMark: setting(
    Kind.bytes(0),
    16384,
    "Unsent bytes of a connection at which waiting sends go on. At most writeHighWaterMark.",
    { defaultText: "16384, or writeHighWaterMark where that is less" }
  ),
  serverHeader: setting(Kind.headerValue, "slipway", "Value of the Server header; empty sends none."),
  fullFlush: setting(Kind.toggle, true, "Whether applications may send http.fullflush; scope.extensions says so."),
  earlyHints: setting(Kind.toggle, true, "Whether applications may send 103 Early Hints; scope.extensions says so."),
  http2: setting(
    Kind.toggle,
    true,
    "Whether HTTP/2 is spoken beside HTTP/1.1 on the same port: chosen by ALPN on TLS, by the preface in clear text."
  ),
  http2MaxConcurrentStreams: setting(
    Kind.integer(1, 0xffffffff),
    100,
    "Requests that one HTTP/2 connection may have open at once; a further one is refused (REFUSED_STREAM)."
  ),
  http2MaxHeaderListBytes: setting(
    Kind.bytes(16, 0xffffffff),
    65536,
    "Bytes of all headers of an HTTP/2 request, 32 added for each (RFC 9113 section 6.5.2); more reset the stream."
  ),
  http2InitialWindowBytes: setting(
    Kind.bytes(1024, 0x7fffffff),
    65535,
    "Bytes of a request body that an HTTP/2 client may send on a stream before the application reads."
  ),
  http2MaxFrameBytes: setting(
    Kind.integer(16384, 16777215),
    16384,
    "Bytes of an HTTP/2 frame that the server accepts; a larger one ends the connection."
  ),
  wsMaxMessageBytes: setting(
    Kind.bytes(1),
    1_048_576,
    "Bytes of a WebSocket message, inflated; a frame or message above closes the session with 1009."
  ),
  wsMaxQueue: setting(
    Kind.integer(1),
    1000,
    "WebSocket messages that wait for the application; more close the session with 1008. Reading stops well before."
  ),
  wsIdleTimeout: setting(
    Kind.duration,
    "0 seconds",
    "Time without a WebSocket message in either direction; then the session is closed. 0 is off."
  ),
  wsCloseTimeout: setting(
    Kind.duration,
    "10 seconds",
    "Time for a WebSocket client to answer a close, when the server stops too; then the connection is cut."
  ),
  wsPingInterval: setting(
    Kind.duration,
    "0 seconds",
    "Time between WebSocket pings until the application sends websocket.keepalive. 0 is off."
  ),
  wsPingTimeout: setting(
    Kind.duration,
    "20 seconds",
    "Time for the pong to a ping of wsPingInterval; then keepalive_timeout. 0 waits for ever."
  ),
  wsCompression: setting(
    Kind.toggle,
    false,
    "Whether permessage-deflate (RFC 7692) is accepted when a WebSocket client offers it."
  ),
  wsCompressionThreshold: setting(
    Kind.bytes(0),
    1024,
    "Bytes of a WebSocket message below which it is sent as it is, compression or not."
  ),
  wsCompressionContext: setting(
    Kind.toggle,
    false,
    "Whether compression remembers earlier messages of a session: smaller messages for 300 KB of memory a session."
  ),
  wsCompressionWindowBits: setting(
    Kind.integer(9, 15),
    15,
    "Size of the compression windows as a power of two, in both directions: 9 is 512 bytes, 15 is 32 KiB."
  ),
  sseIdleTimeout: setting(
    Kind.duration,
    "0 seconds",
    "Time without anything sent on a stream of server-sent events; then it is closed with idle_timeout. 0 is off."
  ),
  tlsCert: setting(
    Kind.path,
    undefined,
    "PEM file of the server's certificate chain, leaf first. Makes TCP addresses https."
  ),
  tlsKey: setting(Kind.path, undefined, "PEM file of the private key of tlsCert."),
  tlsPassphrase: setting(Kind.secret, undefined, "Passphrase of the private keys, for those that are encrypted."),
  tlsCa: setting(Kind.path, undefined, "PEM file of the authorities that sign client certificates."),
  tlsClientCertificate: setting(
    Kind.oneOf(["none", "optional", "required"]),
    "none",
    "Whether clients are asked for a certificate. required refuses those without one that tlsCa signed."
  ),
  tlsMinVersion: setting(
    Kind.oneOf(["TLSv1.2", "TLSv1.3"]),
    "TLSv1.2",
    "Oldest version of TLS that is spoken."
  ),
  tlsCiphers: setting(
    Kind.text("CIPHERS", "a list of OpenSSL cipher names, separated by colons", (list) => /^[!-~]+$/.test(list)),
    undefined,
    "Cipher suites up to TLS 1.2, as OpenSSL names them; TLS 1.3 has its own.",
    { defaultText: "those of Node" }
  ),
  tlsSni: setting(
    Kind.certificates,
    undefined,
    "Further certificates by host name, name=cert,key; *.name covers one label. Other names get tlsCert."
  ),
  tlsSessionTickets: setting(
    Kind.toggle,
    true,
    "Whether clients may resume a TLS session with a ticket, which saves most of a handshake."
  ),
  tlsHandshakeTimeout: setting(
    Kind.duration,
    "10 seconds",
    "Time for a TLS handshake; then the connection is closed. 0 is off."
  ),
  tlsMaxHandshakes: setting(
    Kind.integer(1),
    500,
    "TLS handshakes under way at once; a further connection is closed."
  ),
  tlsReload: setting(
    Kind.duration,
    "10 seconds",
    "How often the TLS files are looked at; changed ones serve new connections. 0 is off."
  ),
  trustedProxies: setting(
    Kind.proxies,
    undefined,
    "Proxies that are believed about who the client is: addresses, networks, unix for peers on unix sockets, * for any peer.",
    { defaultText: "not set: nobody is believed", weakerEnv: ["FORWARDED_ALLOW_IPS"] }
  ),
  proxyHeaders: setting(
    Kind.oneOf(["x-forwarded", "forwarded", "none"]),
    "x-forwarded",
    "Headers in which trustedProxies say so: X-Forwarded-For, -Proto, -Host and -Port, or Forwarded (RFC 7239). The other is ignored."
  ),
  proxyProtocol: setting(
    Kind.toggle,
    false,
    "Whether every connection begins with the PROXY protocol, version 1 or 2. Only trustedProxies can connect then."
  ),
  rootPath: setting(Kind.rootPath, "", "Path that a proxy takes away, given to the application as rootPath."),
  workerNumber: setting(
    Kind.integer(1),
    undefined,
    "Number of this process among several that serve the same application, told to it by its lifespan.",
    { defaultText: "not set: a process of its own" }
  ),
  lifespan: setting(
    Kind.oneOf(["auto", "on", "off"]),
    "auto",
    "Whether the application is told of start and stop: auto accepts that it does not care, on refuses to start then."
  ),
  lifespanStartupTimeout: setting(
    Kind.duration,
    "30 seconds",
    "Time for the application to start; then the server does not. 0 is off."
  )
} as const

/** What only the command line program needs to know. */
const command = {
  env: setting(
    Kind.oneOf(["development", "production"]),
    undefined,
    "Mode. Development checks every event, prints pretty logs, and tries the next port when 5000 is taken.",
    { alias: "E", defaultText: "development on a terminal, production otherwise" }
  ),
  accessLog: setting(
    Kind.destination,
    "-",
    "Where each finished request is logged: a file, - for standard output, or none.",
    { offFlag: { name: "no-access-log", text: "none", description: "The same as --access-log none." } }
  ),
  accessLogFormat: setting(
    Kind.accessLogFormat,
    "combined",
    `Form of the access log: a preset (${presetNames.join(", ")}) or a format string.`
  ),
  logLevel: setting(
    Kind.oneOf(["debug", "info", "warn", "error", "none"]),
    "info",
    "Least severe messages of the log, which goes to standard error."
  ),
  logFormat: setting(
    Kind.oneOf(["pretty", "text", "json"]),
    undefined,
    "Form of the log: for people, logfmt, or JSON lines.",
    { defaultText: "pretty in development on a terminal, text otherwise" }
  ),
  workers: setting(
    Kind.workers,
    1,
    "Processes that serve: a number, or auto for one a core. With 1 there is no supervisor.",
    { alias: "w", weakerEnv: ["WEB_CONCURRENCY"] }
  ),
  heartbeatTimeout: setting(
    Kind.duration,
    "50 seconds",
    "Time after which a worker that is not heard is killed and replaced: its event loop stands still. 0 is off."
  ),
  maxRequests: setting(
    Kind.integer(0),
    0,
    "Requests, event streams and WebSockets after which a worker is replaced. 0 is off. Needs workers."
  ),
  maxRequestsJitter: setting(
    Kind.integer(0),
    0,
    "At most so many more, by chance, so that workers are not all replaced at once."
  ),
  maxRss: setting(
    Kind.bytes(0),
    0,
    "Bytes of memory above which a worker is replaced. 0 is off. Needs workers."
  ),
  config: setting(
    Kind.path,
    undefined,
    "Config file to read: .toml, .yaml, .yml or .json. Its keys are option names, such as maxBodyBytes.",
    { alias: "c", notInFile: true }
  )
} as const

type Decoded<T> = {
  readonly [K in keyof T]: T[K] extends Setting<infer A, infer _I, infer D> ? D extends undefined ? A | undefined : A
    : never
}
type Written<T> = {
  readonly [K in keyof T]?: T[K] extends Setting<infer _A, infer I, infer _D> ? I | undefined : never
}

/** The server's settings, checked and complete. Durations are `Duration`s, sizes are bytes. */
export type ServerSettings = Decoded<typeof server>
/** The server's settings as a program writes them. All are optional; docs/settings.md has defaults and limits. */
export type ServerOptions = Written<typeof server>
/** The command line program's settings, checked and complete. */
export type CommandSettings = Decoded<typeof command>
/** The command line program's settings as they are written. */
export type CommandOptions = Written<typeof command>

/** A row of the table with the names it has in each source. */
export interface Entry extends Setting<any, any> {
  readonly group: "server" | "command"
  /** Constructor option and config file key. */
  readonly key: string
  /** Without the leading `--`. */
  readonly flag: string
  readonly env: string
}

const entriesOf = (group: Entry["group"], table: Record<string, Setting<any, any>>): ReadonlyArray<Entry> =>
  Object.entries(table).map(([key, row]) => ({
    ...row,
    group,
    key,
    flag: key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    env: `SLIPWAY_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
  }))

const serverEntries = entriesOf("server", server)
const commandEntries = entriesOf("command", command)

/** Every setting, in the order of the documentation. */
export const entries: ReadonlyArray<Entry> = [...serverEntries, ...commandEntries]

type Options = Record<string, unknown>
/** What the writer called a setting: `--port`, `SLIPWAY_PORT`, `port in ./slipway.toml`. */
export type NameOf = (key: string) => string

const fail = (reason: SettingsErrorReason) => Result.fail(new SettingsError({ reason }))
const isSet = (options: Options, key: string): boolean => Object.hasOwn(options, key) && options[key] !== undefined

const decoders = new Map<string, (input: unknown) => Result.Result<any, unknown>>()

const decode = (entry: Entry, input: unknown, nameOf: NameOf): Result.Result<unknown, SettingsError> => {
  let decoder = decoders.get(entry.key)
  if (decoder === undefined) {
    decoder = Schema.decodeUnknownResult(entry.kind.schema)
    decoders.set(entry.key, decoder)
  }
  return Result.mapError(decoder(input), () =>
    new SettingsError({
      reason: {
        _tag: "InvalidValue",
        option: nameOf(entry.key),
        value: input,
        expected: entry.kind.explain?.(input) ?? entry.kind.expected
      }
    }))
}

const resolveEntries = (table: ReadonlyArray<Entry>, options: Options, nameOf: NameOf) => {
  const settings: Record<string, unknown> = {}
  for (const key of Object.keys(options)) {
    if (!table.some((entry) => entry.key === key)) {
      return Result.fail(unknownOption(key, table.map((entry) => entry.key)))
    }
  }
  for (const entry of table) {
    const input = isSet(options, entry.key) ? options[entry.key] : entry.default
    if (input === undefined) {
      settings[entry.key] = undefined
      continue
    }
    const decoded = decode(entry, input, nameOf)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    settings[entry.key] = decoded.success
  }
  return Result.succeed(settings)
}

/** The settings that say where to listen, and which of them exclude each other. */
export const listenerConflicts: ReadonlyArray<readonly [string, string]> = [
  ["listen", "host"],
  ["listen", "port"],
  ["listen", "unix"],
  ["unix", "host"],
  ["unix", "port"]
]

/**
 * Checks a server's options and fills in the defaults.
 *
 * **Fails with** `SettingsError`: a value out of range, an unknown option, `listen` together with `host`, `port` or
 * `unix`, `unix` together with `host` or `port`, `unixMode` without a unix socket, a low watermark above the high one,
 * `tlsCert` without `tlsKey` or the other way round, what they alone give a meaning without them, client certificates
 * without `tlsCa` or the other way round, `proxyProtocol` without `trustedProxies`.
 */
export const resolve = (
  options: ServerOptions,
  nameOf: NameOf = (key) => key
): Result.Result<ServerSettings, SettingsError> => {
  for (const [option, other] of listenerConflicts) {
    if (isSet(options, option) && isSet(options, other)) {
      const problem = "exclude each other: both say where to listen"
      return fail({ _tag: "Conflict", option: nameOf(option), other: nameOf(other), problem })
    }
  }
  const resolved = resolveEntries(serverEntries, options, nameOf)
  if (Result.isFailure(resolved)) return Result.fail(resolved.failure)
  const settings = resolved.success as unknown as ServerSettings
  if (isSet(options, "unixMode") && !listeners(settings).some((spec) => spec._tag === "unix")) {
    const problem = "belong together: without a unix socket there is nothing to give a mode to"
    return fail({ _tag: "Conflict", option: nameOf("unixMode"), other: nameOf("unix"), problem })
  }
  const tlsProblem = tlsConflict(options, settings)
  if (tlsProblem !== undefined) {
    const [option, other, problem] = tlsProblem
    return fail({ _tag: "Conflict", option: nameOf(option), other: nameOf(other), problem })
  }
  if (settings.proxyProtocol && settings.trustedProxies === undefined) {
    const problem = "belong together: without trusted proxies nobody could connect"
    return fail({ _tag: "Conflict", option: nameOf("proxyProtocol"), other: nameOf("trustedProxies"), problem })
  }
  if (settings.writeLowWaterMark <= settings.writeHighWaterMark) return Result.succeed(settings)
  if (!isSet(options, "writeLowWaterMark")) {
    return Result.succeed({ ...settings, writeLowWaterMark: settings.writeHighWaterMark })
  }
  const problem = `contradict each other: ${settings.writeLowWaterMark} is more than ${settings.writeHighWaterMark}`
  return fail({ _tag: "Conflict", option: nameOf("writeLowWaterMark"), other: nameOf("writeHighWaterMark"), problem })
}

/** What is asked of TLS without what it needs. */
const tlsConflict = (
  options: Options,
  settings: ServerSettings
): readonly [option: string, other: string, problem: string] | undefined => {
  const hasCertificate = isSet(options, "tlsCert")
  if (hasCertificate !== isSet(options, "tlsKey")) {
    return ["tlsCert", "tlsKey", "belong together: a certificate is of use with its key only"]
  }
  if (!hasCertificate) {
    const needing = ["tlsSni", "tlsCa", "tlsClientCertificate"].find((key) => isSet(options, key))
    const asks = needing !== "tlsClientCertificate" || settings.tlsClientCertificate !== "none"
    if (needing !== undefined && asks) {
      return [needing, "tlsCert", "belong together: without the server's own certificate there is no TLS"]
    }
    if (settings.listen?.some((spec) => spec._tag === "tcp" && spec.scheme === "https") === true) {
      return ["listen", "tlsCert", "belong together: an https address needs a certificate"]
    }
  }
  if (settings.tlsClientCertificate !== "none" && settings.tlsCa === undefined) {
    const problem = "belong together: without authorities no client certificate can be checked"
    return ["tlsClientCertificate", "tlsCa", problem]
  }
  if (settings.tlsCa !== undefined && !isSet(options, "tlsClientCertificate")) {
    return ["tlsCa", "tlsClientCertificate", "belong together: say whether clients are asked for a certificate"]
  }
  return undefined
}

/** Checks the command line program's options and fills in the defaults. **Fails with** `SettingsError`. */
export const resolveCommand = (
  options: CommandOptions,
  nameOf: NameOf = (key) => key
): Result.Result<CommandSettings, SettingsError> =>
  resolveEntries(commandEntries, options, nameOf) as unknown as Result.Result<CommandSettings, SettingsError>

/** Every place where a server with these settings listens; each TCP address with its scheme. */
export const listeners = (settings: ServerSettings): ReadonlyArray<Kind.ListenSpec> => {
  if (settings.unix !== undefined) return [{ _tag: "unix", path: settings.unix }]
  const scheme = settings.tlsCert === undefined ? "http" : "https"
  const specs = settings.listen ?? [{ _tag: "tcp", host: settings.host, port: settings.port }]
  return specs.map((spec) => spec._tag === "unix" ? spec : { scheme, ...spec })
}

/** The default as text, for help and documentation. */
export const defaultText = (entry: Entry): string =>
  entry.defaultText
    ?? (entry.default === undefined ? "not set" : entry.default === "" ? "empty" : String(entry.default))

/** Which source wins, for help and documentation. */
export const precedence = "A flag is stronger than an environment variable, which is stronger than the config "
  + "file. In text, "
  + `durations are seconds or have a unit ("500 millis", "2 minutes"), sizes are bytes or have one (64KiB, 10MB).`

const codes = (names: ReadonlyArray<string>): string => names.map((name) => `\`${name}\``).join(", ")

const tableOf = (rows: ReadonlyArray<Entry>): string =>
  [
    "| option, config key | flag | environment | default | meaning |",
    "| --- | --- | --- | --- | --- |",
    ...rows.map((row) => {
      const flags = [
        ...row.alias === undefined ? [] : [`-${row.alias}`],
        `--${row.flag} ${row.kind.metavar}`,
        ...row.offFlag === undefined ? [] : [`--${row.offFlag.name}`]
      ]
      const columns = [
        codes(row.notInFile === true ? [] : [row.key]),
        codes(flags),
        codes([row.env, ...row.weakerEnv ?? []]),
        defaultText(row),
        row.description
      ]
      return `| ${columns.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`
    })
  ].join("\n")

/** The reference page of all settings, in Markdown. */
export const toMarkdown = (): string =>
  `# Settings

${precedence}
Durations that a program writes are an Effect \`Duration.Input\`, where a bare number is milliseconds.
Lists repeat the flag, are comma-separated in the environment, and are arrays in a config file.

## Server

Options of \`ServerNode.layer\` and of the command line.

${tableOf(serverEntries)}

## Command line

${tableOf(commandEntries)}
`
