/**
 * The certificate of the TLS scenarios: self-signed, EC P-256, for 127.0.0.1, made once per run and the same for all.
 * Its files lie in a temporary folder that the harness removes when it exits.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const dayMillis = 86_400_000
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }

/**
 * @typedef {object} Certificate
 * @property {string} cert PEM
 * @property {string} certFile
 * @property {string} keyFile
 */

const make = async () => {
  const { PemConverter, SubjectAlternativeNameExtension, X509CertificateGenerator } = await importX509()
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])
  const generated = await X509CertificateGenerator.createSelfSigned({
    name: "CN=Slipway benchmark",
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - dayMillis),
    notAfter: new Date(Date.now() + dayMillis),
    extensions: [new SubjectAlternativeNameExtension([{ type: "ip", value: "127.0.0.1" }])]
  })
  const cert = generated.toString("pem")
  const key = PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), PemConverter.PrivateKeyTag)

  const folder = mkdtempSync(join(tmpdir(), "slipway-bench-"))
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
  const certFile = join(folder, "cert.pem")
  const keyFile = join(folder, "key.pem")
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key, { mode: 0o600 })
  return { cert, certFile, keyFile }
}

/** The library wants a metadata polyfill when it is loaded, and for what is done here none of its functions. */
const importX509 = () => {
  /** @type {any} */
  const reflect = Reflect
  reflect.getMetadata ??= () => undefined
  reflect.getOwnMetadata ??= () => undefined
  reflect.defineMetadata ??= () => {}
  return import("@peculiar/x509")
}

/** @type {Promise<Certificate> | undefined} */
let made

export const certificate = () => made ??= make()
