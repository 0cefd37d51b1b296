/**
 * A typed HTTP API of Effect's own, with its documentation, on this server: `slipway examples/api.ts`, then /docs.
 *
 * Nothing but the last line knows the server. Under NodeHttpServer it says
 * `Layer.provide(NodeHttpServer.layer(createServer, { port: 5000 }))`, and as a program of its own
 * `Layer.provide(HttpServer.layer({ port: 5000 }))`; here the command line brings the server and its settings.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiScalar from "effect/http-api/HttpApiScalar"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as HttpServer from "slipway/layers/HttpServer"

export class Todo extends Schema.Class<Todo>("Todo")({ id: Schema.Finite, title: Schema.String }) {}

export class TodoNotFound
  extends Schema.TaggedError<TodoNotFound>()("TodoNotFound", { id: Schema.Finite }, { httpApiStatus: 404 })
{}

/** What the server offers; clients derive themselves from it with `HttpApiClient.make(Api)`. */
export const Api = HttpApi.make("todos").add(
  HttpApiGroup.make("todos").add(
    HttpApiEndpoint.get("all", "/todos", { success: Schema.Array(Todo) }),
    HttpApiEndpoint.get("find", "/todos/:id", { params: { id: Schema.Finite }, success: Todo, error: TodoNotFound }),
    HttpApiEndpoint.post("add", "/todos", {
      payload: Schema.Struct({ title: Schema.NonEmptyString }),
      success: Todo.pipe(HttpApiSchema.status(201))
    }),
    HttpApiEndpoint.get("changes", "/changes", { success: HttpApiSchema.StreamSse({ data: Schema.Array(Todo) }) })
  )
)

export class Todos extends Context.Service<Todos, {
  readonly all: Effect.Effect<ReadonlyArray<Todo>>
  readonly find: (id: number) => Effect.Effect<Todo, TodoNotFound>
  readonly add: (title: string) => Effect.Effect<Todo>
  /** All there are, now and after each change. */
  readonly changes: Stream.Stream<ReadonlyArray<Todo>>
}>()("example/Todos") {
  static readonly layer = Layer.effect(
    Todos,
    Effect.gen(function*() {
      const todos = yield* SubscriptionRef.make<ReadonlyArray<Todo>>([])
      return Todos.of({
        all: SubscriptionRef.get(todos),
        find: (id) =>
          Effect.flatMap(SubscriptionRef.get(todos), (todos) => {
            const todo = todos.find((todo) => todo.id === id)
            return todo === undefined ? Effect.fail(new TodoNotFound({ id })) : Effect.succeed(todo)
          }),
        add: (title) =>
          SubscriptionRef.modify(todos, (todos) => {
            const todo = new Todo({ id: todos.length + 1, title })
            return [todo, [...todos, todo]]
          }),
        changes: SubscriptionRef.changes(todos)
      })
    })
  )
}

const handlers = HttpApiBuilder.group(
  Api,
  "todos",
  Effect.fnUntraced(function*(handlers) {
    const todos = yield* Todos
    return handlers.handleAll({
      all: () => todos.all,
      find: ({ params }) => todos.find(params.id),
      add: ({ payload }) => todos.add(payload.title),
      changes: () => Effect.succeed(todos.changes)
    })
  })
)

/** The API and its documentation, for whatever HttpServer there is. */
export const routes = Layer.merge(
  HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(Layer.provide(handlers), Layer.provide(Todos.layer)),
  HttpApiScalar.layer(Api, { path: "/docs" })
)

export default HttpRouter.serve(routes).pipe(
  Layer.provide([HttpServer.layerServer, HttpServer.layerHttpServices])
)
