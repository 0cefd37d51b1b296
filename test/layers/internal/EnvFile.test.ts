import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as EnvFile from "../../../layers/internal/EnvFile.ts"

const read = (content: string) => Result.getOrThrow(EnvFile.parse(content))

const problem = (content: string): string => {
  const parsed = EnvFile.parse(content)
  return Result.isFailure(parsed) ? parsed.failure : `accepted: ${JSON.stringify(parsed.success)}`
}

describe("EnvFile", () => {
  describe("parse", () => {
    it("reads names, quotes, comments, export and values of several lines", () => {
      const content =
        "\uFEFF# first\nA=1\nexport B = two words # why\n\nC=\"x#y\"\r\nD='it''s'\nE=\"one\n# two\nthree\"\nF=\nG.h-i=1\n"
      const { A, B, C, E, F, ...rest } = read(content)
      assert.deepStrictEqual([A, B, C, E, F], ["1", "two words", "x#y", "one\n# two\nthree", ""])
      assert.strictEqual(rest["G.h-i"], "1")
    })

    it("names the line that is no assignment, and nothing of what it says", () => {
      assert.strictEqual(problem("A=1\n\nthe secret\nB=2"), "line 3 is not NAME=value")
      assert.strictEqual(problem("=1"), "line 1 is not NAME=value")
      assert.strictEqual(problem("A=\"x\ny\"\nz"), "line 3 is not NAME=value")
    })

    it("names the line whose quote never ends", () => {
      assert.strictEqual(problem("A=1\nB=\"secret\nC=3"), "the quote of line 2 never ends")
    })

    it("takes an empty file for no variables", () => {
      assert.deepStrictEqual({ ...read("") }, {})
    })
  })
})
