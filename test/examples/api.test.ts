import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import api, { Api, routes, Todo, TodoNotFound } from "../../examples/api.ts"
import * as HttpServer from "../../layers/HttpServer.ts"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import { answerIn } from "../utils/answers.ts"
import { capture } from "../utils/logs.ts"

const quiet = Effect.provide(capture().layer)

/** What the README promises of the example, for a client of any server. */
const story = Effect.gen(function*() {
  yield* Layer.build(HttpRouter.serve(routes))
  const { todos } = yield* HttpApiClient.make(Api)
  assert.deepStrictEqual(yield* todos.all(), [])
  const changes = yield* Stream.toPull(Stream.rechunk(yield* todos.changes(), 1))
  assert.deepStrictEqual(yield* changes, [[]])
  const one = yield* todos.add({ payload: { title: "one" } })
  assert.deepStrictEqual(one, new Todo({ id: 1, title: "one" }))
  assert.deepStrictEqual(yield* todos.find({ params: { id: 1 } }), one)
  assert.deepStrictEqual(yield* Effect.flip(todos.find({ params: { id: 2 } })), new TodoNotFound({ id: 2 }))
  assert.deepStrictEqual(yield* changes, [[one]])
  const docs = yield* HttpClient.get("/docs")
  assert.deepStrictEqual([docs.status, docs.headers["content-type"]], [200, "text/html"])
  return yield* (yield* HttpClient.get("/openapi.json")).json
})

describe("examples/api.ts", () => {
  const layers = { "this server": HttpServer.layerTest, NodeHttpServer: NodeHttpServer.layerTest }
  for (const [name, layer] of Object.entries(layers)) {
    it.live(`runs unchanged on ${name}`, () =>
      Effect.gen(function*() {
        const spec = (yield* Effect.scoped(story)) as { readonly paths: object }
        assert.deepStrictEqual(Object.keys(spec.paths), ["/todos", "/todos/{id}", "/changes"])
      }).pipe(Effect.provide(layer), quiet))
  }

  it.effect("is a Layer that the command line can serve, with all that it needs but the server", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Layer.provideMerge(api, ServerMemory.layer()))
      const client = yield* Context.get(context, ServerMemory.Network).connect()
      const body = "{\"title\":\"one\"}"
      yield* client.send(
        `POST /todos HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
      )
      const { body: answer, status } = answerIn(yield* client.read)
      assert.deepStrictEqual([status, JSON.parse(answer)], [201, { id: 1, title: "one" }])
    }).pipe(quiet))
})
