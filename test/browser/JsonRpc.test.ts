import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import harbour from "../../examples/rpc.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { Browser, inBrowser } from "../utils/browser.ts"
import { capture } from "../utils/logs.ts"

const quiet = Effect.provide(capture().layer)

const serveHarbour = Effect.gen(function*() {
  const server = yield* ServerNode.make({ port: 0 })
  yield* server.serve(Lint.make()(harbour))
  const [address] = yield* server.addresses
  if (address?._tag !== "tcp") throw new Error("The server has no port")
  const { open } = yield* Browser
  return open(`http://127.0.0.1:${address.port}/`)
})

/** Runs in the page: waits until the text of an element matches. */
const textMatching = ({ pattern, selector }: { readonly selector: string; readonly pattern: string }) =>
  new Promise<string>((resolve) => {
    const element = document.querySelector(selector)!
    const look = () => {
      if (new RegExp(pattern).test(element.textContent)) resolve(element.textContent)
    }
    new MutationObserver(look).observe(element, { characterData: true, childList: true, subtree: true })
    look()
  })

/** Runs in the page: loads crates by its form, and gives what it shows at the end, with the progress on the way. */
const load = (crates: number) =>
  new Promise<{ readonly progress: ReadonlyArray<number>; readonly status: string }>((resolve) => {
    const status = document.querySelector("#status")!
    const bar = document.querySelector("progress")!
    const progress: Array<number> = []
    bar.addEventListener("progress", () => progress.push(bar.value))
    new MutationObserver(() => {
      if (status.textContent !== "Loading") resolve({ progress, status: status.textContent })
    }).observe(status, { childList: true })
    document.querySelector("input")!.value = String(crates)
    document.querySelector("form")!.requestSubmit()
  })

const total = { selector: "#total", pattern: "^\\d+$" }

inBrowser("examples/rpc.ts", (it) => {
  it.effect("answers a page's calls, tells it how far they are, and tells every page what happened [C227]", () =>
    Effect.gen(function*() {
      const open = yield* serveHarbour
      const page = yield* open
      const other = yield* open
      const before = Number(yield* page.run(textMatching, total))
      assert.strictEqual(Number(yield* other.run(textMatching, total)), before)
      const { progress, status } = yield* page.run(load, 4)
      assert.deepStrictEqual(progress, [0.25, 0.5, 0.75, 1])
      assert.strictEqual(status, "Loaded 4")
      for (const each of [page, other]) {
        yield* each.run(textMatching, { selector: "#total", pattern: `^${before + 4}$` })
      }
    }).pipe(quiet))

  it.effect("shows a page the error that the method declares [C227]", () =>
    Effect.gen(function*() {
      const page = yield* yield* serveHarbour
      yield* page.run(textMatching, total)
      const { progress, status } = yield* page.run(load, 6)
      assert.deepStrictEqual(progress, [])
      assert.strictEqual(status, "The ship takes 5 crates at a time (1)")
    }).pipe(quiet))
})
