/** A TLS client, an App that tells what it was told, and servers with certificates. Every wait is for an event. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Tls from "node:tls"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import type { Tls as TlsInfo } from "../../../src/schema/Scope.ts"
import type { Address } from "../../../src/service/Server.ts"
import * as Certificates from "../../utils/certificates.ts"
import { capture } from "../../utils/logs.ts"
import { bodyOf } from "../../utils/serve.ts"
import { until } from "../../utils/sockets.ts"

export interface Client {
  readonly socket: Tls.TLSSocket
  readonly send: (text: string) => Effect.Effect<void>
  /** Succeeds with everything received once it matches. */
  readonly until: (pattern: RegExp) => Effect.Effect<string>
  /** Everything received until the server has closed. **Fails with** the error that closed it. */
  readonly readAll: Effect.Effect<string, NodeJS.ErrnoException>
}

/** What the application was told. */
export interface Told {
  readonly scheme: string
  readonly tls: TlsInfo | null
}

export const request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

/** Answers with what the scope says about TLS. */
export const telling = App.http(({ scope, send }) =>
  App.respond(send, 200, JSON.stringify({ scheme: scope.scheme, tls: scope.extensions.tls ?? null }))
)

export const certificates = Effect.promise(Certificates.certificates)

/** Runs without printing what is logged. */
export const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, capture().layer)

/** Connects and completes our side of a handshake; closes with the scope. **Fails with** what the socket says. */
export const connect = (
  address: Address,
  options: Tls.ConnectionOptions = {}
): Effect.Effect<Client, NodeJS.ErrnoException, Scope.Scope> =>
  Effect.gen(function*() {
    const { root } = yield* certificates
    const { host, port } = address as Extract<Address, { readonly _tag: "tcp" }>
    const socket = yield* Effect.acquireRelease(
      Effect.callback<Tls.TLSSocket, NodeJS.ErrnoException>((resume) => {
        const socket = Tls.connect({ host, port, servername: "localhost", ca: root.cert, ...options })
        socket.once("error", (error) => resume(Effect.fail(error)))
        socket.once("close", () => resume(Effect.fail(new Error("closed before the handshake was complete"))))
        socket.once("secureConnect", () => resume(Effect.succeed(socket)))
      }),
      (socket) => Effect.sync(() => socket.destroy())
    )
    return makeClient(socket)
  })

const makeClient = (socket: Tls.TLSSocket): Client => {
  let received = ""
  let isOver = false
  let error: NodeJS.ErrnoException | undefined
  socket.setEncoding("latin1")
  socket.on("data", (text: string) => received += text)
  socket.on("error", (failure) => error = failure)
  socket.on("end", () => isOver = true)
  socket.on("close", () => isOver = true)
  const readAll = Effect.flatMap(
    until(() => isOver),
    (): Effect.Effect<string, NodeJS.ErrnoException> =>
      error === undefined ? Effect.succeed(received) : Effect.fail(error)
  )
  return {
    socket,
    send: (text) => Effect.sync(() => void socket.write(text, "latin1")),
    until: (pattern) =>
      Effect.flatMap(until(() => isOver || pattern.test(received)), () =>
        pattern.test(received)
          ? Effect.succeed(received)
          : Effect.die(new Error(`Closed before ${String(pattern)}: ${JSON.stringify(received)}`))),
    readAll
  }
}

/** Asks once on a connection of its own, and gives the answer. */
export const ask = (address: Address, options: Tls.ConnectionOptions = {}) =>
  Effect.scoped(Effect.gen(function*() {
    const client = yield* connect(address, options)
    yield* client.send(request)
    const answer = yield* client.readAll
    if (answer === "") return yield* Effect.fail<NodeJS.ErrnoException>(new Error("closed without an answer"))
    return answer
  }))

/** Asks `telling` once, and gives what it was told. */
export const told = (address: Address, options: Tls.ConnectionOptions = {}) =>
  Effect.map(ask(address, options), (answer): Told => JSON.parse(bodyOf(answer)) as Told)

/** Options of a server that shows the test's certificate on any free port. */
export const secure = Effect.map(certificates, ({ server }): ServerNode.Options => ({
  port: 0,
  tlsCert: server.certFile,
  tlsKey: server.keyFile
}))

/** Serves with TLS until the test's scope closes, or `stop`. */
export const serving = Effect.fnUntraced(function*(
  options: ServerNode.Options = {},
  app: App.App<unknown> = telling
) {
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
  const defaults = yield* secure
  const server = yield* ServerNode.make(
    options.listen === undefined
      ? { ...defaults, ...options }
      : { tlsCert: defaults.tlsCert, tlsKey: defaults.tlsKey, ...options }
  )
  yield* Scope.provide(server.serve(app), scope)
  const addresses = yield* server.addresses
  return { server, addresses, address: addresses[0]!, stop: Scope.close(scope, Exit.void) }
})
