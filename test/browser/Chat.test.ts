import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import chat from "../../examples/chat.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as Server from "../../src/service/Server.ts"
import { Browser, inBrowser, type Page } from "../utils/browser.ts"
import { capture } from "../utils/logs.ts"
import { missing, redisServer } from "../utils/redisServer.ts"
import { until } from "../utils/sockets.ts"

const quiet = Effect.provide(capture().layer)

/** Runs in the page: waits until the texts of all elements of a kind are these. */
const showing = ({ selector, texts }: { readonly selector: string; readonly texts: ReadonlyArray<string> }) =>
  new Promise<void>((resolve) => {
    const look = () => {
      const found = [...document.querySelectorAll(selector)].map((element) => element.textContent)
      if (found.join("\n") !== texts.join("\n")) return
      observer.disconnect()
      resolve()
    }
    const observer = new MutationObserver(look)
    observer.observe(document.body, { attributes: true, characterData: true, childList: true, subtree: true })
    look()
  })

/** Runs in the page: fills the field of a form in, and sends it. */
const submit = ({ form, text }: { readonly form: string; readonly text: string }) => {
  const element = document.querySelector<HTMLFormElement>(form)!
  const input = element.querySelector("input")!
  input.value = text
  input.dispatchEvent(new Event("input", { bubbles: true }))
  element.requestSubmit()
}

const enter = (page: Page, name: string) =>
  Effect.andThen(
    page.run(submit, { form: "#enter", text: name }),
    page.run(showing, { selector: "#status", texts: ["Connected"] })
  )

const say = (page: Page, text: string) => page.run(submit, { form: "#say", text })
const sees = (page: Page, selector: string, ...texts: ReadonlyArray<string>) => page.run(showing, { selector, texts })
const messages = "#messages p"
const here = "#here li"

inBrowser("examples/chat.ts", (it) => {
  it.effect("shows who is here, who is writing, and what is said, as text [W117] [C213]", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Layer.provideMerge(chat, ServerNode.layer({ port: 0 })))
      const [address] = yield* Context.get(context, Server.Server).addresses
      const room = `${Server.formatAddress(address!)}/lobby`
      const { open } = yield* Browser
      const ada = yield* open(room)
      const bob = yield* open(room)
      yield* enter(ada, "Ada")
      yield* enter(bob, "<b>Bob</b>")
      for (const page of [ada, bob]) yield* sees(page, here, "<b>Bob</b>", "Ada")
      const markup = "<img src=x onerror=\"document.title = 'taken'\"> & more"
      yield* bob.run(({ text }) => {
        const input = document.querySelector<HTMLInputElement>("#say input")!
        input.value = text
        input.dispatchEvent(new Event("input", { bubbles: true }))
      }, { text: markup })
      yield* sees(ada, "#typing", "<b>Bob</b> is writing")
      yield* say(bob, markup)
      for (const page of [ada, bob]) yield* sees(page, messages, markup)
      yield* sees(ada, "#typing", "")
      assert.deepStrictEqual(
        yield* ada.run(() => [document.images.length, document.title, document.querySelector("#room")!.textContent], 0),
        [0, "lobby - Chat", "lobby"]
      )
    }).pipe(quiet))

  if (missing !== undefined) console.warn(`examples/chat.ts with two processes is skipped: ${missing}`)
  it.effect.skipIf(missing !== undefined)(
    "is one chat of two processes, and goes on where it was when one is killed and started again [C213]",
    () =>
      Effect.gen(function*() {
        const { url } = yield* redisServer()
        const [first, second] = yield* Effect.all([start(url, "0"), start(url, "0")], { concurrency: 2 })
        const { open } = yield* Browser
        const ada = yield* open(`${first.origin}/lobby`)
        const bob = yield* open(`${second.origin}/lobby`)
        yield* enter(ada, "Ada")
        yield* enter(bob, "Bob")
        for (const page of [ada, bob]) yield* sees(page, here, "Ada", "Bob")
        yield* say(ada, "one")
        for (const page of [ada, bob]) yield* sees(page, messages, "one")
        yield* first.kill
        yield* sees(ada, "#status", "Connection lost, trying again")
        yield* say(bob, "two")
        yield* sees(bob, messages, "one", "two")
        yield* start(url, new URL(first.origin).port)
        yield* sees(ada, messages, "one", "two")
        yield* sees(ada, "#status", "Connected")
        yield* say(ada, "three")
        for (const page of [ada, bob]) yield* sees(page, messages, "one", "two", "three")
        for (const page of [ada, bob]) yield* sees(page, here, "Ada", "Bob")
      }),
    60_000
  )
})

const root = Path.resolve(Path.dirname(fileURLToPath(import.meta.url)), "../..")

/** Starts the example as a program of its own, killed with the scope. */
const start = (redisUrl: string, port: string) =>
  Effect.gen(function*() {
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(?:SLIPWAY_|PORT$|NODE_ENV$|NODE_OPTIONS$|VITEST)/.test(name))
    )
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["dist/main.js", "examples/chat.ts", "--port", port], {
          cwd: root,
          env: { ...env, REDIS_URL: redisUrl },
          stdio: ["ignore", "ignore", "pipe"]
        })
      ),
      (child) => Effect.sync(() => void child.kill("SIGKILL"))
    )
    const isOver = () => child.exitCode !== null || child.signalCode !== null
    let log = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => log += text)
    const pattern = /serving .* on (\S+) \(/
    yield* until(() => pattern.test(log) || isOver())
    const origin = pattern.exec(log)?.[1]
    if (origin === undefined) return yield* Effect.die(new Error(`The program ended: ${log}`))
    return { origin, kill: Effect.andThen(Effect.sync(() => void child.kill("SIGKILL")), until(isOver)) }
  })
