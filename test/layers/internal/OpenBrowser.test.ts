import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { openBrowser } from "../../../layers/internal/OpenBrowser.ts"

const opened = (url: string, platform: NodeJS.Platform) =>
  Effect.gen(function*() {
    const calls: Array<ReadonlyArray<string>> = []
    yield* openBrowser(url, { platform, spawn: (program, args) => void calls.push([program, ...args]) })
    return calls
  })

describe("openBrowser", () => {
  it.effect("gives the address to the system's program as one argument, and to no shell", () =>
    Effect.gen(function*() {
      const url = "http://127.0.0.1:5000/?a=1&b=$(id)%20;"
      assert.deepStrictEqual(yield* opened(url, "linux"), [["xdg-open", url]])
      assert.deepStrictEqual(yield* opened(url, "darwin"), [["open", url]])
      assert.deepStrictEqual(yield* opened(url, "win32"), [["rundll32", "url.dll,FileProtocolHandler", url]])
    }))

  it.effect("sends the browser to this machine where the server listens everywhere", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* opened("http://0.0.0.0:5000", "linux"), [["xdg-open", "http://localhost:5000/"]])
      assert.deepStrictEqual(yield* opened("https://[::]:5000/a", "linux"), [["xdg-open", "https://localhost:5000/a"]])
    }))

  it.effect("opens nothing but http and https", () =>
    Effect.gen(function*() {
      for (const url of ["unix:/run/app.sock", "file:///etc/passwd", "javascript:alert(1)", "--help", ""]) {
        assert.deepStrictEqual(yield* opened(url, "linux"), [], url)
      }
    }))

  it.effect("does not mind that there is no browser", () =>
    Effect.gen(function*() {
      let tried = 0
      yield* openBrowser("http://localhost:1", {
        spawn: () => {
          tried++
          throw new Error("EAGAIN")
        }
      })
      assert.strictEqual(tried, 1)
    }))
})
