/**
 * Which settings exclude each other, need each other, or are of no use without each other: tables that Settings.ts goes
 * through. A rule names its two options by key and says in words what is wrong; who wrote them in which source is added
 * there.
 *
 * Refused is what cannot be meant; what merely has no effect is a remark, because a config file may serve several calls.
 */
import * as Duration from "effect/Duration"
import type { ListenSpec } from "./SettingKind.ts"
import type { CommandSettings, ServerSettings } from "./SettingTable.ts"
import * as SyslogTarget from "./SyslogTarget.ts"

/** What a rule looks at: checked settings, and which of them somebody wrote. */
export type Look<S> = (settings: S, isSet: (key: string) => boolean) => boolean

/** Two settings that cannot be as they are together. */
export interface Rule<S> {
  readonly option: string
  readonly other: string
  /** Follows the names of the two. */
  readonly problem: string | ((settings: S) => string)
  readonly isBroken: Look<S>
}

/** A setting that has no effect. */
export interface Remark<S> {
  readonly option: string
  /** Follows its name. */
  readonly text: string
  readonly applies: Look<S>
}

/** Two settings that say the same thing in two ways: where a stronger source has one, it replaces the other. */
export interface Exclusive {
  readonly option: string
  readonly other: string
  readonly problem: string
}

const whereToListen = "exclude each other: both say where to listen"

export const exclusives: ReadonlyArray<Exclusive> = [
  { option: "listen", other: "host", problem: whereToListen },
  { option: "listen", other: "port", problem: whereToListen },
  { option: "listen", other: "unix", problem: whereToListen },
  { option: "unix", other: "host", problem: whereToListen },
  { option: "unix", other: "port", problem: whereToListen },
  { option: "quiet", other: "logLevel", problem: "exclude each other: both say what is logged" }
]

/** Every place where a server with these settings listens; each TCP address with its scheme. */
export const listeners = (settings: ServerSettings): ReadonlyArray<ListenSpec> => {
  if (settings.unix !== undefined) return [{ _tag: "unix", path: settings.unix }]
  const scheme = settings.tlsCert === undefined ? "http" : "https"
  const specs = settings.listen ?? [{ _tag: "tcp", host: settings.host, port: settings.port }]
  return specs.map((spec) => spec._tag === "unix" ? spec : { scheme, ...spec })
}

const hasUnix = (settings: ServerSettings): boolean => listeners(settings).some(({ _tag }) => _tag === "unix")
const isHttps = (spec: ListenSpec): boolean => spec._tag === "tcp" && spec.scheme === "https"

const noCertificate = "belong together: without the server's own certificate there is no TLS"

/** What a server cannot do. */
export const serverRules: ReadonlyArray<Rule<ServerSettings>> = [
  {
    option: "unixMode",
    other: "unix",
    problem: "belong together: without a unix socket there is nothing to give a mode to",
    isBroken: (settings, isSet) => isSet("unixMode") && !hasUnix(settings)
  },
  {
    option: "reusePort",
    other: "unix",
    problem: "exclude each other: a unix socket cannot be bound by several processes",
    isBroken: (settings) => settings.reusePort && settings.unix !== undefined
  },
  {
    option: "reusePort",
    other: "listen",
    problem: "exclude each other: a unix socket cannot be bound by several processes",
    isBroken: (settings) => settings.reusePort && hasUnix(settings)
  },
  {
    option: "tlsCert",
    other: "tlsKey",
    problem: "belong together: a certificate is of use with its key only",
    isBroken: (_settings, isSet) => isSet("tlsCert") !== isSet("tlsKey")
  },
  {
    option: "tlsSni",
    other: "tlsCert",
    problem: noCertificate,
    isBroken: ({ tlsCert, tlsSni }) => tlsSni !== undefined && tlsCert === undefined
  },
  {
    option: "tlsCa",
    other: "tlsCert",
    problem: noCertificate,
    isBroken: ({ tlsCa, tlsCert }) => tlsCa !== undefined && tlsCert === undefined
  },
  {
    option: "tlsClientCertificate",
    other: "tlsCert",
    problem: noCertificate,
    isBroken: ({ tlsCert, tlsClientCertificate }) => tlsClientCertificate !== "none" && tlsCert === undefined
  },
  {
    option: "listen",
    other: "tlsCert",
    problem: "belong together: an https address needs a certificate",
    isBroken: ({ listen, tlsCert }) => tlsCert === undefined && listen !== undefined && listen.some(isHttps)
  },
  {
    option: "tlsClientCertificate",
    other: "tlsCa",
    problem: "belong together: without authorities no client certificate can be checked",
    isBroken: ({ tlsCa, tlsClientCertificate }) => tlsClientCertificate !== "none" && tlsCa === undefined
  },
  {
    option: "tlsCa",
    other: "tlsClientCertificate",
    problem: "belong together: say whether clients are asked for a certificate",
    isBroken: ({ tlsCa }, isSet) => tlsCa !== undefined && !isSet("tlsClientCertificate")
  },
  {
    option: "proxyProtocol",
    other: "trustedProxies",
    problem: "belong together: without trusted proxies nobody could connect",
    isBroken: ({ proxyProtocol, trustedProxies }) => proxyProtocol && trustedProxies === undefined
  },
  {
    option: "writeLowWaterMark",
    other: "writeHighWaterMark",
    problem: (settings) =>
      `contradict each other: ${settings.writeLowWaterMark} is more than ${settings.writeHighWaterMark}`,
    isBroken: (settings, isSet) =>
      isSet("writeLowWaterMark") && settings.writeLowWaterMark > settings.writeHighWaterMark
  }
]

const isLoopback = (host: string): boolean => /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(host)

const samePath = (option: "livePath" | "readyPath", other: "readyPath" | "metricsPath"): Rule<CommandSettings> => ({
  option,
  other,
  problem: "exclude each other: one path cannot have two answers",
  isBroken: (settings) => settings[option] !== undefined && settings[option] === settings[other]
})

/** What the command line program cannot do, whatever the server's settings are. */
export const commandRules: ReadonlyArray<Rule<CommandSettings>> = [
  {
    option: "daemonize",
    other: "reload",
    problem: "exclude each other: nobody would see what restarts in the background",
    isBroken: ({ daemonize, reload }) => daemonize && reload
  },
  {
    option: "daemonize",
    other: "inspect",
    problem: "exclude each other: nobody would see what is shown in the background",
    isBroken: ({ daemonize, inspect }) => daemonize && inspect
  },
  {
    option: "maxRequestsJitter",
    other: "maxRequests",
    problem: "belong together: without maxRequests there is nothing to add to",
    isBroken: ({ maxRequests, maxRequestsJitter }) => maxRequestsJitter > 0 && maxRequests === 0
  },
  {
    option: "adminListen",
    other: "adminToken",
    problem: "belong together: others can reach that address",
    isBroken: ({ adminListen, adminToken }) =>
      adminListen?._tag === "tcp" && !isLoopback(adminListen.host) && adminToken === undefined
  },
  {
    option: "adminListen",
    other: "controlSocket",
    problem: "exclude each other: both are the same unix socket",
    isBroken: ({ adminListen, controlSocket }) => adminListen?._tag === "unix" && adminListen.path === controlSocket
  },
  samePath("livePath", "readyPath"),
  samePath("livePath", "metricsPath"),
  samePath("readyPath", "metricsPath")
]

/** What the command line program was called for: everything that rules of both tables look at. */
export interface Call {
  readonly server: ServerSettings
  readonly command: CommandSettings
  readonly mode: "development" | "production"
  /** What is served, as it was written. */
  readonly app?: string | undefined
}

const wildcard = /^(?:0\.0\.0\.0|::)$/

/** True where both cannot be bound. Which addresses a name stands for is not asked: the bind will tell. */
const isSameAddress = (one: ListenSpec, two: ListenSpec): boolean =>
  one._tag === "unix" || two._tag === "unix"
    ? one._tag === "unix" && two._tag === "unix" && one.path === two.path
    : one.port === two.port && one.port !== 0
      && (one.host === two.host || wildcard.test(one.host) || wildcard.test(two.host))

/** Names the one setting of the three that says where the server listens. */
const listenerOption = (option: "adminListen" | "controlSocket", isBroken: Look<Call>): ReadonlyArray<Rule<Call>> =>
  (["listen", "unix", "port"] as const).map((other) => ({
    option,
    other,
    problem: "exclude each other: both are the same address",
    isBroken: (call, isSet) =>
      isBroken(call, isSet)
      && other === (isSet("listen") ? "listen" : isSet("unix") ? "unix" : "port")
  }))

/** What the two tables cannot have together, or not in the mode that the program is in. */
export const callRules: ReadonlyArray<Rule<Call>> = [
  {
    option: "eval",
    other: "APP",
    problem: "exclude each other: both say what to serve",
    isBroken: ({ app, command }) => command.eval !== undefined && app !== undefined
  },
  {
    option: "reload",
    other: "env",
    problem: "exclude each other: it is for development",
    isBroken: ({ command, mode }) => command.reload && mode === "production"
  },
  {
    option: "inspect",
    other: "env",
    problem: "exclude each other: it shows what users send, and is for development",
    isBroken: ({ command, mode }) => command.inspect && mode === "production"
  },
  {
    option: "metricsPath",
    other: "adminToken",
    problem: "belong together in production: whoever reaches the server would read its metrics",
    isBroken: ({ command, mode }) =>
      command.metricsPath !== undefined && command.adminToken === undefined && mode === "production"
  },
  {
    option: "adminListen",
    other: "tlsCert",
    problem: "belong together: an https address needs a certificate",
    isBroken: ({ command, server }) =>
      command.adminListen !== undefined && isHttps(command.adminListen) && server.tlsCert === undefined
  },
  ...listenerOption(
    "adminListen",
    ({ command: { adminListen }, server }) =>
      adminListen !== undefined && listeners(server).some((spec) => isSameAddress(spec, adminListen))
  ),
  ...listenerOption(
    "controlSocket",
    ({ command: { controlSocket }, server }) =>
      listeners(server).some((spec) => spec._tag === "unix" && spec.path === controlSocket)
  )
]

const isAlone = ({ command }: Call): boolean => command.workers === 1 && !command.reload
const withoutWorkers = "is of no use without workers: nobody would take this one's place"
const withoutReload = "is of no use without reload"
const isFile = (destination: string | false): boolean =>
  destination !== false && destination !== "-" && !SyslogTarget.isMeant(destination)

const unwatched = (option: string): Remark<Call> => ({
  option,
  text: withoutReload,
  applies: ({ command }, isSet) => isSet(option) && !command.reload
})

/** What has no effect. */
export const remarks: ReadonlyArray<Remark<Call>> = [
  { option: "maxRequests", text: withoutWorkers, applies: (call) => isAlone(call) && call.command.maxRequests > 0 },
  { option: "maxRss", text: withoutWorkers, applies: (call) => isAlone(call) && call.command.maxRss > 0 },
  {
    option: "heartbeatTimeout",
    text: "is of no use without workers: nobody would notice",
    applies: (call, isSet) => isSet("heartbeatTimeout") && isAlone(call)
  },
  unwatched("reloadDirs"),
  unwatched("reloadInclude"),
  unwatched("reloadExclude"),
  unwatched("reloadDelay"),
  {
    option: "accessLogFormat",
    text: "is of no use without an access log",
    applies: ({ command }, isSet) => isSet("accessLogFormat") && command.accessLog === false
  },
  {
    option: "logRotateBytes",
    text: "is of no use: no log goes to a file",
    applies: ({ command }) => command.logRotateBytes > 0 && !isFile(command.accessLog) && !isFile(command.errorLog)
  },
  {
    option: "logRotateInterval",
    text: "is of no use: no log goes to a file",
    applies: ({ command }) =>
      !Duration.isZero(command.logRotateInterval) && !isFile(command.accessLog) && !isFile(command.errorLog)
  },
  {
    option: "logRotateKeep",
    text: "is of no use without logRotateBytes or logRotateInterval",
    applies: ({ command }, isSet) =>
      isSet("logRotateKeep") && command.logRotateBytes === 0 && Duration.isZero(command.logRotateInterval)
  },
  {
    option: "adminToken",
    text: "guards nothing: neither adminListen nor metricsPath is set",
    applies: ({ command }) =>
      command.adminToken !== undefined && command.adminListen === undefined && command.metricsPath === undefined
  }
]
