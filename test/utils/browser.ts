/**
 * Chromium for tests: one process for a test file, a page with nothing of its own for each test. What runs in a page
 * waits for events of the page, so a test never waits for time. Where Chromium is missing tests are skipped and say so;
 * in CI they fail instead.
 */
import { describe, it, layer as layerFor, type Vitest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import type { BrowserContextOptions, Page as PlaywrightPage } from "playwright-core"

const executablePath = "/usr/bin/chromium"

const args = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--ignore-certificate-errors"
]

export interface Page {
  /**
   * Runs a function in the page, with an argument that can be copied, and gives what it returns or resolves with. It
   * sees nothing of the test's module: its text is sent to the browser.
   */
  readonly run: <A, B>(script: (argument: A) => B | Promise<B>, argument: A) => Effect.Effect<B>
  /** Playwright's own page, for what is not about scripts. */
  readonly playwright: PlaywrightPage
}

export interface OpenOptions extends BrowserContextOptions {
  /** Called before the page goes to its address. */
  readonly prepare?: (page: PlaywrightPage) => void
}

export class Browser extends Context.Service<Browser, {
  /** A page at `url`, closed with the scope. */
  readonly open: (url: string, options?: OpenOptions) => Effect.Effect<Page, never, Scope.Scope>
}>()("slipway/test/utils/Browser") {}

const layer = Layer.effect(
  Browser,
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const { chromium } = await import("playwright-core")
        return chromium.launch({ executablePath, args })
      }),
      (browser) => Effect.promise(() => browser.close())
    ),
    (browser) =>
      Browser.of({
        open: (url, { prepare, ...options } = {}) =>
          Effect.gen(function*() {
            const context = yield* Effect.acquireRelease(
              Effect.promise(() => browser.newContext({ ignoreHTTPSErrors: true, ...options })),
              (context) => Effect.promise(() => context.close())
            )
            const page = yield* Effect.promise(() => context.newPage())
            prepare?.(page)
            yield* Effect.promise(() => page.goto(url))
            return makePage(page)
          })
      })
  )
)

const makePage = (page: PlaywrightPage): Page => ({
  playwright: page,
  run: <A, B>(script: (argument: A) => B | Promise<B>, argument: A) =>
    Effect.promise(() => page.evaluate(script as (argument: unknown) => B, argument) as Promise<B>)
})

/** Declares tests that have a `Browser`. Their clock is the real one. */
export const inBrowser = (name: string, declare: (it: Vitest.MethodsNonLive<Browser>) => void): void => {
  if (Fs.existsSync(executablePath)) {
    layerFor(layer, { excludeTestServices: true, timeout: "30 seconds" })(name, declare)
  } else if (process.env["CI"] === "true") {
    describe(name, () => {
      it("has a browser", () => {
        throw new Error(`There is no ${executablePath}`)
      })
    })
  } else {
    console.warn(`${name} is skipped: there is no ${executablePath}`)
    describe.skip(name, () => {
      layerFor(layer)(declare)
    })
  }
}
