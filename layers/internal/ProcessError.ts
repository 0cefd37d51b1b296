/**
 * Why this program cannot be the process that the operator asked for: its pid file, its user, its folder, its daemon.
 * Each is the operator's to mend, none is worth a second try before that.
 */
import * as Data from "effect/Data"

/** A process that is alive has written the pid file. Stop it, or choose another `pidFile`. Fault: operator. */
export interface PidFileHeld {
  readonly _tag: "PidFileHeld"
  readonly path: string
  readonly pid: number
  /** What runs there, where the system tells. */
  readonly command: string | undefined
}

/** The pid file cannot be read or written, or is something else. Fault: operator. */
export interface PidFileUnusable {
  readonly _tag: "PidFileUnusable"
  readonly path: string
  readonly problem: string
}

/** No such user or group, or a user whose group nobody knows. Fault: operator. */
export interface IdentityUnknown {
  readonly _tag: "IdentityUnknown"
  readonly option: "user" | "group"
  readonly value: string
  readonly problem: string
}

/** Only root may become somebody else. Fault: operator. */
export interface IdentityForbidden {
  readonly _tag: "IdentityForbidden"
  readonly option: "user" | "group"
  readonly value: string
  readonly problem: string
}

/** Rights were left over after they were given up. The process must end. Fault: operator. */
export interface RightsKept {
  readonly _tag: "RightsKept"
  readonly problem: string
}

/** The folder to run in cannot be entered. Fault: operator. */
export interface FolderUnusable {
  readonly _tag: "FolderUnusable"
  readonly path: string
  readonly problem: string
}

/** The daemon could not be started at all; one that starts and fails speaks for itself. Fault: operator. */
export interface DaemonUnavailable {
  readonly _tag: "DaemonUnavailable"
  readonly problem: string
}

export type ProcessErrorReason =
  | PidFileHeld
  | PidFileUnusable
  | IdentityUnknown
  | IdentityForbidden
  | RightsKept
  | FolderUnusable
  | DaemonUnavailable

/** Match on `error.reason._tag`. */
export class ProcessError extends Data.TaggedError("ProcessError")<{ readonly reason: ProcessErrorReason }> {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "PidFileHeld": {
        const who = reason.command === undefined ? "" : ` (${reason.command})`
        return `Process ${reason.pid}${who} holds the pid file ${reason.path}: stop it, or choose another pidFile`
      }
      case "PidFileUnusable":
        return `Cannot use the pid file ${reason.path}: ${reason.problem}`
      case "IdentityUnknown":
      case "IdentityForbidden":
        return `Cannot run as ${reason.option} ${reason.value}: ${reason.problem}`
      case "RightsKept":
        return `The rights of root were not given up: ${reason.problem}`
      case "FolderUnusable":
        return `Cannot run in ${reason.path} (chdir): ${reason.problem}`
      case "DaemonUnavailable":
        return `Cannot run as a daemon (daemonize): ${reason.problem}`
    }
  }
}

/** What the operating system said, in a few words: `ENOENT: no such file or directory`. */
export const problemOf = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error)
  // Node ends its sentence with the call and the path, which our message names already.
  return text.replace(/, \w+(?: '.*')?$/s, "")
}
