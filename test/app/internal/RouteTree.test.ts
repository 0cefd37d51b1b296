import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as RoutePattern from "../../../src/app/internal/RoutePattern.ts"
import * as RouteTree from "../../../src/app/internal/RouteTree.ts"

/** Everything that fits, best first: the index of the pattern and its values. */
const findAll = (patterns: ReadonlyArray<string>, path: string): ReadonlyArray<string> => {
  const tree = RouteTree.make<{ readonly texts: Array<string> }>()
  for (const text of patterns) {
    for (const leaf of RouteTree.insert(tree, RoutePattern.parse(text), () => ({ texts: [] }))) leaf.texts.push(text)
  }
  const found: Array<string> = []
  const values: Array<string> = []
  const segments = path.slice(1).split("/")
  RouteTree.each(tree, segments, segments.length, values, ({ texts }) => {
    found.push(...texts.map((text) => `${text} ${values.join(",")}`))
  })
  assert.deepStrictEqual(values, [], "values of branches that did not fit are taken back")
  return found
}

/** The same by asking every pattern in turn, without an order. */
const expected = (patterns: ReadonlyArray<string>, path: string): ReadonlyArray<string> =>
  patterns.flatMap((text) => {
    const source = text.replace(/[.]/g, "\\.").replace(/\*rest/, "(.*)").replace(/\{d\d?:(.*?)\}/g, "($1)")
      .replace(/:\w+/g, "([^/]+)")
    const match = new RegExp(`^${source}$`).exec(path)
    return match === null ? [] : [`${text} ${match.slice(1).join(",")}`]
  })

describe("RouteTree", () => {
  it("tries branches in the order of their precision", () => {
    const patterns = ["/*rest", "/:a/*rest", "/:a/:b", "/:a/x", "/a/:b", "/{d:\\w}/x", "/a/x", "/:a.:b/x"]
    assert.deepStrictEqual(findAll(patterns, "/a/x"), [
      "/a/x ",
      "/a/:b x",
      "/{d:\\w}/x a",
      "/:a/x a",
      "/:a/:b a,x",
      "/:a/*rest a,x",
      "/*rest a/x"
    ])
  })

  const parts = (...literals: ReadonlyArray<string>) =>
    Schema.Array(Schema.Literals(literals)).check(Schema.isMaxLength(3))
  const PatternParts = Schema.Tuple([
    parts("a", "b", "a.b", "12", ":x", ":y.b", "{d:\\d+}", "{d:a|b}"),
    Schema.Literals(["a", "b", "", "*rest"])
  ])
  const PathParts = Schema.Tuple([parts("a", "b", "a.b", "12", "c", ""), Schema.Literals(["a", "b", "a.b", "12", ""])])

  /** A parameter's name has the number of its segment, so that no two are the same. */
  const toPattern = ([inner, end]: typeof PatternParts.Type): string =>
    `/${[...inner.map((part, index) => part.replace(/[:{][xyd]/, (name) => name + index)), end].join("/")}`

  it.prop(
    "finds what asking every pattern finds",
    [Schema.Array(PatternParts).check(Schema.isMaxLength(12)), PathParts],
    ([patterns, [inner, end]]) => {
      const unique = [...new Set(patterns.map(toPattern))]
      const path = `/${[...inner, end].join("/")}`
      assert.sameMembers([...findAll(unique, path)], [...expected(unique, path)])
    }
  )
})
