import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Http2 from "node:http2"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import { entries } from "../../../src/schema/Settings.ts"
import { answersIn, request } from "../../utils/answers.ts"
import { certificates } from "../../utils/certificates.ts"
import * as CommandLine from "../../utils/commandLine.ts"
import { capture } from "../../utils/logs.ts"
import * as Nginx from "../../utils/nginx.ts"
import { connect, until } from "../../utils/sockets.ts"
import * as Ws from "../../utils/webSocket.ts"
import { framesIn } from "../../utils/wires.ts"

if (Nginx.missing !== undefined) console.log(`Not tested: serving behind nginx, because ${Nginx.missing}`)

/** What docs/proxies.md tells an operator to write. */
const location = `
    location /shop/ {
      proxy_pass http://app/;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $host;
      proxy_buffering off;
    }
`

const factsOf = ({ scope }: App.ClientExchange): string =>
  JSON.stringify([scope.type, scope.client, scope.scheme, scope.rootPath, scope.path])

/** Tells what it was told, in every protocol. */
const telling = App.byType({
  http: (exchange) => App.respond(exchange.send, 200, factsOf(exchange)),
  sse: (exchange) =>
    Effect.gen(function*() {
      yield* exchange.send({ type: "sse.start" })
      yield* exchange.send({ type: "sse.send", data: factsOf(exchange) })
      return yield* Effect.never
    }),
  websocket: (exchange) =>
    Effect.gen(function*() {
      yield* exchange.receive
      yield* exchange.send({ type: "websocket.accept" })
      yield* exchange.send({ type: "websocket.send", text: factsOf(exchange) })
      return yield* Effect.never
    })
})

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-nginx-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { force: true, recursive: true }))
)

/** Serves behind an nginx, which asks over TCP or a unix socket; gives a way to ask nginx. */
const behindNginx = Effect.fnUntraced(
  function*(over: "TCP" | "unix") {
    const folder = yield* temporaryFolder
    const path = Path.join(folder, "app.sock")
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const server = yield* ServerNode.make({
      ...(over === "TCP" ? { port: 0, trustedProxies: ["127.0.0.1"] } : { unix: path, trustedProxies: ["unix"] }),
      rootPath: "/shop",
      disconnectGrace: 0,
      shutdownTimeout: 0
    })
    yield* Scope.provide(server.serve(telling), scope)
    const [address] = yield* server.addresses
    const upstream = address!._tag === "tcp" ? `127.0.0.1:${address!.port}` : `unix:${path}`
    const socket = yield* Nginx.nginx(folder, upstream, location)
    return Effect.fnUntraced(function*(lines: ReadonlyArray<string>, pattern: RegExp) {
      const client = yield* connect({ _tag: "unix", path: socket })
      const said = [`${Nginx.clientHeader}: 203.0.113.7`, "x-forwarded-for: 6.6.6.6", ...lines]
      yield* client.send(request("GET /shop/cart", said))
      return yield* client.until(pattern)
    })
  },
  Effect.provide(capture().layer)
)

describe.skipIf(Nginx.missing !== undefined)("nginx", () => {
  for (const over of ["TCP", "unix"] as const) {
    const facts = (type: string, scheme: string) => JSON.stringify([type, ["203.0.113.7", 0], scheme, "/shop", "/cart"])

    it.live(`says who the client is, over ${over}, on http, sse and websocket [C191]`, () =>
      Effect.gen(function*() {
        const ask = yield* behindNginx(over)
        assert.include(yield* ask([], /\]/), facts("http", "https"))
        assert.include(yield* ask(["accept: text/event-stream"], /data: .*\]/), facts("sse", "https"))
        assert.include(yield* ask(Ws.handshakeLines, /\]/), facts("websocket", "wss"))
      }))
  }
})

// ---- the site of deploy/nginx

/** Says which process has answered which request. */
const processes = `
import * as Effect from "effect/Effect"

export default ({ scope, send, type }) =>
  type !== "http" ? Effect.void : Effect.andThen(
    send({ type: "http.response.start", status: 200, headers: [] }),
    send({ type: "http.response.body", body: "<" + scope.path.slice(1) + " " + process.pid + ">" })
  )
`

const certificateOf = Effect.promise(async () => {
  const { root } = await certificates()
  return { authority: root, certificate: await root.issue({ names: ["example.com"] }) }
})

/** Serves behind the shipped site, over the upstream of either file. */
const behindSite = Effect.fnUntraced(
  function*<E>(app: App.App<E>, over: "tcp" | "unix" | "compose" = "tcp") {
    const folder = yield* temporaryFolder
    const path = Path.join(folder, "app.sock")
    const server = yield* ServerNode.make({
      ...(over === "unix" ? { unix: path, trustedProxies: ["unix"] } : { port: 0, trustedProxies: ["127.0.0.1"] }),
      disconnectGrace: 0,
      shutdownTimeout: 0
    })
    yield* server.serve(app)
    const [address] = yield* server.addresses
    const { authority, certificate } = yield* certificateOf
    const upstream = address!._tag === "tcp" ? `127.0.0.1:${address!.port}` : `unix:${path}`
    const upstreamFile = `upstream-${over}.conf` as const
    const site = yield* Nginx.site({ folder, upstreamFile, server: upstream, certificate })
    return { server, site, authority, client: Nginx.client(site.https, authority) }
  },
  Effect.provide(capture().layer)
)

const asking = (start: string, lines: ReadonlyArray<string> = []): string =>
  request(start, lines).replace("host: a", "host: example.com")

const byPath = (respond: (path: string) => string) =>
  App.http(({ scope, send }) => App.respond(send, 200, respond(scope.path)))

describe.skipIf(Nginx.missing !== undefined)("deploy/nginx", { timeout: 60_000 }, () => {
  for (const over of ["tcp", "unix", "compose"] as const) {
    it.live(`passes requests on over kept connections: ${over} [C169]`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* behindSite(byPath((path) => `<${path}>`), over)
        const { send, until: received } = yield* client
        for (const path of ["/1", "/2", "/3"]) {
          send(asking(`GET ${path}`))
          yield* received(new RegExp(`<${path}>`))
        }
        const answers = answersIn(yield* received(/<\/3>/))
        assert.deepStrictEqual(answers.map(({ status, body }) => [status, body]), [
          [200, "</1>"],
          [200, "</2>"],
          [200, "</3>"]
        ])
        assert.strictEqual((yield* server.stats).totalConnections, 1)
      }))

    it.live(`says who the client is and what it asked for, whatever the client claims: ${over} [C169] [C191]`, () =>
      Effect.gen(function*() {
        const { client } = yield* behindSite(
          App.http(({ scope, send }) => {
            const told = scope.headers.filter(([name]) => /forwarded/.test(name)).map(([name]) => name)
            return App.respond(send, 200, JSON.stringify([scope.client, scope.scheme, scope.server, told.sort()]))
          }),
          over
        )
        const { send, until: received } = yield* client
        send(asking("GET /", [
          `${Nginx.clientHeader}: 203.0.113.7`,
          "x-forwarded-for: 6.6.6.6",
          "x-forwarded-proto: http",
          "x-forwarded-host: evil.example",
          "x-forwarded-port: 666",
          "forwarded: for=6.6.6.6;proto=http"
        ]))
        const [answer] = answersIn(yield* received(/\]\]$/))
        const [address, scheme, [host], told] = JSON.parse(answer!.body) as [unknown, string, [string], Array<string>]
        assert.deepStrictEqual(address, ["203.0.113.7", 0])
        assert.strictEqual(scheme, "https")
        assert.strictEqual(host, "example.com")
        assert.isFalse(told.includes("forwarded"))
        assert.include(told, "x-forwarded-host")
      }))
  }

  it.live("lets WebSockets through, in both directions [C169]", () =>
    Effect.gen(function*() {
      const { client } = yield* behindSite(App.websocket(Ws.echo))
      const { send, until: received } = yield* client
      send(asking("GET /chat", Ws.handshakeLines))
      const head = yield* received(/\r\n\r\n/)
      assert.match(head, /^HTTP\/1\.1 101 /)
      send(Ws.text("ahoy").toString("latin1"))
      const all = yield* received(/ahoy/)
      assert.deepStrictEqual(framesIn(all.slice(all.indexOf("\r\n\r\n") + 4)).map(Ws.inWords), ["text ahoy"])
    }))

  it.live("gives events one by one, as they are sent [C169]", () =>
    Effect.gen(function*() {
      const seen = yield* Deferred.make<void>()
      const { client } = yield* behindSite(App.sse(({ send }) =>
        Effect.gen(function*() {
          yield* send({ type: "sse.start" })
          yield* send({ type: "sse.send", data: "first" })
          yield* Deferred.await(seen)
          yield* send({ type: "sse.send", data: "second" })
          return yield* Effect.never
        })
      ))
      const { send, until: received } = yield* client
      send(asking("GET /feed", ["accept: text/event-stream"]))
      assert.notInclude(yield* received(/data: first/), "second")
      yield* Deferred.succeed(seen, undefined)
      yield* received(/data: second/)
    }))

  it.live("speaks HTTP/2 with clients that do [C169]", () =>
    Effect.gen(function*() {
      const { authority, site } = yield* behindSite(
        App.http(({ scope, send }) => App.respond(send, 200, `${scope.httpVersion} ${scope.scheme} ${scope.path}`))
      )
      const session = yield* Effect.acquireRelease(
        Effect.sync(() =>
          Http2.connect("https://example.com", { createConnection: () => Nginx.tlsTo(site.https, authority, "h2") })
        ),
        (session) => Effect.sync(() => session.destroy())
      )
      const bodyOf = (path: string) =>
        Effect.callback<string>((resume) => {
          let body = ""
          const stream = session.request({ ":path": path }).setEncoding("utf8")
          stream.on("data", (text: string) => body += text)
          stream.on("end", () => resume(Effect.succeed(body)))
        })
      const bodies = yield* Effect.all([bodyOf("/a"), bodyOf("/b")], { concurrency: "unbounded" })
      assert.deepStrictEqual(bodies, ["1.1 https /a", "1.1 https /b"])
    }))

  it.live("refuses the bodies that Slipway would refuse [C169]", () =>
    Effect.gen(function*() {
      const { client } = yield* behindSite(byPath(() => "never asked"))
      const maxBodyBytes = entries.find(({ key }) => key === "maxBodyBytes")!.default as number
      assert.include(Nginx.shipped("slipway.conf"), `client_max_body_size ${maxBodyBytes};`)
      const { send, until: received } = yield* client
      send(asking("POST /", [`content-length: ${maxBodyBytes + 1}`]))
      assert.match(yield* received(/<\/html>/), /^HTTP\/1\.1 413 /)
    }))

  it.live("sends who comes without TLS to the site's own name [C169]", () =>
    Effect.gen(function*() {
      const { site } = yield* behindSite(byPath(() => "never asked"))
      const client = yield* connect({ _tag: "unix", path: site.http })
      yield* client.send(request("GET /a?b=c", ["x-forwarded-host: evil.example"]))
      const [answer] = answersIn(yield* client.until(/<\/html>/))
      assert.strictEqual(answer!.status, 308)
      assert.strictEqual(answer!.header("location"), "https://example.com/a?b=c")
    }))

  it.live("closes connections to Slipway before Slipway does", () =>
    Effect.sync(() => {
      const keepAlive = entries.find(({ key }) => key === "keepAliveTimeout")!.default as string
      assert.match(keepAlive, /^\d+ seconds$/)
      for (const name of ["upstream-tcp.conf", "upstream-unix.conf", "upstream-compose.conf"]) {
        const [, seconds] = /keepalive_timeout (\d+)s;/.exec(Nginx.shipped(name))!
        assert.isBelow(Number(seconds), parseInt(keepAlive), name)
      }
    }))

  it.live(
    "loses no request while the workers behind it are replaced [C169]",
    () =>
      Effect.gen(function*() {
        const cwd = yield* CommandLine.folder({ "app.mjs": processes })
        const socket = Path.join(cwd, "app.sock")
        const program = yield* CommandLine.start(
          ["app.mjs", "--workers", "2", "--unix", socket, "--trusted-proxies", "unix", "--no-access-log"],
          { cwd, env: { SLIPWAY_ENV: "production" } }
        )
        yield* program.ready
        const { authority, certificate } = yield* certificateOf
        const site = yield* Nginx.site({
          folder: yield* temporaryFolder,
          upstreamFile: "upstream-unix.conf",
          server: `unix:${socket}`,
          certificate
        })
        let rounds = 0
        let isOver = false
        const asks = Effect.gen(function*() {
          const { send, until: received } = yield* Nginx.client(site.https, authority)
          const said: Array<string> = []
          for (let count = 1; !isOver; count++) {
            send(asking(`GET /${count}`))
            const answers = answersIn(yield* received(new RegExp(`<${count} \\d+>`)))
            said.push(answers.at(-1)!.body)
            rounds++
          }
          return said
        })
        const clients = yield* Effect.forkChild(Effect.all([asks, asks, asks, asks], { concurrency: "unbounded" }), {
          startImmediately: true
        })
        yield* until(() => rounds >= 20)
        program.child.kill("SIGHUP")
        yield* program.waitFor("stderr", /Restarted 2 workers/)
        const before = rounds
        yield* until(() => rounds >= before + 20)
        isOver = true
        const said = yield* Fiber.join(clients)
        for (const bodies of said) {
          assert.deepStrictEqual(
            bodies.map((body) => body.split(" ")[0]),
            bodies.map((_, index) => `<${index + 1}`)
          )
        }
        assert.isAbove(new Set(said.flat().map((body) => body.split(" ")[1])).size, 1)
      })
  )
})
