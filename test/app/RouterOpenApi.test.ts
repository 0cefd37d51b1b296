/** The OpenAPI document against the rules of OpenAPI 3.1.0 that a document alone can break. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Router from "../../src/app/Router.ts"
import { faultsIn, operationsOf } from "../utils/openApi.ts"

const ok = () => Effect.succeed("ok")

describe("Router", () => {
  describe("openApi", () => {
    const Theme = Schema.Literals(["dark", "light"]).annotate({ identifier: "Theme" })
    const Item = Schema.Struct({ id: Schema.Int, theme: Theme }).annotate({ identifier: "Item" })
    class Missing extends Schema.TaggedError<Missing>()("Missing", { id: Schema.Int }, { httpApiStatus: 404 }) {}

    it("of every kind of route is one that the specification allows [C235]", () => {
      const router = Router.make(
        Router.get("/cookies", { cookies: { theme: Theme, count: Schema.optionalKey(Schema.Int) } }, ok),
        Router.get(
          "/items/:id",
          { path: { id: Schema.Int }, success: Item, errors: [Missing] },
          () => Effect.fail(new Missing({ id: 1 }))
        ),
        Router.put("/items/:item", { body: Item }, ok),
        Router.del("/items/{other:\\d+}", { path: { other: Schema.Int } }, ok),
        Router.get("/items/\\:batch", ok),
        Router.get("/braces/\\{x\\}/:y", ok),
        Router.get("/between/:a-:b.json", ok),
        Router.get("/maybe/:a/:b?", ok),
        Router.get("/rest/*", ok),
        Router.get("/names/:constructor", ok),
        Router.get("/items", { name: "get_items_id" }, ok),
        Router.method("GET", "POST")("/several", { name: "several" }, ok),
        Router.host("a.test", Router.get("/hosted", ok)),
        Router.host("b.test", Router.get("/hosted", ok)),
        Router.any("/any", ok),
        Router.sse("/events", { data: Item }, () => Stream.empty),
        Router.websocket("/socket", ({ session }) => session.close()),
        Router.mount("/in/:tenant", Router.make(Router.get("/items/:id", ok), Router.get("/", ok))),
        Router.post("/upload", { body: [Item, Schema.String.pipe(HttpApiSchema.asText())] }, ok)
      )
      const document = router.openApi as any
      assert.deepStrictEqual(faultsIn(document), [])
      const cookies = document.paths["/cookies"].get.parameters
      assert.deepStrictEqual(
        cookies.map((parameter: any) => [parameter.in, parameter.name, parameter.required, parameter.schema.$ref]),
        [["cookie", "theme", true, "#/components/schemas/Theme"], ["cookie", "count", false, undefined]]
      )
      // What a cookie holds is text, as the decoder has it.
      assert.strictEqual(cookies[1].schema.type, "string")
      assert.containsAllKeys(document.paths, ["/items/{id}", "/items/:batch", "/braces/%7Bx%7D/{y}", "/rest/{rest}"])
      assert.hasAllKeys(document.paths["/items/{id}"], ["get", "put", "delete"])
    })

    it("of a thousand routes is one that the specification allows", () => {
      const router = Router.make(
        ...Array.from({ length: 1000 }, (_, index) =>
          Router.method(["GET", "POST", "PUT", "DELETE"][index % 4]!)(
            `/group${index % 7}/:a${index % 3}/${index % 5 === 0 ? ":b" : `x${index % 11}`}/${index}` as string,
            {
              success: Item,
              query: { theme: Schema.optionalKey(Theme) },
              ...(index % 2 ? { name: `route${index}` } : {})
            },
            () => Effect.succeed({ id: 1, theme: "dark" as const })
          ))
      )
      assert.deepStrictEqual(faultsIn(router.openApi), [])
      assert.lengthOf(operationsOf(router.openApi), 1000)
    })
  })
})
