import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as TopicName from "../../src/schema/TopicName.ts"

const allowed = /^[A-Za-z0-9.:_-]$/

describe("TopicName", () => {
  describe("problemWith", () => {
    it("is undefined up to 100 characters, and names length and limit above [C223]", () => {
      assert.strictEqual(TopicName.problemWith("a".repeat(100)), undefined)
      assert.strictEqual(TopicName.problemWith("a".repeat(101)), "it has 101 characters, the limit is 100")
      assert.strictEqual(TopicName.problemWith(""), "it is empty")
    })

    it("takes letters, digits and four signs, and no other character of Unicode's first plane [C223]", () => {
      const taken: Array<string> = []
      for (let code = 0; code <= 0xffff; code++) {
        const character = String.fromCharCode(code)
        if (TopicName.problemWith(`a${character}b`) === undefined) taken.push(character)
      }
      assert.strictEqual(taken.join(""), "-.0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
      assert.isTrue(taken.every((character) => allowed.test(character)))
    })

    it("refuses empty segments, and a line end behind the name", () => {
      for (const name of [".", ".a", "a.", "a..b", "a\n", "a\r\n", "\na", "a.b\n"]) {
        assert.include(TopicName.problemWith(name), "parted by single dots", JSON.stringify(name))
      }
    })
  })

  describe("problemWithPattern", () => {
    it("takes * and ** as whole segments only", () => {
      for (const pattern of ["*", "**", "a.*", "*.a", "**.a.**", "*.*.*", "a.b", `${"a.".repeat(49)}**`]) {
        assert.strictEqual(TopicName.problemWithPattern(pattern), undefined, pattern)
      }
      for (const pattern of ["a*", "*a", "***", "a.**b", "*.", "..", "a.*\n", "?", "[a]", "*.>", "a,*"]) {
        assert.include(TopicName.problemWithPattern(pattern), "* is one whole segment", pattern)
      }
      assert.include(TopicName.problemWithPattern(`${"a.".repeat(50)}*`), "101 characters")
      assert.strictEqual(TopicName.problemWithPattern(""), "it is empty")
    })

    it("is told from a topic by its asterisk", () => {
      assert.deepStrictEqual(["*", "a.**", "a*", "a", "a.b", ""].map(TopicName.isPattern), [
        true,
        true,
        true,
        false,
        false,
        false
      ])
    })
  })

  describe("matcher", () => {
    it("takes * as one segment and ** as one or more", () => {
      const matched = (pattern: string) =>
        ["a", "b", "a.a", "a.b", "a.a.b", "a.b.a.b"].filter(TopicName.matcher(pattern)).join(" ")
      assert.strictEqual(matched("a"), "a")
      assert.strictEqual(matched("*"), "a b")
      assert.strictEqual(matched("**"), "a b a.a a.b a.a.b a.b.a.b")
      assert.strictEqual(matched("a.*"), "a.a a.b")
      assert.strictEqual(matched("a.**"), "a.a a.b a.a.b a.b.a.b")
      assert.strictEqual(matched("**.b"), "a.b a.a.b a.b.a.b")
      assert.strictEqual(matched("**.*.b"), "a.a.b a.b.a.b")
      assert.strictEqual(matched("**.**"), "a.a a.b a.a.b a.b.a.b")
      assert.strictEqual(matched("a.**.b"), "a.a.b a.b.a.b")
    })

    /** What the words say, with every way to share the segments out. */
    const naive = (pattern: ReadonlyArray<string>, topic: ReadonlyArray<string>): boolean => {
      const [wanted, ...others] = pattern
      if (wanted === undefined) return topic.length === 0
      const longest = wanted === "**" ? topic.length : Math.min(1, topic.length)
      for (let taken = 1; taken <= longest; taken++) {
        const isFit = wanted.startsWith("*") || wanted === topic[0]
        if (isFit && naive(others, topic.slice(taken))) return true
      }
      return false
    }

    const segments = (...words: ReadonlyArray<string>) =>
      Schema.Array(Schema.Literals(words)).check(Schema.isMinLength(1), Schema.isMaxLength(7))

    it.prop(
      "matches what trying every way matches",
      [segments("a", "b", "*", "**"), segments("a", "b")],
      ([pattern, topic]) => {
        assert.strictEqual(TopicName.matcher(pattern.join("."))(topic.join(".")), naive(pattern, topic))
      },
      { arbitrary: { runs: 2000 } }
    )

    it("ends at once on the worst pattern and topic that a name can be", () => {
      const pattern = `${"**.a.".repeat(19)}**.b`
      const topic = `${"a.".repeat(49)}a`
      assert.isFalse(TopicName.matcher(pattern)(topic))
      assert.isTrue(TopicName.matcher(pattern)(`${"a.".repeat(49)}b`))
    })
  })
})
