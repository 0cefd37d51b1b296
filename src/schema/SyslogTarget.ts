/**
 * Where a log goes by syslog, as it is written: `syslog://host:port` for UDP, `syslog:` for the daemon of this machine, each
 * with `?facility=local3&tag=shop` where that is wanted. Reads text; sends nothing.
 *
 * **Source** RFC 5424 §6.2.1 for the facilities.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"

/** Names and numbers of the facilities, RFC 5424 table 1, as syslog.conf has them. */
export const facilities = {
  kern: 0,
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23
} as const

export type Facility = keyof typeof facilities

export interface SyslogTarget {
  /** `undefined`: the daemon of this machine. */
  readonly server: { readonly host: string; readonly port: number } | undefined
  /** Default `local0`. */
  readonly facility: Facility
  /** Name of the program in each message. Default `slipway`. */
  readonly tag: string
}

/** The text names no target. Fault: operator. */
export class SyslogTargetError extends Data.TaggedError("SyslogTargetError")<{
  readonly text: string
  readonly problem: string
}> {
  override get message(): string {
    return `${JSON.stringify(this.text)} ${this.problem}`
  }
}

/** True for what is meant as such a target, right or wrong, and is no file. */
export const isMeant = (text: string): boolean => text.startsWith("syslog:")

const shape = /^syslog:(?:\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?)?(?:\?(.*))?$/
const tagShape = /^[A-Za-z0-9._-]{1,32}$/

/** The port of syslog over UDP, RFC 5426 §3.3. */
const defaultPort = 514

/**
 * Reads a target.
 *
 * **Fails with** `SyslogTargetError`, which says what is wrong with it.
 */
export const parse = (text: string): Result.Result<SyslogTarget, SyslogTargetError> => {
  const refuse = (problem: string) => Result.fail(new SyslogTargetError({ text, problem }))
  const parts = shape.exec(text)
  if (parts === null) return refuse("is not syslog://host, syslog://host:port or syslog: with a query or without")
  const [, v6, name, digits, query = ""] = parts
  const host = v6 ?? name
  const port = digits === undefined ? defaultPort : Number(digits)
  if (port < 1 || port > 65535) return refuse(`has a port that is not one: ${digits}`)
  let facility: Facility = "local0"
  let tag = "slipway"
  for (const [key, value] of new URLSearchParams(query)) {
    if (key === "facility") {
      if (!Object.hasOwn(facilities, value)) {
        return refuse(`has an unknown facility. Facilities: ${Object.keys(facilities).join(" ")}`)
      }
      facility = value as Facility
    } else if (key === "tag") {
      if (!tagShape.test(value)) {
        return refuse("has a tag that is not 1 to 32 letters, digits, dots, dashes or underscores")
      }
      tag = value
    } else return refuse(`has an unknown option: ${key}. Options: facility tag`)
  }
  return Result.succeed({ server: host === undefined ? undefined : { host, port }, facility, tag })
}
