/** Runs in the workers: reads the guides and counts their words, once in each worker, and answers from memory. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import { WorkerService, WorkerTask } from "slipway"
import { GuidesRpcs, NotAWord } from "./guides.ts"

const folder = new URL("../../docs/", import.meta.url)

/** What one worker holds. Loading it blocks, and blocks nobody but the worker. */
class WordIndex extends Context.Service<WordIndex, {
  readonly pages: ReadonlyMap<string, ReadonlyArray<string>>
  /** How often a word is on which page. */
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>
}>()("example/WordIndex") {
  static readonly layer = Layer.sync(WordIndex, () => {
    const pages = new Map<string, ReadonlyArray<string>>()
    const counts = new Map<string, Map<string, number>>()
    for (const page of fs.readdirSync(folder).filter((name) => name.endsWith(".md")).sort()) {
      const text = fs.readFileSync(new URL(page, folder), "utf8")
      pages.set(page, text.split("\n"))
      for (const word of text.toLowerCase().match(/\w+/g) ?? []) {
        const onPages = counts.get(word) ?? new Map<string, number>()
        counts.set(word, onPages.set(page, (onPages.get(page) ?? 0) + 1))
      }
    }
    return { pages, counts }
  })
}

const wordOf = (text: string) => /^\w+$/.test(text) ? Effect.succeed(text.toLowerCase()) : Effect.fail(new NotAWord())

const linesWith = (word: string, page: string, lines: ReadonlyArray<string>) =>
  lines.flatMap((text, index) =>
    text.toLowerCase().split(/\W+/).includes(word) ? [{ page, number: index + 1, text }] : []
  )

const handlers = GuidesRpcs.toLayer(Effect.map(WordIndex, ({ counts, pages }) =>
  GuidesRpcs.of({
    find: (text) =>
      Effect.map(wordOf(text), (word) =>
        Array.from(counts.get(word) ?? [], ([page, count]) => ({ page, count })).sort((a, b) =>
          b.count - a.count
        )),
    lines: (text) =>
      Stream.unwrap(Effect.map(wordOf(text), (word) =>
        Stream.flatMap(
          Stream.fromIterable(pages),
          ([page, lines]) => Stream.fromIterable(linesWith(word, page, lines))
        )))
  })))

export default WorkerTask.module(WorkerService.tasks(GuidesRpcs), { layer: Layer.provide(handlers, WordIndex.layer) })
