/**
 * The kinds of values that settings have: a Schema from what a program writes to what the server uses, and how the
 * same value is written as text in a flag, an environment variable or a config file.
 *
 * Knows no setting by name; the table is in Settings.ts. Never reads the environment or a file.
 */
import * as ByteSize from "effect/ByteSize"
import * as Duration from "effect/Duration"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as AccessLogFormat from "./AccessLogFormat.ts"
import * as SyslogTarget from "./SyslogTarget.ts"

/** How a value of one kind is checked, decoded and written. The server uses an `A`, a program may write an `I`. */
export interface Kind<A, I> {
  readonly schema: Schema.Codec<A, I>
  /** Completes the sentence "expected ...". */
  readonly expected: string
  /** A better end of that sentence for one refused value. */
  readonly explain?: (input: unknown) => string | undefined
  /** Stands for the value in `--help`. */
  readonly metavar: string
  /** Turns text, or a value of a config file, into what `schema` decodes. Leaves what it does not understand. */
  readonly fromText: (raw: unknown) => unknown
  /** Repeatable as a flag, comma-separated in the environment, an array in a config file. */
  readonly isList?: true
  /** As a flag it takes no value: there it is on, and off with `no-` before its name. */
  readonly isSwitch?: true
  /** Writes a value for people, in words that `fromText` reads; secrets are hidden. Default: `String`. */
  readonly toText?: (value: A) => string
  /** All texts that are worth offering. */
  readonly choices?: ReadonlyArray<string>
  /** What a shell offers to complete the text. */
  readonly completes?: "file" | "folder"
}

/**
 * Where to listen: a TCP address, or a unix socket. Port 0 takes any free one. A scheme that is not written is `https`
 * where the server has a certificate.
 */
export type ListenSpec =
  | { readonly _tag: "tcp"; readonly host: string; readonly port: number; readonly scheme?: "http" | "https" }
  | { readonly _tag: "unix"; readonly path: string }

/** The host of a listen spec that names none: this machine only. */
export const defaultHost = "127.0.0.1"

const asIs = (raw: unknown): unknown => raw
const decimal = /^\d+$/
const decimalFraction = /^\d+(?:\.\d+)?$/

/** A string that satisfies `test`. */
export const text = (metavar: string, expected: string, test: (value: string) => boolean): Kind<string, string> => ({
  schema: Schema.String.check(Schema.makeFilter(test)),
  expected,
  metavar,
  fromText: asIs
})

/** A host to listen on. */
export const host = text("HOST", "a host name or an IP address", (value) => /^[^\s/[\]]+$/.test(value))

const isPath = (value: string): boolean => value !== "" && !value.includes("\0")

/** A path of a file, there or yet to come. */
export const path: Kind<string, string> = { ...text("PATH", "a path", isPath), completes: "file" }

/** A path of a folder. */
export const folder: Kind<string, string> = { ...path, completes: "folder" }

/** Who writes a truth value means one, and no file of that name. */
const noneIsFalse = (raw: unknown): unknown => raw === "none" || raw === "false" || raw === "off" ? false : raw
const falseIsNone = (value: string | false): string => value === false ? "none" : value

/** A file to read, `false` (in text: `none`) for none, not even the one that would be found. */
export const optionalFile: Kind<string | false, string | false> = {
  schema: Schema.Union([Schema.String.check(Schema.makeFilter(isPath)), Schema.Literal(false)]),
  expected: `a path, or "none"`,
  metavar: "PATH",
  fromText: noneIsFalse,
  toText: falseIsNone,
  completes: "file"
}

/** A value that may stand in a header. */
export const headerValue = text(
  "TEXT",
  "a header value: visible characters, no line breaks, no blanks at the ends",
  (value) => /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/.test(value)
)

/** A path on the server, compared with that of a request as it is. */
export const urlPath = text(
  "PATH",
  "a path that begins with / and has no query",
  (value) => /^\/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*$/.test(value)
)

/** A mount point. One that began with two slashes would be a host to whoever follows a redirect. */
export const rootPath = text(
  "PATH",
  `"" or a path that starts with "/", does not end with it and has no empty part`,
  (value) => /^(?:\/[^\s?#/\\]+)*$/.test(value)
)

const numberFromText = (raw: unknown): unknown => typeof raw === "string" && decimal.test(raw) ? Number(raw) : raw

/** A whole number between two bounds, both included. */
export const integer = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): Kind<number, number> => ({
  schema: Schema.Int.check(Schema.isBetween({ minimum, maximum })),
  expected: maximum === Number.MAX_SAFE_INTEGER
    ? `a whole number of ${minimum} or more`
    : `a whole number from ${minimum} to ${maximum}`,
  metavar: "NUMBER",
  fromText: numberFromText
})

const isByteSizeInput = (input: unknown): input is ByteSize.Input =>
  Option.isSome(ByteSize.fromInput(input as ByteSize.Input))

/** A number of bytes: a whole number, or one with a unit such as `64KiB` or `10MB`. */
export const bytes = (
  minimum: number,
  maximum: number = Number.MAX_SAFE_INTEGER
): Kind<number, ByteSize.Input> => ({
  schema: Schema.declare(isByteSizeInput).pipe(
    Schema.decodeTo(
      Schema.Int.check(Schema.isBetween({ minimum, maximum })),
      SchemaTransformation.transform<number, ByteSize.Input>({
        decode: (input) => Number(ByteSize.fromInputUnsafe(input)),
        encode: (size) => size
      })
    )
  ),
  expected: maximum === Number.MAX_SAFE_INTEGER
    ? `a number of bytes of ${minimum} or more, such as 65536, "64KiB" or "10MB"`
    : `a number of bytes from ${minimum} to ${maximum}, such as 65536, "64KiB" or "10MB"`,
  metavar: "BYTES",
  fromText: numberFromText
})

const isTimeout = (input: unknown): input is Duration.Input =>
  !Number.isNaN(input) && Option.match(Duration.fromInput(input as Duration.Input), {
    onNone: () => false,
    onSome: (value) => Duration.isFinite(value) && !Duration.isNegative(value)
  })

/** A finite length of time of 0 or more. Programs write a `Duration.Input`; in text a bare number means seconds. */
export const duration: Kind<Duration.Duration, Duration.Input> = {
  schema: Schema.declare(isTimeout).pipe(
    Schema.decodeTo(
      Schema.Duration,
      SchemaTransformation.transform<Duration.Duration, Duration.Input>({
        decode: Duration.fromInputUnsafe,
        encode: (value) => value
      })
    )
  ),
  expected: `a length of time of 0 or more, such as "30 seconds" or "500 millis" (in text, a bare number is seconds)`,
  metavar: "SECONDS",
  fromText: (raw) => typeof raw === "number" || decimalFraction.test(String(raw)) ? `${raw} seconds` : String(raw),
  toText: (value) => {
    const millis = Duration.toMillis(value)
    return millis % 1000 === 0 ? `${millis / 1000} seconds` : `${millis} millis`
  }
}

/** One of a few words. */
export const oneOf = <const L extends ReadonlyArray<string>>(literals: L): Kind<L[number], L[number]> => ({
  schema: Schema.Literals(literals),
  expected: `${literals.slice(0, -1).join(", ")} or ${literals[literals.length - 1]}`,
  metavar: literals.join("|"),
  fromText: asIs,
  choices: literals
})

/** More of them help no machine, and a typing error starts no thousands. */
export const maxWorkers = 1024

/** How many workers: a number, or `auto`. */
export const workers: Kind<number | "auto", number | "auto"> = {
  schema: Schema.Union([
    Schema.Literal("auto"),
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxWorkers }))
  ]),
  expected: `auto, or a whole number from 1 to ${maxWorkers}`,
  metavar: "NUMBER|auto",
  fromText: numberFromText,
  choices: ["auto"]
}

const truths: { readonly [text: string]: boolean } = { on: true, true: true, off: false, false: false }

/** Something that is on or off; in text `on`, `off`, `true` or `false`. */
export const toggle: Kind<boolean, boolean> = {
  schema: Schema.Boolean,
  expected: "on or off",
  metavar: "on|off",
  fromText: (raw) => typeof raw === "string" && Object.hasOwn(truths, raw) ? truths[raw] : raw,
  toText: (on) => on ? "on" : "off",
  choices: ["on", "off"]
}

/** A toggle whose flag takes no value. */
export const flag: Kind<boolean, boolean> = { ...toggle, isSwitch: true }

/** Several texts, such as patterns of file names. */
export const list = (metavar: string, expected: string): Kind<ReadonlyArray<string>, ReadonlyArray<string>> => ({
  schema: Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1)),
  expected,
  metavar,
  fromText: (raw) => typeof raw === "string" ? raw.split(",").map((item) => item.trim()) : raw,
  toText: (items) => items.join(","),
  isList: true
})

/** Several folders. */
export const folders: Kind<ReadonlyArray<string>, ReadonlyArray<string>> = {
  ...list("FOLDER", "one or more folders"),
  completes: "folder"
}

const moduleLevel = /^[^\s=]+=(?:debug|info|warn|error|none)$/

/** Levels of the log by the name of a module. */
export const moduleLevels: Kind<ReadonlyArray<string>, ReadonlyArray<string>> = {
  ...list("MODULE=LEVEL", "one or more of module=level, where a level is debug, info, warn, error or none"),
  schema: Schema.Array(Schema.String.check(Schema.makeFilter((item) => moduleLevel.test(item)))).check(
    Schema.isMinLength(1)
  )
}

/** Where to send something over HTTP. It may hold a password, which is not shown. */
export const url: Kind<string, string> = {
  ...text("URL", "an http or https URL", (value) => /^https?:\/\/[^\s/]/.test(value) && URL.canParse(value)),
  toText: (value) => {
    const parsed = new URL(value)
    return parsed.username === "" && parsed.password === ""
      ? value
      : `${parsed.protocol}//${redacted}@${parsed.host}${parsed.pathname}${parsed.search}`
  }
}

/** Stands for a value that nobody may see. */
export const redacted = "<redacted>"

/** Text that is never shown: kept as a `Redacted` from here on. */
export const secret: Kind<Redacted.Redacted, string | Redacted.Redacted> = {
  schema: Schema.declare((input): input is string | Redacted.Redacted =>
    (typeof input === "string" && input !== "") || Redacted.isRedacted(input)
  ).pipe(
    Schema.decodeTo(
      Schema.declare((input): input is Redacted.Redacted => Redacted.isRedacted(input)),
      SchemaTransformation.transform<Redacted.Redacted, string | Redacted.Redacted>({
        decode: (input) => typeof input === "string" ? Redacted.make(input) : input,
        encode: (value) => value
      })
    )
  ),
  expected: "a text that is not empty",
  metavar: "SECRET",
  fromText: asIs,
  toText: () => redacted
}

/** A certificate and its key, for the clients that name a host. */
export interface NamedCertificate {
  /** A host name, or `*.` and a domain, which stands for one label below it. */
  readonly name: string
  /** PEM file of the chain, leaf first. */
  readonly cert: string
  /** PEM file of the key. */
  readonly key: string
}

const namedCertificate = /^((?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)=([^,\0]+),([^,\0]+)$/

const parseCertificate = (spec: unknown): NamedCertificate | undefined => {
  const parts = typeof spec === "string" ? namedCertificate.exec(spec) : null
  return parts === null ? undefined : { name: parts[1]!.toLowerCase(), cert: parts[2]!, key: parts[3]! }
}

const formatCertificate = ({ cert, key, name }: NamedCertificate): string => `${name}=${cert},${key}`

const isCertificates = (input: unknown): input is ReadonlyArray<string> => {
  if (!Array.isArray(input) || input.length === 0) return false
  const names = new Set(input.map((spec) => parseCertificate(spec)?.name))
  return names.size === input.length && !names.has(undefined)
}

/** Certificates by host name: `name=cert,key`, separated by `;` where one text holds several. */
export const certificates: Kind<ReadonlyArray<NamedCertificate>, ReadonlyArray<string>> = {
  schema: Schema.declare(isCertificates).pipe(
    Schema.decodeTo(
      Schema.declare((input): input is ReadonlyArray<NamedCertificate> => Array.isArray(input)),
      SchemaTransformation.transform<ReadonlyArray<NamedCertificate>, ReadonlyArray<string>>({
        decode: (specs) => specs.map((spec) => parseCertificate(spec)!),
        encode: (certificates) => certificates.map(formatCertificate)
      })
    )
  ),
  expected: "one or more of name=cert.pem,key.pem, each name once",
  metavar: "NAME=CERT,KEY",
  fromText: (raw) => typeof raw === "string" ? raw.split(";").map((spec) => spec.trim()) : raw,
  toText: (certificates) => certificates.map(formatCertificate).join(";"),
  isList: true
}

/** Proxies whose word counts: a network, those on our unix sockets, or whoever connects. */
export type TrustedProxy = IpNetwork.IpNetwork | "unix" | "*"

/** A network inside of `::ffff:0:0/96` is one of IPv4, whose addresses are always compared as such. */
const plainNetwork = (network: IpNetwork.IpNetwork): IpNetwork.IpNetwork => {
  const address = NetAddress.toCanonical(network.address)
  return address === network.address || network.prefixLength < 96
    ? network
    : IpNetwork.makeUnsafe(address, network.prefixLength - 96)
}

const parseProxy = (spec: unknown): TrustedProxy | undefined => {
  if (typeof spec !== "string") return undefined
  if (spec === "unix" || spec === "*") return spec
  const text = spec.includes("/") ? spec : `${spec}/${spec.includes(":") ? 128 : 32}`
  return Result.match(IpNetwork.fromString(text), { onFailure: () => undefined, onSuccess: plainNetwork })
}

const isProxies = (input: unknown): input is ReadonlyArray<string> =>
  Array.isArray(input) && input.length > 0 && input.every((spec) => parseProxy(spec) !== undefined)

/** One or more proxies. */
export const proxies: Kind<ReadonlyArray<TrustedProxy>, ReadonlyArray<string>> = {
  schema: Schema.declare(isProxies).pipe(
    Schema.decodeTo(
      Schema.declare((input): input is ReadonlyArray<TrustedProxy> => Array.isArray(input)),
      SchemaTransformation.transform<ReadonlyArray<TrustedProxy>, ReadonlyArray<string>>({
        decode: (specs) => specs.map((spec) => parseProxy(spec)!),
        encode: (proxies) => proxies.map(String)
      })
    )
  ),
  expected: `one or more of an IP address, a network such as 10.0.0.0/8 (no bits behind the prefix), "unix" or "*"`,
  metavar: "ADDRESS",
  fromText: (raw) => typeof raw === "string" ? raw.split(",").map((spec) => spec.trim()) : raw,
  toText: (proxies) => proxies.map(String).join(","),
  isList: true
}

const octal = /^0?[0-7]{3}$/

const isFileMode = (input: unknown): input is number | string =>
  typeof input === "string"
    ? octal.test(input)
    : typeof input === "number" && Number.isInteger(input) && input >= 0 && input <= 0o777

/** Permission bits. Programs may write `0o660`; text is octal digits, so a bare number in a config file is refused. */
export const fileMode: Kind<number, number | string> = {
  schema: Schema.declare(isFileMode).pipe(
    Schema.decodeTo(
      Schema.Int,
      SchemaTransformation.transform<number, number | string>({
        decode: (input) => typeof input === "string" ? Number.parseInt(input, 8) : input,
        encode: (mode) => mode
      })
    )
  ),
  expected: `three octal digits in quotes, such as "0660"`,
  metavar: "OCTAL",
  fromText: (raw) => typeof raw === "number" ? `${raw} (a number)` : raw,
  toText: (mode) => `0${mode.toString(8).padStart(3, "0")}`
}

/** A file to write to, `-` for standard output, `false` (in text: `none`) for nowhere. */
export const destination: Kind<string | false, string | false> = {
  schema: Schema.Union([Schema.NonEmptyString, Schema.Literal(false)]),
  expected: `a file name, "-" for standard output, or "none"`,
  metavar: "FILE|-",
  fromText: noneIsFalse,
  toText: falseIsNone,
  completes: "file"
}

const isDestination = (input: unknown): input is string | false =>
  input === false || (typeof input === "string" && input !== ""
    && (!SyslogTarget.isMeant(input) || Result.isSuccess(SyslogTarget.parse(input))))

/** What `destination` has, and syslog: over UDP, or the daemon of this machine. */
export const accessLog: Kind<string | false, string | false> = {
  ...destination,
  schema: Schema.declare(isDestination),
  expected: `a file name, "-" for standard output, syslog://host:port, "syslog:" for this machine, or "none"`,
  metavar: "FILE|-|SYSLOG",
  explain: (input) =>
    typeof input === "string" && SyslogTarget.isMeant(input)
      ? Result.match(SyslogTarget.parse(input), {
        onFailure: ({ problem }) => `syslog://host:port or syslog: (this one ${problem})`,
        onSuccess: () => undefined
      })
      : undefined
}

/** A preset's name or a format string with known atoms only. */
export const accessLogFormat: Kind<string, string> = {
  schema: AccessLogFormat.AccessLogFormat,
  expected: "a preset or a format string",
  metavar: "FORMAT",
  fromText: asIs,
  choices: AccessLogFormat.presetNames,
  explain: (input) =>
    typeof input === "string"
      ? Result.match(AccessLogFormat.compile(input), {
        onFailure: (error) => `a preset or a format string (${error.message})`,
        onSuccess: () => undefined
      })
      : undefined
}

const tcpSpec = /^(?:(https?):\/\/)?(?:\[([0-9a-fA-F:.]+(?:%[^\]\s]+)?)\]:|([^\s:/[\]]+):|:|)(\d{1,5})$/

/**
 * Reads one listen spec: `host:port`, `[v6]:port`, `:port` or `port` (on 127.0.0.1), each with or without `http://` or
 * `https://` before it, `unix:/path`, `/path`, `./path`. **Returns** `undefined` for anything else.
 */
export const parseListen = (spec: string): ListenSpec | undefined => {
  if (spec.startsWith("unix:")) return spec.length > 5 ? { _tag: "unix", path: spec.slice(5) } : undefined
  if (spec.startsWith("/") || spec.startsWith(".")) return { _tag: "unix", path: spec }
  const parts = tcpSpec.exec(spec)
  if (parts === null) return undefined
  const [, scheme, v6, host, digits] = parts
  const port = Number(digits)
  if (port > 65535) return undefined
  const address = { _tag: "tcp", host: v6 ?? host ?? defaultHost, port } as const
  return scheme === "http" || scheme === "https" ? { ...address, scheme } : address
}

/** Writes a listen spec, for `parseListen`. */
export const formatListen = (spec: ListenSpec): string =>
  spec._tag === "unix"
    ? `unix:${spec.path}`
    : `${spec.scheme === undefined ? "" : `${spec.scheme}://`}`
      + `${spec.host.includes(":") ? `[${spec.host}]` : spec.host}:${spec.port}`

const isListenSpecs = (input: unknown): input is ReadonlyArray<string> =>
  Array.isArray(input) && input.length > 0
  && input.every((spec) => typeof spec === "string" && parseListen(spec) !== undefined)

/** One place to listen. */
export const listenSpec: Kind<ListenSpec, string> = {
  schema: Schema.declare((input): input is string => typeof input === "string" && parseListen(input) !== undefined)
    .pipe(
      Schema.decodeTo(
        Schema.declare((input): input is ListenSpec => typeof input === "object" && input !== null),
        SchemaTransformation.transform<ListenSpec, string>({
          decode: (spec) => parseListen(spec)!,
          encode: formatListen
        })
      )
    ),
  expected: "host:port, [IPv6]:port, port, unix:/path, /path or ./path",
  metavar: "ADDRESS",
  fromText: (raw) => typeof raw === "number" ? String(raw) : raw,
  toText: formatListen
}

/** One or more places to listen. */
export const listenSpecs: Kind<ReadonlyArray<ListenSpec>, ReadonlyArray<string>> = {
  schema: Schema.declare(isListenSpecs).pipe(
    Schema.decodeTo(
      Schema.declare((input): input is ReadonlyArray<ListenSpec> => Array.isArray(input)),
      SchemaTransformation.transform<ReadonlyArray<ListenSpec>, ReadonlyArray<string>>({
        decode: (specs) => specs.map((spec) => parseListen(spec)!),
        encode: (specs) => specs.map(formatListen)
      })
    )
  ),
  expected: `one or more of host:port, [IPv6]:port, port, each with http:// or https:// or without, unix:/path, /path `
    + `or ./path`,
  metavar: "ADDRESS",
  fromText: (raw) => typeof raw === "string" ? raw.split(",").map((spec) => spec.trim()) : raw,
  toText: (specs) => specs.map(formatListen).join(","),
  isList: true
}
