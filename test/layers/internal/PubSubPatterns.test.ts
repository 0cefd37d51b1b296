import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { Patterns } from "../../../layers/internal/PubSubPatterns.ts"
import * as TopicName from "../../../src/schema/TopicName.ts"

const segments = (...words: ReadonlyArray<string>) =>
  Schema.Array(Schema.Literals(words)).check(Schema.isMinLength(1), Schema.isMaxLength(5))

describe("Patterns", () => {
  it.prop(
    "finds what a look at each pattern finds, whatever was added and deleted before",
    [
      Schema.Array(Schema.Struct({ pattern: segments("a", "b", "*", "**"), stays: Schema.Boolean }))
        .check(Schema.isMaxLength(30)),
      Schema.Array(segments("a", "b", "c"))
    ],
    ([steps, topics]) => {
      const patterns = new Patterns<string>()
      const there = new Set<string>()
      for (const step of steps) {
        const pattern = step.pattern.join(".")
        if (step.stays) {
          patterns.set(pattern, pattern)
          there.add(pattern)
        } else {
          patterns.delete(pattern)
          there.delete(pattern)
        }
        assert.strictEqual(patterns.size, there.size)
      }
      for (const topic of topics.map((each) => each.join("."))) {
        assert.deepStrictEqual(
          [...patterns.matching(topic)].sort(),
          [...there].filter((pattern) => TopicName.matcher(pattern)(topic)).sort()
        )
      }
    }
  )

  it("knows names like those of prototypes", () => {
    const patterns = new Patterns<string>()
    patterns.set("__proto__.*", "found")
    assert.deepStrictEqual(patterns.matching("__proto__.constructor"), ["found"])
    assert.deepStrictEqual(patterns.matching("constructor.constructor"), [])
  })

  it("ends at once on the worst patterns and topic that names can be", () => {
    const patterns = new Patterns<number>()
    // Without care, as many ways through one of them as there are to choose 24 of 48.
    for (let i = 0; i < 24; i++) patterns.set(["a", ...Array.from({ length: i }, () => "**"), "b"].join("."), i)
    assert.deepStrictEqual(patterns.matching(`${"a.".repeat(49)}a`), [])
    assert.strictEqual(patterns.matching(`${"a.".repeat(49)}b`).length, 23)
  })
})
