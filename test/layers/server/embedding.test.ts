/** The server as a part of a program that is more than a server: it takes nothing of the process for itself. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import * as Server from "../../../src/service/Server.ts"

const app = (text: string) => App.http(({ send }) => App.respond(send, 200, text))

const urlOf = (server: typeof Server.Server.Service) =>
  Effect.map(server.addresses, ([address]) => Server.formatAddress(address!))

const get = (url: string) => Effect.promise(async () => (await fetch(url, { headers: { connection: "close" } })).text())

const isClosed = (url: string) => Effect.promise(() => fetch(url).then(() => false, () => true))

/** Starts a server in a scope that the program keeps. */
const started = Effect.fnUntraced(function*(text: string) {
  const scope = yield* Scope.make()
  const server = yield* Scope.provide(ServerNode.make({ port: 0 }), scope)
  yield* Scope.provide(server.serve(app(text)), scope)
  return { server, url: yield* urlOf(server), stop: Scope.close(scope, Exit.void) }
})

/** What a process has but once. */
const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"]
const events = ["exit", "beforeExit", "uncaughtException", "unhandledRejection", "message", "disconnect"]
const listeners = (): ReadonlyArray<number> => [...signals, ...events].map((name) => process.listenerCount(name))

describe("embedding", () => {
  it.live("starts in the scope of a program and stops with it, twice in one process [C167]", () =>
    Effect.gen(function*() {
      const one = yield* started("one")
      const two = yield* started("two")
      assert.notStrictEqual(one.url, two.url)
      assert.deepStrictEqual([yield* get(one.url), yield* get(two.url)], ["one", "two"])
      yield* one.stop
      assert.isTrue(yield* isClosed(one.url))
      assert.strictEqual(yield* get(two.url), "two")
      assert.strictEqual((yield* two.server.stats).totalExchanges, 2)
      yield* two.stop
      assert.isTrue(yield* isClosed(two.url))
    }))

  it.live("starts again after it was stopped [C167]", () =>
    Effect.gen(function*() {
      for (const text of ["first", "second"]) {
        const { stop, url } = yield* started(text)
        assert.strictEqual(yield* get(url), text)
        yield* stop
      }
    }))

  it.live("is several servers of one program as Layers, each with its own application [C167]", () =>
    Effect.gen(function*() {
      const serving = (text: string) =>
        Layer.effectContext(
          Effect.gen(function*() {
            const server = yield* Server.Server
            yield* server.serve(app(text))
            return Context.make(Url, yield* urlOf(server))
          })
        ).pipe(Layer.provide(Layer.fresh(ServerNode.layer({ port: 0 }))))
      const urls = yield* Effect.all([
        Effect.map(Layer.build(serving("left")), (context) => Context.get(context, Url)),
        Effect.map(Layer.build(serving("right")), (context) => Context.get(context, Url))
      ])
      assert.deepStrictEqual(yield* Effect.forEach(urls, get), ["left", "right"])
    }))

  it.live("installs no handler of signals or of anything else that a process has but once [C167]", () =>
    Effect.gen(function*() {
      const before = listeners()
      const { stop, url } = yield* started("quiet")
      yield* get(url)
      assert.deepStrictEqual(listeners(), before)
      yield* stop
      assert.deepStrictEqual(listeners(), before)
    }))
})

class Url extends Context.Service<Url, string>()("test/Url") {}
