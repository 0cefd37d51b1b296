import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import todos from "../../examples/todos.ts"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import { capture } from "../utils/logs.ts"
import { faultsIn } from "../utils/openApi.ts"
import { bodyOf, headerOf } from "../utils/serve.ts"

const request = (method: string, target: string, body?: string, lines = ""): string =>
  `${method} ${target} HTTP/1.1\r\nhost: a\r\n${lines}` + (body === undefined
    ? "\r\n"
    : `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)

/** The example on an in-memory network: asks on a connection of its own, and opens others. */
const serving = Effect.gen(function*() {
  const context = yield* Layer.build(Layer.provideMerge(todos, ServerMemory.layer()))
  const { connect } = Context.get(context, ServerMemory.Network)
  const client = yield* connect()
  const ask = (...words: Parameters<typeof request>) => Effect.andThen(client.send(request(...words)), client.read)
  return { ask, connect }
})

const status = (answer: string): string => answer.slice(9, 12)

describe("examples/todos.ts", () => {
  it.effect("adds, lists, finishes and removes todos", () =>
    Effect.gen(function*() {
      const { ask } = yield* serving
      const added = yield* ask("POST", "/todos", `{"title":"write"}`)
      assert.deepStrictEqual([status(added), bodyOf(added)], ["201", `{"id":1,"title":"write","done":false}`])
      yield* ask("POST", "/todos", `{"title":"read"}`)
      assert.strictEqual(bodyOf(yield* ask("POST", "/todos/2/done")), `{"id":2,"title":"read","done":true}`)
      assert.strictEqual(bodyOf(yield* ask("GET", "/todos?done=true")), `[{"id":2,"title":"read","done":true}]`)
      assert.strictEqual(status(yield* ask("DELETE", "/todos/2")), "204")
      assert.strictEqual(bodyOf(yield* ask("GET", "/todos/2")), `{"_tag":"TodoNotFound","id":2}`)
      assert.strictEqual(bodyOf(yield* ask("GET", "/todos")), `[{"id":1,"title":"write","done":false}]`)
    }).pipe(Effect.provide(capture().layer)))

  it.effect("says what is wrong with a request", () =>
    Effect.gen(function*() {
      const { ask } = yield* serving
      const invalid = yield* ask("POST", "/todos", `{"title":""}`)
      assert.strictEqual(status(invalid), "422")
      assert.include(bodyOf(invalid), `"in":"body","path":"title"`)
      assert.strictEqual(status(yield* ask("GET", "/todos?done=perhaps")), "400")
      assert.strictEqual(status(yield* ask("GET", "/todos/one")), "404")
      assert.strictEqual(headerOf(yield* ask("PUT", "/todos"), "allow"), "GET, HEAD, OPTIONS, POST")
      assert.strictEqual(headerOf(yield* ask("GET", "/todos/?done=true"), "location"), "/todos?done=true")
    }).pipe(Effect.provide(capture().layer)))

  it.effect("describes itself in a document that the specification allows [C235]", () =>
    Effect.gen(function*() {
      const { ask } = yield* serving
      const document = JSON.parse(bodyOf(yield* ask("GET", "/openapi.json")))
      assert.deepStrictEqual(faultsIn(document), [])
      assert.hasAllKeys(document.paths, ["/todos", "/todos/{id}", "/todos/{id}/done", "/todos/changes"])
    }).pipe(Effect.provide(capture().layer)))

  it.effect("tells those who listen what changes", () =>
    Effect.gen(function*() {
      const { ask, connect } = yield* serving
      const listener = yield* connect()
      yield* listener.send(request("GET", "/todos/changes", undefined, "accept: text/event-stream\r\n"))
      yield* listener.read
      yield* ask("POST", "/todos", `{"title":"write"}`)
      assert.include(yield* listener.read, `data: {"id":1,"title":"write","done":false}\n\n`)
    }).pipe(Effect.provide(capture().layer)))

  it.effect("documents itself", () =>
    Effect.gen(function*() {
      const { ask } = yield* serving
      assert.strictEqual(headerOf(yield* ask("GET", "/"), "location"), "/docs")
      const { info, paths } = JSON.parse(bodyOf(yield* ask("GET", "/openapi.json")))
      assert.deepStrictEqual(info, { title: "Todos", version: "1.0.0" })
      assert.deepStrictEqual(Object.keys(paths), ["/todos", "/todos/{id}", "/todos/{id}/done", "/todos/changes"])
    }).pipe(Effect.provide(capture().layer)))
})
