import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import * as Scope from "../../../src/schema/Scope.ts"
import { askSocket } from "../../utils/asking.ts"
import { bodyOf } from "../../utils/serve.ts"
import { certificates, connect, quiet, serving, telling, told } from "./client.ts"

const fields = ["serverCert", "clientCertChain", "clientCertName", "clientCertError", "tlsVersion", "cipherSuite"]

const subjects = (chain: ReadonlyArray<string> | null) =>
  (chain ?? []).map((pem) => new Crypto.X509Certificate(pem).subject)

const pem = (text: string) => new Crypto.X509Certificate(text).toString()

/** False in releases with https://github.com/nodejs/node/issues/65579, which know the leaf only. */
const runtimeShowsChain = Effect.gen(function*() {
  const { root, server } = yield* certificates
  const middle = yield* Effect.promise(() => root.authority({ subject: [{ CN: ["Middle"] }] }))
  const leaf = yield* Effect.promise(() => middle.issue({}))
  return yield* Effect.callback<boolean>((resume) => {
    const plain = Tls.createServer({ ...server, ca: root.cert, requestCert: true }, (socket) => {
      const { issuerCertificate, raw } = socket.getPeerCertificate(true)
      resume(Effect.succeed(issuerCertificate !== undefined && !issuerCertificate.raw.equals(raw)))
      socket.destroy()
      plain.close()
    })
    plain.listen(0, "127.0.0.1", () => {
      const { port } = plain.address() as Net.AddressInfo
      Tls.connect({ port, host: "127.0.0.1", ca: root.cert, cert: leaf.cert + middle.cert, key: leaf.key })
        .on("error", () => {})
    })
  })
})

/** The cipher suite that stands in the server's hello, as it went over the network. */
const suiteOnTheWire = (hello: Buffer): number => {
  const sessionId = 5 + 4 + 2 + 32
  return hello.readUInt16BE(sessionId + 1 + hello[sessionId]!)
}

/** A way to a port that keeps what comes back. */
const tap = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly received: () => Buffer; readonly close: () => void }>(
      (resume) => {
        const chunks: Array<Buffer> = []
        const proxy = Net.createServer((client) => {
          const upstream = Net.connect({ port, host: "127.0.0.1" })
          upstream.on("data", (chunk: Buffer) => chunks.push(chunk))
          client.pipe(upstream).pipe(client)
          client.on("error", () => upstream.destroy())
          upstream.on("error", () => client.destroy())
        })
        proxy.listen(0, "127.0.0.1", () =>
          resume(Effect.succeed({
            port: (proxy.address() as Net.AddressInfo).port,
            received: () => Buffer.concat(chunks),
            close: () => proxy.close()
          })))
      }
    ),
    ({ close }) => Effect.sync(close)
  )

describe("extensions.tls", () => {
  it.live("has all six fields on an https request, null where there is nothing to know [C122 W6]", () =>
    quiet(Effect.gen(function*() {
      const { server } = yield* certificates
      const { address } = yield* serving()
      assert.deepStrictEqual(yield* told(address), {
        scheme: "https",
        tls: {
          serverCert: pem(server.cert),
          clientCertChain: [],
          clientCertName: null,
          clientCertError: null,
          tlsVersion: 0x0304,
          cipherSuite: 0x1302
        }
      })
    })))

  it.live("is absent in clear text, beside a listener with TLS and without one [C122]", () =>
    quiet(Effect.gen(function*() {
      const { addresses } = yield* serving({ listen: ["http://127.0.0.1:0", "https://127.0.0.1:0"] })
      const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
      assert.deepStrictEqual(JSON.parse(bodyOf(yield* askSocket(addresses, request))), { scheme: "http", tls: null })
      assert.strictEqual((yield* told(addresses[1]!)).scheme, "https")
    })))

  it.live("tells what a client presented, leaf first, and its name by RFC 4514 [C122]", () =>
    quiet(Effect.gen(function*() {
      const { root } = yield* certificates
      const middle = yield* Effect.promise(() => root.authority({ subject: [{ CN: ["Middle"] }] }))
      const subject = [{ C: ["DE"] }, { O: ["Example, Inc."] }, { CN: ["Ada"], OU: ["Engines"] }]
      const leaf = yield* Effect.promise(() => middle.issue({ subject }))
      const { address } = yield* serving({ tlsCa: root.certFile, tlsClientCertificate: "required" })
      const { tls } = yield* told(address, { cert: leaf.cert + middle.cert, key: leaf.key })
      assert.strictEqual(tls!.clientCertName, String.raw`CN=Ada+OU=Engines,O=Example\, Inc.,C=DE`)
      assert.strictEqual(tls!.clientCertChain![0], pem(leaf.cert))
      assert.isNull(tls!.clientCertError)
      if (yield* runtimeShowsChain) {
        assert.deepStrictEqual(subjects(tls!.clientCertChain).slice(1), ["CN=Middle"])
      }
    })))

  it.live("tells the version and the suite of TLS 1.2 as numbers [C122]", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving()
      const ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"
      const { tls } = yield* told(address, { maxVersion: "TLSv1.2", ciphers })
      assert.strictEqual(tls!.tlsVersion, 0x0303)
      assert.strictEqual(tls!.cipherSuite, 0xcca9)
    })))

  it.live("gives every suite the number that is on the wire [C122]", () =>
    quiet(Effect.gen(function*() {
      const { root } = yield* certificates
      const rsa = yield* Effect.promise(() => root.issue({ names: ["rsa.test"], key: "rsa" }))
      const all = Tls.getCiphers().map((name) => name.toUpperCase())
      const suites13 = all.filter((name) => name.startsWith("TLS_"))
      const { address } = yield* serving({
        tlsCiphers: `${suites13.join(":")}:ALL:@SECLEVEL=0`,
        tlsSni: [`rsa.test=${rsa.certFile},${rsa.keyFile}`]
      })
      const port = address._tag === "tcp" ? address.port : 0
      const negotiable = all.filter((name) => /^(?:TLS_|ECDHE-(?:RSA|ECDSA)-|AES)/.test(name))
      assert.isAbove(negotiable.length, 20)
      for (const name of negotiable) {
        const proxy = yield* tap(port)
        const { tls } = yield* told({ _tag: "tcp", host: "127.0.0.1", port: proxy.port }, {
          ...(name.startsWith("TLS_")
            ? { ciphers: `${name}:ALL:@SECLEVEL=0`, minVersion: "TLSv1.3" }
            : { ciphers: `${name}:@SECLEVEL=0`, maxVersion: "TLSv1.2" }),
          servername: name.includes("ECDSA") ? "localhost" : "rsa.test"
        })
        assert.strictEqual(tls!.cipherSuite, suiteOnTheWire(proxy.received()), name)
      }
    })))

  it.live("is data: every request of a connection has the same, and it survives being copied [C122]", () =>
    quiet(Effect.gen(function*() {
      const seen: Array<unknown> = []
      const { address } = yield* serving({}, (exchange) => {
        if (exchange.type === "http") {
          const { extensions } = exchange.scope
          seen.push(extensions.tls, { ...extensions }.tls, Schema.decodeUnknownSync(Scope.Tls)(extensions.tls))
          assert.sameMembers(Object.keys(extensions.tls!), fields)
          assert.include(Object.keys(extensions), "tls")
        }
        return telling(exchange)
      })
      const client = yield* connect(address)
      yield* client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2))
      yield* client.until(/"scheme"[^]*"scheme"/)
      assert.strictEqual(seen.length, 6)
      for (const tls of seen) assert.deepStrictEqual(tls, seen[0])
    })))
})
