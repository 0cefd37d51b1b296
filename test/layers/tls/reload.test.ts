import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { spawn } from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { TLSSocket } from "node:tls"
import { fileURLToPath } from "node:url"
import type * as ServerNode from "../../../layers/ServerNode.ts"
import type { Address } from "../../../src/service/Server.ts"
import type { Issued, Request } from "../../utils/certificates.ts"
import { capture } from "../../utils/logs.ts"
import { serve as serveInMemory } from "../../utils/serve.ts"
import { until } from "../../utils/sockets.ts"
import { ask, certificates, connect, request, serving, telling, told } from "./client.ts"

const main = fileURLToPath(new URL("../../../dist/main.js", import.meta.url))

const issue = (request: Request) =>
  Effect.flatMap(certificates, ({ root }) => Effect.promise(() => root.issue(request)))
const leaf = (issued: Issued) => new Crypto.X509Certificate(issued.cert).toString()
const presented = (address: Address, servername = "localhost") =>
  Effect.map(told(address, { servername, checkServerIdentity: () => undefined }), ({ tls }) => tls!.serverCert)

let folders = 0

/** A certificate of the test's own on disk, and a way to put another in its place. */
const place = Effect.gen(function*() {
  const { folder } = yield* certificates
  const directory = Path.join(folder, `place ${++folders}`)
  Fs.mkdirSync(directory)
  const options = { tlsCert: Path.join(directory, "cert.pem"), tlsKey: Path.join(directory, "key.pem") }
  const put = ({ cert, key }: { readonly cert?: string; readonly key?: string }) =>
    Effect.sync(() => {
      if (cert !== undefined) Fs.writeFileSync(options.tlsCert, cert)
      if (key !== undefined) Fs.writeFileSync(options.tlsKey, key)
    })
  const first = yield* issue({ names: ["localhost"] })
  yield* put(first)
  return { directory, options, put, first }
})

/** Serves from a place, with what is logged of changes in `said`. */
const watching = <A, E, R>(
  more: ServerNode.Options,
  test: (
    context: Effect.Success<typeof place> & Effect.Success<ReturnType<typeof serving>> & {
      readonly said: () => ReadonlyArray<string>
    }
  ) => Effect.Effect<A, E, R>
) =>
  Effect.suspend(() => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const there = yield* place
      const server = yield* serving({ ...there.options, ...more })
      const said = () =>
        lines.filter(({ message }) => message.startsWith("The TLS files have changed"))
          .map(({ level, message }) => `${level} ${message}`)
      return yield* test({ ...there, ...server, said })
    }).pipe(Effect.provide(layer))
  })

const changed = "Info The TLS files have changed: new connections use them"

describe("a change of the TLS files", () => {
  it.effect("is seen after tlsReload and serves new connections; open ones go on [C123]", () =>
    watching({ keepAliveTimeout: 0, headerTimeout: 0 }, ({ address, first, put, said }) =>
      Effect.gen(function*() {
        const old = yield* connect(address)
        const second = yield* issue({ names: ["localhost"], key: "rsa" })
        yield* put(second)
        yield* TestClock.adjust("9 seconds")
        assert.strictEqual(yield* presented(address), leaf(first))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* presented(address), leaf(second))
        yield* old.send(request)
        const answer = yield* old.readAll
        assert.include(answer, JSON.stringify(leaf(first)))
        assert.deepStrictEqual(said(), [changed])
      })))

  it.effect("is seen when a link leads elsewhere", () =>
    watching({}, ({ address, options }) =>
      Effect.gen(function*() {
        const second = yield* issue({ names: ["localhost"] })
        for (const [path, target] of [[options.tlsCert, second.certFile], [options.tlsKey, second.keyFile]] as const) {
          Fs.symlinkSync(target, `${path}.new`)
          Fs.renameSync(`${path}.new`, path)
        }
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* presented(address), leaf(second))
      })))

  it.effect("that cannot be used is logged once, and what is in use is kept", () =>
    watching({}, ({ address, first, options, put, said }) =>
      Effect.gen(function*() {
        const second = yield* issue({ names: ["localhost"] })
        yield* put({ cert: second.cert })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* presented(address), leaf(first))
        assert.deepStrictEqual(said(), [
          `Error The TLS files have changed, but those in use are kept. Cannot use ${options.tlsKey} (tlsKey): ` +
          `the key does not belong to the certificate in ${options.tlsCert}`
        ])
        yield* put({ key: second.key })
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* presented(address), leaf(second))
        assert.strictEqual(said().at(-1), changed)
      })))

  it.effect("that removes a file is logged, until it is back", () =>
    watching({}, ({ address, first, options, put, said }) =>
      Effect.gen(function*() {
        Fs.rmSync(options.tlsCert)
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(yield* presented(address), leaf(first))
        assert.match(said().join(), /^Error [^,]*, but those in use are kept\. [^,]*there is no such file$/)
        yield* put(first)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(said().at(-1), changed)
      })))

  it.effect("of a named certificate is seen too", () =>
    Effect.gen(function*() {
      const there = yield* place
      const tlsSni = [`other.test=${there.options.tlsCert},${there.options.tlsKey}`]
      const { address } = yield* serving({ tlsSni })
      assert.strictEqual(yield* presented(address, "other.test"), leaf(there.first))
      const second = yield* issue({ names: ["other.test"] })
      yield* there.put(second)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* presented(address, "other.test"), leaf(second))
    }).pipe(Effect.provide(capture().layer)))

  it.effect("is not looked for when tlsReload is 0", () =>
    watching({ tlsReload: 0 }, ({ address, first, put }) =>
      Effect.gen(function*() {
        yield* put(yield* issue({ names: ["localhost"] }))
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual(yield* presented(address), leaf(first))
      })))

  it.effect("is not seen when there is none", () =>
    watching({}, ({ said }) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(said(), [])
      })))
})

describe("reload", () => {
  /** The session of one conversation, and whether it was an old one. */
  const session = (address: Address, old?: Buffer) =>
    Effect.scoped(Effect.gen(function*() {
      const client = yield* connect(address, old === undefined ? {} : { session: old })
      const isReused = client.socket.isSessionReused()
      let session: Buffer | undefined
      client.socket.on("session", (newer) => session = newer)
      yield* client.send(request)
      yield* client.readAll
      return { isReused, session: session! }
    }))

  it.live("reads the files at once, and keeps tickets valid", () =>
    watching({ tlsReload: 0 }, ({ address, put, server }) =>
      Effect.gen(function*() {
        const { session: old } = yield* session(address)
        const second = yield* issue({ names: ["localhost"] })
        yield* put(second)
        yield* server.reload
        assert.strictEqual(yield* presented(address), leaf(second))
        assert.isTrue((yield* session(address, old)).isReused)
      })))

  it.live("makes tickets void when the authorities of clients change", () =>
    Effect.gen(function*() {
      const { folder, root } = yield* certificates
      const tlsCa = Path.join(folder, "changing-ca.pem")
      Fs.writeFileSync(tlsCa, root.cert)
      const { address, server } = yield* serving({ tlsCa, tlsClientCertificate: "optional" })
      const { session: old } = yield* session(address)
      yield* server.reload
      assert.isTrue((yield* session(address, old)).isReused)
      const other = yield* Effect.promise(() => root.authority({}))
      Fs.writeFileSync(tlsCa, other.cert)
      yield* server.reload
      assert.isFalse((yield* session(address, old)).isReused)
    }).pipe(Effect.provide(capture().layer)))

  it.live("fails when a file cannot be used, and leaves everything as it was", () =>
    watching({}, ({ address, first, options, put, server }) =>
      Effect.gen(function*() {
        yield* put({ cert: "nonsense" })
        const error = yield* Effect.flip(server.reload)
        assert.deepInclude(error.reason, { _tag: "TlsFileUnusable", option: "tlsCert", path: options.tlsCert })
        assert.strictEqual(yield* presented(address), leaf(first))
        yield* put(first)
        yield* server.reload
      })))

  it.live("does nothing without TLS, on sockets and in memory", () =>
    Effect.gen(function*() {
      const { address, server } = yield* serving({ listen: ["http://127.0.0.1:0"] })
      yield* server.reload
      assert.strictEqual(address._tag === "tcp" ? address.scheme : "", "http")
      yield* (yield* serveInMemory(telling)).server.reload
    }).pipe(Effect.provide(capture().layer)))
})

/** Runs the command line until it ends or the test does. */
const program = (args: ReadonlyArray<string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const inherited = Object.entries(process.env).filter(([name]) =>
          !/^(?:SLIPWAY_|PORT$|NODE_ENV$|VITEST)/.test(name)
        )
        // Wherever the tests run: a container would listen on all networks.
        const env = { ...Object.fromEntries(inherited), SLIPWAY_CONTAINER: "0" }
        const child = spawn(process.execPath, [main, ...args], { env, stdio: ["ignore", "ignore", "pipe"] })
        const state = { child, output: "", exitCode: undefined as number | null | undefined }
        child.stderr.setEncoding("utf8").on("data", (text: string) => state.output += text)
        child.once("close", (code) => state.exitCode = code)
        return state
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (state) => ({
      signal: (name: NodeJS.Signals) => Effect.sync(() => void state.child.kill(name)),
      exited: Effect.map(until(() => state.exitCode !== undefined), () => state.exitCode!),
      output: () => state.output,
      prints: (pattern: RegExp) =>
        Effect.flatMap(until(() => pattern.test(state.output) || state.exitCode !== undefined), () => {
          const match = pattern.exec(state.output)
          return match === null
            ? Effect.die(new Error(`It ended without ${pattern}:\n${state.output}`))
            : Effect.succeed(match)
        })
    })
  )

const app = Effect.map(
  certificates,
  ({ write }) => write(`app ${++folders}.mjs`, "export default { fetch: () => new Response(\"hello\") }\n")
)

const leafOf = (socket: TLSSocket) => socket.getPeerX509Certificate()!.toString()

describe("the command line with TLS", { timeout: 60_000 }, () => {
  it.live("reads the files again on SIGHUP, drops nobody, and survives files it cannot use", () =>
    Effect.gen(function*() {
      const { first, options, put } = yield* place
      const tls = ["--tls-cert", options.tlsCert, "--tls-key", options.tlsKey, "--tls-reload", "0"]
      const slipway = yield* program([yield* app, "--port", "0", ...tls])
      const [, port] = yield* slipway.prints(/serving .* on https:\/\/127\.0\.0\.1:(\d+)/)
      const address: Address = { _tag: "tcp", host: "127.0.0.1", port: Number(port) }
      const old = yield* connect(address)
      assert.strictEqual(leafOf(old.socket), leaf(first))

      const second = yield* issue({ names: ["localhost"] })
      yield* put(second)
      yield* slipway.signal("SIGHUP")
      yield* slipway.prints(/Reloaded/)
      assert.strictEqual(leafOf((yield* connect(address)).socket), leaf(second))

      yield* put({ key: "nonsense" })
      yield* slipway.signal("SIGHUP")
      yield* slipway.prints(/Not reloaded, what is in use is kept.*key\.pem \(tlsKey\)/)
      assert.strictEqual(leafOf((yield* connect(address)).socket), leaf(second))

      yield* old.send(request)
      assert.include(yield* old.readAll, "hello")
      yield* slipway.signal("SIGTERM")
      assert.strictEqual(yield* slipway.exited, 0)
    }))

  it.live("works in every worker that has the files, and all listeners of one share their context [C124]", () =>
    Effect.gen(function*() {
      const { first, options } = yield* place
      const flags = ["--tls-cert", options.tlsCert, "--tls-key", options.tlsKey]
      const listen = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]
      for (const worker of ["1", "2"]) {
        const slipway = yield* program([yield* app, "--worker-number", worker, ...listen, ...flags])
        const [, ...ports] = yield* slipway.prints(/on https:\/\/127\.0\.0\.1:(\d+), https:\/\/127\.0\.0\.1:(\d+)/)
        const [one, other] = ports.map((port): Address => ({ _tag: "tcp", host: "127.0.0.1", port: Number(port) }))
        const client = yield* connect(one!)
        assert.strictEqual(leafOf(client.socket), leaf(first))
        let ticket: Buffer | undefined
        client.socket.on("session", (session) => ticket = session)
        yield* client.send(request)
        assert.include(yield* client.readAll, "hello")
        yield* until(() => ticket !== undefined)
        const resumed = yield* connect(other!, { session: ticket! })
        assert.isTrue(resumed.socket.isSessionReused())
        yield* resumed.send(request)
        assert.include(yield* resumed.readAll, "hello")
      }
    }))

  it.live("goes on after SIGHUP without TLS", () =>
    Effect.gen(function*() {
      const slipway = yield* program([yield* app, "--port", "0"])
      yield* slipway.prints(/serving .* on http:/)
      yield* slipway.signal("SIGHUP")
      yield* slipway.prints(/Reloaded/)
      yield* slipway.signal("SIGTERM")
      assert.strictEqual(yield* slipway.exited, 0)
    }))

  it.live("does not start with a file it cannot use, and says which [C123]", () =>
    Effect.gen(function*() {
      const { options } = yield* place
      Fs.rmSync(options.tlsKey)
      const slipway = yield* program([yield* app, "--tls-cert", options.tlsCert, "--tls-key", options.tlsKey])
      assert.strictEqual(yield* slipway.exited, 1)
      assert.include(slipway.output(), `Cannot use ${options.tlsKey} (tlsKey): there is no such file`)
      assert.notInclude(slipway.output(), "serving")
    }))

  it.live("answers on https and http, with names of its own, as its flags say [W6]", () =>
    Effect.gen(function*() {
      const { options } = yield* place
      const other = yield* issue({ names: ["other.test"] })
      const listen = ["--listen", "127.0.0.1:0", "--listen", "http://127.0.0.1:0"]
      const sni = ["--tls-sni", `other.test=${other.certFile},${other.keyFile}`]
      const tls = ["--tls-cert", options.tlsCert, "--tls-key", options.tlsKey, ...sni]
      const slipway = yield* program([yield* app, ...listen, ...tls])
      const [, port, clear] = yield* slipway.prints(/on https:\/\/127\.0\.0\.1:(\d+), http:\/\/127\.0\.0\.1:(\d+)/)
      const address: Address = { _tag: "tcp", host: "127.0.0.1", port: Number(port) }
      assert.include(yield* ask(address, { servername: "other.test" }), "hello")
      const answer = yield* Effect.promise(async () => (await fetch(`http://127.0.0.1:${clear}/`)).text())
      assert.strictEqual(answer, "hello")
    }))
})
