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
import { bytesOf, type LineWriter } from "./LineWriter.ts"

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

const dash = bytesOf("-")
const point = bytesOf(".")
const questionMark = bytesOf("?")
const space = bytesOf(" ")

/** Escapes what a client wrote, as its place in the format asks. */
type Print = (line: LineWriter, text: string) => void

const quoted: Print = (line, text) => line.quoted(text)
const bare: Print = (line, text) => line.bare(text)

/** A text that is the same for all entries that began in the same second. */
interface OfSecond {
  readonly ofSecond: (date: Date) => string
}

/** What an atom prints, a text if always the same; `make` gets the escape that fits the atom's place in the format. */
interface Atom {
  readonly meaning: string
  readonly make: (print: Print, header: string) => Formatter | string | OfSecond
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
  "%l": { meaning: "always `-` (RFC 1413 identity)", make: () => "-" },
  "%u": { meaning: "always `-` (the server knows no users)", make: () => "-" },
  "%t": { meaning: "start of the request in UTC, `10/Oct/2000:13:55:36 +0000`", make: () => ({ ofSecond: clfTime }) },
  "%r": { meaning: "request line: method, path and query as sent, protocol", make: () => requestLine },
  "%m": { meaning: "method", make: () => ofRequest((scope, line) => line.bare(methodOf(scope))) },
  "%U": { meaning: "path as sent, not decoded", make: () => ofRequest((scope, line) => line.bare(scope.rawPath)) },
  "%q": {
    meaning: "`?` and the query as sent, nothing without one",
    make: () => ({ scope }, line) => scope === undefined ? undefined : query(scope, line)
  },
  "%H": { meaning: "protocol, `HTTP/1.1`", make: () => ofRequest((scope, line) => line.raw(protocolOf(scope))) },
  "%s": {
    meaning: "status, `-` when none was sent",
    make: () => ({ status }, line) => status === 0 ? line.raw(dash) : line.decimal(status)
  },
  "%b": {
    meaning: "bytes of the body, `-` for none",
    make: () => ({ bodyBytes }, line) => bodyBytes === 0 ? line.raw(dash) : line.decimal(bodyBytes)
  },
  "%B": { meaning: "bytes of the body, `0` for none", make: () => ({ bodyBytes }, line) => line.decimal(bodyBytes) },
  "%d": {
    meaning: "duration in seconds, three decimals",
    make: () => ({ durationMillis }, line) => thousandths(line, Math.round(known(durationMillis)))
  },
  "%D": {
    meaning: "duration in microseconds",
    make: () => ({ durationMillis }, line) => line.decimal(Math.floor(known(durationMillis) * 1000))
  },
  "%T": {
    meaning: "duration in whole seconds",
    make: () => ({ durationMillis }, line) => line.decimal(Math.floor(known(durationMillis) / 1000))
  },
  "%I": { meaning: "request id", make: (print) => (entry, line) => print(line, entry.requestId) },
  "%X": {
    meaning: "why the request was refused or the exchange cut short",
    make: (print) => ({ problem }, line) => print(line, problem ?? "-")
  },
  "%{Header}i": {
    meaning: "request header of that name; credentials print `<redacted>`",
    make: (print, name) => {
      const isSecret = credentials.includes(name)
      return (entry, line) => {
        const value = headerOf(entry, name)
        if (value === "") line.raw(dash)
        else print(line, isSecret ? "<redacted>" : value)
      }
    }
  },
  "%%": { meaning: "a percent sign", make: () => "%" }
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
 * **Cost** 0.2 µs a request for `combined`, 0.5 for `json`, into a file, formatting, buffering and writing together (Node
 * 20, short headers, a server under load); a browser's long headers cost 4 ns for each character.
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
  let fixed = ""
  let time: { readonly before: string; readonly print: OfSecond["ofSecond"] } | undefined
  const literal = (piece: string) => {
    fixed += piece
    for (const character of piece) if (character === "\"") inQuotes = !inQuotes
  }
  // A time and the literals around it are one piece, made anew once a second.
  const literalEnds = () => {
    const after = fixed
    const bytes = bytesOf(after)
    if (time !== undefined) {
      const { before, print } = time
      const whole = perSecond((date) => before + print(date) + after)
      pieces.push((entry, line) => line.raw(whole(entry.startedAtMillis)))
    } else if (after !== "") {
      pieces.push((_, line) => line.raw(bytes))
    }
    fixed = ""
    time = undefined
  }
  for (const match of text.matchAll(/%(?:\{([^{}]*)\})?(.?)/gu)) {
    literal(text.slice(end, match.index))
    end = match.index + match[0].length
    const header = match[1]
    const atom = header === undefined ? match[0] : header === "" ? "" : `%{Header}${match[2]}`
    if (!Object.hasOwn(atoms, atom)) return refuse({ _tag: "UnknownAtom", atom: match[0] })
    const printed = atoms[atom]!.make(inQuotes ? quoted : bare, (header ?? "").toLowerCase())
    atomCount++
    if (typeof printed === "string") {
      fixed += printed
    } else if (typeof printed === "object") {
      if (time !== undefined) literalEnds()
      time = { before: fixed, print: printed.ofSecond }
      fixed = ""
    } else {
      literalEnds()
      pieces.push(printed)
    }
  }
  literal(text.slice(end))
  literalEnds()
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

type Request = NonNullable<AccessLogEntry["scope"]>

/** A WebSocket scope has no method; its handshake is a GET on every wire. */
const methodOf = (scope: Request): string => scope.type === "websocket" ? "GET" : scope.method

const protocols = { "1.0": bytesOf("HTTP/1.0"), "1.1": bytesOf("HTTP/1.1"), "2": bytesOf("HTTP/2") }

const protocolOf = (scope: Request): Uint8Array => protocols[scope.httpVersion]

/** Prints `-` for a request that could not be read. */
const ofRequest = (print: (scope: Request, line: LineWriter) => void): Formatter => ({ scope }, line) =>
  scope === undefined ? line.raw(dash) : print(scope, line)

const query = (scope: Request, line: LineWriter): void => {
  if (scope.queryString === "") return
  line.raw(questionMark)
  line.bare(scope.queryString)
}

const requestLine: Formatter = ofRequest((scope, line) => {
  line.bare(methodOf(scope))
  line.raw(space)
  line.bare(scope.rawPath)
  query(scope, line)
  line.raw(space)
  line.raw(protocolOf(scope))
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
  return value
}

const pad2 = (value: number): string => value < 10 ? `0${value}` : `${value}`

/** Not negative and not NaN, whatever the clocks did. */
const known = (value: number): number => value > 0 ? value : 0

/** A count of thousandths with its decimals. */
const thousandths = (line: LineWriter, value: number): void => {
  line.decimal(Math.floor(value / 1000))
  line.raw(point)
  line.digits(value % 1000, 3)
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

/** Prints the second of a time in milliseconds, and remembers it: most entries share their second with the last. */
const perSecond = (print: (date: Date) => string): (millis: number) => Uint8Array => {
  let printed = NaN
  let text = bytesOf("")
  return (millis) => {
    const second = Math.floor(millis / 1000)
    if (second !== printed) {
      text = bytesOf(print(new Date(second * 1000)))
      printed = second
    }
    return text
  }
}

const clock = (date: Date): string =>
  `${pad2(date.getUTCHours())}:${pad2(date.getUTCMinutes())}:${pad2(date.getUTCSeconds())}`

const clfTime = (date: Date): string =>
  `${pad2(date.getUTCDate())}/${months[date.getUTCMonth()]}/${date.getUTCFullYear()}:${clock(date)} +0000`

/** The beginnings of the fields of a JSON entry. */
const json = {
  time: bytesOf(`{"time":"`),
  client: bytesOf(`Z","client":`),
  method: bytesOf(`,"method":`),
  path: bytesOf(`,"path":`),
  query: bytesOf(`,"query":`),
  protocol: bytesOf(`,"protocol":"`),
  status: bytesOf(`,"status":`),
  bytes: bytesOf(`,"bytes":`),
  duration: bytesOf(`,"duration_ms":`),
  requestId: bytesOf(`,"request_id":`),
  traceId: bytesOf(`,"trace_id":`),
  userAgent: bytesOf(`,"user_agent":`),
  referer: bytesOf(`,"referer":`),
  problem: bytesOf(`,"problem":`),
  quote: bytesOf(`"`),
  end: bytesOf("}")
}

const makeJson = (): Formatter => {
  const second = perSecond((date) =>
    `${date.getUTCFullYear()}-${pad2(date.getUTCMonth() + 1)}-${pad2(date.getUTCDate())}T${clock(date)}.`
  )
  return (entry, line) => {
    const { durationMillis, problem, scope, startedAtMillis, status, traceId } = entry
    line.raw(json.time)
    line.raw(second(startedAtMillis))
    line.digits(Math.floor(startedAtMillis) % 1000, 3)
    field(line, json.client, entry.client)
    if (scope !== undefined) {
      field(line, json.method, methodOf(scope))
      field(line, json.path, scope.rawPath)
      if (scope.queryString !== "") field(line, json.query, scope.queryString)
      line.raw(json.protocol)
      line.raw(protocolOf(scope))
      line.raw(json.quote)
    }
    if (status !== 0) number(line, json.status, status)
    number(line, json.bytes, entry.bodyBytes)
    line.raw(json.duration)
    millis(line, durationMillis)
    field(line, json.requestId, entry.requestId)
    if (traceId !== undefined) field(line, json.traceId, traceId)
    if (scope !== undefined) {
      const userAgent = headerOf(entry, "user-agent")
      if (userAgent !== "") field(line, json.userAgent, userAgent)
      const referer = headerOf(entry, "referer")
      if (referer !== "") field(line, json.referer, referer)
    }
    if (problem !== undefined) field(line, json.problem, problem)
    line.raw(json.end)
  }
}

const field = (line: LineWriter, name: Uint8Array, text: string): void => {
  line.raw(name)
  line.json(text)
}

const number = (line: LineWriter, name: Uint8Array, value: number): void => {
  line.raw(name)
  line.decimal(value)
}

/** Milliseconds with three decimals, or none. */
const millis = (line: LineWriter, value: number): void => {
  const micros = Math.round(known(value) * 1000)
  if (micros % 1000 === 0) line.decimal(micros / 1000)
  else thousandths(line, micros)
}
