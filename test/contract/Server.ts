/**
 * What every Server does, whatever its network: serve, addresses, stats, one App for each server, the order of the end,
 * and errors for settings that cannot be used. Each kind of server passes it with a way to make one and to connect.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as App from "../../src/app/App.ts"
import type { ServerOptions } from "../../src/schema/Settings.ts"
import * as Server from "../../src/service/Server.ts"
import { capture } from "../utils/logs.ts"
import * as Sockets from "../utils/sockets.ts"

/** One connection: what is sent goes out at once, what comes back is read until the server closes. */
export interface Connection {
  readonly send: (bytes: string) => Effect.Effect<void>
  readonly readAll: Effect.Effect<string>
}

/** A kind of server. `connect` goes to the first address of the server that `make` or `layer` has made. */
export interface Subject {
  readonly make: (options: ServerOptions) => Effect.Effect<typeof Server.Server.Service, Server.ServerError>
  readonly connect: (server: typeof Server.Server.Service) => Effect.Effect<Connection, unknown, Scope.Scope>
}

const get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
const hello = App.http(({ send }) => App.respond(send, 200, "hello"))

export const serverContract = (name: string, { connect, make }: Subject): void => {
  const ask = (server: typeof Server.Server.Service, bytes: string) =>
    Effect.scoped(Effect.gen(function*() {
      const connection = yield* connect(server)
      yield* connection.send(bytes)
      return yield* connection.readAll
    }))

  const test = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
    it.live(title, () => Effect.provide(Effect.suspend(body), capture().layer))

  describe(`${name} as a Server`, () => {
    test("serves once it is asked to, and knows where", () =>
      Effect.gen(function*() {
        const server = yield* make({})
        assert.deepStrictEqual(yield* server.addresses, [])
        const scope = yield* Scope.make()
        yield* Scope.provide(server.serve(hello), scope)
        assert.strictEqual((yield* server.addresses).length, 1)
        assert.include(yield* ask(server, get), "hello")
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* server.addresses, [])
        assert.strictEqual((yield* Effect.exit(ask(server, get)))._tag, "Failure")
      }))

    test("counts connections and exchanges, now and in all, and what it refused", () =>
      Effect.gen(function*() {
        const server = yield* make({})
        const zero = {
          connections: 0,
          exchanges: 0,
          totalConnections: 0,
          totalExchanges: 0,
          totalRefused: 0,
          totalCut: 0,
          isReady: false,
          isShuttingDown: false
        }
        assert.deepStrictEqual(yield* server.stats, zero)
        const gate = yield* Deferred.make<void>()
        const app = App.http(({ scope, send }) =>
          Effect.andThen(scope.path === "/waits" ? Deferred.await(gate) : Effect.void, App.respond(send, 200))
        )
        yield* server.serve(app)
        assert.deepStrictEqual(yield* server.stats, { ...zero, isReady: true })
        const waiting = yield* connect(server)
        yield* waiting.send(get.replace("/", "/waits"))
        yield* ask(server, get)
        yield* ask(server, "nonsense\r\n\r\n")
        let stats = yield* server.stats
        while (stats.connections !== 1) {
          yield* Sockets.turn
          stats = yield* server.stats
        }
        assert.deepStrictEqual(stats, {
          connections: 1,
          exchanges: 1,
          totalConnections: 3,
          totalExchanges: 2,
          totalRefused: 1,
          totalCut: 0,
          isReady: true,
          isShuttingDown: false
        })
        yield* Deferred.succeed(gate, undefined)
        yield* waiting.readAll
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    test("serves one App: a second serve fails with AlreadyServing, and the first goes on", () =>
      Effect.gen(function*() {
        const server = yield* make({})
        yield* server.serve(hello)
        const error = yield* Effect.flip(server.serve(App.http(() => Effect.die("never"))))
        assert.strictEqual(error.reason._tag, "AlreadyServing")
        assert.strictEqual(error.message, "This server already serves an application")
        assert.include(yield* ask(server, get), "hello")
      }))

    test("reloads nothing where there is nothing to read, before it serves and while it does", () =>
      Effect.gen(function*() {
        const server = yield* make({})
        yield* server.reload
        yield* server.serve(hello)
        yield* server.reload
        assert.include(yield* ask(server, get), "hello")
      }))

    test("may be asked again after a start that failed", () =>
      Effect.gen(function*() {
        const server = yield* make({})
        const refusing = App.byType({
          lifespan: ({ send }) => send({ type: "lifespan.startup.failed", message: "not yet" })
        })
        const error = yield* Effect.flip(server.serve(refusing))
        assert.deepStrictEqual(error.reason, { _tag: "StartupFailed", problem: "not yet" })
        assert.deepStrictEqual(yield* server.addresses, [])
        yield* server.serve(hello)
        assert.include(yield* ask(server, get), "hello")
      }))

    test("builds the App's services before it listens, and releases them after the last exchange and the lifespan", () =>
      Effect.gen(function*() {
        class Service extends Context.Service<Service, { readonly name: string }>()("test/contract/Service") {}
        const steps: Array<string> = []
        const step = (name: string) => Effect.sync(() => void steps.push(name))
        const server = yield* make({})
        const gate = yield* Deferred.make<void>()
        const service = Layer.effect(
          Service,
          Effect.as(
            Effect.acquireRelease(
              Effect.flatMap(server.addresses, (addresses) => step(`build, listening on ${addresses.length}`)),
              () => step("release")
            ),
            Service.of({ name: "service" })
          )
        )
        const app = App.byType({
          http: ({ send }) =>
            Effect.gen(function*() {
              yield* step("request")
              yield* Deferred.await(gate)
              const { name } = yield* Service
              yield* step(`answer with ${name}`)
              yield* App.respond(send, 200, name)
            }),
          lifespan: ({ receive, send }) =>
            Effect.gen(function*() {
              yield* receive
              yield* step("startup")
              yield* send({ type: "lifespan.startup.complete" })
              yield* receive
              yield* step("shutdown")
              yield* send({ type: "lifespan.shutdown.complete" })
            })
        })
        const scope = yield* Scope.make()
        const program = Server.serve(app).pipe(Layer.provide([service, Layer.succeed(Server.Server, server)]))
        yield* Layer.buildWithScope(program, scope)
        const connection = yield* connect(server)
        yield* connection.send(get)
        yield* Sockets.until(() => steps.includes("request"))
        const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        assert.isTrue((yield* server.stats).isShuttingDown)
        yield* Deferred.succeed(gate, undefined)
        assert.include(yield* connection.readAll, "service")
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(steps, [
          "build, listening on 0",
          "startup",
          "request",
          "answer with service",
          "shutdown",
          "release"
        ])
      }))

    for (
      const [what, options, named] of [
        ["a value out of range", { maxHeaderCount: 0 }, "maxHeaderCount"],
        ["settings that exclude each other", { listen: ["127.0.0.1:0"], port: 1 }, "listen"],
        ["an unknown setting", { maxHeaderCuont: 1 } as ServerOptions, "maxHeaderCuont"]
      ] as ReadonlyArray<readonly [string, ServerOptions, string]>
    ) {
      test(`is not made with ${what}, and names it`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(make(options))
          assert.strictEqual(error.reason._tag, "SettingsInvalid")
          assert.include(error.message, named)
        }))
    }
  })
}
