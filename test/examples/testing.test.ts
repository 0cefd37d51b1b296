import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"

// The application: todos over HTTP, their changes over a WebSocket.

class Todos extends Context.Service<Todos, {
  readonly find: (id: number) => Effect.Effect<{ readonly id: number; readonly title: string } | undefined>
  readonly add: (title: string) => Effect.Effect<{ readonly id: number; readonly title: string }>
  readonly summary: Effect.Effect<string>
}>()("todos/Todos") {}

const json = [["content-type", "application/json"]] as const

const app = App.byType({
  http: ({ receive, scope, send }) =>
    Effect.gen(function*() {
      const todos = yield* Todos
      if (scope.path === "/summary") return yield* App.respond(send, 200, yield* todos.summary)
      if (scope.method === "POST") {
        const event = yield* receive
        const title = event.type === "http.request" ? JSON.parse(Buffer.from(event.body).toString()).title : ""
        return yield* App.respond(send, 201, JSON.stringify(yield* todos.add(title)), json)
      }
      const todo = yield* todos.find(Number(scope.path.slice("/todos/".length)))
      yield* todo === undefined
        ? App.respond(send, 404, "no such todo")
        : App.respond(send, 200, JSON.stringify(todo), json)
    }),
  websocket: ({ receive, send }) =>
    Effect.gen(function*() {
      yield* receive
      yield* send({ type: "websocket.accept" })
      const event = yield* receive
      if (event.type === "websocket.receive") yield* send({ type: "websocket.send", text: `done: ${event.text}` })
      yield* receive
    })
})

// Its tests. What a test does not need of a service, it leaves out: `Layer.mock` dies where it is used.

const todos = Layer.mock(Todos, {
  find: (id) => Effect.succeed(id === 1 ? { id, title: "write tests" } : undefined),
  add: (title) => Effect.succeed({ id: 2, title })
})

const slow = Layer.mock(Todos, { summary: Effect.as(Effect.sleep("60 seconds"), "nothing to do") })

describe("todos", () => {
  it.effect("finds a todo, and says when there is none", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(app)
      yield* client.get("/todos/1").pipe(
        TestClient.expectStatus(200),
        TestClient.expectHeader("content-type", /json/),
        TestClient.expectJson({ id: 1, title: "write tests" })
      )
      yield* client.get("/todos/9").pipe(TestClient.expectStatus(404), TestClient.expectText("no such"))
    }).pipe(Effect.provide(todos)))

  it.effect("adds a todo", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(app)
      const response = yield* client.post("/todos", { json: { title: "ship it" } })
      assert.strictEqual(response.status, 201)
      assert.deepStrictEqual(yield* response.json, { id: 2, title: "ship it" })
    }).pipe(Effect.provide(todos)))

  it.effect("waits a minute for the summary, in no time", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(app)
      const waiting = yield* Effect.forkChild(client.get("/summary"))
      yield* TestClient.settle
      yield* TestClock.adjust("60 seconds")
      const response = yield* Fiber.join(waiting)
      assert.strictEqual(yield* response.text, "nothing to do")
    }).pipe(Effect.provide(slow)))

  it.effect("tells a session what was done", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(app)
      const session = yield* client.websocket("/changes")
      yield* session.send("write tests")
      assert.strictEqual(yield* session.receive, "done: write tests")
      assert.strictEqual((yield* session.close()).code, 1000)
    }).pipe(Effect.provide(todos)))
})
