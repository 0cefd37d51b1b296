import { assert, describe, it } from "@effect/vitest"
import { Http1 } from "../../src/protocol/Http1.ts"
import {
  type RequestEvent,
  type RequestState,
  requestTransitions,
  type ResponseEvent,
  type ResponseState,
  responseTransitions
} from "../../src/protocol/Http1State.ts"
import { defaults } from "../../src/protocol/Limits.ts"
import { ResponseFields } from "../../src/protocol/ResponseFields.ts"
import { bytesOf } from "../utils/splits.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

const drain = (engine: Http1): void => {
  for (;;) {
    const { _tag } = engine.next()
    if (_tag === "NeedData" || _tag === "Paused" || _tag === "PeerClosed") return
  }
}

const receive = (engine: Http1, text: string): void => {
  engine.receive(bytesOf(text))
  drain(engine)
}

const head = (engine: Http1) => engine.startResponse(200, new ResponseFields(), 2, "", false)

/** Brings a new engine's request side into a state. */
const requests: Record<RequestState, (engine: Http1) => void> = {
  idle: () => {},
  body: (engine) => receive(engine, post),
  done: (engine) => receive(engine, get),
  closed: (engine) => {
    engine.receiveEnd()
    drain(engine)
  },
  error: (engine) => receive(engine, "\n")
}

/** Brings a new engine's response side into a state. */
const responses: Record<ResponseState, (engine: Http1) => void> = {
  idle: () => {},
  due: (engine) => receive(engine, get),
  body: (engine) => {
    receive(engine, get)
    head(engine)
  },
  done: (engine) => {
    receive(engine, get)
    head(engine)
    engine.endResponse("")
  }
}

/** What a caller does, and the event it means. The other events come from the peer. */
const actions: { readonly [E in ResponseEvent]?: (engine: Http1) => unknown } = {
  Informational: (engine) => engine.informational(103, ""),
  Head: head,
  EndOfMessage: (engine) => engine.endResponse(""),
  Upgrade: (engine) => engine.upgrade(),
  NextCycle: (engine) => engine.startNextCycle()
}

const engineIn = (bring: (engine: Http1) => void): Http1 => {
  const engine = new Http1(defaults)
  bring(engine)
  return engine
}

const isLocalError = (result: unknown): boolean =>
  (result as { readonly _tag?: string } | undefined)?._tag === "LocalProtocolError"

describe("Http1State", () => {
  describe("response side", () => {
    for (const [state, bring] of Object.entries(responses) as Array<[ResponseState, (engine: Http1) => void]>) {
      for (const [event, act] of Object.entries(actions) as Array<[ResponseEvent, (engine: Http1) => unknown]>) {
        const target = responseTransitions[state][event]
        it(`${target === undefined ? "refuses" : "takes"} ${event} in ${state}`, () => {
          const engine = engineIn(bring)
          assert.strictEqual(engine.responseState, state)
          const before = engine.requestState
          const result = act(engine)
          assert.strictEqual(isLocalError(result), target === undefined)
          assert.strictEqual(engine.responseState, target ?? state)
          if (target !== undefined) return
          assert.strictEqual(engine.requestState, before)
          assert.deepInclude(result, { _tag: "LocalProtocolError", event })
          if (event !== "NextCycle") assert.deepInclude(result, { state })
        })
      }
    }

    it("stays in body while data is sent", () => {
      const engine = engineIn(responses.body)
      assert.strictEqual(engine.dataPrefix(2), "")
      assert.strictEqual(engine.responseState, responseTransitions.body.Data)
    })

    it("waits for a request, which a refused one is as well", () => {
      for (const bring of [requests.done, requests.body, requests.error]) {
        assert.strictEqual(engineIn(bring).responseState, responseTransitions.idle.Request)
      }
    })
  })

  describe("request side", () => {
    const states = Object.entries(requests) as Array<[RequestState, (engine: Http1) => void]>

    for (const [state, bring] of states) {
      const isLegal = requestTransitions[state].NextCycle !== undefined
      it(`${isLegal ? "takes" : "refuses"} NextCycle in ${state}`, () => {
        const engine = engineIn(bring)
        assert.strictEqual(engine.requestState, state)
        const isDue = !isLocalError(head(engine))
        if (isDue) engine.endResponse("")
        const result = engine.startNextCycle()
        if (isLegal) {
          return assert.deepStrictEqual([result, engine.requestState, engine.responseState], [
            undefined,
            "idle",
            "idle"
          ])
        }
        assert.deepStrictEqual(result, { _tag: "LocalProtocolError", event: "NextCycle", state })
        assert.strictEqual(engine.requestState, state)
        assert.strictEqual(engine.responseState, isDue ? "done" : "idle")
      })

      it(`${state === "idle" ? "takes" : "refuses"} that the head is abandoned in ${state}`, () => {
        const engine = engineIn(bring)
        const before = engine.responseState
        const result = engine.abandonHead()
        if (state === "idle") {
          return assert.deepStrictEqual([result, engine.requestState, engine.responseState], [
            undefined,
            "error",
            "due"
          ])
        }
        assert.deepStrictEqual(result, { _tag: "LocalProtocolError", event: "Malformed", state })
        assert.deepStrictEqual([engine.requestState, engine.responseState], [state, before])
      })
    }

    it("refuses Upgrade while the request's body is unread, and once it was refused", () => {
      for (const state of ["body", "error"] as const) {
        const engine = engineIn(requests[state])
        assert.deepStrictEqual(engine.upgrade(), { _tag: "LocalProtocolError", event: "Upgrade", state: "due" })
        assert.deepStrictEqual([engine.requestState, engine.responseState], [state, "due"])
      }
    })

    it("refuses NextCycle while the answer is due or on its way, and after the last request", () => {
      for (const state of ["due", "body"] as const) {
        assert.deepStrictEqual(engineIn(responses[state]).startNextCycle(), {
          _tag: "LocalProtocolError",
          event: "NextCycle",
          state
        })
      }
      const last = engineIn((engine) => receive(engine, get.replace("1.1", "1.0")))
      head(last)
      last.endResponse("")
      assert.deepStrictEqual(last.startNextCycle(), { _tag: "LocalProtocolError", event: "NextCycle", state: "done" })
    })

    it("moves only along the table, and along all of it", () => {
      const reached = new Set<string>()
      const tried = [
        "",
        "G",
        get,
        `${get}${get}`,
        post,
        `${post}a`,
        `${post}ab`,
        `${chunked}1\r\na\r\n`,
        `${chunked}0\r\n\r\n`,
        `${chunked}x`,
        "\n",
        "\r\n",
        "\xff"
      ]
      const step = (engine: Http1): string => {
        const before = engine.requestState
        const { _tag } = engine.next()
        const after = engine.requestState
        if (before !== after || _tag === "Data") {
          const moves = Object.entries(requestTransitions[before]) as Array<[RequestEvent, RequestState]>
          const [event] = moves.find(([event, target]) => target === after && fits(event, _tag, after)) ?? []
          assert.isDefined(event, `${before} -> ${after} by ${_tag}`)
          reached.add(`${before} ${event}`)
        }
        return _tag
      }
      for (const [, bring] of states) {
        for (const text of tried) {
          for (const ends of [false, true]) {
            const engine = engineIn(bring)
            engine.receive(bytesOf(text))
            if (ends) engine.receiveEnd()
            for (let tag = ""; tag !== "NeedData" && tag !== "Paused" && tag !== "PeerClosed";) tag = step(engine)
          }
        }
      }
      const table = states.flatMap(([state]) =>
        Object.keys(requestTransitions[state]).map((event) => `${state} ${event}`)
      )
      assert.sameMembers([...reached], table.filter((cell) => cell !== "done NextCycle"))
    })
  })
})

/** Whether what the engine said is what the table calls `event`. */
const fits = (event: RequestEvent, tag: string, after: RequestState): boolean => {
  switch (tag) {
    case "RequestHead":
      return event === (after === "body" ? "HeadWithBody" : "HeadAlone")
    case "Data":
      return event === (after === "done" ? "EndOfMessage" : "Data")
    default:
      return event === tag
  }
}
