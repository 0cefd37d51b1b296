/** Waiting for real workers, without a clock: turn by turn, until a mark in a file or the pool's own numbers say so. */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Stats, WorkerPool, WorkerPoolError } from "../../src/service/WorkerPool.ts"

export type Pool = WorkerPool["Service"]

export const moduleOf = (name: string) => new URL(`./${name}.ts`, import.meta.url)

export const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
export const turns = Effect.repeat(turn, { times: 50 })

/** Lets workers go on until it is true. */
export const until = (isTrue: () => boolean) =>
  Effect.whileLoop({ while: () => !isTrue(), body: () => turn, step: () => {} })

export const untilStats = (pool: Pool, isTrue: (stats: Stats) => boolean) =>
  Effect.gen(function*() {
    while (!isTrue(yield* pool.stats)) yield* turn
    return yield* pool.stats
  })

/** A folder that goes with the test. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-pool-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)

/** What the tasks mark, by name. */
export const marks = Effect.map(folder, (folder) => ({
  path: (name: string) => path.join(folder, name),
  release: (name: string) => Effect.sync(() => fs.writeFileSync(path.join(folder, `${name}.release`), "")),
  started: (name: string) => until(() => fs.existsSync(path.join(folder, `${name}.started`))),
  stopped: (name: string) => until(() => fs.existsSync(path.join(folder, `${name}.stopped`)))
}))

export const reasonOf = (error: unknown) => (error as WorkerPoolError).reason

export const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })
