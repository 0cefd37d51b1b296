import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as ContentNegotiation from "../../src/app/ContentNegotiation.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as Fake from "../utils/exchange.ts"

const json = "application/json"
const html = "text/html"
const offered = [json, html, "text/plain"] as const

describe("ContentNegotiation", () => {
  describe("choose", () => {
    const cases: ReadonlyArray<readonly [accept: string | undefined, expected: string | undefined, why: string]> = [
      [undefined, json, "the first without a header"],
      ["", json, "the first for an empty list"],
      [" , ,", json, "the first for a list of nothing"],
      ["*/*", json, "the first for the wildcard"],
      ["*", json, "the first for the short wildcard"],
      ["text/html", html, "the one that is named"],
      ["TEXT/HTML", html, "names in any case"],
      ["text/*", html, "the first below a type"],
      ["text/html, application/json", json, "the first offered among equals"],
      ["application/json;q=0.5, text/html", html, "the heavier"],
      ["application/json; q=0.5 ,text/html ;Q=0.4", json, "weights with white space and in capitals"],
      ["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", html, "the page for a browser"],
      ["text/*;q=0.3, text/html;q=0", "text/plain", "not what is excluded by a more specific range"],
      ["*/*;q=1, application/json;q=0.1", html, "by the most specific range, not the heaviest"],
      ["*/*;q=0", undefined, "none when everything is excluded"],
      ["image/png", undefined, "none when none is named"],
      ["text/html;q=0.0", undefined, "none for a weight of zero"],
      ["application/json;charset=utf-8", json, "regardless of a charset"],
      ["text/html;level=1, application/json;q=0.2", json, "not a type without the parameter that is asked for"],
      ["text/html;q=.7, */*;q=.2", html, "weights without their zero"],
      ["text/html;q=2, application/json;q=0.1", json, "no range with an impossible weight"],
      ["text/html;q=abc", json, "the first when no range is readable"],
      ["text/html;note=\"a,b;q=0\", text/plain;q=0.1", "text/plain", "with separators in quotes"],
      ["text", json, "the first for a range without a subtype"],
      [";q=1, ;", json, "the first for ranges without a name"],
      ["text/html;note=\"a\\", undefined, "with an open quote at the end"]
    ]
    for (const [accept, expected, why] of cases) {
      it(`chooses ${why}: ${accept} [W22]`, () => {
        assert.strictEqual(ContentNegotiation.choose(accept, offered), expected)
      })
    }

    it("prefers the range with more matching parameters [W22]", () => {
      const levels = ["text/html;level=1", "text/html;level=2", "text/html"] as const
      const accept = "text/html;q=0.7, text/html;level=1, text/html;level=2;q=0.4, */*;q=0.5"
      assert.strictEqual(ContentNegotiation.choose(accept, levels), "text/html;level=1")
      assert.strictEqual(ContentNegotiation.choose("text/html;level=\"2\"", levels), "text/html;level=2")
      assert.strictEqual(ContentNegotiation.choose("text/html, text/html;level=1;q=0", levels), "text/html;level=2")
    })

    it("takes names like those of object members for names", () => {
      const accept = "text/html;constructor=1;__proto__=2, application/json;q=0.1"
      assert.strictEqual(ContentNegotiation.choose(accept, offered), json)
    })
  })

  describe("respond", () => {
    let made: Array<string> = []
    const app = Handler.make(ContentNegotiation.respond({
      [json]: () => {
        made.push("json")
        return HttpServerResponse.jsonUnsafe({ a: 1 })
      },
      [html]: () =>
        Effect.sync(() => {
          made.push("html")
          return HttpServerResponse.html("<p>1</p>")
        })
    }))

    it.effect("makes the chosen representation only, and says that it varies [W22]", () =>
      Effect.gen(function*() {
        made = []
        const page = yield* Fake.request(app, { headers: { accept: "text/html" } })
        assert.deepStrictEqual([page.header("content-type"), page.header("vary")], ["text/html", "accept"])
        assert.deepStrictEqual(made, ["html"])
        const data = yield* Fake.request(app)
        assert.deepStrictEqual([data.json, data.header("vary")], [{ a: 1 }, "accept"])
        assert.deepStrictEqual(made, ["html", "json"])
      }))

    it.effect("answers 406 with what is available [W22]", () =>
      Effect.gen(function*() {
        made = []
        const answer = yield* Fake.request(app, { headers: { accept: "image/png" } })
        assert.strictEqual(answer.status, 406)
        assert.strictEqual(answer.header("vary"), "accept")
        assert.deepInclude(answer.json, { title: "Not Acceptable", available: [json, html] })
        assert.deepStrictEqual(made, [])
      }))

    it.effect("adds to a vary, once", () =>
      Effect.gen(function*() {
        const varyOf = (vary: string) => {
          const app = Handler.make(ContentNegotiation.respond({
            [json]: () => HttpServerResponse.empty({ headers: { vary } })
          }))
          return Effect.map(Fake.request(app), (answer) => answer.header("vary"))
        }
        assert.deepStrictEqual(
          yield* Effect.forEach(["origin", "Origin, Accept", "*"], varyOf),
          ["origin, accept", "Origin, Accept", "*"]
        )
      }))
  })
})
