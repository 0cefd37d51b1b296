import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import type * as Tls from "node:tls"
import type * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import type { Address } from "../../../src/service/Server.ts"
import type { Issued, Request } from "../../utils/certificates.ts"
import { bodyOf } from "../../utils/serve.ts"
import { turn, until } from "../../utils/sockets.ts"
import { ask, certificates, connect, quiet, request, serving, type Told, told } from "./client.ts"

const issue = (request: Request) =>
  Effect.flatMap(certificates, ({ root }) => Effect.promise(() => root.issue(request)))
const named = (name: string, { certFile, keyFile }: Issued) => `${name}=${certFile},${keyFile}`
const identity = ({ cert, key }: Issued) => ({ cert, key })
const anyName = { checkServerIdentity: () => undefined }

/** What the client reads of a handshake that succeeds. */
const shaken = (address: Address, options: Tls.ConnectionOptions = {}) =>
  Effect.scoped(Effect.map(connect(address, options), ({ socket }) => ({
    protocol: socket.getProtocol(),
    alpn: socket.alpnProtocol,
    names: socket.getPeerX509Certificate()!.subjectAltName!,
    cipher: socket.getCipher().name
  })))

const refusal = (address: Address, options: Tls.ConnectionOptions = {}) =>
  Effect.map(Effect.flip(ask(address, options)), (error) => error.code ?? error.message)

describe("TLS versions", () => {
  it.live("negotiate 1.3, accept 1.2 and refuse 1.1 [C123 W6]", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving()
      assert.strictEqual((yield* shaken(address)).protocol, "TLSv1.3")
      assert.strictEqual((yield* shaken(address, { maxVersion: "TLSv1.2" })).protocol, "TLSv1.2")
      const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } as const
      assert.strictEqual(yield* refusal(address, old), "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION")
      assert.include(yield* ask(address), "200 OK")
    })))

  it.live("refuse 1.2 where 1.3 is the oldest [C123]", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving({ tlsMinVersion: "TLSv1.3" })
      assert.strictEqual((yield* shaken(address)).protocol, "TLSv1.3")
      assert.strictEqual(
        yield* refusal(address, { maxVersion: "TLSv1.2" }),
        "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION"
      )
    })))

  it.live("have ciphers of their own: a list for 1.2 leaves those of 1.3 as they are", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving({ tlsCiphers: "ECDHE-ECDSA-AES256-GCM-SHA384" })
      assert.strictEqual((yield* shaken(address)).cipher, "TLS_AES_256_GCM_SHA384")
      assert.strictEqual(
        (yield* shaken(address, { maxVersion: "TLSv1.2" })).cipher,
        "ECDHE-ECDSA-AES256-GCM-SHA384"
      )
      assert.match(
        yield* refusal(address, { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" }),
        /_ALERT_HANDSHAKE_FAILURE$/
      )
    })))

  it.live("take a list that names suites of 1.3 by its word", () =>
    quiet(Effect.gen(function*() {
      const tlsCiphers = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
      const { address } = yield* serving({ tlsCiphers })
      assert.strictEqual((yield* shaken(address)).cipher, "TLS_AES_128_GCM_SHA256")
    })))

  it.live("of 1.2 cannot be negotiated a second time on a connection", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving()
      const client = yield* connect(address, { maxVersion: "TLSv1.2" })
      const error = yield* Effect.callback<Error | null>((resume) => {
        client.socket.on("error", (error) => resume(Effect.succeed(error)))
        client.socket.renegotiate({}, (error) => resume(Effect.succeed(error)))
      })
      assert.match(String(error), /renegotiation/i)
      assert.include(yield* ask(address), "200 OK")
    })))
})

describe("client certificates", () => {
  const serve = Effect.fnUntraced(function*(tlsClientCertificate: ServerNode.Options["tlsClientCertificate"]) {
    const { root } = yield* certificates
    let answered = 0
    const app = App.http(({ scope, send }) =>
      Effect.suspend(() => {
        answered++
        return App.respond(send, 200, JSON.stringify({ scheme: scope.scheme, tls: scope.extensions.tls ?? null }))
      })
    )
    const { address } = yield* serving({ tlsCa: root.certFile, tlsClientCertificate }, app)
    return { address, answered: () => answered }
  })

  it.live("are not asked for by default [C123]", () =>
    quiet(Effect.gen(function*() {
      const { client } = yield* certificates
      const { address } = yield* serve("none")
      assert.deepStrictEqual((yield* told(address, identity(client))).tls!.clientCertChain, [])
    })))

  it.live("that are required keep out whoever has none that the authority signed [C123]", () =>
    quiet(Effect.gen(function*() {
      const { client, stranger } = yield* certificates
      const expired = yield* issue({ notAfter: new Date(Date.now() - 1000) })
      const { address, answered } = yield* serve("required")
      assert.strictEqual(yield* refusal(address), "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED")
      for (const refused of [stranger, expired]) {
        yield* refusal(address, identity(refused))
        yield* refusal(address, { ...identity(refused), maxVersion: "TLSv1.2" })
      }
      assert.strictEqual(answered(), 0)
      const { tls } = yield* told(address, identity(client))
      assert.strictEqual(tls!.clientCertName, "CN=Ada,O=Example")
      assert.isNull(tls!.clientCertError)
      assert.strictEqual(answered(), 1)
    })))

  it.live("that are optional reach the application with what is wrong with them [C122 C123]", () =>
    quiet(Effect.gen(function*() {
      const { client, stranger } = yield* certificates
      const expired = yield* issue({ notAfter: new Date(Date.now() - 1000) })
      const { address } = yield* serve("optional")
      const told1 = Effect.fnUntraced(function*(issued: Issued, maxVersion: Tls.SecureVersion = "TLSv1.3") {
        const { tls } = yield* told(address, { ...identity(issued), maxVersion })
        assert.strictEqual(tls!.clientCertChain![0], new Crypto.X509Certificate(issued.cert).toString())
        return [tls!.clientCertName, tls!.clientCertError]
      })
      assert.deepStrictEqual(yield* told1(client), ["CN=Ada,O=Example", null])
      assert.deepStrictEqual(yield* told1(stranger), ["CN=Stranger", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"])
      assert.deepStrictEqual(yield* told1(stranger, "TLSv1.2"), ["CN=Stranger", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"])
      assert.strictEqual((yield* told1(expired))[1], "CERT_HAS_EXPIRED")
      const { tls } = yield* told(address)
      assert.deepStrictEqual([tls!.clientCertChain, tls!.clientCertName, tls!.clientCertError], [[], null, null])
    })))

  it.live("are remembered, with what was wrong, when a session is resumed", () =>
    quiet(Effect.gen(function*() {
      const { client, stranger } = yield* certificates
      const { address } = yield* serve("optional")
      for (const [issued, error] of [[client, null], [stranger, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"]] as const) {
        const { session } = yield* resume(address, identity(issued))
        const { isReused, tls } = yield* resume(address, { ...identity(issued), session })
        assert.isTrue(isReused)
        assert.strictEqual(tls.clientCertChain![0], new Crypto.X509Certificate(issued.cert).toString())
        assert.strictEqual(tls.clientCertError, error)
      }
    })))
})

/** Connects and asks with a session, and gives the session for the next time. */
const resume = (address: Address, options: Tls.ConnectionOptions = {}) =>
  Effect.scoped(Effect.gen(function*() {
    const { socket, ...client } = yield* connect(address, options)
    const isReused = socket.isSessionReused()
    let session = socket.getSession()
    socket.on("session", (newer) => session = newer)
    yield* client.send(request)
    const { tls } = JSON.parse(bodyOf(yield* client.readAll)) as Told
    return { session, isReused, tls: tls! }
  }))

describe("session tickets", () => {
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    it.live(`resume a session of ${maxVersion}`, () =>
      quiet(Effect.gen(function*() {
        const { address } = yield* serving()
        const first = yield* resume(address, { maxVersion })
        assert.isFalse(first.isReused)
        assert.isTrue((yield* resume(address, { maxVersion, session: first.session })).isReused)
      })))

    it.live(`do not resume a session of ${maxVersion} when they are off`, () =>
      quiet(Effect.gen(function*() {
        const { address } = yield* serving({ tlsSessionTickets: false })
        const first = yield* resume(address, { maxVersion })
        assert.isFalse((yield* resume(address, { maxVersion, session: first.session })).isReused)
      })))

    it.live(`resume a session of ${maxVersion} on another listener, under a name of its own`, () =>
      quiet(Effect.gen(function*() {
        const other = yield* issue({ names: ["other.test"], key: "rsa" })
        const { addresses } = yield* serving({
          listen: ["127.0.0.1:0", "127.0.0.1:0"],
          tlsSni: [named("other.test", other)]
        })
        const options = { maxVersion, servername: "other.test" }
        const first = yield* resume(addresses[0]!, options)
        const { isReused, tls } = yield* resume(addresses[1]!, { ...options, session: first.session })
        assert.isTrue(isReused)
        assert.strictEqual(tls.serverCert, new Crypto.X509Certificate(other.cert).toString())
      })))
  }
})

describe("server names", () => {
  it.live("choose the certificate: exact before wildcard, a wildcard for one label, in any case", () =>
    quiet(Effect.gen(function*() {
      const exact = yield* issue({ names: ["exact.test"] })
      const wild = yield* issue({ names: ["wild.test"] })
      const { address } = yield* serving({ tlsSni: [named("*.Example.test", wild), named("www.example.TEST", exact)] })
      const names = (servername: string) =>
        Effect.map(shaken(address, { ...anyName, servername }), ({ names }) => names)
      assert.strictEqual(yield* names("www.example.test"), "DNS:exact.test")
      assert.strictEqual(yield* names("WWW.Example.Test"), "DNS:exact.test")
      assert.strictEqual(yield* names("api.example.test"), "DNS:wild.test")
      assert.strictEqual(yield* names("API.example.test"), "DNS:wild.test")
      for (const other of ["example.test", "a.b.example.test", "localhost", "www.example.tes"]) {
        assert.strictEqual(yield* names(other), "DNS:localhost, IP Address:127.0.0.1", other)
      }
      assert.strictEqual(yield* names(""), "DNS:localhost, IP Address:127.0.0.1")
    })))

  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    for (const [kind, key] of [["an RSA", "rsa"], ["an ECDSA", "ec"]] as const) {
      it.live(`get ${kind} certificate beside a default of the other kind, with ${maxVersion}`, () =>
        quiet(Effect.gen(function*() {
          const fallback = yield* issue({ names: ["localhost"], key: key === "rsa" ? "ec" : "rsa" })
          const other = yield* issue({ names: ["other.test"], key })
          const { address } = yield* serving({
            tlsCert: fallback.certFile,
            tlsKey: fallback.keyFile,
            tlsSni: [named("other.test", other)]
          })
          const { tls } = yield* told(address, { servername: "other.test", maxVersion })
          assert.strictEqual(tls!.serverCert, new Crypto.X509Certificate(other.cert).toString())
          assert.strictEqual((yield* shaken(address, { maxVersion })).names, "DNS:localhost")
        })))
    }
  }

  it.live("have client certificates checked under each of them", () =>
    quiet(Effect.gen(function*() {
      const { client, root, stranger } = yield* certificates
      const other = yield* issue({ names: ["other.test"], key: "rsa" })
      const { address } = yield* serving({
        tlsSni: [named("other.test", other)],
        tlsCa: root.certFile,
        tlsClientCertificate: "required"
      })
      const servername = "other.test"
      assert.strictEqual(
        (yield* told(address, { servername, ...identity(client) })).tls!.clientCertName,
        "CN=Ada,O=Example"
      )
      yield* refusal(address, { servername, ...identity(stranger) })
      assert.strictEqual(yield* refusal(address, { servername }), "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED")
    })))
})

describe("ALPN", () => {
  const both = ["h2", "http/1.1"]
  for (
    const [what, http2, offered, chosen] of [
      ["picks h2 when it is offered, whatever the order", true, ["http/1.1", "h2"], "h2"],
      ["picks http/1.1 for a client that offers nothing else", true, ["spdy/3", "http/1.1"], "http/1.1"],
      ["picks http/1.1 when HTTP/2 is off", false, both, "http/1.1"],
      ["picks nothing for a client that does not ask", true, [], false]
    ] as const
  ) {
    it.live(`${what} [C125]`, () =>
      quiet(Effect.gen(function*() {
        const { address } = yield* serving({ http2 })
        assert.strictEqual((yield* shaken(address, { ALPNProtocols: [...offered] })).alpn, chosen)
      })))
  }

  it.live("serves HTTP/1.1 to clients that want it, asked for or not [C125]", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving()
      assert.include(yield* ask(address, { ALPNProtocols: ["http/1.1"] }), "HTTP/1.1 200 OK")
      assert.include(yield* ask(address), "HTTP/1.1 200 OK")
    })))

  it.live("refuses who offers other protocols only, by the alert of RFC 7301 [C125]", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving({ http2: false })
      for (const offered of ["spdy/3", "h2"]) {
        assert.strictEqual(
          yield* refusal(address, { ALPNProtocols: [offered] }),
          "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
        )
      }
    })))
})

describe("a TLS connection", () => {
  const piece = new Uint8Array(1000).fill(0x78)
  const pieces = App.http(({ send }) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.start", status: 200, headers: [["content-length", "200000"]] })
      for (let sent = 1; sent <= 200; sent++) {
        yield* send({ type: "http.response.body", body: piece, more: sent < 200 })
      }
    })
  )

  it.live("makes send wait at a small watermark, and go on when the client reads", () =>
    quiet(Effect.gen(function*() {
      const { address } = yield* serving({ writeHighWaterMark: 2000, writeTimeout: 0 }, pieces)
      const client = yield* connect(address)
      yield* client.send(request)
      assert.strictEqual(bodyOf(yield* client.readAll).length, 200_000)
    })))

  it.effect("is cut when the client takes nothing for writeTimeout", () =>
    quiet(Effect.gen(function*() {
      const reasons: Array<string> = []
      const endless: App.App<unknown> = App.http(({ connection, send }) => {
        connection.onDisconnect((reason) => reasons.push(reason))
        return Effect.andThen(
          send({ type: "http.response.start", status: 200 }),
          Effect.forever(send({ type: "http.response.body", body: new Uint8Array(100_000), more: true }))
        )
      })
      const { address } = yield* serving({ writeTimeout: "20 seconds" }, endless)
      const client = yield* connect(address)
      yield* client.send(request)
      yield* client.until(/200 OK/)
      client.socket.pause()
      yield* Effect.repeat(turn, { times: 200 })
      yield* TestClock.adjust("19 seconds")
      assert.deepStrictEqual(reasons, [])
      yield* TestClock.adjust("5 seconds")
      yield* until(() => reasons.length > 0)
      assert.deepStrictEqual(reasons, ["write_timeout"])
    })))

  it.live("is one of the server's connections until it closes", () =>
    quiet(Effect.gen(function*() {
      const { address, server } = yield* serving()
      const client = yield* connect(address)
      let open = 0
      while (open !== 1) {
        yield* turn
        open = (yield* server.stats).connections
      }
      client.socket.destroy()
      while (open !== 0) {
        yield* turn
        open = (yield* server.stats).connections
      }
      yield* until(() => client.socket.destroyed)
      assert.strictEqual((yield* server.stats).totalConnections, 1)
    })))
})
