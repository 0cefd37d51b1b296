/**
 * Certificates for tests, made when a test file first asks for them: an authority, what it has signed, and what is wrong
 * with others. They are files in a folder of their own, which goes with the process.
 */
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** A value of a name, as the string type that fits it or as the one that is named. */
export type NameValue = string | { readonly [type in "utf8String" | "bmpString" | "printableString"]?: string }

/** A distinguished name, first component first; the values of one object stand side by side. */
export type Subject = ReadonlyArray<Readonly<Record<string, ReadonlyArray<NameValue>>>>

export interface Request {
  readonly subject?: Subject
  /** Host names, or IP addresses. */
  readonly names?: ReadonlyArray<string>
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly isAuthority?: boolean
  /** Default `ec`, P-256. */
  readonly key?: "ec" | "rsa" | "weak"
}

/** A certificate and its key, as text and as files. */
export interface Issued {
  readonly cert: string
  readonly key: string
  readonly certFile: string
  readonly keyFile: string
}

/** An issued certificate that may issue others. */
export interface Authority extends Issued {
  readonly issue: (request: Request) => Promise<Issued>
  readonly authority: (request: Request) => Promise<Authority>
}

export interface Certificates {
  readonly folder: string
  readonly root: Authority
  /** Signed by the root, for `localhost` and 127.0.0.1. */
  readonly server: Issued
  /** Signed by the root. */
  readonly client: Issued
  /** Signed by nobody whom anyone knows. */
  readonly stranger: Issued
  /** Writes a file and gives its path. */
  readonly write: (name: string, content: string | Uint8Array) => string
}

/** What the library under the certificates' library needs of a proposal that no runtime has. */
const reflectMetadata = () => {
  const stored = new WeakMap<object, Map<unknown, unknown>>()
  const own = (target: object) => {
    const found = stored.get(target) ?? new Map<unknown, unknown>()
    stored.set(target, found)
    return found
  }
  Object.assign(Reflect, {
    defineMetadata: (key: unknown, value: unknown, target: object) => void own(target).set(key, value),
    getOwnMetadata: (key: unknown, target: object) => own(target).get(key),
    getMetadata: (key: unknown, target: object) => own(target).get(key)
  })
}

const library = async () => {
  reflectMetadata()
  return import("@peculiar/x509")
}

const algorithms = {
  ec: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  rsa: { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  weak: { name: "RSASSA-PKCS1-v1_5", modulusLength: 512, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" }
} as const

const hour = 3_600_000
// The library takes a value of either kind; its type wants all of one kind.
const toSubject = (subject: Subject) =>
  subject.map((names) =>
    Object.fromEntries(Object.entries(names).map(([type, values]) => [type, [...values] as Array<string>]))
  )

const make = async (): Promise<Certificates> => {
  const X509 = await library()
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-certificates-"))
  process.once("exit", () => Fs.rmSync(folder, { force: true, recursive: true }))
  const write = (name: string, content: string | Uint8Array) => {
    const path = Path.join(folder, name)
    Fs.writeFileSync(path, content)
    return path
  }
  let count = 0

  type Signer = { readonly subject: Subject; readonly key: CryptoKey; readonly algorithm: EcdsaParams | Algorithm }

  const issue = async (request: Request, signer: Signer | undefined) => {
    const algorithm = algorithms[request.key ?? "ec"]
    const subject = request.subject ?? [{ CN: [request.names?.[0] ?? `certificate ${count}`] }]
    const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])
    const names = (request.names ?? []).map((value) => ({
      type: /^[\d.]+$|:/.test(value) ? "ip" as const : "dns" as const,
      value
    }))
    const certificate = await X509.X509CertificateGenerator.create({
      subject: toSubject(subject),
      issuer: toSubject(signer?.subject ?? subject),
      publicKey: keys.publicKey,
      signingKey: signer?.key ?? keys.privateKey,
      signingAlgorithm: signer?.algorithm ?? algorithm,
      notBefore: request.notBefore ?? new Date(Date.now() - hour),
      notAfter: request.notAfter ?? new Date(Date.now() + 24 * hour),
      extensions: [
        new X509.BasicConstraintsExtension(request.isAuthority === true, undefined, true),
        ...(names.length === 0 ? [] : [new X509.SubjectAlternativeNameExtension(names)])
      ]
    })
    const key = Crypto.KeyObject.from(keys.privateKey as Crypto.webcrypto.CryptoKey)
      .export({ type: "pkcs8", format: "pem" }) as string
    const cert = `${certificate.toString("pem")}\n`
    const name = `${++count}`
    const issued = { cert, key, certFile: write(`${name}.pem`, cert), keyFile: write(`${name}.key`, key) }
    return { issued, signer: { subject, key: keys.privateKey, algorithm } }
  }

  const authority = async (request: Request, above?: Signer): Promise<Authority> => {
    const { issued, signer } = await issue({ ...request, isAuthority: true }, above)
    return {
      ...issued,
      issue: async (request) => (await issue(request, signer)).issued,
      authority: (request) => authority(request, signer)
    }
  }

  const root = await authority({ subject: [{ CN: ["Test Root"] }] })
  return {
    folder,
    root,
    server: await root.issue({ names: ["localhost", "127.0.0.1"] }),
    client: await root.issue({ subject: [{ O: ["Example"] }, { CN: ["Ada"] }] }),
    stranger: await (await authority({ subject: [{ CN: ["Nobody"] }] })).issue({ subject: [{ CN: ["Stranger"] }] }),
    write
  }
}

let made: Promise<Certificates> | undefined

/** The certificates of this test file. */
export const certificates = (): Promise<Certificates> => made ??= make()
