import { assert, describe, it } from "@effect/vitest"
import { makeRandom } from "../../scripts/fuzz/http1.ts"
import * as Forwarded from "../../src/protocol/Forwarded.ts"

describe("Forwarded", () => {
  describe("lastItems", () => {
    for (
      const [lines, items] of [
        [[], []],
        [[""], []],
        [[",, ,"], []],
        [["a"], ["a"]],
        [[" a\t"], ["a"]],
        [["a, b ,c"], ["c", "b", "a"]],
        [[",a,,b,"], ["b", "a"]],
        [["a,b", "", "c, d"], ["d", "c", "b", "a"]]
      ] as const
    ) {
      it(`reads ${JSON.stringify(lines)} from the right, without empty items`, () => {
        assert.deepStrictEqual(Forwarded.lastItems(lines), items)
      })
    }

    it("counts empty items, so that their number is no work", () => {
      const { maxHops } = Forwarded
      assert.deepStrictEqual(Forwarded.lastItems([`a${",".repeat(maxHops - 1)}`]), ["a"])
      assert.deepStrictEqual(Forwarded.lastItems([`a${",".repeat(maxHops)}`]), [])
    })

    it("stops after as many items as there are hops", () => {
      const all = Array.from({ length: Forwarded.maxHops + 5 }, (_, index) => `i${index}`)
      const expected = all.toReversed().slice(0, Forwarded.maxHops)
      assert.deepStrictEqual(Forwarded.lastItems([all.join(",")]), expected)
      assert.deepStrictEqual(Forwarded.lastItems(all), expected)
    })
  })

  describe("lastHops", () => {
    for (
      const [lines, hops] of [
        [[], []],
        [[""], []],
        [[" , ,"], []],
        [["for=192.0.2.60;proto=http;by=203.0.113.43"], [{ for: "192.0.2.60", proto: "http" }]],
        [["For=\"[2001:db8:cafe::17]:4711\""], [{ for: "[2001:db8:cafe::17]:4711" }]],
        [["for=192.0.2.43, for=198.51.100.17;host=a"], [{ for: "198.51.100.17", host: "a" }, { for: "192.0.2.43" }]],
        [["for=_hidden", "for=unknown"], [{ for: "unknown" }, { for: "_hidden" }]],
        [["for=\"_a\\\"\\\\,;b\""], [{ for: "_a\"\\,;b" }]],
        [["for=\"\""], [{ for: "" }]],
        [[" for=a ; proto=b\t, host=c;"], [{ host: "c" }, { for: "a", proto: "b" }]],
        [[";;for=a;;"], [{ for: "a" }]],
        [["by=a"], [{}]],
        [["by=a;by=b;secret=c"], [{}]],
        [["for=192.0.2.1:80, for=[::1]:81"], [{ for: "[::1]:81" }, { for: "192.0.2.1:80" }]]
      ] as const
    ) {
      it(`reads ${JSON.stringify(lines)} from the right`, () => {
        assert.deepStrictEqual(Forwarded.lastHops(lines), hops)
      })
    }

    for (
      const line of [
        "for",
        "for=",
        "=a",
        "for =a",
        "for= a",
        "for=a b",
        "for=a;for=b",
        "for=a;FOR=a",
        "for=\"a",
        "for=\"a\\",
        "for=\"a\\\x01\"",
        "for=\"a\x01\"",
        "for=\"a\"b",
        "for=a/b",
        "for=\"a, for=203.0.113.9",
        "for=a;x=\", for=\"[2001:db8::1]\""
      ]
    ) {
      it(`takes all of ${JSON.stringify(line)} for one element that says nothing`, () => {
        assert.deepStrictEqual(Forwarded.lastHops(["for=192.0.2.1", line, "for=192.0.2.2"]), [{ for: "192.0.2.2" }, {}])
      })
    }

    it("stops after as many elements as there are hops", () => {
      const all = Array.from({ length: Forwarded.maxHops + 5 }, (_, index) => `for=i${index}`)
      const expected = all.toReversed().slice(0, Forwarded.maxHops).map((text) => ({ for: text.slice(4) }))
      assert.deepStrictEqual(Forwarded.lastHops([all.join(",")]), expected)
      assert.deepStrictEqual(Forwarded.lastHops(all), expected)
    })
  })

  describe("readNode", () => {
    for (
      const [text, address, port] of [
        ["192.0.2.1", "192.0.2.1", 0],
        ["192.0.2.1:4711", "192.0.2.1", 4711],
        ["192.0.2.1:_a.b-c_1", "192.0.2.1", 0],
        ["192.0.2.1:0", "192.0.2.1", 0],
        ["192.0.2.1:65535", "192.0.2.1", 65535],
        ["2001:db8::1", "2001:db8::1", 0],
        ["::ffff:192.0.2.1", "::ffff:192.0.2.1", 0],
        ["[2001:DB8::1]", "2001:DB8::1", 0],
        ["[2001:db8::1]:80", "2001:db8::1", 80]
      ] as const
    ) {
      it(`reads ${text}`, () => {
        assert.deepStrictEqual(Forwarded.readNode(text), { address, port })
      })
    }

    for (
      const text of [
        "",
        "unknown",
        "_hidden",
        "example.com",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:123456",
        "192.0.2.1:-1",
        "192.0.2.1:http",
        "192.0.2.1:_",
        "unknown:80",
        ":80",
        "[::1",
        "[::1]80",
        "[::1]:",
        "[192.0.2.1]",
        "[]",
        "::1%eth0",
        "[fe80::1%25eth0]",
        "192.0.2.1 ",
        "<script>"
      ]
    ) {
      it(`does not take ${JSON.stringify(text)} for an address`, () => {
        assert.isUndefined(Forwarded.readNode(text))
      })
    }
  })

  it("reads schemes in any case, those of WebSocket too, and no others", () => {
    for (const text of ["http", "HTTP", "ws"]) assert.strictEqual(Forwarded.readScheme(text), "http")
    for (const text of ["https", "Https", "wss"]) assert.strictEqual(Forwarded.readScheme(text), "https")
    for (const text of ["", "ftp", "https ", "javascript", "on"]) assert.isUndefined(Forwarded.readScheme(text), text)
  })

  it("reads a host with its port, and nothing that is not one", () => {
    const read = (text: string) => {
      const authority = Forwarded.readAuthority(text)
      return authority && [authority.host, authority.port]
    }
    assert.deepStrictEqual(read("example.com"), ["example.com", undefined])
    assert.deepStrictEqual(read("example.com:"), ["example.com", undefined])
    assert.deepStrictEqual(read("example.com:8443"), ["example.com", 8443])
    assert.deepStrictEqual(read("[::1]"), ["::1", undefined])
    assert.deepStrictEqual(read("[::1]:81"), ["::1", 81])
    for (const text of ["", ":80", "a b", "a/b", "u@a", "a:65536", "a:b", "[::1", "a\r\nb", "\"a\""]) {
      assert.isUndefined(read(text), text)
    }
  })

  it("makes something bounded of any text", () => {
    const pieces = "for=|FOR=|proto=|host=|by=|\"|\\|,|;| |\t|[|]|[::1]|:|_x|unknown|1.2.3.4|a.b|:80|:99999|é|=".split(
      "|"
    )
    let hops = 0
    let nodes = 0
    for (let seed = 0; seed < 20_000; seed++) {
      const random = makeRandom(seed)
      const text = () =>
        Array.from({ length: random.int(random.chance(50) ? 200 : 12) }, () => random.pick(pieces)).join("")
      const lines = Array.from({ length: random.int(4) }, text)
      const read = Forwarded.lastHops(lines)
      assert.isAtMost(read.length, Forwarded.maxHops)
      assert.isAtMost(Forwarded.lastItems(lines).length, Forwarded.maxHops)
      // What a client sends in front changes nothing of what the nearest proxies have added.
      assert.deepStrictEqual(Forwarded.lastHops([text(), ...lines]).slice(0, read.length), read)
      hops += read.length
      for (const line of lines) {
        const node = Forwarded.readNode(line)
        if (node !== undefined) nodes++
        assert.isTrue(node === undefined || (/^[0-9a-fA-F:.]+$/.test(node.address) && node.port <= 65_535))
        const authority = Forwarded.readAuthority(line)
        assert.isTrue(authority === undefined || !/[\s"\\/@]/.test(authority.host))
      }
    }
    assert.isAbove(hops, 1000)
    assert.isAbove(nodes, 100)
  })
})
