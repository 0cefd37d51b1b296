/**
 * Access log formats: the setting as a Schema, and its compiler from a preset name or a format string to a function
 * that prints one entry as one line (without the line end).
 *
 * A line cannot be forged from outside: everything that a client wrote is escaped to printable ASCII, a quote or a
 * backslash always, a space wherever it could pass for the end of a field. It never reads the clock and never throws
 * on an entry that keeps its types. Atoms follow Apache's mod_log_config and reference section 2.3.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { AccessLogEntry } from "./AccessLogEntry.ts"
import { isPlain, type LineWriter } from "./LineWriter.ts"

/** Prints one entry as one line, without the line end. */
export type Formatter = (entry: AccessLogEntry, line: LineWriter) => void

/** The format holds a `%` that starts no known atom. Fault: operator. */
export interface UnknownAtom {
  readonly _tag: "UnknownAtom"
  readonly atom: string
}

/** The format is no preset and holds no atom, so every line would be the same. Fault: operator. */
export interface NoAtom {
  readonly _tag: "NoAtom"
}

/** The format holds a line end or another control character except tab. Fault: operator. */
export interface ControlCharacter {
  readonly _tag: "ControlCharacter"
  readonly index: number
}

/** Why a format was refused, at start and never later. Not retryable. */
export class AccessLogFormatError extends Data.TaggedError("AccessLogFormatError")<{
  readonly format: string
  readonly reason: UnknownAtom | NoAtom | ControlCharacter
}> {
  override get message(): string {
    const name = `access log format ${JSON.stringify(this.format)}`
    switch (this.reason._tag) {
      case "UnknownAtom":
        return `Unknown atom '${this.reason.atom}' in ${name}. Known atoms: ${Object.keys(atoms).join(" ")}`
      case "NoAtom":
        return `The ${name} is no preset and has no atom. Presets: ${presetNames.join(" ")}. Known atoms: ${
          Object.keys(atoms).join(" ")
        }`
      case "ControlCharacter":
        return `The ${name} has a control character at ${this.reason.index}; an entry is one line`
    }
  }
}

/**
 * The presets that are format strings; the preset `json` is one object a line instead, see `compile`.
 *
 * `clf`, `combined` and `common` are the reference's. `tiny` names the unit that it prints: `%D` is microseconds.
 */
export const presets = {
  clf: `%h - - [%t] "%m %U%q" %s %ds`,
  combined: `%h %l %u [%t] "%r" %s %b "%{Referer}i" "%{User-Agent}i"`,
  common: `%h %l %u [%t] "%r" %s %b`,
  tiny: "%m %U%q %s %Dus"
} as const

/** Every name that the setting knows. */
export const presetNames: ReadonlyArray<string> = [...Object.keys(presets), "json"]

/** Escapes what a client wrote, as its place in the format asks. */
type Print = (line: LineWriter, text: string) => void

const quoted: Print = (line, text) => line.quoted(text)
const bare: Print = (line, text) => line.bare(text)

/** What an atom prints; `make` gets the escape that fits the atom's place in the format. */
interface Atom {
  readonly meaning: string
  readonly make: (print: Print, header: string) => Formatter
}

/**
 * Every atom. What is missing prints `-`; what belongs to the request prints `-` when the request was refused before
 * it could be read, except `%q`, which is a suffix of `%U` and prints nothing then.
 */
export const atoms: Readonly<Record<string, Atom>> = {
  "%h": {
    meaning: "address of the peer, `unix` for a unix socket",
    make: (print) => (entry, line) => print(line, entry.client)
  },
  "%l": { meaning: "always `-` (RFC 1413 identity)", make: () => (_, line) => line.ascii("-") },
  "%u": { meaning: "always `-` (the server knows no users)", make: () => (_, line) => line.ascii("-") },
  "%t": { meaning: "start of the request in UTC, `10/Oct/2000:13:55:36 +0000`", make: () => clfTime() },
  "%r": { meaning: "request line: method, path and query as sent, protocol", make: () => requestLine },
  "%m": { meaning: "method", make: () => ofRequest((scope, line) => line.bare(methodOf(scope))) },
  "%U": { meaning: "path as sent, not decoded", make: () => ofRequest((scope, line) => line.bare(scope.rawPath)) },
  "%q": {
    meaning: "`?` and the query as sent, nothing without one",
    make: () => ({ scope }, line) => scope === undefined ? undefined : query(scope, line)
  },
  "%H": { meaning: "protocol, `HTTP/1.1`", make: () => ofRequest((scope, line) => line.ascii(protocolOf(scope))) },
  "%s": {
    meaning: "status, `-` when none was sent",
    make: () => ({ status }, line) => line.ascii(status === 0 ? "-" : `${status}`)
  },
  "%b": {
    meaning: "bytes of the body, `-` for none",
    make: () => ({ bodyBytes }, line) => line.ascii(bodyBytes === 0 ? "-" : `${bodyBytes}`)
  },
  "%B": { meaning: "bytes of the body, `0` for none", make: () => ({ bodyBytes }, line) => line.ascii(`${bodyBytes}`) },
  "%d": {
    meaning: "duration in seconds, three decimals",
    make: () => ({ durationMillis }, line) => line.ascii(seconds(durationMillis))
  },
  "%D": {
    meaning: "duration in microseconds",
    make: () => ({ durationMillis }, line) => line.ascii(whole(durationMillis * 1000))
  },
  "%T": {
    meaning: "duration in whole seconds",
    make: () => ({ durationMillis }, line) => line.ascii(whole(durationMillis / 1000))
  },
  "%I": { meaning: "request id", make: (print) => (entry, line) => print(line, entry.requestId) },
  "%X": {
    meaning: "why the request was refused or the exchange cut short",
    make: (print) => ({ problem }, line) => print(line, problem ?? "-")
  },
  "%{Header}i": {
    meaning: "request header of that name; credentials print `<redacted>`",
    make: (print, name) => (entry, line) => print(line, headerOf(entry, name) || "-")
  },
  "%%": { meaning: "a percent sign", make: () => (_, line) => line.ascii("%") }
}

/**
 * Compiles a preset name or a format string, once, into a function for every entry.
 *
 * The preset `json` prints one object with, in this order and only where known: `time` (ISO 8601, UTC, start of the
 * request), `client`, `method`, `path`, `query` (both as sent), `protocol`, `status`, `bytes`, `duration_ms`,
 * `request_id`, `trace_id`, `user_agent`, `referer`, `problem`.
 *
 * **Fails with** `AccessLogFormatError`, which names the unknown atom and lists the known ones.
 * **Gotchas** bytes outside of printable ASCII print as `\xHH`, characters above one byte as `\uHHHH`, `"` and `\`
 * after a backslash. Spaces print as `\x20` outside of double quotes, and in the request line, path and query
 * everywhere. Headers that carry credentials (authorization, cookie, ...) print `<redacted>` when present.
 * **Cost** 0.5 µs a request for `combined` into a file, formatting, buffering and writing together (Node 20, short headers).
 * **Source** reference section 2.3; Apache mod_log_config for the atoms and the escapes.
 */
export const compile = (format: string): Result.Result<Formatter, AccessLogFormatError> => {
  if (format === "json") return Result.succeed(makeJson())
  const text = Object.hasOwn(presets, format) ? presets[format as keyof typeof presets] : format
  const refuse = (reason: AccessLogFormatError["reason"]) => Result.fail(new AccessLogFormatError({ format, reason }))

  const control = findControl(text)
  if (control !== -1) return refuse({ _tag: "ControlCharacter", index: control })

  const pieces: Array<Formatter> = []
  let atomCount = 0
  let inQuotes = false
  let end = 0
  const literal = (piece: string) => {
    if (piece !== "") pieces.push(isAscii(piece) ? (_, line) => line.ascii(piece) : (_, line) => line.utf8(piece))
    for (const character of piece) if (character === "\"") inQuotes = !inQuotes
  }
  for (const match of text.matchAll(/%(?:\{([^{}]*)\})?(.?)/gu)) {
    literal(text.slice(end, match.index))
    end = match.index + match[0].length
    const header = match[1]
    const atom = header === undefined ? match[0] : header === "" ? "" : `%{Header}${match[2]}`
    if (!Object.hasOwn(atoms, atom)) return refuse({ _tag: "UnknownAtom", atom: match[0] })
    pieces.push(atoms[atom]!.make(inQuotes ? quoted : bare, (header ?? "").toLowerCase()))
    atomCount++
  }
  literal(text.slice(end))
  if (atomCount === 0) return refuse({ _tag: "NoAtom" })
  return Result.succeed((entry, line) => {
    for (let index = 0; index < pieces.length; index++) pieces[index]!(entry, line)
  })
}

/** The setting: a preset name (`clf`, `combined`, `common`, `tiny`, `json`) or a format string with known atoms. */
export const AccessLogFormat = Schema.String.check(
  Schema.makeFilter((format) => {
    const compiled = compile(format)
    return Result.isFailure(compiled) ? compiled.failure.message : true
  }, { expected: "a preset name or an access log format" })
).annotate({
  title: "Access log format",
  description: `A preset (${presetNames.join(", ")}) or a format string of the atoms ${Object.keys(atoms).join(" ")}`
})
export type AccessLogFormat = typeof AccessLogFormat.Type

const findControl = (text: string): number => {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if ((code < 0x20 && code !== 0x09) || (code >= 0x7f && code < 0xa0) || code === 0x2028 || code === 0x2029) return i
  }
  return -1
}

const isAscii = (text: string): boolean => /^[\t\x20-\x7e]*$/.test(text)

/** A JSON string in pure ASCII, so that no reader of the file splits a line or obeys a terminal control in it. */
const jsonString = (text: string): string =>
  isPlain(text)
    ? `"${text}"`
    : JSON.stringify(text).replace(
      /[^\x20-\x7e]/g,
      (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0")
    )

type Request = NonNullable<AccessLogEntry["scope"]>

/** A WebSocket scope has no method; its handshake is a GET on every wire. */
const methodOf = (scope: Request): string => scope.type === "websocket" ? "GET" : scope.method

const protocolOf = (scope: Request): string => `HTTP/${scope.httpVersion}`

/** Prints `-` for a request that could not be read. */
const ofRequest = (print: (scope: Request, line: LineWriter) => void): Formatter => ({ scope }, line) =>
  scope === undefined ? line.ascii("-") : print(scope, line)

const query = (scope: Request, line: LineWriter): void => {
  if (scope.queryString === "") return
  line.ascii("?")
  line.bare(scope.queryString)
}

const requestLine: Formatter = ofRequest((scope, line) => {
  line.bare(methodOf(scope))
  line.ascii(" ")
  line.bare(scope.rawPath)
  query(scope, line)
  line.ascii(" ")
  line.ascii(protocolOf(scope))
})

/** Headers whose value lets its reader act as the client. */
const credentials = ["authorization", "cookie", "proxy-authorization", "x-api-key"]

/** The header's value, several joined with `, `; empty when it is missing. */
const headerOf = ({ scope }: AccessLogEntry, name: string): string => {
  if (scope === undefined) return ""
  let value = ""
  for (const line of scope.headers) {
    if (line[0] === name) value = value === "" ? line[1] : `${value}, ${line[1]}`
  }
  return value !== "" && credentials.includes(name) ? "<redacted>" : value
}

const pad2 = (value: number): string => value < 10 ? `0${value}` : `${value}`
const pad3 = (value: number): string => value < 10 ? `00${value}` : value < 100 ? `0${value}` : `${value}`

/** Not negative and not NaN, whatever the clocks did. */
const whole = (value: number): string => value > 0 ? `${Math.floor(value)}` : "0"

const seconds = (millis: number): string => {
  const rounded = millis > 0 ? Math.round(millis) : 0
  return `${Math.floor(rounded / 1000)}.${pad3(rounded % 1000)}`
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

/** Prints the second of a time in milliseconds, and remembers it: most entries share their second with the last. */
const perSecond = (print: (date: Date) => string): (millis: number) => string => {
  let known = NaN
  let text = ""
  return (millis) => {
    const second = Math.floor(millis / 1000)
    if (second !== known) {
      text = print(new Date(second * 1000))
      known = second
    }
    return text
  }
}

const clock = (date: Date): string =>
  `${pad2(date.getUTCHours())}:${pad2(date.getUTCMinutes())}:${pad2(date.getUTCSeconds())}`

const clfTime = (): Formatter => {
  const print = perSecond((date) =>
    `${pad2(date.getUTCDate())}/${months[date.getUTCMonth()]}/${date.getUTCFullYear()}:${clock(date)} +0000`
  )
  return (entry, line) => line.ascii(print(entry.startedAtMillis))
}

const makeJson = (): Formatter => {
  const second = perSecond((date) =>
    `${date.getUTCFullYear()}-${pad2(date.getUTCMonth() + 1)}-${pad2(date.getUTCDate())}T${clock(date)}.`
  )
  return (entry, line) => {
    const { durationMillis, problem, scope, startedAtMillis, status, traceId } = entry
    line.ascii(`{"time":"${second(startedAtMillis)}${pad3(Math.floor(startedAtMillis) % 1000)}Z"`)
    line.ascii(`,"client":${jsonString(entry.client)}`)
    if (scope !== undefined) {
      line.ascii(`,"method":${jsonString(methodOf(scope))},"path":${jsonString(scope.rawPath)}`)
      if (scope.queryString !== "") line.ascii(`,"query":${jsonString(scope.queryString)}`)
      line.ascii(`,"protocol":"${protocolOf(scope)}"`)
    }
    if (status !== 0) line.ascii(`,"status":${status}`)
    line.ascii(`,"bytes":${entry.bodyBytes}`)
    line.ascii(`,"duration_ms":${durationMillis > 0 ? Math.round(durationMillis * 1000) / 1000 : 0}`)
    line.ascii(`,"request_id":${jsonString(entry.requestId)}`)
    if (traceId !== undefined) line.ascii(`,"trace_id":${jsonString(traceId)}`)
    if (scope !== undefined) {
      const userAgent = headerOf(entry, "user-agent")
      if (userAgent !== "") line.ascii(`,"user_agent":${jsonString(userAgent)}`)
      const referer = headerOf(entry, "referer")
      if (referer !== "") line.ascii(`,"referer":${jsonString(referer)}`)
    }
    if (problem !== undefined) line.ascii(`,"problem":${jsonString(problem)}`)
    line.ascii("}")
  }
}
