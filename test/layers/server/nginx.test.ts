import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import { request } from "../../utils/answers.ts"
import { capture } from "../../utils/logs.ts"
import * as Nginx from "../../utils/nginx.ts"
import { connect } from "../../utils/sockets.ts"
import * as Ws from "../../utils/webSocket.ts"

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

/** Serves behind an nginx, which asks over TCP or a unix socket; gives a way to ask nginx. */
const behindNginx = Effect.fnUntraced(
  function*(over: "TCP" | "unix") {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-nginx-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { force: true, recursive: true }))
    )
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
