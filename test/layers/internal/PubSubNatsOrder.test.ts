import { assert, describe, it } from "@effect/vitest"
import { Order } from "../../../layers/internal/PubSubNatsOrder.ts"

/** An order whose round trips end when the test says so. */
const make = () => {
  const trips: Array<() => void> = []
  const got: Array<string> = []
  const order = new Order(() => new Promise<void>((resolve) => trips.push(resolve)))
  return {
    order,
    got,
    come: (topic: string, sequence: number, previous: number) =>
      order.pass(topic, { sequence, previous }, () => got.push(`${topic}${sequence}`)),
    answered: async () => {
      trips.splice(0).forEach((end) => end())
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

describe("PubSubNatsOrder", () => {
  it("holds back what comes before its predecessor, topic by topic [C223]", () => {
    const { come, got } = make()
    come("a", 5, 3)
    come("a", 9, 7)
    come("a", 11, 9)
    come("b", 6, 0)
    come("b", 10, 8)
    assert.deepStrictEqual(got, ["a5", "b6"])
    come("a", 7, 5)
    come("b", 8, 6)
    come("b", 12, 10)
    assert.deepStrictEqual(got, ["a5", "b6", "a7", "a9", "a11", "b8", "b10", "b12"])
  })

  it("waits for one round trip, and takes what is lost for lost", async () => {
    const { answered, come, got } = make()
    come("a", 1, 0)
    come("a", 4, 3)
    come("a", 3, 2)
    assert.deepStrictEqual(got, ["a1"])
    await answered()
    assert.deepStrictEqual(got, ["a1", "a3", "a4"])
    come("a", 2, 1)
    come("a", 5, 4)
    assert.deepStrictEqual(got, ["a1", "a3", "a4", "a2", "a5"])
  })

  it("knows nothing of what came before a loss of the connection", async () => {
    const { answered, come, got, order } = make()
    come("a", 8, 7)
    come("a", 10, 9)
    order.forget()
    assert.deepStrictEqual(got, ["a8", "a10"])
    come("a", 2, 1)
    come("a", 3, 2)
    await answered()
    assert.deepStrictEqual(got, ["a8", "a10", "a2", "a3"])
  })

  it("holds back 1,000 messages of a topic at most", () => {
    const { come, got } = make()
    come("a", 1, 0)
    for (let sequence = 3; sequence <= 1001; sequence++) come("a", sequence, sequence - 1)
    assert.strictEqual(got.length, 1)
    come("a", 1002, 1001)
    assert.strictEqual(got.length, 1001)
  })
})
