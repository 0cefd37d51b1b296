import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as SyslogTarget from "../../src/schema/SyslogTarget.ts"

const read = (text: string) => Result.getOrThrow(SyslogTarget.parse(text))

const problemOf = (text: string): string => {
  const parsed = SyslogTarget.parse(text)
  return Result.isFailure(parsed) ? parsed.failure.message : "none"
}

describe("SyslogTarget", () => {
  for (
    const [text, server, facility, tag] of [
      ["syslog:", undefined, "local0", "slipway"],
      ["syslog:?facility=daemon", undefined, "daemon", "slipway"],
      ["syslog://logs.example", { host: "logs.example", port: 514 }, "local0", "slipway"],
      ["syslog://192.0.2.1:5514/?facility=local7&tag=my-shop", { host: "192.0.2.1", port: 5514 }, "local7", "my-shop"],
      ["syslog://[2001:db8::1]:1", { host: "2001:db8::1", port: 1 }, "local0", "slipway"]
    ] as const
  ) {
    it(`reads ${text}`, () => {
      assert.deepStrictEqual(read(text), { server, facility, tag })
      assert.isTrue(SyslogTarget.isMeant(text))
    })
  }

  for (
    const [text, problem] of [
      ["syslog", "is not syslog://host"],
      ["syslog:/dev/log", "is not syslog://host"],
      ["syslog://", "is not syslog://host"],
      ["syslog://a b", "is not syslog://host"],
      ["syslog://host/path", "is not syslog://host"],
      ["syslog://host:0", "has a port that is not one: 0"],
      ["syslog://host:65536", "has a port that is not one: 65536"],
      ["syslog:?facility=local8", "has an unknown facility"],
      ["syslog:?facility=constructor", "has an unknown facility"],
      ["syslog:?tag=a%20b", "has a tag that is not"],
      ["syslog:?tag=", "has a tag that is not"],
      ["syslog:?level=debug", "has an unknown option: level"]
    ] as const
  ) {
    it(`refuses ${text}, and says why`, () => {
      assert.include(problemOf(text), `${JSON.stringify(text)} ${problem}`)
    })
  }

  it("tells a target from a file", () => {
    assert.isFalse(SyslogTarget.isMeant("syslog"))
    assert.isFalse(SyslogTarget.isMeant("./syslog:"))
    assert.isTrue(SyslogTarget.isMeant("syslog:nonsense"))
  })
})
