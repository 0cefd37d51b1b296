import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as App from "../../src/app/App.ts"
import * as CloseInfo from "../../src/app/CloseInfo.ts"
import * as SseSession from "../../src/app/SseSession.ts"
import * as WebSocketSession from "../../src/app/WebSocketSession.ts"
import { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import { request } from "../utils/answers.ts"
import { serve } from "../utils/serve.ts"
import { open } from "../utils/webSocket.ts"

describe("CloseInfo", () => {
  it("says for every standard reason who ended the session", () => {
    const by = (who: CloseInfo.EndedBy) =>
      DisconnectReason.members[0].literals.filter((reason) => CloseInfo.fromDisconnect(reason).by === who)
    assert.deepStrictEqual(by("client"), ["client_closed", "write_error", "read_error"])
    assert.deepStrictEqual(by("application"), ["server_error"])
    assert.deepStrictEqual(by("server").length, DisconnectReason.members[0].literals.length - 4)
  })

  it("counts reasons of one's own as the server's, whatever they are called", () => {
    assert.strictEqual(CloseInfo.fromDisconnect("x-quota").by, "server")
    assert.strictEqual(CloseInfo.fromDisconnect("toString" as never).by, "server")
  })

  it.effect("has one shape for websocket and sse, through one callback [C209]", () =>
    Effect.gen(function*() {
      const infos: Array<CloseInfo.CloseInfo> = []
      const keep = (info: CloseInfo.CloseInfo) => void infos.push(info)
      const { connect } = yield* serve(App.byType<unknown>({
        websocket: (exchange) => {
          const session = WebSocketSession.make(exchange)
          return Effect.andThen(session.onClose(keep), Effect.andThen(session.accept(), session.closed))
        },
        sse: (exchange) => {
          const session = SseSession.make(exchange)
          return Effect.andThen(session.onClose(keep), Effect.andThen(session.start(), session.closed))
        }
      }))
      const socket = yield* open(connect)
      const stream = yield* connect()
      yield* stream.send(request("GET /", ["accept: text/event-stream"]))
      yield* socket.client.reset
      yield* stream.reset
      const [ofSocket, ofStream] = infos
      assert.deepStrictEqual({ ...ofSocket!, code: undefined }, ofStream!)
      assert.strictEqual(ofSocket!.code, 1006)
    }))
})
