/** The time as server-sent events, once a second: `slipway examples/clock.ts`. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { App } from "slipway"

export default App.sse(({ connection, send }) =>
  Effect.gen(function*() {
    yield* send({ type: "sse.start" })
    const tick = Effect.flatMap(DateTime.now, (now) => send({ type: "sse.send", data: DateTime.formatIso(now) }))
    yield* Effect.raceFirst(Effect.repeat(tick, Schedule.spaced("1 second")), connection.disconnected)
  })
)
