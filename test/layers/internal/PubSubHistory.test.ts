import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { PubSubHistory } from "../../../layers/internal/PubSubHistory.ts"

const texts = (history: PubSubHistory, now = 0, topic = "a") => history.read(topic, {}, now).map(({ data }) => data)

describe("PubSubHistory", () => {
  it.prop(
    "keeps what cutting at every message keeps",
    [Schema.Array(Schema.Literals([1, 2, 3, 7, 20])).check(Schema.isMaxLength(60))],
    ([keeps]) => {
      const history = new PubSubHistory(Infinity, 10)
      let expected: Array<string> = []
      for (const [index, keep] of keeps.entries()) {
        history.add({ topic: "a", data: String(index), id: String(index) }, keep, 0)
        expected = [...expected, String(index)].slice(-keep)
        assert.deepStrictEqual(texts(history), expected)
      }
    }
  )

  it("forgets topics that were quiet for ttlMillis, and no others", () => {
    const history = new PubSubHistory(100, 10)
    const add = (topic: string, now: number) => history.add({ topic, data: topic, id: "1" }, 5, now)
    add("a", 0)
    add("b", 50)
    add("a", 99)
    assert.deepStrictEqual([texts(history, 149), texts(history, 149, "b")], [["a", "a"], ["b"]])
    assert.deepStrictEqual([texts(history, 150), texts(history, 150, "b")], [["a", "a"], []])
    assert.deepStrictEqual(texts(history, 199), [])
  })

  it("survives a clock that goes back", () => {
    const history = new PubSubHistory(100, 10)
    history.add({ topic: "a", data: "1", id: "1" }, 5, 1000)
    history.add({ topic: "a", data: "2", id: "2" }, 5, 10)
    assert.deepStrictEqual(texts(history, 20), ["1", "2"])
    assert.deepStrictEqual(texts(history, 110), [])
  })

  it("hands out lists of its own, which later messages do not change", () => {
    const history = new PubSubHistory(100, 10)
    history.add({ topic: "a", data: "1", id: "1" }, 5, 0)
    const all = history.read("a", {}, 0)
    const last = history.read("a", { last: 5 }, 0)
    history.add({ topic: "a", data: "2", id: "2" }, 5, 0)
    assert.deepStrictEqual([all.length, last.length], [1, 1])
  })
})
