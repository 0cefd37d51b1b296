import { assert, describe, it } from "@effect/vitest"
import { makeRandom } from "../../scripts/fuzz/http1.ts"
import * as ProxyProtocol from "../../src/protocol/ProxyProtocol.ts"
import { binary, bytesOf } from "../utils/proxyHeaders.ts"

/** What every beginning of `bytes` is read as, and the whole with something behind it. */
const read = (bytes: Uint8Array): ReturnType<typeof ProxyProtocol.read> => {
  const whole = ProxyProtocol.read(bytes)
  if (whole._tag !== "Malformed") {
    for (let end = 0; end < bytes.length; end++) {
      assert.strictEqual(ProxyProtocol.read(bytes.subarray(0, end))._tag, "NeedData", `after ${end} bytes`)
    }
  }
  assert.deepStrictEqual(ProxyProtocol.read(Buffer.concat([bytes, bytesOf("GET / HTTP/1.1\r\n")])), whole)
  return whole
}

const proxied = (length: number, source: ProxyProtocol.Endpoint, destination: ProxyProtocol.Endpoint) => ({
  _tag: "Proxied" as const,
  length,
  source,
  destination
})

const malformed = (bytes: Uint8Array, problem: string): void => {
  const result = ProxyProtocol.read(bytes)
  assert.deepStrictEqual(result, { _tag: "Malformed", problem: (result as ProxyProtocol.Malformed).problem })
  assert.include((result as ProxyProtocol.Malformed).problem, problem)
}

describe("ProxyProtocol", () => {
  it("needs a first byte", () => {
    assert.strictEqual(ProxyProtocol.read(new Uint8Array(0))._tag, "NeedData")
  })

  it("knows by the first byte that is wrong who does not speak it", () => {
    for (
      const start of [
        "G",
        "PR",
        "PROXX",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "proxy ",
        "\x16\x03\x01",
        "\r\n\r\n\0\r\nQUIT\r"
      ]
    ) {
      const wrong = start === "PR" ? "PX" : start
      malformed(bytesOf(wrong), "does not begin with a PROXY protocol header")
    }
  })

  describe("version 1", () => {
    for (
      const [line, source, destination] of [
        ["PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", ["192.0.2.1", 56324], ["198.51.100.2", 443]],
        ["PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ["255.255.255.255", 65535], [
          "255.255.255.255",
          65535
        ]],
        ["PROXY TCP6 2001:db8::1 ::1 0 1\r\n", ["2001:db8::1", 0], ["::1", 1]],
        ["PROXY TCP6 ::FFFF:192.0.2.1 :: 10 20\r\n", ["::FFFF:192.0.2.1", 10], ["::", 20]]
      ] as const
    ) {
      it(`reads ${JSON.stringify(line)}, cut anywhere`, () => {
        assert.deepStrictEqual(
          read(bytesOf(line)),
          proxied(line.length, { address: source[0], port: source[1] }, {
            address: destination[0],
            port: destination[1]
          })
        )
      })
    }

    for (const line of ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN ff::1 x 65535 99999\r\n"]) {
      it(`reads ${JSON.stringify(line)} whatever it says, cut anywhere`, () => {
        assert.deepStrictEqual(read(bytesOf(line)), { _tag: "Unknown", length: line.length })
      })
    }

    it("takes the longest line there is, and nothing longer", () => {
      const longest = `PROXY UNKNOWN ${"x".repeat(91)}\r\n`
      assert.strictEqual(longest.length, 107)
      assert.strictEqual(read(bytesOf(longest))._tag, "Unknown")
      malformed(bytesOf(`PROXY UNKNOWN ${"x".repeat(92)}\r\n`), "longer than 107 bytes")
      assert.strictEqual(ProxyProtocol.read(bytesOf(`PROXY UNKNOWN ${"x".repeat(92)}`))._tag, "NeedData")
      malformed(bytesOf(`PROXY UNKNOWN ${"x".repeat(93)}`), "longer than 107 bytes")
      malformed(bytesOf(`PROXY UNKNOWN ${"x".repeat(100_000)}`), "longer than 107 bytes")
    })

    for (
      const line of [
        "PROXY \r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 123456\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 host host 1 2\r\n",
        "PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n"
      ]
    ) {
      it(`refuses ${JSON.stringify(line)}`, () => {
        malformed(bytesOf(line), "not a family, two addresses and two ports")
      })
    }

    it("refuses ports that do not exist, and a line without its carriage return", () => {
      malformed(bytesOf("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n"), "above 65535")
      malformed(bytesOf("PROXY TCP6 ::1 ::1 1 99999\r\n"), "above 65535")
      malformed(bytesOf("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n"), "CR LF")
    })
  })

  describe("version 2", () => {
    const v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb]
    const v6 = [...Array.from({ length: 32 }, (_, index) => index), 0xff, 0xff, 0, 80]
    const unix = Array.from({ length: 216 }, () => 0x61)
    const tlv = [0x04, 0, 3, 1, 2, 3]

    for (const family of [0x11, 0x12]) {
      it(`reads IPv4 of family ${family.toString(16)} and skips what follows, cut anywhere`, () => {
        const expected = (length: number) =>
          proxied(length, { address: Uint8Array.of(192, 0, 2, 1), port: 56324 }, {
            address: Uint8Array.of(198, 51, 100, 2),
            port: 443
          })
        assert.deepStrictEqual(plain(read(binary(0x21, family, v4))), expected(28))
        assert.deepStrictEqual(plain(read(binary(0x21, family, [...v4, ...tlv]))), expected(34))
      })
    }

    for (const family of [0x21, 0x22]) {
      it(`reads IPv6 of family ${family.toString(16)}, cut anywhere`, () => {
        assert.deepStrictEqual(
          plain(read(binary(0x21, family, v6))),
          proxied(52, { address: Uint8Array.from(v6.slice(0, 16)), port: 65535 }, {
            address: Uint8Array.from(v6.slice(16, 32)),
            port: 80
          })
        )
      })
    }

    it("reads clients on unix sockets, unknown ones, and connections of the proxy's own", () => {
      for (const family of [0x31, 0x32]) {
        assert.deepStrictEqual(read(binary(0x21, family, unix)), { _tag: "ProxiedUnix", length: 232 })
      }
      assert.deepStrictEqual(read(binary(0x21, 0x00, [])), { _tag: "Unknown", length: 16 })
      assert.deepStrictEqual(read(binary(0x21, 0x00, tlv)), { _tag: "Unknown", length: 22 })
      for (const family of [0x00, 0x11, 0x21, 0xff]) {
        assert.deepStrictEqual(read(binary(0x20, family, tlv)), { _tag: "Local", length: 22 })
      }
    })

    it("takes the longest header there is, and refuses a longer one before it comes", () => {
      const most = ProxyProtocol.maxBytes - 16
      assert.strictEqual(ProxyProtocol.read(binary(0x21, 0x11, Array(most).fill(0)))._tag, "Proxied")
      malformed(binary(0x21, 0x11, Array(most + 1).fill(0)).subarray(0, 16), "longer than 4096 bytes")
      malformed(binary(0x20, 0x00, Array(65535).fill(0)).subarray(0, 16), "longer than 4096 bytes")
    })

    it("refuses other versions, commands and families, and addresses that are cut short", () => {
      for (const version of [0x01, 0x11, 0x31, 0xf1]) malformed(binary(version, 0x11, v4), "version")
      for (const command of [0x22, 0x2f]) malformed(binary(command, 0x11, v4), "neither LOCAL nor PROXY")
      for (const family of [0x01, 0x10, 0x13, 0x20, 0x30, 0x41, 0xff]) {
        malformed(binary(0x21, family, unix), "unknown address family")
      }
      malformed(binary(0x21, 0x11, v4.slice(1)), "too short")
      malformed(binary(0x21, 0x21, v6.slice(1)), "too short")
      malformed(binary(0x21, 0x31, unix.slice(1)), "too short")
    })
  })
})

/** Addresses as plain arrays of bytes, whatever class they came in. */
const plain = (result: ReturnType<typeof ProxyProtocol.read>): unknown =>
  result._tag === "Proxied"
    ? {
      ...result,
      source: { ...result.source, address: Uint8Array.from(result.source.address as Uint8Array) },
      destination: { ...result.destination, address: Uint8Array.from(result.destination.address as Uint8Array) }
    }
    : result

describe("any bytes", () => {
  it("are a preamble, a fault or not enough, and say the same however they are split", () => {
    const lines = [
      "PROXY ",
      "TCP4 ",
      "TCP6 ",
      "UNKNOWN",
      "1.2.3.4 ",
      "::1 ",
      "80 ",
      "65536",
      " ",
      "\r",
      "\r\n",
      "\n",
      "x"
    ]
    const outcomes = new Map<string, number>()
    for (let seed = 0; seed < 3000; seed++) {
      const random = makeRandom(seed)
      const bytes = random.chance(2)
        ? bytesOf("PROXY " + Array.from({ length: random.int(12) }, () => random.pick(lines)).join(""))
        : Buffer.concat([
          bytesOf("\r\n\r\n\0\r\nQUIT\n"),
          Uint8Array.of(random.pick([0x20, 0x21, 0x21, 0x22, 0x11]), random.pick([0, 0x11, 0x12, 0x21, 0x31, 0x41])),
          Uint8Array.of(random.chance(9) ? random.int(256) : 0, random.int(230)),
          Uint8Array.from({ length: random.int(300) }, () => random.int(256))
        ])
      if (random.chance(4) && bytes.length > 0) bytes[random.int(bytes.length)] = random.int(256)
      const whole = ProxyProtocol.read(bytes)
      outcomes.set(whole._tag, (outcomes.get(whole._tag) ?? 0) + 1)
      let isDecided = false
      for (let end = 0; end <= bytes.length; end++) {
        const early = ProxyProtocol.read(bytes.subarray(0, end))
        if (early._tag === "NeedData" && !isDecided) continue
        isDecided = true
        if (early._tag !== whole._tag || end % 16 === 0) {
          assert.deepStrictEqual(early, whole, `seed ${seed}, ${end} bytes`)
        }
      }
    }
    for (const tag of ["Proxied", "ProxiedUnix", "Unknown", "Local", "Malformed", "NeedData"]) {
      assert.isAbove(outcomes.get(tag) ?? 0, 0, tag)
    }
  })
})
