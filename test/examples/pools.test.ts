import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { ImagePool, pools, routes, SumPool } from "../../examples/pools.ts"
import * as sums from "../../examples/pools/sums.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as WorkerPoolInline from "../../layers/WorkerPoolInline.ts"
import * as WorkerTask from "../../src/app/WorkerTask.ts"
import { capture } from "../utils/logs.ts"
import { fork, untilStats } from "../utils/workerTasksMarks.ts"

describe("examples/pools.ts", () => {
  it.live("computes in threads, and looks at images in processes [C226]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(routes)
      assert.strictEqual(yield* (yield* client.get("/fib/20")).text, "6765")
      const image = Buffer.from("P5 2 2 255\n\x00\x80\xff\x01", "latin1")
      const post = (body: Uint8Array) =>
        client.post("/bright", { body, headers: [["content-type", "application/octet-stream"]] })
      assert.strictEqual(yield* (yield* post(image)).text, "2")
      assert.strictEqual((yield* post(Buffer.from("GIF89a"))).status, 422)
    }).pipe(Effect.provide(pools), Effect.provide(capture().layer)))

  it.effect("answers 503 for one pool whose queue is full, and goes on with the other [C226]", () =>
    Effect.gen(function*() {
      const never = WorkerTask.implement(sums.fib, () => Effect.never)
      const full = yield* WorkerPoolInline.make({ module: WorkerTask.module([never]), maxWorkers: 1, maxQueue: 0 })
      const fibers = yield* fork(full.run(sums.fib, 1))
      yield* untilStats(full, ({ busy }) => busy === 1)
      const images = yield* WorkerPoolInline.make({
        module: new URL("../../examples/pools/imageWorker.ts", import.meta.url)
      })
      const services = Context.make(SumPool, full).pipe(Context.add(ImagePool, images))
      const client = yield* Effect.provide(TestClient.make(routes), Layer.succeedContext(services))
      const answer = yield* client.get("/fib/20")
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(answer.headers["retry-after"], "1")
      const other = yield* client.post("/bright", {
        body: Buffer.from("P5 1 1 255\n\xff", "latin1"),
        headers: [["content-type", "application/octet-stream"]]
      })
      assert.strictEqual(yield* other.text, "1")
      yield* Fiber.interrupt(fibers)
    }).pipe(Effect.provide(capture().layer)))
})
