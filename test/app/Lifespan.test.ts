import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import * as Lifespan from "../../src/app/Lifespan.ts"
import { capture, type Line } from "../utils/logs.ts"
import { bodyOf } from "../utils/serve.ts"
import { serveStoppable } from "../utils/stoppable.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const plain = App.http(({ scope, send }) => App.respond(send, 200, JSON.stringify(scope.state ?? null)))

/** Hooks that write down when they run, and fail with their name where told to. */
const steps = () => {
  const steps: Array<string> = []
  const step = (name: string, fails: boolean) =>
    Effect.suspend(() => {
      steps.push(name)
      return fails ? Effect.fail(new Error(`${name} failed`)) : Effect.void
    })
  const hooks = (name: string, fails: "startup" | "shutdown" | "nothing" = "nothing") =>
    Lifespan.hooks({
      startup: () => step(`start ${name}`, fails === "startup"),
      shutdown: () => step(`stop ${name}`, fails === "shutdown")
    })
  return { steps, hooks }
}

const serveAndStop = <E, R>(app: App.App<E, R>) =>
  Effect.gen(function*() {
    const { stop } = yield* serveStoppable(app, { lifespan: "on" })
    yield* Fiber.join(yield* stop)
  })

const errors = (lines: ReadonlyArray<Line>) =>
  lines.filter(({ level }) => level === "Error").map(({ message }) => message)

describe("Lifespan", () => {
  describe("hooks", () => {
    it.effect("run startups from the outermost to the innermost, and shutdowns the other way [C106]", () =>
      Effect.gen(function*() {
        const { hooks, steps: seen } = steps()
        yield* serveAndStop(hooks("a")(hooks("b")(hooks("c")(plain))))
        assert.deepStrictEqual(seen, ["start a", "start b", "start c", "stop c", "stop b", "stop a"])
      }))

    it.effect("run around an application with a lifespan of its own [C106]", () =>
      Effect.gen(function*() {
        const { hooks, steps: seen } = steps()
        const app = App.byType({
          lifespan: ({ receive, send }) =>
            Effect.gen(function*() {
              seen.push((yield* receive).type)
              yield* send({ type: "lifespan.startup.complete" })
              seen.push((yield* receive).type)
              yield* send({ type: "lifespan.shutdown.complete" })
              seen.push("returned")
            })
        })
        yield* serveAndStop(hooks("a")(hooks("b")(app)))
        assert.deepStrictEqual(seen, [
          "start a",
          "start b",
          "lifespan.startup",
          "lifespan.shutdown",
          "stop b",
          "stop a",
          "returned"
        ])
      }))

    it.effect("run all shutdowns even when one fails, and report every failure once [C106]", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { hooks, steps: seen } = steps()
        yield* serveAndStop(hooks("a", "shutdown")(hooks("b")(hooks("c", "shutdown")(plain))))
        assert.deepStrictEqual(seen.slice(3), ["stop c", "stop b", "stop a"])
        assert.deepStrictEqual(errors(lines), [
          "The application failed to stop cleanly: stop c failed; stop a failed"
        ])
      }).pipe(Effect.provide(layer))
    })

    it.effect("refuse to serve when a startup fails, after shutting down what had started [C106]", () =>
      Effect.gen(function*() {
        const { hooks, steps: seen } = steps()
        const { server } = yield* ServerMemory.make()
        const error = yield* Effect.flip(server.serve(hooks("a")(hooks("b")(hooks("c", "startup")(hooks("d")(plain))))))
        assert.strictEqual(error.message, "The application did not start: start c failed")
        assert.deepStrictEqual(seen, ["start a", "start b", "start c", "stop b", "stop a"])
      }))

    it.effect("shut down when the application inside refuses to start, and tell both failures", () =>
      Effect.gen(function*() {
        const { hooks, steps: seen } = steps()
        const app = App.byType({
          lifespan: ({ send }) => send({ type: "lifespan.startup.failed", message: "no licence" })
        })
        const { server } = yield* ServerMemory.make()
        const error = yield* Effect.flip(server.serve(hooks("a", "shutdown")(app)))
        assert.strictEqual(error.message, "The application did not start: no licence; stop a failed")
        assert.deepStrictEqual(seen, ["start a", "stop a"])
      }))

    it.effect("turn whatever a startup fails with into a message", () =>
      Effect.gen(function*() {
        const failures: ReadonlyArray<readonly [Effect.Effect<never, unknown>, string]> = [
          [Effect.fail(new Error("an error")), "an error"],
          [Effect.fail("a text"), "a text"],
          [Effect.die(new Error("a defect")), "a defect"],
          [
            Effect.suspend(() => {
              throw new Error("an exception")
            }),
            "an exception"
          ]
        ]
        for (const [failure, message] of failures) {
          const { server } = yield* ServerMemory.make()
          const error = yield* Effect.flip(server.serve(Lifespan.hooks({ startup: () => failure })(plain)))
          assert.strictEqual(error.message, `The application did not start: ${message}`)
        }
        const { server } = yield* ServerMemory.make()
        const thrown = Lifespan.hooks({
          startup: (): Effect.Effect<void> => {
            throw new Error("thrown at once")
          }
        })
        const error = yield* Effect.flip(server.serve(thrown(plain)))
        assert.strictEqual(error.message, "The application did not start: thrown at once")
      }))

    it.effect("give what they leave in the state to every request, and to the shutdown", () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const app = Lifespan.hooks({
          startup: (state) => Effect.sync(() => void (state.greeting = "hello")),
          shutdown: (state) => Effect.sync(() => seen.push(state.greeting))
        })(plain)
        const { connect, stop } = yield* serveStoppable(app)
        const client = yield* connect()
        yield* client.send(get)
        assert.strictEqual(bodyOf(yield* client.read), `{"greeting":"hello"}`)
        yield* client.end
        yield* Fiber.join(yield* stop)
        assert.deepStrictEqual(seen, ["hello"])
      }))

    it.effect("use services", () =>
      Effect.gen(function*() {
        class Name extends Context.Service<Name, string>()("test/Name") {}
        const seen: Array<string> = []
        const note = (what: string) => Effect.map(Name, (name) => void seen.push(`${what} ${name}`))
        const app = Lifespan.hooks({ startup: () => note("start"), shutdown: () => note("stop") })(plain)
        yield* Effect.provideService(serveAndStop(app), Name, "db")
        assert.deepStrictEqual(seen, ["start db", "stop db"])
      }))

    it.effect("may be given one at a time, or not at all", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        yield* serveAndStop(Lifespan.hooks({ startup: () => Effect.sync(() => seen.push("start")) })(plain))
        yield* serveAndStop(Lifespan.hooks({ shutdown: () => Effect.sync(() => seen.push("stop")) })(plain))
        yield* serveAndStop(Lifespan.hooks({})(plain))
        assert.deepStrictEqual(seen, ["start", "stop"])
      }))

    it.effect("leave other exchanges alone: they are the same objects", () =>
      Effect.gen(function*() {
        const seen: Array<App.Exchange> = []
        const app: App.App = (exchange) => Effect.sync(() => void seen.push(exchange))
        const exchange = { type: "http" } as App.HttpExchange
        yield* Lifespan.hooks({ startup: () => Effect.die("no") })(app)(exchange)
        assert.strictEqual(seen[0], exchange)
      }))

    it.effect("go on without an application whose lifespan breaks while it serves, and log it", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { hooks, steps: seen } = steps()
        const app = App.byType({
          lifespan: ({ receive, send }) =>
            Effect.gen(function*() {
              yield* receive
              yield* send({ type: "lifespan.startup.complete" })
              return yield* Effect.die(new Error("the watcher broke"))
            })
        })
        const { stop } = yield* serveStoppable(hooks("a")(app))
        assert.deepStrictEqual(errors(lines), ["The application's lifespan failed"])
        yield* Fiber.join(yield* stop)
        assert.deepStrictEqual(seen, ["start a", "stop a"])
      }).pipe(Effect.provide(layer))
    })

    it.effect("shut down after an application that breaks while it stops, and tell its failure", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { hooks, steps: seen } = steps()
        const app = App.byType({
          lifespan: ({ receive, send }) =>
            Effect.gen(function*() {
              yield* receive
              yield* send({ type: "lifespan.startup.complete" })
              yield* receive
              return yield* Effect.die(new Error("could not save"))
            })
        })
        yield* serveAndStop(hooks("a")(app))
        assert.deepStrictEqual(seen, ["start a", "stop a"])
        assert.deepStrictEqual(errors(lines), ["The application failed to stop cleanly: could not save"])
      }).pipe(Effect.provide(layer))
    })

    it.effect("let the application inside know when it breaks the order", () => {
      const refused: Array<string> = []
      return Effect.gen(function*() {
        const { hooks } = steps()
        const app = App.byType({
          lifespan: ({ receive, send }) =>
            Effect.gen(function*() {
              yield* receive
              yield* send({ type: "lifespan.startup.complete" })
              refused.push((yield* Effect.flip(send({ type: "lifespan.startup.failed" }))).reason._tag)
              refused.push((yield* Effect.flip(send({ type: "lifespan.shutdown.complete" }))).reason._tag)
              yield* receive
              yield* send({ type: "lifespan.shutdown.complete" })
              refused.push((yield* Effect.flip(send({ type: "lifespan.shutdown.complete" }))).reason._tag)
            }).pipe(Effect.orDie)
        })
        yield* serveAndStop(hooks("a")(hooks("b")(app)))
        assert.deepStrictEqual(refused, ["EventOutOfOrder", "EventOutOfOrder", "EventOutOfOrder"])
      })
    })
  })
})
