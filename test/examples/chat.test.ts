import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import chat from "../../examples/chat.ts"
import { page } from "../../examples/chat/page.ts"
import { script } from "../../examples/chat/script.ts"
import * as TestClient from "../../layers/TestClient.ts"
import { capture } from "../utils/logs.ts"

const quiet = Effect.provide(capture().layer)

const serve = (options?: TestClient.Options) =>
  Effect.map(
    Layer.build(Layer.provideMerge(chat, TestClient.layer(options))),
    (context) => Context.get(context, TestClient.TestClient)
  )

const served = serve()

interface Told {
  readonly _tag: string
  readonly id?: string
  readonly name?: string
  readonly names?: ReadonlyArray<string>
  readonly text?: string
  readonly at?: string
}

/** Comes into a room. `until` reads what the page is told until it is this, and gives all of it. */
const enter = Effect.fnUntraced(function*(client: TestClient.Client, name: string, room = "lobby", after?: string) {
  const session = yield* client.websocket(`/${room}/socket`, {
    query: { name, ...(after === undefined ? {} : { after }) }
  })
  const until = Effect.fnUntraced(function*(isIt: (told: Told) => boolean) {
    const all: Array<Told> = []
    while (true) {
      const told = (yield* session.receiveJson) as Told
      all.push(told)
      if (isIt(told)) return all
    }
  })
  return {
    session,
    until,
    hears: (text: string) => until((told) => told.text === text),
    sees: (...names: ReadonlyArray<string>) => until((told) => told.names?.join() === names.join()),
    says: (text: string) => session.sendJson({ _tag: "Say", text })
  }
})

const texts = (all: ReadonlyArray<Told>) => all.flatMap(({ text }) => text ?? [])

describe("examples/chat.ts", () => {
  it.effect("tells everybody in a room what is said there, and nobody elsewhere [W117] [C213]", () =>
    Effect.gen(function*() {
      const client = yield* served
      const ada = yield* enter(client, "Ada")
      const bob = yield* enter(client, "Bob")
      const eve = yield* enter(client, "Eve", "kitchen")
      yield* ada.sees("Ada", "Bob")
      yield* TestClock.adjust("1 second")
      yield* bob.says(" <b>hello</b> ")
      for (const each of [ada, bob]) {
        const told = (yield* each.hears("<b>hello</b>")).at(-1)!
        assert.deepInclude(told, { _tag: "Said", name: "Bob", at: "1970-01-01T00:00:01.000Z" })
        assert.match(told.id!, /^[\w-]+$/)
      }
      yield* eve.says("alone")
      assert.deepStrictEqual(texts(yield* eve.hears("alone")), ["alone"])
    }).pipe(quiet))

  it.effect("says who is here, from coming to leaving, in whatever way", () =>
    Effect.gen(function*() {
      const client = yield* served
      const ada = yield* enter(client, "Ada")
      yield* ada.sees("Ada")
      const bob = yield* enter(client, "Bob")
      const again = yield* enter(client, "Bob")
      yield* ada.sees("Ada", "Bob")
      yield* bob.session.close()
      const eve = yield* enter(client, "Eve")
      yield* ada.sees("Ada", "Bob", "Eve")
      yield* again.session.terminate
      yield* ada.sees("Ada", "Eve")
      yield* eve.session.close()
      yield* ada.sees("Ada")
    }).pipe(quiet))

  it.effect("gives the last fifty messages to those who come, and to those who come back what they missed [C213]", () =>
    Effect.gen(function*() {
      const client = yield* served
      const ada = yield* enter(client, "Ada")
      yield* ada.sees("Ada")
      for (let n = 1; n <= 60; n++) yield* ada.says(`${n}`)
      const before = yield* ada.hears("60")
      assert.strictEqual(texts(before).length, 60)
      const bob = yield* enter(client, "Bob")
      const found = texts(yield* bob.hears("60"))
      assert.deepStrictEqual([found.length, found[0]], [50, "11"])
      yield* bob.session.terminate
      yield* ada.says("61")
      const back = yield* enter(client, "Bob", "lobby", before.at(-1)!.id!)
      yield* ada.says("62")
      assert.deepStrictEqual(texts(yield* back.hears("62")), ["61", "62"])
    }).pipe(quiet))

  it.effect("tells others who is writing", () =>
    Effect.gen(function*() {
      const client = yield* served
      const ada = yield* enter(client, "Ada")
      const bob = yield* enter(client, "Bob")
      yield* ada.sees("Ada", "Bob")
      yield* bob.session.sendJson({ _tag: "Typing" })
      assert.strictEqual((yield* ada.until(({ _tag }) => _tag === "Typing")).at(-1)!.name, "Bob")
      yield* bob.says("done")
      assert.notInclude((yield* bob.hears("done")).map(({ _tag }) => _tag), "Typing")
    }).pipe(quiet))

  it.effect("lets nobody in without a name, or into a room that cannot be", () =>
    Effect.gen(function*() {
      const client = yield* served
      for (const name of ["", " ", " Ada", "x".repeat(31), "a\nb", "a\u202eb"]) {
        const denied = yield* Effect.flip(client.websocket("/lobby/socket", { query: { name } }))
        assert.deepInclude(denied, { _tag: "Denied", status: 400 }, JSON.stringify(name))
      }
      yield* (yield* enter(client, "\u{1f469}\u200d\u{1f4bb} \u0100da")).sees("\u{1f469}\u200d\u{1f4bb} \u0100da")
      for (const room of ["A", "a.b", "*", "x".repeat(41)]) {
        const denied = yield* Effect.flip(client.websocket(`/${room}/socket`, { query: { name: "Ada" } }))
        assert.deepInclude(denied, { _tag: "Denied", status: 404 }, room)
      }
    }).pipe(quiet))

  it.effect("closes on what is no message", () =>
    Effect.gen(function*() {
      const client = yield* serve({ raiseAppErrors: false })
      for (const message of ["?", "{}", `{"_tag":"Say","text":" "}`, `{"_tag":"Say","text":"${"x".repeat(1001)}"}`]) {
        const { session } = yield* enter(client, "Ada")
        yield* session.send(message)
        assert.strictEqual((yield* session.closed).code, 1007, message)
      }
    }).pipe(quiet))

  it.effect("shows a page that runs its own script and nothing else", () =>
    Effect.gen(function*() {
      const client = yield* served
      assert.strictEqual((yield* client.get("/")).headers["location"], "/lobby")
      const response = yield* client.get("/lobby")
      assert.strictEqual(yield* response.text, page)
      const hash = Crypto.createHash("sha256").update(script).digest("base64")
      assert.include(response.headers["content-security-policy"], `script-src 'sha256-${hash}';`)
      assert.notMatch(script, /innerHTML|insertAdjacentHTML|document\.write|\beval\b/)
    }).pipe(quiet))
})
