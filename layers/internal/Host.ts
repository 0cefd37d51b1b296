/**
 * What the operating system has for this process, and wants of it: whom it becomes, the sockets it was started with, who
 * waits to hear that it serves. Taken from the environment before anything else runs, so that no child finds it there.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Settings from "../../src/schema/Settings.ts"
import * as Server from "../../src/service/Server.ts"
import type * as Daemon from "./Daemon.ts"
import * as OpenBrowser from "./OpenBrowser.ts"
import * as PidFile from "./PidFile.ts"
import * as Privileges from "./Privileges.ts"
import type { ProcessError } from "./ProcessError.ts"
import type { Inherited } from "./SupervisorSockets.ts"
import * as Surroundings from "./Surroundings.ts"
import * as Systemd from "./Systemd.ts"
import * as SystemdNotify from "./SystemdNotify.ts"

export interface Host {
  /** Whom the processes that serve become; `undefined`: they stay what they are. */
  readonly identity: Privileges.Identity | undefined
  readonly activated: ReadonlyArray<Systemd.Activated>
  readonly notify: SystemdNotify.Notify
  /** `undefined` where this is no daemon. */
  readonly duties: Daemon.Duties | undefined
  /** What says that this is a container, where that has made the server listen on all networks. */
  readonly containerSign: string | undefined
}

/** What systemd has handed to a predecessor, and that one to us: all that was bound by neither. */
const handedOn = (sockets: ReadonlyArray<Inherited>): ReadonlyArray<Systemd.Activated> =>
  sockets.flatMap(({ address, descriptor, key, removesFile }) =>
    removesFile ? [] : [{ address, descriptor, name: key }]
  )

/**
 * Finds all of it. `handed` are the sockets of a predecessor. **Fails with** `ProcessError` where the process must not
 * become whom it is told to.
 */
export const make = Effect.fnUntraced(function*(
  { group, user }: Settings.CommandSettings,
  duties: Daemon.Duties | undefined,
  handed: ReadonlyArray<Inherited> = []
): Effect.fn.Return<Host, ProcessError, Scope.Scope> {
  const identity = yield* Privileges.resolve({
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group })
  })
  const activated = [...yield* Systemd.take(), ...handedOn(handed)]
  return { identity, activated, notify: yield* SystemdNotify.make(), duties, containerSign: undefined }
})

/** Where a process listens that was told so by nobody, or by its supervisor. */
export interface Place {
  readonly server: Settings.ServerOptions
  readonly containerSign: string | undefined
}

/** The options without those that say where to listen, which `listen` replaces. */
const listeningOn = (
  { host: _host, port: _port, unix: _unix, ...rest }: Settings.ServerOptions,
  listen: ReadonlyArray<string>
): Settings.ServerOptions => ({ ...rest, listen })

/**
 * Where to listen, beyond what the settings say: a worker on what its supervisor has bound; where nobody said anything, on
 * the sockets of systemd, or in a container on all networks, because nothing outside reaches 127.0.0.1 there.
 */
export const placeOf = (
  options: Settings.ServerOptions,
  isSet: (key: string) => boolean,
  activated: ReadonlyArray<Systemd.Activated>,
  inherited: ReadonlyArray<string> | undefined
): Place => {
  if (inherited !== undefined) return { server: listeningOn(options, inherited), containerSign: undefined }
  const found = Systemd.listenOf(activated)
  if (["host", "unix", "listen"].some(isSet)) return { server: options, containerSign: undefined }
  if (found.length > 0 && !isSet("port")) return { server: listeningOn(options, found), containerSign: undefined }
  const containerSign = found.length > 0 ? undefined : Surroundings.containerSign()
  return { server: containerSign === undefined ? options : { ...options, host: "0.0.0.0" }, containerSign }
}

/** Holds the pid file, if there is to be one. */
export const holdPidFile = (
  { pidFile }: Settings.CommandSettings,
  predecessor?: number
): Effect.Effect<void, ProcessError, Scope.Scope> =>
  pidFile === undefined
    ? Effect.void
    : PidFile.hold({ path: pidFile, ...(predecessor === undefined ? {} : { predecessor }) })

/** Files that are read again later, by who has become somebody else meanwhile. */
const filesReadLater = ({ tlsCa, tlsCert, tlsKey, tlsSni }: Settings.ServerSettings): ReadonlyArray<string> =>
  [tlsCert, tlsKey, tlsCa, ...(tlsSni ?? []).flatMap(({ cert, key }) => [cert, key])].filter((path) =>
    path !== undefined
  )

/** Becomes the user and group of the settings for good. */
export const becomeIdentity = (
  { identity }: Host,
  settings: Settings.ServerSettings
): Effect.Effect<void, ProcessError> =>
  identity === undefined ? Effect.void : Privileges.drop(identity, filesReadLater(settings))

/** Tells everybody who waits that it serves: the log, systemd, the foreground of a daemon, a browser. */
export const announce = Effect.fnUntraced(function*(
  { duties, notify }: Host,
  { open }: Settings.CommandSettings,
  addresses: ReadonlyArray<Server.Address>,
  line: string
): Effect.fn.Return<void, never, Scope.Scope> {
  yield* Effect.logInfo(line)
  yield* notify.ready(line)
  if (duties !== undefined) yield* duties.serving
  const url = open ? addresses.find(({ _tag }) => _tag === "tcp") : undefined
  if (url !== undefined) yield* OpenBrowser.openBrowser(Server.formatAddress(url))
})
