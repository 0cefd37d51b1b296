import { assert, describe, it } from "@effect/vitest"
import { Http1 } from "../../src/protocol/Http1.ts"
import { defaults, type Limits } from "../../src/protocol/Limits.ts"
import { type HeaderList, ResponseFields } from "../../src/protocol/ResponseFields.ts"
import { bytesOf, everySplit, read, readOne, refused } from "../utils/splits.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
const post = (length: number): string => `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`

const engineWith = (text: string, limits: Limits = defaults): Http1 => {
  const engine = new Http1(limits)
  engine.receive(bytesOf(text))
  return engine
}

const tags = (engine: Http1, count: number): Array<string> => Array.from({ length: count }, () => engine.next()._tag)

const fieldsOf = (...headers: HeaderList): ResponseFields => {
  const fields = new ResponseFields()
  assert.isUndefined(fields.read(headers))
  return fields
}

const answer = (engine: Http1): void => {
  assert.isString(engine.startResponse(200, fieldsOf(), 0, "", false))
  assert.isString(engine.endResponse(""))
}

describe("Http1", () => {
  describe("next", () => {
    it("needs bytes before it says anything", () => {
      const engine = new Http1(defaults)
      assert.deepStrictEqual(tags(engine, 2), ["NeedData", "NeedData"])
      engine.receive(new Uint8Array(0))
      assert.deepStrictEqual(tags(engine, 2), ["NeedData", "NeedData"])
      assert.isFalse(engine.headStarted)
    })

    it("is over with the head of a request without a body", () => {
      assert.deepStrictEqual(tags(engineWith(get), 3), ["RequestHead", "Paused", "Paused"])
      assert.deepStrictEqual(tags(engineWith(post(0)), 2), ["RequestHead", "Paused"])
    })

    it("gives the same answer again when nothing has arrived", () => {
      const engine = engineWith("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX")
      assert.deepStrictEqual(tags(engine, 3), ["NeedData", "NeedData", "NeedData"])
      engine.receive(bytesOf(": y\r\n\r\n"))
      assert.deepInclude(engine.next(), { headers: [["host", "a"], ["x", "y"]] })
    })

    it("gives a body in the pieces that arrive, which sum to the whole [C26]", () => {
      const engine = engineWith(`${post(5)}he`)
      assert.strictEqual(engine.next()._tag, "RequestHead")
      assert.deepStrictEqual(engine.next(), { _tag: "Data", bytes: bytesOf("he"), last: false })
      assert.strictEqual(engine.next()._tag, "NeedData")
      engine.receive(new Uint8Array(bytesOf("l")))
      assert.deepStrictEqual(engine.next(), { _tag: "Data", bytes: bytesOf("l"), last: false })
      engine.receive(bytesOf(`lo${get}`))
      assert.deepStrictEqual(engine.next(), { _tag: "Data", bytes: bytesOf("lo"), last: true })
      assert.strictEqual(engine.next()._tag, "Paused")
      assert.strictEqual(engine.bufferedBytes, get.length)
      assert.strictEqual(everySplit(bytesOf(`${post(5)}hello`)).messages[0]?.body, "hello")
    })

    it("gives a chunked body without its chunks, then its end [C23]", () => {
      const engine = engineWith(`${chunked}3;x\r\nabc\r\n1\r\nd\r\n0\r\n\r\n${get}`)
      assert.deepInclude(engine.next(), { _tag: "RequestHead", contentLength: -1 })
      assert.deepStrictEqual(engine.next(), { _tag: "Data", bytes: bytesOf("abc"), last: false })
      assert.deepStrictEqual(engine.next(), { _tag: "Data", bytes: bytesOf("d"), last: false })
      assert.deepStrictEqual(engine.next(), { _tag: "EndOfMessage", trailers: [] })
      assert.strictEqual(engine.next()._tag, "Paused")
      answer(engine)
      engine.startNextCycle()
      assert.deepInclude(engine.next(), { _tag: "RequestHead", method: "GET" })
    })

    it("waits for trailers that have not arrived", () => {
      const engine = engineWith(`${chunked}0\r\n`)
      assert.deepStrictEqual(tags(engine, 3), ["RequestHead", "NeedData", "NeedData"])
      engine.receive(bytesOf("X: y\r\nZ"))
      assert.deepStrictEqual(tags(engine, 2), ["NeedData", "NeedData"])
      engine.receive(bytesOf(": z\r\n\r\n"))
      assert.deepStrictEqual(engine.next(), { _tag: "EndOfMessage", trailers: [["x", "y"], ["z", "z"]] })
    })

    it("hands out bodies as views of the received bytes", () => {
      const bytes = bytesOf(`${post(3)}abc`)
      const engine = new Http1(defaults)
      engine.receive(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length))
      engine.next()
      const event = engine.next()
      assert.strictEqual(event._tag === "Data" && event.bytes.buffer, bytes.buffer)
    })

    it("waits between pipelined requests until each is answered", () => {
      const engine = engineWith("/a /b /c".split(" ").map((path) => get.replace("/", path)).join(""))
      for (const path of ["/a", "/b", "/c"]) {
        assert.deepInclude(engine.next(), { _tag: "RequestHead", path })
        assert.strictEqual(engine.next()._tag, "Paused")
        answer(engine)
        assert.strictEqual(engine.next()._tag, "Paused")
        engine.startNextCycle()
      }
      assert.strictEqual(engine.next()._tag, "NeedData")
      assert.strictEqual(engine.bufferedBytes, 0)
    })

    it("reads many pipelined requests of one large read, with and without bodies", () => {
      const requests = Array.from(
        { length: 1500 },
        (_, index) =>
          index % 5 === 0
            ? `${post(3)}abc`
            : index % 7 === 0
            ? `${chunked}2\r\nde\r\n0\r\nX: y\r\n\r\n`
            : `${get}${"\r\n".repeat(index % 3)}`
      )
      const { messages, problem } = read(requests.join(""))
      assert.isUndefined(problem)
      assert.strictEqual(messages.length, 1500)
      for (const [index, { body }] of messages.entries()) {
        assert.strictEqual(body, index % 5 === 0 ? "abc" : index % 7 === 0 ? "de" : "")
      }
    })

    it("reads a head in front of a large body, in one read", () => {
      const body = "x".repeat(200_000)
      const { body: found } = readOne(`${post(body.length)}${body}`)
      assert.isTrue(found === body)
    })

    it("stops after the last request", () => {
      for (const last of [get.replace("Host", "Connection: close\r\nHost"), get.replace("1.1", "1.0")]) {
        const engine = engineWith(last + get)
        assert.deepStrictEqual(tags(engine, 2), ["RequestHead", "Paused"])
        answer(engine)
        assert.isFalse(engine.mayStartNextCycle)
        assert.strictEqual(read(last + get).messages.length, 1)
      }
    })

    it("yields a fault once, then nothing", () => {
      const engine = engineWith("\n")
      assert.deepStrictEqual(tags(engine, 3), ["Malformed", "Paused", "Paused"])
      engine.receive(bytesOf(get))
      engine.receiveEnd()
      assert.deepStrictEqual(tags(engine, 2), ["Paused", "Paused"])
      assert.strictEqual(refused(`${get}${get}\n`, { after: 2 }), "LineEndInvalid")
    })

    it("yields a fault in a body after the data in front of it", () => {
      const engine = engineWith(`${chunked}1\r\na\r\nx`)
      assert.deepStrictEqual(tags(engine, 4), ["RequestHead", "Data", "Malformed", "Paused"])
      assert.deepStrictEqual([engine.responseState, engine.keepAlive], ["due", false])
    })

    it("says that the peer is gone when nothing that was asked is unread", () => {
      const closed = new Http1(defaults)
      closed.receiveEnd()
      assert.deepStrictEqual(tags(closed, 2), ["PeerClosed", "PeerClosed"])
      assert.isFalse(closed.keepAlive)

      const asked = engineWith(get)
      asked.receiveEnd()
      assert.deepStrictEqual(tags(asked, 2), ["RequestHead", "Paused"])
      answer(asked)
      asked.startNextCycle()
      assert.strictEqual(asked.next()._tag, "PeerClosed")
    })

    it("says that the peer is gone in the middle of a request", () => {
      for (const head of ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r", "\r\n"]) {
        assert.deepInclude(read(head, { end: true }), { messages: [], closed: true, problem: undefined })
      }
      for (
        const body of [`${post(5)}abc`, post(5), chunked, `${chunked}3\r\nab`, `${chunked}0\r\n`, `${chunked}0\r\nX: y`]
      ) {
        const { closed, messages, problem } = read(body, { end: true })
        assert.deepStrictEqual([closed, problem, messages.length, messages[0]?.complete], [true, undefined, 1, false])
      }
    })
  })

  describe("what it holds", () => {
    it("knows when a head has begun", () => {
      const engine = engineWith("\r\n")
      assert.strictEqual(engine.next()._tag, "NeedData")
      assert.isFalse(engine.headStarted)
      engine.receive(bytesOf("G"))
      assert.isTrue(engine.headStarted)
      engine.receive(bytesOf("ET / HTTP/1.1\r\n"))
      assert.strictEqual(engine.next()._tag, "NeedData")
      assert.strictEqual(engine.bufferedBytes, 0)
      assert.isTrue(engine.headStarted)
      engine.receive(bytesOf("Host: a\r\n\r\n"))
      assert.strictEqual(engine.next()._tag, "RequestHead")
      assert.isFalse(engine.headStarted)
    })

    it("lets go of everything after a fault, and takes nothing more in", () => {
      const engine = engineWith(`\n${"x".repeat(1000)}`)
      assert.strictEqual(engine.bufferedBytes, 1001)
      assert.strictEqual(engine.next()._tag, "Malformed")
      assert.strictEqual(engine.bufferedBytes, 0)
      engine.receive(Buffer.alloc(1000))
      assert.strictEqual(engine.bufferedBytes, 0)

      const abandoned = engineWith("GET / HT")
      assert.isUndefined(abandoned.abandonHead())
      assert.deepStrictEqual([abandoned.bufferedBytes, abandoned.keepAlive, abandoned.next()._tag], [
        0,
        false,
        "Paused"
      ])
      assert.isString(abandoned.startResponse(408, fieldsOf(), 0, "", false))
    })
  })

  describe("startResponse", () => {
    const statuses = [101, 200, 204, 205, 206, 301, 304, 404, 500, 599]
    const clients = [
      { version: "1.1", connection: "", keepAlive: true },
      { version: "1.1", connection: "close", keepAlive: false },
      { version: "1.0", connection: "", keepAlive: false },
      { version: "1.0", connection: "keep-alive", keepAlive: true }
    ]
    const answers = [-1, 0, 7].flatMap((declared) =>
      [-1, 0, 7].flatMap((bodyLength) =>
        [false, true].flatMap((hasTrailers) =>
          [false, true].map((closes) => ({ declared, bodyLength, hasTrailers, closes }))
        )
      )
    )

    /** Frames one answer and compares what it says with what the RFCs let it say. */
    const checkFraming = (
      status: number,
      method: string,
      { connection, keepAlive, version }: (typeof clients)[number],
      { bodyLength, closes, declared, hasTrailers }: (typeof answers)[number]
    ): void => {
      const engine = engineWith(`${method} / HTTP/${version}\r\nHost: a\r\nConnection: ${connection}\r\n\r\n`)
      engine.next()
      const headers: Array<readonly [string, string]> = [["x", "y"]]
      if (declared !== -1) headers.push(["content-length", String(declared)])
      if (closes) headers.push(["connection", "close"])
      const text = engine.startResponse(status, fieldsOf(...headers), bodyLength, "date: d\r\n", hasTrailers)
      const lines = String(text).split("\r\n")
      assert.match(lines[0]!, new RegExp(`^HTTP/1\\.1 ${status} .+`))
      assert.deepStrictEqual(lines.slice(-2), ["", ""])
      const valuesOf = (name: string): Array<string> =>
        lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2))
      assert.deepStrictEqual([valuesOf("x"), valuesOf("date")], [["y"], ["d"]])

      const known = (...lengths: ReadonlyArray<number>): Array<string> =>
        lengths.filter((length) => length !== -1).map(String)
      const length = declared !== -1 ? declared : bodyLength
      const hasNoBody = status < 200 || status === 204 || status === 205 || status === 304
      const isChunked = !hasNoBody && version === "1.1" && declared === -1 && (hasTrailers || length === -1)
      const lengths = status < 200 || status === 204 || isChunked
        ? []
        : known(status === 205 ? 0 : status === 304 ? declared : length)
      assert.deepStrictEqual(valuesOf("content-length"), lengths)
      assert.deepStrictEqual(valuesOf("transfer-encoding"), isChunked ? ["chunked"] : [])

      const isUntilClose = !hasNoBody && !isChunked && lengths.length === 0
      const framing = hasNoBody || method === "HEAD"
        ? "none"
        : isChunked
        ? "chunked"
        : isUntilClose
        ? "close"
        : "length"
      assert.strictEqual(engine.framing, framing)
      assert.strictEqual(engine.keepAlive, keepAlive && !closes && framing !== "close")
      assert.deepStrictEqual(
        valuesOf("connection"),
        !engine.keepAlive ? ["close"] : version === "1.0" ? ["keep-alive"] : []
      )

      assert.strictEqual(engine.dataPrefix(26), framing === "chunked" ? "1a\r\n" : "")
      assert.strictEqual(engine.dataPrefix(0), "")
      assert.strictEqual(engine.endResponse("t: u\r\n"), framing === "chunked" ? "0\r\nt: u\r\n\r\n" : "")
      assert.strictEqual(engine.mayStartNextCycle, engine.keepAlive)
    }

    for (const status of statuses) {
      for (const method of ["GET", "HEAD"]) {
        for (const client of clients) {
          const title = `${method} of HTTP/${client.version} ${client.connection}`.trim()
          it(`frames ${status} to ${title}, whatever is known of the body`, () => {
            for (const response of answers) checkFraming(status, method, client, response)
          })
        }
      }
    }

    it("writes the whole head in one text", () => {
      const engine = engineWith(get)
      engine.next()
      assert.strictEqual(
        engine.startResponse(200, fieldsOf(["x-a", "b"]), 5, "date: d\r\n", false),
        "HTTP/1.1 200 OK\r\nx-a: b\r\ndate: d\r\ncontent-length: 5\r\n\r\n"
      )
      assert.strictEqual(engine.endResponse(""), "")
    })

    it("says the length of bodies of any size", () => {
      for (const length of [0, 1, 1023, 1024, 1025, 10_000_000, Number.MAX_SAFE_INTEGER, 1, 1023]) {
        const engine = engineWith(get)
        engine.next()
        assert.include(engine.startResponse(200, fieldsOf(), length, "", false), `\r\ncontent-length: ${length}\r\n`)
      }
    })

    it("answers a refused request, and closes", () => {
      const engine = engineWith("GET / HTTP/1.1\r\n\r\n")
      assert.deepInclude(engine.next(), { _tag: "Malformed", status: 400 })
      assert.strictEqual(
        engine.startResponse(400, fieldsOf(), 3, "", false),
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"
      )
      assert.strictEqual(engine.framing, "length")
    })

    it("names the upgrade that a 426 must offer among the connection options", () => {
      const engine = engineWith(get)
      engine.next()
      engine.keepAlive = false
      assert.strictEqual(
        engine.startResponse(426, fieldsOf(["upgrade", "websocket"]), 0, "", false),
        "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 0\r\nconnection: close, upgrade\r\n\r\n"
      )
    })

    it("closes when the connection was given up before", () => {
      const engine = engineWith(get)
      engine.next()
      engine.keepAlive = false
      assert.include(engine.startResponse(200, fieldsOf(), 0, "", false), "connection: close\r\n")
    })

    it("decides afresh for each request of a connection", () => {
      const head = get.replace("GET", "HEAD")
      const engine = engineWith(`${head}${get}${get.replace("1.1\r\n", "1.0\r\nConnection: keep-alive\r\n")}${get}`)
      for (const framing of ["none", "chunked", "close"]) {
        assert.strictEqual(engine.next()._tag, "RequestHead")
        engine.startResponse(200, fieldsOf(), -1, "", false)
        assert.strictEqual(engine.framing, framing)
        engine.endResponse("")
        assert.strictEqual(engine.mayStartNextCycle, framing !== "close")
        engine.startNextCycle()
      }
    })
  })

  describe("informational", () => {
    it("writes interim answers in front of the real one", () => {
      const engine = engineWith(get)
      engine.next()
      assert.strictEqual(engine.informational(100, ""), "HTTP/1.1 100 Continue\r\n\r\n")
      assert.strictEqual(engine.informational(103, "link: </a>\r\n"), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
      answer(engine)
      assert.isTrue(engine.mayStartNextCycle)
    })

    it("writes none to HTTP/1.0", () => {
      const engine = engineWith(get.replace("1.1", "1.0"))
      engine.next()
      assert.strictEqual(engine.informational(103, "link: </a>\r\n"), "")
    })

    it("writes them while a request is being refused", () => {
      const engine = engineWith("\n")
      engine.next()
      assert.strictEqual(engine.informational(103, ""), "HTTP/1.1 103 Early Hints\r\n\r\n")
    })
  })

  describe("upgrade", () => {
    const handshake = get.replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    const behind = "\x81\x85\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n"

    it("ends the cycle, and gives away what was received behind the head, wherever that was cut", () => {
      const bytes = bytesOf(handshake + behind)
      for (let at = 1; at < bytes.length; at++) {
        const engine = new Http1(defaults)
        engine.receive(bytes.subarray(0, at))
        const [tag] = tags(engine, 1)
        engine.receive(bytes.subarray(at))
        if (tag === "NeedData") assert.strictEqual(engine.next()._tag, "RequestHead")
        assert.isUndefined(engine.upgrade())
        assert.strictEqual(engine.bufferedBytes, behind.length)
        assert.strictEqual(engine.takeRest().toString("latin1"), behind)
        assert.deepStrictEqual([engine.bufferedBytes, engine.takeRest().length], [0, 0])
        assert.deepStrictEqual(tags(engine, 2), ["Paused", "Paused"])
        assert.deepStrictEqual([engine.keepAlive, engine.mayStartNextCycle], [false, false])
        assert.deepStrictEqual([engine.requestState, engine.responseState], ["done", "done"])
      }
    })

    it("takes an upgrade after earlier requests of the connection, and after interim answers", () => {
      const engine = engineWith(get + handshake)
      engine.next()
      answer(engine)
      engine.startNextCycle()
      engine.next()
      engine.informational(103, "")
      assert.isUndefined(engine.upgrade())
      assert.strictEqual(engine.takeRest().length, 0)
    })

    it("answers nothing after it", () => {
      const engine = engineWith(handshake)
      engine.next()
      engine.upgrade()
      for (const event of ["Upgrade", "Head", "EndOfMessage", "Informational"] as const) {
        const result = event === "Upgrade"
          ? engine.upgrade()
          : event === "Head"
          ? engine.startResponse(200, fieldsOf(), 0, "", false)
          : event === "EndOfMessage"
          ? engine.endResponse("")
          : engine.informational(103, "")
        assert.deepStrictEqual(result, { _tag: "LocalProtocolError", event, state: "done" })
      }
    })

    it("gives away the rest unread before anything was read, and none after a fault", () => {
      assert.strictEqual(engineWith(get).takeRest().toString("latin1"), get)
      const broken = engineWith("\n and more")
      broken.next()
      assert.strictEqual(broken.takeRest().length, 0)
    })
  })
})
