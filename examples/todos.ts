/**
 * A small interface for todos: routes with Schemas, a service behind them, changes as server-sent events, and its own
 * documentation at `/docs`: `slipway examples/todos.ts`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Router, Server } from "slipway"

class Todo extends Schema.Class<Todo>("Todo")({ id: Schema.Int, title: Schema.String, done: Schema.Boolean }) {}

const NewTodo = Schema.Struct({ title: Schema.NonEmptyString })

class TodoNotFound extends Schema.TaggedError<TodoNotFound>()("TodoNotFound", { id: Schema.Int }, {
  httpApiStatus: 404
}) {}

class Todos extends Context.Service<Todos, {
  readonly all: Effect.Effect<ReadonlyArray<Todo>>
  readonly find: (id: number) => Effect.Effect<Todo, TodoNotFound>
  readonly add: (todo: typeof NewTodo.Type) => Effect.Effect<Todo>
  readonly finish: (id: number) => Effect.Effect<Todo, TodoNotFound>
  readonly remove: (id: number) => Effect.Effect<void, TodoNotFound>
  /** Todos as they are added and finished, from the subscription on. */
  readonly changes: Stream.Stream<Todo>
}>()("example/Todos") {
  static readonly layer = Layer.effect(
    Todos,
    Effect.gen(function*() {
      const todos = new Map<number, Todo>()
      const changes = yield* PubSub.sliding<Todo>(16)
      let lastId = 0
      const find = (id: number) =>
        Effect.suspend(() => {
          const todo = todos.get(id)
          return todo === undefined ? Effect.fail(new TodoNotFound({ id })) : Effect.succeed(todo)
        })
      const save = (todo: Todo) => {
        todos.set(todo.id, todo)
        return Effect.as(PubSub.publish(changes, todo), todo)
      }
      return {
        find,
        all: Effect.sync(() => [...todos.values()]),
        add: ({ title }) => Effect.suspend(() => save(new Todo({ id: ++lastId, title, done: false }))),
        finish: (id) => Effect.flatMap(find(id), ({ title }) => save(new Todo({ id, title, done: true }))),
        remove: (id) => Effect.map(find(id), () => void todos.delete(id)),
        changes: Stream.fromPubSub(changes)
      }
    })
  )
}

const byId = { path: { id: Schema.Int }, errors: [TodoNotFound] } as const

const routes = Router.make(
  { trailingSlash: "redirect" },
  Router.docs("/docs", { title: "Todos", version: "1.0.0" }),
  Router.redirect("/", "/docs"),
  Router.group(
    "/todos",
    { name: "todos", tags: ["todos"] },
    Router.get("/", {
      summary: "All todos, or those that are done or not",
      query: { done: Schema.optionalKey(Schema.Boolean) },
      success: Schema.Array(Todo)
    }, ({ query }) =>
      Effect.map(
        Todos.use((todos) => todos.all),
        (all) => query.done === undefined ? all : all.filter(({ done }) => done === query.done)
      )),
    Router.post(
      "/",
      { summary: "Add a todo", body: NewTodo, success: Todo, status: 201 },
      ({ body }) => Todos.use((todos) => todos.add(body))
    ),
    Router.get(
      "/:id",
      { ...byId, name: "one", summary: "One todo", success: Todo },
      ({ path }) => Todos.use((todos) => todos.find(path.id))
    ),
    Router.post(
      "/:id/done",
      { ...byId, summary: "Finish a todo", success: Todo },
      ({ path }) => Todos.use((todos) => todos.finish(path.id))
    ),
    Router.del(
      "/:id",
      { ...byId, summary: "Remove a todo", success: Schema.Void },
      ({ path }) => Todos.use((todos) => todos.remove(path.id))
    ),
    Router.sse(
      "/changes",
      { summary: "Todos as they change", data: Todo },
      () => Todos.use((todos) => Effect.succeed(todos.changes))
    )
  )
)

export default Server.serve(routes).pipe(Layer.provide(Todos.layer))
