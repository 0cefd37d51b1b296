import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { Hub } from "../../../layers/internal/PubSubHub.ts"
import type { Message } from "../../../src/service/PubSub.ts"

const make = () => {
  const failures: Array<string> = []
  const turns: Array<() => void> = []
  const hub = new Hub({
    channelPrefix: "test",
    expiryMillis: 60_000,
    nowMillis: () => 0,
    failed: (topic) => void failures.push(topic),
    later: (work) => void turns.push(work)
  })
  const publish = (topic: string, data = "x", excluded: ReadonlyArray<string> = []) =>
    hub.deliver({ topic, data, id: undefined }, excluded)
  return { hub, publish, failures, turns }
}

describe("Hub", () => {
  it("gives a receiver that joins while messages are handed out only what is published after", () => {
    const { hub, publish } = make()
    const receiver = hub.open(10, true)
    hub.listen("a", ({ data }) => {
      if (data !== "1") return
      publish("a", "2")
      hub.join(receiver, "a")
      hub.join(receiver, "*")
      publish("a", "3")
    })
    publish("a", "1")
    assert.strictEqual(receiver.mailbox.pending(), 1)
    publish("a", "4")
    assert.strictEqual(receiver.mailbox.pending(), 2)
    assert.strictEqual(hub.delivered, 4 + 2)
  })

  it("calls a callback that joins while messages are handed out only for what is published after", () => {
    const { hub, publish } = make()
    const got: Array<unknown> = []
    hub.listen("a", ({ data }) => {
      if (data !== "1") return
      publish("a", "2")
      for (const name of ["a", "**"]) hub.listen(name, (message: Message) => void got.push(message.data))
      publish("a", "3")
    })
    hub.listen("**", () => {})
    publish("a", "1")
    assert.deepStrictEqual(got, ["3", "3"])
    assert.strictEqual(hub.delivered, 3 + 3 + 2)
  })

  it("calls who left and came back in one message once for the next", () => {
    const { hub, publish } = make()
    const got: Array<unknown> = []
    const callback = ({ data }: Message): void => {
      got.push(data)
      leave()
      leave = hub.listen("a", callback)
    }
    let leave = hub.listen("a", callback)
    for (const data of ["1", "2", "3"]) publish("a", data)
    assert.deepStrictEqual(got, ["1", "2", "3"])
    assert.strictEqual(hub.subscribers("a"), 1)
    leave()
    leave()
    assert.deepStrictEqual([hub.topicCount, hub.subscribers("a")], [0, 0])
  })

  it("counts who has left at once, also while messages are handed out", () => {
    const { hub, publish } = make()
    const seen: Array<unknown> = []
    const leave = hub.listen("a.*", () => {
      leave()
      seen.push(hub.patternCount, hub.topicCount)
    })
    publish("a.b")
    assert.deepStrictEqual(seen, [0, 0])
    publish("a.b")
    assert.strictEqual(seen.length, 2)
  })

  it("works on after a fault in the middle of a message", () => {
    const { hub, publish } = make()
    const receiver = hub.open(10, true)
    hub.join(receiver, "a")
    assert.throws(() => publish("a", "1", null as never))
    publish("a", "2")
    assert.isFalse(hub.isDispatching)
    assert.strictEqual(receiver.mailbox.pending(), 1)
  })

  it("names the topic of a callback that throws, and counts it as delivered", () => {
    const { failures, hub, publish } = make()
    for (let i = 0; i < 3; i++) {
      hub.listen("*", () => {
        throw new Error("broken")
      })
    }
    publish("a")
    assert.deepStrictEqual(failures, ["a", "a", "a"])
    assert.strictEqual(hub.delivered, 3)
  })

  it("hands out a thousand messages that answer each other at a time, and the rest in turns, in order", () => {
    const { hub, publish, turns } = make()
    const got: Array<number> = []
    hub.listen("a", ({ data }) => {
      got.push(Number(data))
      if (got.length <= 2500) publish("a", String(got.length))
    })
    publish("a", "0")
    assert.strictEqual(got.length, 1001)
    publish("a", "-1")
    while (turns.length > 0) {
      assert.isTrue(hub.isDispatching)
      turns.shift()!()
    }
    assert.isFalse(hub.isDispatching)
    assert.deepStrictEqual(got.filter((n) => n !== -1), Array.from({ length: 2501 }, (_, n) => n))
    assert.strictEqual(got.indexOf(-1), 1002)
  })

  it("has nobody after shutdown, also when it comes in the middle of a message", () => {
    const { hub, publish } = make()
    const got: Array<string> = []
    const receiver = hub.open(10, true)
    hub.join(receiver, "a")
    hub.listen("a", () => {
      got.push("first")
      hub.shutdown()
    })
    const leave = hub.listen("a", () => void got.push("second"))
    publish("a")
    publish("a")
    leave()
    hub.close(receiver)
    assert.deepStrictEqual(got, ["first"])
    assert.isTrue(receiver.mailbox.isClosed)
    assert.deepStrictEqual([hub.topicCount, hub.patternCount, hub.channelCount, hub.delivered], [0, 0, 0, 1])
    assert.strictEqual(hub.deliverTo(receiver.channel!, "x"), "unknown")
  })

  it.prop(
    "calls exactly those who are there, whoever leaves before, between and within messages",
    [Schema.Array(Schema.Struct({ leaves: Schema.Int, within: Schema.Boolean })).check(Schema.isMaxLength(12))],
    ([plan]) => {
      const { hub, publish } = make()
      const called: Array<number> = []
      const gone = new Set<number>()
      let goesWithin: number | undefined
      const leaves = plan.map((_, index) =>
        hub.listen("a", () => {
          assert.isFalse(gone.has(index), "called after it left")
          called.push(index)
          if (goesWithin === undefined) return
          gone.add(goesWithin)
          leaves[goesWithin]!()
          goesWithin = undefined
        })
      )
      for (const step of plan) {
        const who = Math.abs(step.leaves) % plan.length
        if (step.within) goesWithin = who
        else {
          gone.add(who)
          leaves[who]!()
        }
        const there = plan.flatMap((_, index) => gone.has(index) ? [] : [index])
        called.length = 0
        const before = hub.delivered
        publish("a")
        goesWithin = undefined
        assert.strictEqual(hub.delivered - before, called.length)
        assert.deepStrictEqual(
          [...called].sort((a, b) => a - b),
          there.filter((index) => !gone.has(index) || called.includes(index))
        )
      }
      assert.strictEqual(hub.subscribers("a"), plan.length - gone.size)
    }
  )
})
