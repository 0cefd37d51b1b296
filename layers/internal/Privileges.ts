/**
 * Gives up the rights of root: becomes a user and a group, with that user's supplementary groups and no others, and
 * makes sure that there is no way back. Two steps: who it will be is found out first of all, while nothing else runs; it
 * is done once the sockets are bound and the pid file is written.
 *
 * Of several processes the workers do this and the supervisor does not: it binds and starts others later.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import { problemOf, ProcessError, type ProcessErrorReason } from "./ProcessError.ts"

export interface Options {
  /** Name or id. Its main group is taken where `group` is not given. */
  readonly user?: string
  /** Name or id. */
  readonly group?: string
}

/** Whom the process becomes. */
export interface Identity {
  /** `undefined`: the user stays. */
  readonly uid: number | undefined
  readonly gid: number
  /** `undefined` for an id that has no name, which then has no supplementary groups. */
  readonly user: { readonly name: string; readonly home: string } | undefined
  /** Whether the process is that already, so that nothing remains to be done. */
  readonly isCurrent: boolean
}

const refuse = (reason: ProcessErrorReason) => new ProcessError({ reason })

/** Not there on Windows, so Node's types have them as optional, and two not at all. */
const posix = process as unknown as {
  readonly geteuid: () => number
  readonly getegid: () => number
  readonly getuid: () => number
  readonly getgid: () => number
  readonly seteuid: (id: string | number) => void
  readonly setegid: (id: string | number) => void
  readonly setuid: (id: string | number) => void
  readonly setgid: (id: string | number) => void
  readonly setgroups: (groups: ReadonlyArray<number>) => void
  readonly initgroups: (user: string, group: number) => void
}

const idOf = (value: string): string | number => /^\d{1,10}$/.test(value) ? Number(value) : value

/** Asks the system's own tables, local or not, without reading them: becomes it for a moment. Root only. */
const asEffective = <A>(option: "user" | "group", value: string, look: () => A): Effect.Effect<A, ProcessError> =>
  Effect.try({
    try: () => {
      const [set, before] = option === "user"
        ? [posix.seteuid, posix.geteuid()] as const
        : [posix.setegid, posix.getegid()] as const
      set(idOf(value))
      try {
        return look()
      } finally {
        set(before)
      }
    },
    catch: (error) =>
      (error as NodeJS.ErrnoException).code === "ERR_UNKNOWN_CREDENTIAL"
        ? refuse({ _tag: "IdentityUnknown", option, value, problem: `this machine has no such ${option}` })
        : refuse({ _tag: "IdentityForbidden", option, value, problem: problemOf(error) })
  })

interface Entry {
  readonly uid: number
  readonly gid: number | undefined
  readonly user: Identity["user"]
}

/** What the system knows of the effective user. Nothing, of an id without a name. */
const entryOfEffective = (): Entry => {
  try {
    const { gid, homedir, uid, username } = Os.userInfo()
    return { uid, gid, user: { name: username, home: homedir } }
  } catch {
    return { uid: posix.geteuid(), gid: undefined, user: undefined }
  }
}

const asRoot = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Identity, ProcessError> {
  const { group, user } = options
  const gid = group === undefined ? undefined : yield* asEffective("group", group, () => posix.getegid())
  if (user === undefined) return { uid: undefined, gid: gid!, user: undefined, isCurrent: false }
  const entry = yield* asEffective("user", user, entryOfEffective)
  const main = gid ?? entry.gid
  if (main === undefined) {
    const problem = "it has no entry that names its group; set group as well"
    return yield* refuse({ _tag: "IdentityUnknown", option: "user", value: user, problem })
  }
  return { uid: entry.uid, gid: main, user: entry.user, isCurrent: entry.uid === 0 && main === posix.getgid() }
})

/** Without rights it can be only what it is. */
const asAnybody = (options: Options): Effect.Effect<Identity, ProcessError> => {
  const { gid, uid, user } = entryOfEffective()
  const forbid = (option: "user" | "group", value: string) =>
    Effect.fail(refuse({
      _tag: "IdentityForbidden",
      option,
      value,
      problem: `only root may become somebody else, and this is ${user?.name ?? `user ${uid}`}; start it as root, or `
        + `without ${option}`
    }))
  if (options.user !== undefined && options.user !== user?.name && options.user !== String(uid)) {
    return forbid("user", options.user)
  }
  if (options.group !== undefined && !isOwnGroup(options.group)) return forbid("group", options.group)
  return Effect.succeed({ uid, gid: gid ?? posix.getgid(), user, isCurrent: true })
}

const isOwnGroup = (group: string): boolean => {
  try {
    // The system allows it for the group that is ours anyway.
    posix.setegid(idOf(group))
    return true
  } catch {
    return false
  }
}

/**
 * Finds out whom the process is to become, and whether it may. Call it first of all: for a moment the process has fewer
 * rights, which must not be seen by anything that goes on beside.
 *
 * **Fails with** `ProcessError`: `IdentityUnknown`; `IdentityForbidden` where this is not root, unless it is that user
 * already; on Windows always.
 */
export const resolve = (
  options: Options,
  platform: NodeJS.Platform = process.platform
): Effect.Effect<Identity | undefined, ProcessError> =>
  Effect.suspend((): Effect.Effect<Identity | undefined, ProcessError> => {
    const { group, user } = options
    if (user === undefined && group === undefined) return Effect.succeed(undefined)
    if (platform === "win32") {
      const [option, value] = user === undefined ? ["group", group!] as const : ["user", user] as const
      const problem = "Windows has no way to change the user of a process; choose the user of the service instead"
      return Effect.fail(refuse({ _tag: "IdentityForbidden", option, value, problem }))
    }
    return posix.geteuid() === 0 ? asRoot(options) : asAnybody(options)
  })

/**
 * Makes files ours-to-be: socket files, so that they can be connected to, and logs, so that they can be opened again.
 * What is not there is skipped. Never follows a link. Call it before `drop`.
 */
export const give = (paths: ReadonlyArray<string>, identity: Identity): Effect.Effect<void> =>
  Effect.forEach(paths, (path) =>
    Effect.suspend(() => {
      // An abstract socket has no file.
      if (identity.isCurrent || path.startsWith("\0")) return Effect.void
      try {
        Fs.lchownSync(path, identity.uid ?? -1, identity.gid)
        return Effect.void
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return Effect.void
        return Effect.logWarning(`${path} keeps its owner: ${problemOf(error)}`)
      }
    }), { discard: true })

const become = ({ gid, uid, user }: Identity): void => {
  // In this order: who is no longer root can change no groups.
  if (user === undefined || uid === undefined) posix.setgroups([gid])
  else posix.initgroups(user.name, gid)
  posix.setgid(gid)
  if (uid !== undefined) posix.setuid(uid)
}

const canBe = (set: (id: number) => void, id: number): boolean => {
  try {
    set(id)
    return true
  } catch {
    return false
  }
}

/** What is wrong with what we became. */
const rightsLeft = ({ gid, uid }: Identity): string | undefined => {
  if (posix.getgid() !== gid || posix.getegid() !== gid) return `the group is ${posix.getegid()} and not ${gid}`
  if (uid === undefined) return undefined
  if (posix.getuid() !== uid || posix.geteuid() !== uid) return `the user is ${posix.geteuid()} and not ${uid}`
  if (uid === 0) return undefined
  if (canBe(posix.setuid, 0) || canBe(posix.seteuid, 0)) return "the process can become root again"
  return gid !== 0 && canBe(posix.setgid, 0) ? "the process can take the group of root again" : undefined
}

/**
 * Becomes the user and the group, for good, and says with a warning which of `readLater` it cannot read any more: TLS
 * files, which a reload reads again. `HOME`, `USER` and `LOGNAME` are those of the user from then on.
 *
 * **Fails with** `ProcessError` whose reason is `RightsKept`: the process is in no state to go on, and must end.
 */
export const drop = Effect.fnUntraced(function*(
  identity: Identity,
  readLater: ReadonlyArray<string> = []
): Effect.fn.Return<void, ProcessError> {
  if (!identity.isCurrent) {
    const left = yield* Effect.try({
      try: () => {
        become(identity)
        return rightsLeft(identity)
      },
      catch: (error) => refuse({ _tag: "RightsKept", problem: problemOf(error) })
    })
    if (left !== undefined) return yield* refuse({ _tag: "RightsKept", problem: left })
    if (identity.user !== undefined) {
      const { home, name } = identity.user
      Object.assign(process.env, { HOME: home, USER: name, LOGNAME: name })
    }
  }
  for (const path of readLater) {
    const problem = readProblem(path)
    if (problem !== undefined) {
      yield* Effect.logWarning(`${path} cannot be read by user ${posix.getuid()}, so no reload will: ${problem}`)
    }
  }
})

const readProblem = (path: string): string | undefined => {
  try {
    Fs.accessSync(path, Fs.constants.R_OK)
    return undefined
  } catch (error) {
    return problemOf(error)
  }
}
