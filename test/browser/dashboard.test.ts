import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Page as PlaywrightPage } from "playwright-core"
import * as HealthChecks from "../../layers/HealthChecks.ts"
import * as Activity from "../../layers/internal/Activity.ts"
import * as AdminServer from "../../layers/internal/AdminServer.ts"
import * as OperationsLocal from "../../layers/OperationsLocal.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as Dashboard from "../../src/app/admin/Dashboard.ts"
import { Sampler } from "../../src/app/admin/Samples.ts"
import * as App from "../../src/app/App.ts"
import * as Router from "../../src/app/Router.ts"
import * as Health from "../../src/service/Health.ts"
import * as Server from "../../src/service/Server.ts"
import { Browser, inBrowser, type OpenOptions } from "../utils/browser.ts"
import { capture } from "../utils/logs.ts"
import { until } from "../utils/sockets.ts"
import { busy } from "../utils/statuses.ts"

const token = "a long secret"

const router = Router.make(
  Router.get("/todos/:id", () => Effect.succeed("todo")),
  Router.get("/slow", () => Effect.as(Effect.sleep("30 millis"), "slow")),
  Router.get("/broken", () => Effect.die(new Error("broken on purpose")))
)

/** An application with its admin port and somebody who uses it, in this process. */
const start = Effect.gen(function*() {
  const log = capture()
  const scope = yield* Scope.fork(yield* Effect.scope)
  const everything = AdminServer.layer({
    server: { host: "127.0.0.1", port: 0 },
    token: Redacted.make(token)
  }).pipe(
    Layer.provide(OperationsLocal.layer({ version: "1.2.3", application: "./<b>shop</b>.ts", mode: "production" })),
    Layer.provideMerge(Server.serve(router)),
    Layer.provide(Activity.serverLayer),
    Layer.provideMerge(ServerNode.layer({ host: "127.0.0.1", port: 0 })),
    Layer.provide(Activity.layer),
    Layer.provide(Health.check({ name: "<i>database</i>", check: Effect.fail(new Error("gone")), critical: false })),
    Layer.provide(HealthChecks.layer),
    Layer.provide(log.layer)
  )
  const context = yield* Layer.buildWithScope(everything, scope)
  const [address] = yield* Context.get(context, Server.Server).addresses
  const app = Server.formatAddress(address!)
  const find = () => log.lines.map(({ message }) => /Admin endpoints on (\S+):/.exec(message)?.[1]).find(Boolean)
  yield* until(() => find() !== undefined)
  const paths = ["/todos/1", "/todos/2", "/slow", "/missing", "/broken"]
  const use = Effect.forEach(paths, (path) => Effect.promise(() => fetch(app + path).then((answer) => answer.text())), {
    concurrency: 2
  })
  yield* Effect.forkIn(Effect.repeat(use, Schedule.spaced("50 millis")), scope)
  return { admin: find()!, stop: Scope.close(scope, Exit.void) }
})

/** What a page has complained of and asked for. */
const watch = () => {
  const complaints: Array<string> = []
  const origins = new Set<string>()
  const prepare = (page: PlaywrightPage) => {
    page.on("console", (message) => complaints.push(message.text()))
    page.on("pageerror", (error) => complaints.push(String(error)))
    page.on("request", (request) => {
      if (!request.url().startsWith("data:")) origins.add(new URL(request.url()).origin)
    })
    void page.addInitScript(() => {
      Object.assign(window, { shift: 0 })
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) (window as any).shift += (entry as any).value
      }).observe({ type: "layout-shift", buffered: true })
    })
  }
  return { complaints, origins, prepare }
}

const httpCredentials = { username: "anybody", password: token }

/** The texts of places in the page. */
const texts = (page: PlaywrightPage, ...selectors: ReadonlyArray<string>) =>
  Effect.promise(() => Promise.all(selectors.map((selector) => page.locator(selector).first().innerText())))

const waitFor = <A>(page: PlaywrightPage, condition: (argument: A) => unknown, argument: A) =>
  Effect.promise(() => page.waitForFunction(condition as never, argument, { timeout: 40_000 }))

/** Runs in the page: how many dots of each plot are inked. Looks at copies, so that the page's own stay fast. */
const ink = () =>
  [...document.querySelectorAll("canvas")].map((canvas) => {
    const pen = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true })!
    pen.drawImage(canvas, 0, 0)
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height)
    return data.filter((value, at) => at % 4 === 3 && value > 0).length
  })

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-dashboard-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

/** Takes a picture, and says how many colours its middle has: a page that shows nothing has one or two. */
const colours = Effect.fnUntraced(function*(page: PlaywrightPage, name: string) {
  const path = Path.join(process.env["SLIPWAY_SCREENSHOTS"] ?? (yield* folder), `${name}.png`)
  const picture = yield* Effect.promise(() => page.screenshot({ path, fullPage: true }))
  return yield* Effect.promise(() =>
    page.context().newPage().then((blank) =>
      blank.evaluate(async (base64) => {
        const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))
        const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }))
        const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d")!
        pen.drawImage(bitmap, 0, 0)
        return new Set(new Uint32Array(pen.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer)).size
      }, picture.toString("base64")).finally(() => blank.close())
    )
  )
})

const sampler = new Sampler()
const looks = Array.from({ length: 595 }, (_, index) => sampler.next(busy(index + 8)))

/** A page that is painted empty first, and then full of ten minutes of a busy server's life. */
const openBusy = Effect.fnUntraced(function*(options: OpenOptions) {
  const points = looks.map(({ point }) => point)
  const feed = Stream.concat(
    Stream.make({ _tag: "history" as const, points }, { _tag: "now" as const, now: looks.at(-1)! }),
    Stream.never
  )
  const painted = yield* Latch.make(false)
  const page = yield* Dashboard.page
  const server = yield* ServerNode.make({ port: 0 })
  yield* server.serve<unknown, never>((exchange) =>
    exchange.type === "sse"
      ? Effect.andThen(painted.await, Dashboard.stream(exchange, feed, []))
      : App.http(({ send }) => App.respond(send, 200, page.body, page.headers))(exchange)
  )
  const [address] = yield* server.addresses
  const { open } = yield* Browser
  const { playwright } = yield* open(`${Server.formatAddress(address!)}/dashboard`, options)
  yield* Effect.promise(() =>
    playwright.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
  )
  yield* painted.open
  yield* waitFor(playwright, () => document.querySelectorAll("#routes tr").length === 12, undefined)
  yield* Effect.promise(() => playwright.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve))))
  return playwright
})

inBrowser("dashboard", (it) => {
  it.effect("shows a live server, and moves with it [W141] [W144] [C170]", () =>
    Effect.gen(function*() {
      const { admin, stop } = yield* start
      const seen = watch()
      const { open } = yield* Browser
      const { playwright: page } = yield* open(`${admin}/dashboard`, {
        httpCredentials,
        prepare: seen.prepare,
        viewport: { width: 1400, height: 1000 }
      })
      yield* waitFor(page, () => parseFloat(document.querySelector("#tile-rate .value")!.textContent!) > 5, undefined)
      const totals = "#tile-rate .note"
      const [before] = yield* texts(page, totals)
      const inkBefore = yield* Effect.promise(() => page.evaluate(ink))
      yield* waitFor(page, (old) => document.querySelector("#tile-rate .note")!.textContent !== old, before)
      // Plots are drawn with the next frame, after the words.
      const inkAfter = yield* Effect.repeat(Effect.promise(() => page.evaluate(ink)), {
        until: (amounts) => String(amounts) !== String(inkBefore)
      })
      for (const amount of inkAfter) assert.isAbove(amount, 500)
      assert.deepStrictEqual(
        yield* texts(page, "#state", "#application", "#version", "#mode"),
        ["Ready", "./<b>shop</b>.ts", "1.2.3", "production"]
      )
      const [routes, errors, checks, workers] = yield* texts(page, "#routes", "#errors", "#checks", "#workers")
      for (const route of ["GET /todos/:id", "GET /slow", "GET /broken", "GET other"]) assert.include(routes, route)
      assert.match(errors!, /\d\d:\d\d:\d\d\s+500\s+GET \/broken/)
      assert.match(checks!, /<i>database<\/i>\s+failing\s+ready\s+shown only\s+.*\s+gone/)
      assert.match(workers!, new RegExp(`${process.pid}\\s+serving`))
      assert.match((yield* texts(page, "#tile-latency .value"))[0]!, /^[\d.]+ m?s$/)
      assert.match((yield* texts(page, "#tile-memory .value"))[0]!, /^[\d.]+ MiB$/)
      assert.isAbove(yield* colours(page, "live"), 20)
      assert.deepStrictEqual(seen.complaints, [])
      assert.deepStrictEqual([...seen.origins], [admin])
      yield* stop
      yield* waitFor(page, () =>
        document.querySelector("#state")!.textContent === "Connection lost, trying again", undefined)
      assert.isTrue(
        yield* Effect.promise(() =>
          page.evaluate(() =>
            document.body.classList.contains("stale")
          )
        )
      )
    }), 60_000)

  it.effect("opens for the token only", () =>
    Effect.gen(function*() {
      const { admin } = yield* start
      const { open } = yield* Browser
      const { playwright: page } = yield* open("about:blank", { httpCredentials: { username: "x", password: "wrong" } })
      const answer = yield* Effect.promise(() => page.goto(`${admin}/dashboard`))
      assert.strictEqual(answer?.status(), 401)
      assert.strictEqual(yield* Effect.promise(() => page.locator("pre").innerText()), "Unauthorized\n")
    }), 60_000)

  for (
    const [name, colorScheme, width] of [
      ["light", "light", 1400],
      ["dark", "dark", 1400],
      ["middle", "dark", 900],
      ["narrow", "light", 360]
    ] as const
  ) {
    it.effect(`looks as it should in ${colorScheme} at a width of ${width}`, () =>
      Effect.gen(function*() {
        const seen = watch()
        const page = yield* openBusy({ colorScheme, viewport: { width, height: 900 }, prepare: seen.prepare })
        const found = yield* Effect.promise(() =>
          page.evaluate(() => ({
            paper: getComputedStyle(document.body).backgroundColor,
            overflow: document.documentElement.scrollWidth - innerWidth,
            shift: (window as any).shift as number,
            plots: [...document.querySelectorAll("canvas")].map((canvas) => canvas.clientWidth),
            tables: document.querySelectorAll("table thead th[scope=col]").length,
            rows: document.querySelectorAll("#workers th[scope=row]").length
          }))
        )
        assert.strictEqual(found.paper, colorScheme === "dark" ? "rgb(13, 20, 26)" : "rgb(243, 245, 247)")
        assert.isAtMost(found.overflow, 0)
        assert.isBelow(found.shift, 0.02)
        assert.strictEqual(found.rows, 4)
        assert.isAbove(found.tables, 20)
        for (const wide of found.plots) assert.isAbove(wide, 250)
        for (const amount of yield* Effect.promise(() => page.evaluate(ink))) assert.isAbove(amount, 2000)
        assert.isAbove(yield* colours(page, name), 100)
        assert.deepStrictEqual(seen.complaints, [])
      }), 60_000)
  }

  it.effect("tells the values of any moment, to the pointer and to the keyboard", () =>
    Effect.gen(function*() {
      const page = yield* openBusy({ viewport: { width: 1400, height: 900 } })
      const legend = "#plot-latency .legend"
      const [latest] = yield* texts(page, legend)
      yield* Effect.promise(() => page.locator("#plot-cpu canvas").hover({ position: { x: 268, y: 60 } }))
      const [pointed, cursor] = yield* texts(page, legend, "#cursor")
      assert.notStrictEqual(pointed, latest)
      assert.match(cursor!, /^At \d\d:\d\d:\d\d$/)
      yield* Effect.promise(() => page.mouse.move(2, 2))
      assert.deepStrictEqual(yield* texts(page, legend, "#cursor"), [latest, ""])
      yield* Effect.promise(() => page.locator("#plot-latency canvas").focus())
      for (const key of ["ArrowLeft", "Shift+ArrowLeft", "Home"]) yield* Effect.promise(() => page.keyboard.press(key))
      const [first, at] = yield* texts(page, legend, "#cursor")
      assert.match(at!, /^At \d\d:\d\d:\d\d$/)
      const label = yield* Effect.promise(() => page.locator("#plot-latency canvas").getAttribute("aria-label"))
      assert.strictEqual(
        label,
        `Latency in milliseconds: ${first!.replaceAll(/(p\d\d)\s+/g, "$1 ").replaceAll(/\s*\n\s*/g, ", ")}`
      )
      yield* Effect.promise(() => page.keyboard.press("Escape"))
      assert.deepStrictEqual(yield* texts(page, legend, "#cursor"), [latest, ""])
      yield* Effect.promise(() => page.locator("#plot-latency canvas").focus())
      yield* Effect.promise(() => page.getByLabel("1 min").check())
      yield* Effect.promise(() => page.locator("#plot-latency canvas").press("Home"))
      assert.notStrictEqual((yield* texts(page, "#cursor"))[0], at)
    }), 60_000)
})
