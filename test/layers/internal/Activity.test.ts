import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as Activity from "../../../layers/internal/Activity.ts"
import * as TestClient from "../../../layers/TestClient.ts"
import * as App from "../../../src/app/App.ts"
import type * as Own from "../../../src/app/RouteName.ts"
import * as Router from "../../../src/app/Router.ts"
import { AccessLog } from "../../../src/service/AccessLog.ts"
import * as Server from "../../../src/service/Server.ts"
import { entry, scope } from "../../contract/AccessLog.ts"
import { capture } from "../../utils/logs.ts"

/** Serves an application with its activity noted. */
const serve = Effect.fnUntraced(function*(app: App.App<unknown>) {
  const context = yield* Layer.build(
    Server.serve(app).pipe(
      Layer.provide(Activity.serverLayer),
      Layer.provideMerge(TestClient.layer({ raiseAppErrors: false })),
      Layer.provideMerge(Activity.layer),
      Layer.provideMerge(AccessLogMemory.layer())
    )
  )
  const report = Effect.andThen(TestClient.settle, Context.get(context, Activity.Activity).report)
  return {
    http: Context.get(context, TestClient.TestClient),
    report,
    counts: Effect.map(report, ({ routes }) => Object.fromEntries(routes.map(({ count, route }) => [route, count]))),
    lines: Context.get(context, AccessLogMemory.Lines).lines
  }
})

const ok = () => Effect.succeed("ok")
const quiet = Effect.provide(capture().layer)

/** What is noted without a server: entries, and what they make. */
const noting = Effect.map(Layer.build(Activity.layer), (context) => ({
  write: Context.get(context, AccessLog).write,
  report: Context.get(context, Activity.Activity).report
}))

describe("Activity", () => {
  it.effect("knows the names of a router that is of another copy of the package, as applications have it", () =>
    Effect.gen(function*() {
      // Vitest loads what has a query once more.
      const another: string = "../../../src/app/RouteName.ts?another"
      const RouteName = (yield* Effect.promise(() => import(another))) as typeof Own
      assert.notStrictEqual(RouteName.note, (yield* Effect.promise(() => import("../../../src/app/RouteName.ts"))).note)
      const { counts, http } = yield* serve(App.http(({ scope, send }) => {
        RouteName.note(scope, "GET /todos/:id")
        return App.respond(send, 200, "ok")
      }))
      yield* http.get("/todos/1")
      assert.deepStrictEqual(yield* counts, { "GET /todos/:id": 1 })
    }).pipe(quiet))

  it.effect("counts under the patterns of routes, in groups, mounts and sessions [C170] [W141]", () =>
    Effect.gen(function*() {
      const inner = Router.make(Router.get("/items/:id", ok), Router.get("/", ok))
      const router = Router.make(
        Router.get("/todos/:id", ok),
        Router.group("/v1", Router.get("/todos/:id", ok)),
        Router.any("/any/*rest", ok),
        Router.mount("/shops/:shop", inner),
        Router.mount("/files", App.http(({ send }) => App.respond(send, 200, "file"))),
        Router.websocket("/chat/:room", ({ session }) => session.send("hello")),
        Router.sse("/feed/:id", ({ session }) => session.close())
      )
      const { counts, http } = yield* serve(router)
      const paths = ["/todos/1", "/todos/2", "/v1/todos/3", "/any/a/b", "/shops/7/items/8", "/shops/9", "/files/a.txt"]
      for (const path of paths) yield* http.get(path)
      yield* http.get("/nothing/here")
      yield* http.get("/shops/7/nothing")
      yield* http.post("/todos/1")
      yield* http.head("/todos/1")
      const socket = yield* http.websocket("/chat/lobby")
      assert.strictEqual(yield* socket.receive, "hello")
      yield* socket.closed
      const stream = yield* http.sse("/feed/1")
      yield* stream.closed
      assert.deepStrictEqual(yield* counts, {
        "GET /todos/:id": 3,
        "GET /v1/todos/:id": 1,
        "* /any/*rest": 1,
        "GET /shops/:shop/items/:id": 1,
        "GET /shops/:shop/": 1,
        "mount /files": 1,
        "GET other": 2,
        "POST other": 1,
        "websocket /chat/:room": 1,
        "sse /feed/:id": 1
      })
    }).pipe(quiet))

  it.effect("counts under the route that has answered where an earlier one has passed", () =>
    Effect.gen(function*() {
      const { counts, http } = yield* serve(Router.make(
        Router.get("/a/:first", () => Router.pass),
        Router.get("/:second/b", ok),
        Router.mount("/m", Router.make(Router.get("/x", ok)), { passThrough: true }),
        Router.mount("/", Router.make(Router.get("/m/y", ok)))
      ))
      yield* http.get("/a/b")
      yield* http.get("/m/y")
      yield* http.get("/a/c")
      assert.deepStrictEqual(yield* counts, { "GET /:second/b": 1, "GET /m/y": 1, "GET other": 1 })
    }))

  it.effect("counts paths where no router has named them, and writes the log as before", () =>
    Effect.gen(function*() {
      const { counts, http, lines } = yield* serve(
        App.http(({ scope, send }) => App.respond(send, scope.path === "/x" ? 404 : 200, ""))
      )
      for (const path of ["/a?token=1", "/a", "/b", "/x"]) yield* http.get(path)
      assert.deepStrictEqual(yield* counts, { "GET /a": 2, "GET /b": 1, "GET other": 1 })
      assert.strictEqual((yield* lines).length, 4)
    }))

  it.effect("notes what has gone wrong, the newest first, without the query", () =>
    Effect.gen(function*() {
      const { http, report } = yield* serve(Router.make(
        Router.get("/fails/:id", () => Effect.die(new Error("bug"))),
        Router.get("/refuses", () => Effect.interrupt)
      ))
      yield* http.get("/fails/1?password=x")
      yield* http.get("/refuses")
      yield* http.get("/missing")
      const { errors, routes } = yield* report
      assert.deepStrictEqual(errors.map(({ method, path, status }) => `${method} ${path} ${status}`), [
        "GET /refuses 500",
        "GET /fails/1 500"
      ])
      assert.strictEqual(routes.find(({ route }) => route === "GET /fails/:id")?.errors, 1)
      assert.notInclude(JSON.stringify(errors), "password")
    }).pipe(quiet))

  it.effect("takes sums and longest times", () =>
    Effect.gen(function*() {
      const { report, write } = yield* noting
      for (const durationMillis of [2, 9, 4]) write(entry({ durationMillis, scope: scope({ path: "/a" }) }))
      assert.deepStrictEqual((yield* report).routes, [
        { route: "GET /a", count: 3, errors: 0, totalMillis: 15, maxMillis: 9 }
      ])
    }))

  it.effect("does not take for its own fault what a client has broken off, or could not say", () =>
    Effect.gen(function*() {
      const { report, write } = yield* noting
      write(entry({ status: 0, problem: "client_closed" }))
      write(entry({ status: 200, problem: "write_timeout" }))
      write(entry({ status: 0, problem: "server_shutdown" }))
      write(entry({ scope: undefined, status: 400, problem: "BadHeader" }))
      assert.deepStrictEqual((yield* report).errors, [])
      write(entry({ status: 0, problem: "server_error", requestId: "r9" }))
      write(entry({ status: 503 }))
      assert.deepStrictEqual((yield* report).errors.map(({ problem, requestId }) => [problem, requestId]), [
        [undefined, "r1"],
        ["server_error", "r9"]
      ])
      assert.strictEqual((yield* report).routes[0]!.count, 5)
    }))

  it.effect("keeps a bounded number of names and errors, of bounded length", () =>
    Effect.gen(function*() {
      const { report, write } = yield* noting
      for (let index = 0; index < 5000; index++) {
        write(entry({ status: 500, requestId: `r${index}`, scope: scope({ path: `/${index}${"x".repeat(5000)}` }) }))
        write(entry({ scope: scope({ method: `M${index}`, path: "/" }) }))
      }
      const { errors, routes } = yield* report
      assert.strictEqual(errors.length, 50)
      assert.strictEqual(errors[0]!.requestId, "r4999")
      assert.isAtMost(routes.length, 110)
      assert.strictEqual(routes.reduce((sum, { count }) => sum + count, 0), 10_000)
      assert.isBelow(JSON.stringify({ errors, routes }).length, 60_000)
    }))

  it.effect("needs no access log around it", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Activity.layer)
      yield* Context.get(context, AccessLog).flush
    }))
})
