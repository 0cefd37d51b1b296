import { assert, describe, it } from "@effect/vitest"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { readServerName } from "../../../layers/internal/TlsClientHello.ts"

/** The first message of Node's client, as it comes over a socket. */
const helloOf = (options: Tls.ConnectionOptions): Promise<Buffer> =>
  new Promise((resolve) => {
    const server = Net.createServer((socket) =>
      socket.once("data", (chunk: Buffer) => {
        socket.destroy()
        server.close()
        resolve(chunk)
      })
    )
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as Net.AddressInfo
      Tls.connect({ host: "127.0.0.1", port, ...options }).on("error", () => {})
    })
  })

const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff])
const vector8 = (...parts: ReadonlyArray<Uint8Array>) => {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([content.length]), content])
}
const vector16 = (...parts: ReadonlyArray<Uint8Array>) => {
  const content = Buffer.concat(parts)
  return Buffer.concat([u16(content.length), content])
}
const record = (content: Uint8Array) => Buffer.concat([Buffer.from([0x16, 3, 1]), u16(content.length), content])
const message = (content: Uint8Array, type = 1) => Buffer.concat([Buffer.from([type, 0]), u16(content.length), content])
const extension = (type: number, content: Uint8Array) => Buffer.concat([u16(type), vector16(content)])
const names = (...list: ReadonlyArray<readonly [type: number, name: string]>) =>
  vector16(...list.map(([type, name]) => Buffer.concat([Buffer.from([type]), vector16(Buffer.from(name))])))
const hello = (extensions: Uint8Array) =>
  message(
    Buffer.concat([Buffer.alloc(34, 3), vector8(Buffer.alloc(32)), vector16(Buffer.alloc(2)), vector8(), extensions])
  )
const naming = (...list: ReadonlyArray<readonly [type: number, name: string]>) =>
  hello(vector16(extension(23, Buffer.alloc(0)), extension(0, names(...list))))

/** Cut into records of so many bytes. */
const records = (content: Buffer, size: number): Buffer => {
  const cut: Array<Buffer> = []
  for (let at = 0; at < content.length; at += size) cut.push(record(content.subarray(at, at + size)))
  return Buffer.concat(cut)
}

describe("readServerName", () => {
  for (const options of [{}, { maxVersion: "TLSv1.2" }] as ReadonlyArray<Tls.ConnectionOptions>) {
    it(`reads the name that Node's client asks for, with ${options.maxVersion ?? "TLSv1.3"}`, async () => {
      const bytes = await helloOf({ ...options, servername: "www.example.test" })
      assert.strictEqual(readServerName(bytes), "www.example.test")
      assert.strictEqual(readServerName(await helloOf({ ...options, servername: "" })), "")
    })
  }

  it("asks for more until the message is complete, and never for more than that", async () => {
    for (const bytes of [await helloOf({ servername: "a.test" }), records(naming([0, "a.test"]), 7)]) {
      for (let length = 0; length < bytes.length; length++) {
        const needed = readServerName(bytes.subarray(0, length))
        assert.isNumber(needed)
        assert.isAbove(needed as number, length)
        assert.isAtMost(needed as number, bytes.length)
      }
      assert.strictEqual(readServerName(bytes), "a.test")
      assert.strictEqual(readServerName(Buffer.concat([bytes, Buffer.from("more")])), "a.test")
    }
  })

  it("puts a message together that is cut into records of any size", () => {
    const whole = naming([0, "a.test"])
    for (let size = 1; size <= whole.length; size++) assert.strictEqual(readServerName(records(whole, size)), "a.test")
  })

  it("takes the first host name of a list", () => {
    assert.strictEqual(readServerName(record(naming([7, "no"], [0, "yes.test"], [0, "late.test"]))), "yes.test")
  })

  for (
    const [what, bytes] of [
      ["a message without extensions", record(hello(Buffer.alloc(0)))],
      ["an empty list of names", record(naming())],
      ["an extension that ends before its name", record(hello(vector16(extension(0, Buffer.from([0])))))],
      ["lengths that point behind the end", record(hello(Buffer.from([0xff, 0xff, 0, 0, 0xff, 0xff])))],
      ["an empty message", record(message(Buffer.alloc(0)))],
      ["another message", record(message(Buffer.alloc(4), 2))],
      [
        "a second record that is no handshake",
        Buffer.concat([record(Buffer.from([1, 0])), Buffer.from([23, 3, 1, 0, 1, 0])])
      ],
      [
        "a message that is longer than a client needs",
        records(Buffer.concat([Buffer.from([1, 0xff, 0xff, 0xff]), Buffer.alloc(20_000)]), 16_384)
      ],
      [
        "records without end that hold nothing",
        Buffer.concat(Array.from({ length: 4000 }, () => record(Buffer.alloc(0))))
      ]
    ] as const
  ) {
    it(`finds no name in ${what}`, () => {
      assert.strictEqual(readServerName(bytes), "")
    })
  }

  it("any bytes are a name, none, or a request for more, never an exception", () => {
    const whole = records(naming([0, "a.test"]), 40)
    for (let at = 0; at < whole.length; at++) {
      for (const value of [0, 1, 0x7f, 0xff]) {
        const changed = Buffer.from(whole)
        changed[at] = value
        const result = readServerName(changed)
        if (typeof result === "number") assert.isAbove(result, changed.length)
        else assert.isAtMost(result.length, changed.length)
      }
    }
  })
})
