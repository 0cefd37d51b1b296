import { assert, describe, it } from "@effect/vitest"
import { PubSubPresence } from "../../../layers/internal/PubSubPresence.ts"

describe("PubSubPresence", () => {
  it("shows the last word of those who track a key, and the one before when its owner leaves", () => {
    const presence = new PubSubPresence()
    const value = () => presence.list("room", 10)[0]?.value
    presence.add("room", "ann", "one", 1)
    presence.add("room", "ann", "two", 2)
    presence.add("room", "ann", "one again", 1)
    assert.strictEqual(value(), "one again")
    presence.remove("room", "ann", 1)
    assert.strictEqual(value(), "two")
    presence.remove("room", "ann", 1)
    presence.remove("room", "bob", 2)
    presence.remove("hall", "ann", 2)
    assert.strictEqual(presence.count("room"), 1)
    presence.remove("room", "ann", 2)
    assert.deepStrictEqual([value(), presence.count("room")], [undefined, 0])
  })

  it("goes on behind any text as a cursor, also one that is no key", () => {
    const presence = new PubSubPresence()
    for (const key of ["", "a", "b", "c"]) presence.add("room", key, "", 1)
    const keys = (cursor: string | undefined, count = 10) =>
      presence.scan("room", cursor, count).entries.map(({ key }) => key).join()
    assert.strictEqual(keys(undefined), ",a,b,c")
    assert.strictEqual(keys(""), "a,b,c")
    assert.strictEqual(keys("aa"), "b,c")
    assert.strictEqual(keys("zzz"), "")
    assert.deepStrictEqual(presence.scan("room", undefined, 1), { entries: [{ key: "", value: "" }], cursor: "" })
    assert.strictEqual(presence.scan("room", "b", 1).cursor, undefined)
  })
})
