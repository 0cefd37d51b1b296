/** A WebSocket that sends back what it gets: `slipway examples/echo.ts`. */
import * as Effect from "effect/Effect"
import { App } from "slipway"

export default App.websocket(({ receive, send }) =>
  Effect.gen(function*() {
    yield* send({ type: "websocket.accept" })
    for (;;) {
      const event = yield* receive
      if (event.type === "websocket.disconnect") return
      if (event.type === "websocket.receive") yield* send({ ...event, type: "websocket.send" })
    }
  })
)
