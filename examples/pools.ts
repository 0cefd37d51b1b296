/**
 * Two pools behind two routes: sums in threads, images in processes of their own, where a codec may crash. Each has its
 * own queue, so many images do not keep the sums waiting. Where a queue is full the answer is 503 with `retry-after`.
 *
 * `slipway examples/pools.ts`, then `curl localhost:5000/fib/40`, `curl --data-binary @a.pgm localhost:5000/bright`.
 */
import * as Context from "effect/Context"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Router, Server, type WorkerPool } from "slipway"
import * as WorkerPoolProcesses from "slipway/layers/WorkerPoolProcesses"
import * as WorkerPoolThreads from "slipway/layers/WorkerPoolThreads"
import * as images from "./pools/images.ts"
import * as sums from "./pools/sums.ts"

/** A pool with a name is a service with the shape of WorkerPool. */
export class SumPool extends Context.Service<SumPool, WorkerPool.WorkerPool["Service"]>()("example/SumPool") {}
export class ImagePool extends Context.Service<ImagePool, WorkerPool.WorkerPool["Service"]>()("example/ImagePool") {}

const Image = Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array())

export const routes = Router.make(
  Router.get(
    "/fib/:n",
    { path: { n: Schema.Int }, success: Schema.Int },
    ({ path }) => SumPool.use((pool) => pool.run(sums.fib, path.n))
  ),
  Router.post(
    "/bright",
    { body: Image, success: Schema.Int, errors: [images.NotAnImage] },
    ({ body }) =>
      ImagePool.use((pool) => pool.run(images.countBright, { image: body, threshold: 127 }, { timeout: "5 seconds" }))
  )
)

const sumPool = Layer.effect(
  SumPool,
  WorkerPoolThreads.make({
    name: "sums",
    module: new URL("./pools/sums.ts", import.meta.url),
    maxWorkers: 2,
    maxQueue: 50
  })
)

const imagePool = Layer.effect(
  ImagePool,
  WorkerPoolProcesses.make({
    name: "images",
    module: new URL("./pools/imageWorker.ts", import.meta.url),
    maxWorkers: 2,
    maxQueue: 10,
    maxJobsPerWorker: 1000
  })
)

export const pools = Layer.mergeAll(sumPool, imagePool)

export default Server.serve(routes).pipe(Layer.provide(pools))
