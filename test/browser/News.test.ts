import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Net from "node:net"
import news from "../../examples/news.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as Server from "../../src/service/Server.ts"
import { Browser, inBrowser } from "../utils/browser.ts"
import { capture } from "../utils/logs.ts"

const quiet = Effect.provide(capture().layer)

/** Runs in the page: waits until an element has a text. */
const showing = ({ selector, text }: { readonly selector: string; readonly text: string }) =>
  new Promise<void>((resolve) => {
    const look = () => {
      const found = [...document.querySelectorAll(selector)].map((element) => element.textContent).join("\n")
      if (found !== text) return
      observer.disconnect()
      resolve()
    }
    const observer = new MutationObserver(look)
    observer.observe(document.body, { characterData: true, childList: true, subtree: true })
    look()
  })

/** Runs in the page: publishes by its form. */
const publish = (title: string) => {
  document.querySelector("input")!.value = title
  document.querySelector("form")!.requestSubmit()
}

/** A way to the server that can be cut: connections break, and new ones come to nothing until it is mended. */
const cuttable = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<
      { readonly origin: string; readonly cut: () => void; readonly mend: () => void; readonly close: () => void }
    >(
      (resume) => {
        const sockets = new Set<Net.Socket>()
        let isCut = false
        const keep = (socket: Net.Socket) => {
          sockets.add(socket)
          socket.on("error", () => socket.destroy()).once("close", () => sockets.delete(socket))
        }
        const breakAll = () => {
          for (const socket of sockets) socket.destroy()
        }
        const server = Net.createServer((client) => {
          if (isCut) {
            client.resetAndDestroy()
            return
          }
          const onward = Net.connect(port, "127.0.0.1")
          for (const socket of [client, onward]) keep(socket)
          client.pipe(onward).pipe(client)
          client.once("close", () => onward.destroy())
          onward.once("close", () => client.destroy())
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address() as Net.AddressInfo
          resume(Effect.succeed({
            origin: `http://127.0.0.1:${address.port}`,
            cut: () => {
              isCut = true
              breakAll()
            },
            mend: () => void (isCut = false),
            close: () => {
              breakAll()
              server.close()
            }
          }))
        })
      }
    ),
    ({ close }) => Effect.sync(close)
  )

const titles = (...newestFirst: ReadonlyArray<string>) => ({ selector: "#articles h2", text: newestFirst.join("\n") })

inBrowser("examples/news.ts", (it) => {
  it.effect(
    "shows a page whose connection broke what it missed, in order and once [C213] [C96]",
    () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(Layer.provideMerge(news, ServerNode.layer({ port: 0 })))
        const [address] = yield* Context.get(context, Server.Server).addresses
        assert(address?._tag === "tcp")
        const way = yield* cuttable(address.port)
        const { open } = yield* Browser
        const reader = yield* open(way.origin)
        const writer = yield* open(`http://127.0.0.1:${address.port}`)
        for (const page of [reader, writer]) yield* page.run(showing, { selector: "#status", text: "Connected." })
        const markup = "<b>one</b>"
        yield* writer.run(publish, markup)
        yield* reader.run(showing, titles(markup))
        way.cut()
        yield* reader.run(showing, { selector: "#status", text: "The connection is broken. Trying again." })
        yield* writer.run(publish, "two")
        yield* writer.run(showing, titles("two", markup))
        yield* writer.run(publish, "three")
        yield* writer.run(showing, titles("three", "two", markup))
        way.mend()
        yield* reader.run(showing, titles("three", "two", markup))
        yield* reader.run(showing, { selector: "#status", text: "Connected." })
        yield* reader.run(publish, "four")
        for (const page of [reader, writer]) yield* page.run(showing, titles("four", "three", "two", markup))
      }).pipe(quiet),
    60_000
  )
})
