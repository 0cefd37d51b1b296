/**
 * The rules of HTTP/2 (RFC 9113) and HPACK (RFC 7541) that h2spec tests, as raw frames: what a client sends, what the RFC
 * demands, and what happens where nghttp2 or Node decide otherwise. docs/conformance.md lists those; a test compares.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as App from "../../src/app/App.ts"
import * as F from "../utils/frames.ts"
import { serve } from "../utils/serve.ts"
import type { Case, Frames, Outcome } from "./h2/case.ts"
import * as Framing from "./h2/framing.ts"
import * as Requests from "./h2/requests.ts"

const cases = [...Framing.cases, ...Requests.cases]

const app = App.http(({ receive, scope, send }) =>
  Effect.gen(function*() {
    if (scope.path === "/never") return yield* Effect.never
    for (let more = scope.path === "/body"; more;) {
      const event = yield* receive
      if (event.type !== "http.request") return
      more = event.more === true
    }
    yield* App.respond(send, 200, "ok")
  })
)

const isListOfLists = (frames: Case["frames"]): frames is ReadonlyArray<Frames> => Array.isArray(frames[0])

const outcomeOf = (frames: ReadonlyArray<F.Frame>): Outcome => {
  // What nghttp2 says first is the reason; Node may repeat it.
  const goaway = frames.find(({ type }) => type === "GOAWAY")
  if (goaway !== undefined) return `connection ${goaway.code!}`
  const reset = frames.find(({ type }) => type === "RST_STREAM")
  const { status } = F.answerOn(frames, 1)
  if (reset !== undefined && status === 0) return `stream ${reset.code!}`
  return status === 0 ? "ignored" : status
}

/** What the server makes of `frames`, and whether everything else is as it must be then. */
const judge = ({ bare = false, frames }: Case) =>
  Effect.gen(function*() {
    const { connect, server } = yield* serve(app, { shutdownTimeout: 0, disconnectGrace: 0 })
    const bytes = yield* connect()
    const client = bare ? F.over(bytes) : yield* F.open(bytes)
    const before = client.all.length
    for (const list of isListOfLists(frames) ? frames : [frames]) yield* client.ask(...list)
    const outcome = outcomeOf(client.all.slice(before))
    const goesOn = typeof outcome === "number" || !outcome.startsWith("connection")
    // What Node 20 does not tell is found by the next sweep.
    yield* TestClock.adjust("1 second")
    const later = yield* client.ask(F.ping("still on"), F.get(1001))
    assert.strictEqual(later.some(({ flags, type }) => type === "PING" && flags === F.ACK), goesOn)
    assert.strictEqual(F.answerOn(later, 1001).status, goesOn ? 200 : 0)
    yield* TestClock.adjust("3 seconds")
    assert.strictEqual(yield* bytes.isEnded, !goesOn)
    const { connections, exchanges } = yield* server.stats
    if (!goesOn) assert.deepStrictEqual([connections, exchanges], [0, 0])
    // Whatever happened, the server serves the next client.
    const next = yield* F.open(yield* connect())
    assert.strictEqual(F.answerOn(yield* next.ask(F.get(1)), 1).status, 200)
    return outcome
  })

const nameOf = ({ section, title }: Case) => `${section}: ${title}`

/** The lines of the checklist that a case is about. */
const linesOf = ({ section }: Case): string =>
  section.startsWith("HPACK") ? "[W122]" : section === "8.4" ? "[C131] [W123]" : "[W120]"

describe("HTTP/2", () => {
  for (const tested of cases) {
    const { demands, instead = [] } = tested
    it.effect(`${nameOf(tested)} is ${[...demands, ...instead].join(" or ")} ${linesOf(tested)}`, () =>
      Effect.map(judge(tested), (outcome) => assert.include([...demands, ...instead], outcome)))
  }

  it("breaks no rule but those that docs/conformance.md names, with what happens instead [C134]", () => {
    const page = fs.readFileSync(new URL("../../docs/conformance.md", import.meta.url), "utf8")
    const section = page.slice(page.indexOf("## HTTP/2"))
    const named = [...section.matchAll(/^\| ([\d.]+): ([^|]+?) \|/gm)].map(([, number, title]) => `${number}: ${title}`)
    const broken = cases.filter(({ instead }) => instead !== undefined).map(nameOf)
    assert.deepStrictEqual(named.sort(), broken.sort())
    assert.isAtLeast(cases.length, 110)
  })
})
