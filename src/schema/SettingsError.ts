/**
 * Why settings cannot be used: one error with the reasons, and the search for the name that was probably meant.
 *
 * Messages speak of an option in the words of the source it came from; they never say where the value is kept inside.
 */
import * as Data from "effect/Data"

/** The value is not of the setting's kind. Fault: operator. Not retryable. */
export interface InvalidValue {
  readonly _tag: "InvalidValue"
  readonly option: string
  readonly value: unknown
  readonly expected: string
}

/** Two settings exclude or contradict each other. Fault: operator. Not retryable. */
export interface Conflict {
  readonly _tag: "Conflict"
  readonly option: string
  readonly other: string
  readonly problem: string
}

/** There is no such setting. Fault: operator. Not retryable. */
export interface UnknownOption {
  readonly _tag: "UnknownOption"
  readonly option: string
  /** The setting that was probably meant. */
  readonly nearest: string | undefined
}

/** The config file cannot be read or is not what its name says. Fault: operator. Not retryable. */
export interface ConfigFileUnreadable {
  readonly _tag: "ConfigFileUnreadable"
  readonly path: string
  readonly problem: string
}

/** The file of environment variables cannot be read, or a line of it is none. Fault: operator. Not retryable. */
export interface EnvFileUnreadable {
  readonly _tag: "EnvFileUnreadable"
  readonly path: string
  readonly problem: string
}

export type SettingsErrorReason = InvalidValue | Conflict | UnknownOption | ConfigFileUnreadable | EnvFileUnreadable

/** Why settings cannot be used, in the words of the source they came from. Match on `error.reason._tag`. */
export class SettingsError extends Data.TaggedError("SettingsError")<{ readonly reason: SettingsErrorReason }> {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "InvalidValue":
        return `${reason.option} is ${show(reason.value)}: expected ${reason.expected}`
      case "Conflict":
        return `${reason.option} and ${reason.other} ${reason.problem}`
      case "UnknownOption": {
        const hint = reason.nearest === undefined ? "" : ` Did you mean ${reason.nearest}?`
        return `Unknown option ${reason.option}.${hint}`
      }
      case "ConfigFileUnreadable":
        return `Cannot use the config file ${reason.path}: ${reason.problem}`
      case "EnvFileUnreadable":
        return `Cannot use the environment file ${reason.path}: ${reason.problem}`
    }
  }
}

const show = (value: unknown): string =>
  typeof value === "number" || typeof value === "bigint" ? String(value) : JSON.stringify(value) ?? String(value)

const editDistance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}

const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "")

/** The candidate that is most like `name`, or `undefined` when none is near. Case, `-` and `_` do not count. */
export const nearest = (name: string, candidates: ReadonlyArray<string>): string | undefined => {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(plain(name), plain(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** The error for a name that no setting has. `place` says where it stands. */
export const unknownOption = (name: string, candidates: ReadonlyArray<string>, place = ""): SettingsError =>
  new SettingsError({ reason: { _tag: "UnknownOption", option: name + place, nearest: nearest(name, candidates) } })
