import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as ServerNode from "../../../layers/ServerNode.ts"
import { formatAddress } from "../../../src/service/Server.ts"
import { askSocket } from "../../utils/asking.ts"
import type { Certificates } from "../../utils/certificates.ts"
import { capture } from "../../utils/logs.ts"
import { ask, certificates, quiet, request, secure, serving, told } from "./client.ts"

/** The key of the test's server, locked. */
const locked = ({ server, write }: Certificates, passphrase: string) =>
  write(
    `${passphrase}.key`,
    Crypto.createPrivateKey(server.key).export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase })
  )

/** Why a server with these options is not made. */
const refusal = (options: ServerNode.Options) =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(ServerNode.make({ ...yield* secure, ...options }))
    return { error, reason: error.reason, message: error.message }
  })

/** Everything that is logged with Warn while a server is made. */
const warnings = (options: ServerNode.Options) =>
  Effect.suspend(() => {
    const logs = capture()
    return ServerNode.make(options).pipe(
      Effect.provide(logs.layer),
      Effect.map(() => logs.lines.filter(({ level }) => level === "Warn").map(({ message }) => message))
    )
  })

/** Of each case: what is wrong, the option and the file that are named, and a part of the problem. */
type Case = readonly [
  what: string,
  options: (made: Certificates) => ServerNode.Options,
  option: string,
  path: (made: Certificates) => string,
  problem: string
]

const missing = ({ folder }: Certificates) => Path.join(folder, "nowhere.pem")
const words = ({ write }: Certificates) => write("words.pem", "not a certificate")
const damaged = ({ server, write }: Certificates) => write("damaged.pem", server.cert.replace(/\n[^\n]{40}/, "\n"))
const wrongOrder = ({ root, server, write }: Certificates) => write("order.pem", root.cert + server.cert)

const cases: ReadonlyArray<Case> = [
  ["a certificate that is not there", (made) => ({ tlsCert: missing(made) }), "tlsCert", missing, "no such file"],
  ["a key that is not there", (made) => ({ tlsKey: missing(made) }), "tlsKey", missing, "no such file"],
  [
    "a certificate that is a folder",
    ({ folder }) => ({ tlsCert: folder }),
    "tlsCert",
    ({ folder }) => folder,
    "folder"
  ],
  ["a certificate that is not PEM", (made) => ({ tlsCert: words(made) }), "tlsCert", words, "no certificate in PEM"],
  ["a key that is not PEM", (made) => ({ tlsKey: words(made) }), "tlsKey", words, "no private key in PEM"],
  [
    "a key in place of the certificate",
    ({ server }) => ({ tlsCert: server.keyFile }),
    "tlsCert",
    ({ server }) => server.keyFile,
    "no certificate in PEM"
  ],
  [
    "a certificate in place of the key",
    ({ server }) => ({ tlsKey: server.certFile }),
    "tlsKey",
    ({ server }) => server.certFile,
    "no private key in PEM"
  ],
  [
    "a damaged certificate",
    (made) => ({ tlsCert: damaged(made) }),
    "tlsCert",
    damaged,
    "certificate 1 of 1 in it is damaged"
  ],
  [
    "the key of another certificate",
    ({ client }) => ({ tlsKey: client.keyFile }),
    "tlsKey",
    ({ client }) => client.keyFile,
    "does not belong to the certificate in"
  ],
  [
    "a chain in the wrong order",
    (made) => ({ tlsCert: wrongOrder(made) }),
    "tlsCert",
    wrongOrder,
    "number 2 belongs first"
  ],
  [
    "a locked key without its passphrase",
    (made) => ({ tlsKey: locked(made, "sesame") }),
    "tlsKey",
    (made) => locked(made, "sesame"),
    "tlsPassphrase opens it"
  ],
  [
    "a locked key with another passphrase",
    (made) => ({ tlsKey: locked(made, "sesame"), tlsPassphrase: "simsim" }),
    "tlsKey",
    (made) => locked(made, "sesame"),
    "tlsPassphrase does not open the key"
  ],
  [
    "an authority that is not there",
    (made) => ({ tlsCa: missing(made), tlsClientCertificate: "required" }),
    "tlsCa",
    missing,
    "no such file"
  ],
  [
    "an authority that is not PEM",
    (made) => ({ tlsCa: words(made), tlsClientCertificate: "optional" }),
    "tlsCa",
    words,
    "no certificate in PEM"
  ],
  [
    "a named certificate that is not there",
    (made) => ({ tlsSni: [`a.test=${missing(made)},${made.server.keyFile}`] }),
    "tlsSni",
    missing,
    "no such file"
  ],
  [
    "a named certificate with the key of another",
    ({ client, server }) => ({ tlsSni: [`a.test=${server.certFile},${client.keyFile}`] }),
    "tlsSni",
    ({ client }) => client.keyFile,
    "does not belong to the certificate in"
  ]
]

describe("TLS files", () => {
  for (const [what, options, option, path, problem] of cases) {
    it.live(`are refused before the server listens: ${what} [C123]`, () =>
      quiet(Effect.gen(function*() {
        const made = yield* certificates
        const { message, reason } = yield* refusal(options(made))
        assert.strictEqual(reason._tag, "TlsFileUnusable")
        assert.deepInclude(reason, { option, path: path(made) })
        assert.include(message, `${path(made)} (${option})`)
        assert.include(message, problem)
        assert.notInclude(message, "simsim")
      })))
  }

  // The superuser may read everything, so there is nothing to refuse.
  it.live.skipIf(process.getuid?.() === 0)(
    "are refused when they may not be read [C123]",
    () =>
      quiet(Effect.gen(function*() {
        const { server, write } = yield* certificates
        const tlsKey = write("secret.key", server.key)
        Fs.chmodSync(tlsKey, 0)
        assert.include((yield* refusal({ tlsKey })).message, "permission denied")
      }))
  )

  it.live("are refused when OpenSSL finds a key too weak", () =>
    quiet(Effect.gen(function*() {
      const { root } = yield* certificates
      const weak = yield* Effect.promise(() => root.issue({ key: "weak" }))
      const { message, reason } = yield* refusal({ tlsCert: weak.certFile, tlsKey: weak.keyFile })
      assert.deepInclude(reason, { _tag: "TlsFileUnusable", option: "tlsCert", path: weak.certFile })
      assert.match(message, /key too small/)
    })))

  it.live("are not looked at before the settings are in order", () =>
    quiet(Effect.gen(function*() {
      const { message, reason } = yield* refusal({ tlsCert: "/nowhere", tlsCiphers: "NONSENSE" })
      assert.strictEqual(reason._tag, "SettingsInvalid")
      assert.include(message, `tlsCiphers is "NONSENSE"`)
    })))

  it.live("may hold a chain, a key beside it, a locked key, and text around them", () =>
    quiet(Effect.gen(function*() {
      const made = yield* certificates
      const { root, server, write } = made
      const both = write("both.pem", `Subject: localhost\n${server.cert}${root.cert}\n${server.key}`)
      const combined = yield* serving({ tlsCert: both, tlsKey: both })
      assert.strictEqual((yield* told(combined.address)).scheme, "https")
      for (const tlsPassphrase of ["open", Redacted.make("open")]) {
        const opened = yield* serving({ tlsKey: locked(made, "open"), tlsPassphrase })
        assert.strictEqual((yield* told(opened.address)).scheme, "https")
      }
    })))

  it.live("that have expired, or are not valid yet, are served with a warning [C123]", () =>
    Effect.gen(function*() {
      const { root, server } = yield* certificates
      const day = 86_400_000
      const past = yield* Effect.promise(() =>
        root.issue({
          names: ["past.test"],
          notBefore: new Date(Date.now() - 2 * day),
          notAfter: new Date(Date.now() - day)
        })
      )
      const future = yield* Effect.promise(() =>
        root.issue({
          names: ["future.test"],
          notBefore: new Date(Date.now() + day),
          notAfter: new Date(Date.now() + 2 * day)
        })
      )
      const said = yield* warnings({
        tlsCert: past.certFile,
        tlsKey: past.keyFile,
        tlsSni: [`future.test=${future.certFile},${future.keyFile}`]
      })
      assert.strictEqual(said.length, 2)
      assert.match(said[0]!, /^tlsCert .*: the certificate of CN=past\.test expired on /)
      assert.match(said[1]!, /^tlsSni .*: the certificate of CN=future\.test is not valid before /)
      assert.deepStrictEqual(yield* warnings({ tlsCert: server.certFile, tlsKey: server.keyFile }), [])
    }))

  it.live("are not read when nothing is encrypted, which is said", () =>
    Effect.gen(function*() {
      const nowhere = { tlsCert: "/nowhere", tlsKey: "/nowhere" }
      for (const where of [{ unix: "/tmp/nowhere.sock" }, { listen: ["http://127.0.0.1:0"] }]) {
        const [said, ...more] = yield* warnings({ ...nowhere, ...where })
        assert.match(said!, /none of the addresses is https/)
        assert.deepStrictEqual(more, [])
      }
    }))
})

describe("listeners with TLS", () => {
  it.live("stand beside those in clear text, and unix sockets stay clear [W6]", () =>
    quiet(Effect.gen(function*() {
      const { folder } = yield* certificates
      const path = Path.join(folder, "app.sock")
      const { addresses } = yield* serving({ listen: ["127.0.0.1:0", "http://127.0.0.1:0", path] })
      assert.deepStrictEqual(addresses.map((address) => address._tag === "tcp" ? address.scheme : address.path), [
        "https",
        "http",
        path
      ])
      assert.match(formatAddress(addresses[0]!), /^https:\/\/127\.0\.0\.1:\d+$/)
      assert.include(yield* ask(addresses[0]!), `"scheme":"https"`)
      for (const address of addresses.slice(1)) {
        assert.include(yield* askSocket([address], request), `"scheme":"http"`)
      }
    })))
})
