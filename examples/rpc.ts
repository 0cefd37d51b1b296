/**
 * A JSON-RPC service and a page that uses it over a WebSocket: a call that answers, one that says how far it is, one
 * that fails with an error of its own, and a notification to every open page: `slipway examples/rpc.ts`. The same
 * methods answer `POST /rpc`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { App, JsonRpc } from "slipway"
import { page, pageHeaders } from "./rpc/page.ts"

class TooHeavy extends Schema.TaggedError<TooHeavy>()("TooHeavy", { most: Schema.Int }) {
  override get message() {
    return `The ship takes ${this.most} crates at a time`
  }
}

/** What the server says unasked: declared here, understood by the page. */
const loaded = JsonRpc.declare("loaded", { params: { total: Schema.Int } })

let total = 0
const watchers = new Set<JsonRpc.Peer["Service"]>()

/** From now on this page hears of every load, until it is closed. */
const watch = JsonRpc.method("watch", { success: Schema.Struct({ total: Schema.Int }) }, () =>
  Effect.gen(function*() {
    const peer = yield* JsonRpc.Peer
    watchers.add(peer)
    yield* Scope.addFinalizer(peer.scope, Effect.sync(() => watchers.delete(peer)))
    return { total }
  }))

const load = JsonRpc.method(
  "load",
  { params: { crates: Schema.Int }, success: Schema.Int, errors: [JsonRpc.error(1, TooHeavy)] },
  ({ crates }) =>
    Effect.gen(function*() {
      if (crates > 5) return yield* new TooHeavy({ most: 5 })
      for (let crate = 1; crate <= crates; crate++) {
        yield* Effect.sleep("100 millis")
        yield* JsonRpc.progress({ crate, of: crates })
      }
      total += crates
      // A page that is slow or has gone is none of this call's business.
      for (const peer of watchers) yield* Effect.forkIn(Effect.ignore(peer.notify(loaded, { total })), peer.scope)
      return crates
    })
)

const rpc = JsonRpc.make({ info: { title: "Harbour", version: "1.0.0" } }, watch, load)

export default App.mount("/rpc", rpc.app)(
  App.http(({ scope, send }) =>
    scope.path === "/" ? App.respond(send, 200, page, pageHeaders) : App.respond(send, 404, "Not Found\n")
  )
)
