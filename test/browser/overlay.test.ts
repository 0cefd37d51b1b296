/** What a developer sees in the browser: the overlay, and the page that is loaded anew. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as App from "../../src/app/App.ts"
import type { DevFailure } from "../../src/app/DevFailure.ts"
import * as DevPage from "../../src/app/DevPage.ts"
import * as DevOverlay from "../../src/middleware/DevOverlay.ts"
import { Browser, inBrowser, type Page } from "../utils/browser.ts"
import { capture } from "../utils/logs.ts"

const failure: DevFailure = {
  title: "Cannot load <b>app.ts</b>",
  message: "<img src=x onerror=\"document.title='hacked'\">",
  code: {
    file: "app.ts",
    line: 2,
    column: 3,
    lines: [{ number: 1, text: "a" }, { number: 2, text: "  </pre><script>" }]
  },
  frames: [{ call: "f", file: "app.ts", line: 2, column: 3 }]
}

const html = (title: string, headers: ReadonlyArray<readonly [string, string]> = []) =>
  App.http(({ send }) =>
    App.respond(send, 200, `<!doctype html><title>${title}</title><p>hello`, [
      ["content-type", "text/html"],
      ...headers
    ])
  )

/** One server after the other on the same port, as workers are. */
const serve = Effect.fnUntraced(function*(app: App.App<unknown>, generation: number, port = 0) {
  const failures = yield* SubscriptionRef.make(Option.none<DevFailure>())
  const overlay = DevOverlay.make({
    generation,
    failures: SubscriptionRef.changes(failures),
    readFile: () => Stream.empty
  })
  const server = yield* ServerNode.make({ port })
  yield* Effect.provide(server.serve(overlay(app)), capture().layer)
  const [address] = yield* server.addresses
  if (address?._tag !== "tcp") throw new Error("The server has no port")
  return { failures, port: address.port, url: `http://127.0.0.1:${address.port}/` }
})

/** The text of the overlay, as soon as there is one; an empty one where there is none any more. */
const overlayText = (page: Page, isThere: boolean) =>
  page.run((isThere) =>
    new Promise<string>((resolve) => {
      const look = () => {
        const host = document.querySelector("slipway-overlay")
        if ((host !== null) !== isThere) requestAnimationFrame(look)
        else resolve(host === null ? "" : host.shadowRoot!.querySelector(".box")!.textContent!)
      }
      look()
    }), isThere)

inBrowser("the overlay", (it) => {
  it.effect("shows a failure as text, whatever is in it, and goes when it is mended [W95]", () =>
    Effect.gen(function*() {
      const { failures, url } = yield* serve(html("app"), 1)
      const page = yield* (yield* Browser).open(url)
      yield* SubscriptionRef.set(failures, Option.some(failure))
      assert.strictEqual(
        yield* overlayText(page, true),
        `close${failure.title}${failure.message}app.ts:2:3  1 | a\n> 2 |   </pre><script>\n    |   ^at f app.ts:2:3`
      )
      assert.strictEqual(yield* page.run(() => document.title, undefined), "app")
      yield* SubscriptionRef.set(failures, Option.none())
      assert.strictEqual(yield* overlayText(page, false), "")
    }))

  it.effect("is shown to a page that comes later, and closes by its button and by Escape [W95]", () =>
    Effect.gen(function*() {
      const { failures, url } = yield* serve(html("app"), 1)
      yield* SubscriptionRef.set(failures, Option.some(failure))
      const page = yield* (yield* Browser).open(url)
      yield* overlayText(page, true)
      yield* page.run(() => {
        document.querySelector("slipway-overlay")!.shadowRoot!.querySelector("button")!.click()
      }, undefined)
      yield* overlayText(page, false)
      yield* SubscriptionRef.set(failures, Option.some({ ...failure, message: "again" }))
      assert.include(yield* overlayText(page, true), "again")
      yield* page.run(() => void dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" })), undefined)
      yield* overlayText(page, false)
    }))

  it.effect("works on the page of an application that has never started, whose policy is strict [W95]", () =>
    Effect.gen(function*() {
      const { failures, url } = yield* serve(DevPage.app(() => failure), 1)
      yield* SubscriptionRef.set(failures, Option.some(failure))
      const page = yield* (yield* Browser).open(url)
      assert.include(yield* overlayText(page, true), failure.message)
      assert.strictEqual(yield* page.run(() => document.title, undefined), failure.title)
      assert.include(
        yield* page.run(() => document.querySelector("body > pre")!.textContent!, undefined),
        failure.message
      )
    }))

  it.effect("has its colours where a policy allows scripts of the site and nothing else", () =>
    Effect.gen(function*() {
      const policy = "default-src 'none'; script-src 'self'; connect-src 'self'"
      const { failures, url } = yield* serve(html("app", [["content-security-policy", policy]]), 1)
      yield* SubscriptionRef.set(failures, Option.some(failure))
      const page = yield* (yield* Browser).open(url)
      yield* overlayText(page, true)
      const background = yield* page.run(
        () =>
          getComputedStyle(document.querySelector("slipway-overlay")!.shadowRoot!.querySelector(".box")!)
            .backgroundColor,
        undefined
      )
      assert.strictEqual(background, "rgb(24, 24, 24)")
    }))
})

inBrowser("a page", (it) => {
  it.effect("is loaded anew once a worker of a later generation serves [W94] [C166]", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { port, url } = yield* Scope.provide(serve(html("old"), 1), scope)
      const page = yield* (yield* Browser).open(url)
      assert.strictEqual(yield* page.run(() => document.title, undefined), "old")
      yield* page.run(() =>
        new Promise<void>((resolve) => {
          const source = new EventSource("/__slipway/events?generation=1")
          source.addEventListener("hello", () => {
            source.close()
            resolve()
          })
        }), undefined)
      yield* Scope.close(scope, Exit.void)
      yield* serve(html("new"), 2, port)
      yield* Effect.promise(() => page.playwright.waitForFunction(() => document.title === "new"))
      assert.strictEqual(yield* page.run(() => sessionStorage.getItem("slipway-reload"), undefined), "2 1")
    }))

  it.effect("that stays old is not loaded anew without end", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(html("app"), 2)
      const page = yield* (yield* Browser).open(url)
      const states = yield* page.run(() =>
        new Promise<Array<string | null>>((resolve) => {
          sessionStorage.setItem("slipway-reload", "2 25")
          const script = document.createElement("script")
          script.src = "/__slipway/dev.js"
          script.dataset["generation"] = "1"
          document.head.append(script)
          const look = () => {
            const state = sessionStorage.getItem("slipway-reload")
            if (state === "2 25") requestAnimationFrame(look)
            else resolve([state])
          }
          look()
        }), undefined)
      assert.deepStrictEqual(states, ["2 26"])
    }))
})
