/**
 * The files that TLS needs, read and checked as a whole: what is returned can be served. Says which option and which
 * file is at fault and what to do; never shows what is in a file, and never keeps half of a change.
 *
 * Files are read synchronously: they are small, and a change is seen whole.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import type { ServerSettings } from "../../src/schema/Settings.ts"
import { ServerError } from "../../src/service/Server.ts"
import { inModule } from "./LogLevels.ts"

/** A certificate chain and its key, in PEM. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
  /** The first certificate of the chain alone. */
  readonly leaf: string
}

/** Everything that was read, of one moment. */
export interface Credentials {
  readonly pair: KeyPair
  /** By the lower-case name, exact or `*.` and a domain. */
  readonly named: ReadonlyMap<string, KeyPair>
  /** The authorities that sign client certificates, in PEM. */
  readonly ca: string | undefined
}

/** What is wrong with a file, with the option that names it. */
class Problem extends Error {
  readonly option: string
  readonly path: string
  constructor(option: string, path: string, problem: string) {
    super(problem)
    this.option = option
    this.path = path
  }
}

const unreadable: { readonly [code: string]: string } = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "permission denied; the user of this process must be able to read it",
  EPERM: "permission denied; the user of this process must be able to read it",
  EISDIR: "it is a folder"
}

const readText = (option: string, path: string): string => {
  try {
    return Fs.readFileSync(path, "latin1")
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException
    throw new Problem(option, path, unreadable[code] ?? message)
  }
}

const certificateBlocks =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^]*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g

const certificatesIn = (option: string, path: string, pem: string): ReadonlyArray<Crypto.X509Certificate> => {
  const blocks = pem.match(certificateBlocks)
  if (blocks === null) {
    throw new Problem(option, path, `it holds no certificate in PEM, which starts with "-----BEGIN CERTIFICATE-----"`)
  }
  return blocks.map((block, index) => {
    try {
      return new Crypto.X509Certificate(block)
    } catch {
      throw new Problem(option, path, `certificate ${index + 1} of ${blocks.length} in it is damaged`)
    }
  })
}

const privateKey = (option: string, path: string, pem: string, passphrase: string | undefined): Crypto.KeyObject => {
  if (!/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/.test(pem)) {
    throw new Problem(option, path, `it holds no private key in PEM, which starts with "-----BEGIN PRIVATE KEY-----"`)
  }
  const isEncrypted = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem)
  if (isEncrypted && passphrase === undefined) {
    throw new Problem(option, path, "the key is encrypted; tlsPassphrase opens it")
  }
  try {
    return Crypto.createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) })
  } catch {
    throw new Problem(option, path, isEncrypted ? "tlsPassphrase does not open the key" : "the key is damaged")
  }
}

/** What the operator should hear of, though it can be served. */
type Warn = (option: string, path: string, problem: string) => void

const checkTimes = (
  option: string,
  path: string,
  certificates: ReadonlyArray<Crypto.X509Certificate>,
  now: number,
  warn: Warn
): void => {
  for (const { subject, validFrom, validTo } of certificates) {
    const name = subject === undefined ? "a certificate" : `the certificate of ${subject.replaceAll("\n", ", ")}`
    if (Date.parse(validTo) < now) warn(option, path, `${name} expired on ${validTo}`)
    else if (Date.parse(validFrom) > now) warn(option, path, `${name} is not valid before ${validFrom}`)
  }
}

interface Reading {
  readonly passphrase: string | undefined
  readonly now: number
  readonly warn: Warn
}

type Named = readonly [option: string, path: string]

const readPair = ([certOption, certPath]: Named, [keyOption, keyPath]: Named, reading: Reading): KeyPair => {
  const cert = readText(certOption, certPath)
  const certificates = certificatesIn(certOption, certPath, cert)
  const key = readText(keyOption, keyPath)
  const keyObject = privateKey(keyOption, keyPath, key, reading.passphrase)
  const owner = certificates.findIndex((certificate) => certificate.checkPrivateKey(keyObject))
  if (owner === -1) throw new Problem(keyOption, keyPath, `the key does not belong to the certificate in ${certPath}`)
  if (owner > 0) {
    throw new Problem(
      certOption,
      certPath,
      `its certificates are in the wrong order; number ${owner + 1} belongs first`
    )
  }
  checkTimes(certOption, certPath, certificates, reading.now, reading.warn)
  return { cert: certificates.join(""), key, leaf: certificates[0]!.toString() }
}

const readCa = (path: string, { now, warn }: Reading): string => {
  const ca = readText("tlsCa", path)
  checkTimes("tlsCa", path, certificatesIn("tlsCa", path, ca), now, warn)
  return ca
}

const readAll = (settings: ServerSettings, reading: Reading): Credentials => ({
  pair: readPair(["tlsCert", settings.tlsCert!], ["tlsKey", settings.tlsKey!], reading),
  named: new Map(
    (settings.tlsSni ?? []).map(({ cert, key, name }) =>
      [name, readPair(["tlsSni", cert], ["tlsSni", key], reading)] as const
    )
  ),
  ca: settings.tlsCa === undefined ? undefined : readCa(settings.tlsCa, reading)
})

/** The error for a file that cannot be used. */
export const fileUnusable = (option: string, path: string, problem: string): ServerError =>
  new ServerError({ reason: { _tag: "TlsFileUnusable", option, path, problem } })

/**
 * Reads and checks every file that the TLS settings name. Certificates that have expired, or are not valid yet, are
 * served all the same, with a warning in the log.
 *
 * **Fails with** `ServerError` for the first file that cannot be used.
 */
export const read = Effect.fnUntraced(function*(settings: ServerSettings) {
  const warnings = new Set<string>()
  const reading: Reading = {
    passphrase: settings.tlsPassphrase === undefined ? undefined : String(Redacted.value(settings.tlsPassphrase)),
    now: yield* Clock.currentTimeMillis,
    warn: (option, path, problem) => void warnings.add(`${option} ${path}: ${problem}`)
  }
  const credentials = yield* Effect.try({
    try: () => readAll(settings, reading),
    catch: (error) => {
      if (error instanceof Problem) return fileUnusable(error.option, error.path, error.message)
      throw error
    }
  })
  yield* Effect.forEach(warnings, (warning) => inModule("Tls")(Effect.logWarning(warning)), { discard: true })
  return credentials
})

const look = (path: string): string => {
  try {
    const { ctimeMs, ino, mtimeMs, size } = Fs.statSync(path)
    return `${ino} ${size} ${mtimeMs} ${ctimeMs}`
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown"
  }
}

/** A text that changes when one of the files does, or its permissions, or what a link leads to. */
export const fingerprint = (settings: ServerSettings): string =>
  [
    settings.tlsCert!,
    settings.tlsKey!,
    ...(settings.tlsCa === undefined ? [] : [settings.tlsCa]),
    ...(settings.tlsSni ?? []).flatMap(({ cert, key }) => [cert, key])
  ].map(look).join("\n")
