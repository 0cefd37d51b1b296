/**
 * A search through these guides. The index of their words lives in workers, one in each, and its methods are called like
 * those of any service: `slipway examples/search.ts`, then `curl localhost:5000/find/worker` and
 * `curl localhost:5000/lines/worker`.
 */
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Router, Server } from "slipway"
import * as WorkerPoolThreads from "slipway/layers/WorkerPoolThreads"
import { Guides, Hit, Line, NotAWord } from "./search/guides.ts"

export const routes = Router.make(
  Router.get(
    "/find/:word",
    { path: { word: Schema.String }, success: Schema.Array(Hit), errors: [NotAWord] },
    ({ path }) => Guides.use((guides) => guides.find(path.word, { timeout: "30 seconds" }))
  ),
  Router.sse(
    "/lines/:word",
    { path: { word: Schema.String }, data: Line },
    ({ path }) => Guides.useSync((guides) => guides.lines(path.word))
  )
)

const pool = WorkerPoolThreads.layer({ module: new URL("./search/guidesWorker.ts", import.meta.url), maxWorkers: 2 })

export const guides = Guides.layer.pipe(Layer.provide(pool))

export default Server.serve(routes).pipe(Layer.provide(guides))
