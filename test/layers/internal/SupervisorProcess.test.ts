/** Workers as real processes: a program that is its own worker, as the command line program is. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isAlive } from "../../utils/processes.ts"
import { start } from "../../utils/program.ts"

/** The supervisor runs `supervise` with a worker, which runs `work`. Both print. */
const program = (work: string, supervise: string, platform: string = process.platform) => `
  import * as Deferred from "effect/Deferred"
  import * as Duration from "effect/Duration"
  import * as Effect from "effect/Effect"
  import * as Layer from "effect/Layer"
  import * as Option from "effect/Option"
  import * as SupervisorProcess from "./layers/internal/SupervisorProcess.ts"
  import * as Supervised from "./layers/internal/Supervised.ts"
  import { Server } from "./src/service/Server.ts"

  const work = () => Effect.gen(function*() { ${work} })
  const supervise = (spawn) => Effect.gen(function*() { ${supervise} })

  await Effect.runPromise(Effect.flatMap(Supervised.assignment, (assignment) => Option.isSome(assignment)
    ? Effect.scoped(Effect.andThen(work(), Supervised.stopped))
    : supervise((answer) => SupervisorProcess.spawn({ sockets: [], heartbeatTimeout: Duration.zero, platform: "${platform}", answer })(1))))
`

const ends = Effect.fnUntraced(function*(work: string, supervise: string, platform: string = process.platform) {
  const running = yield* start(program(work, supervise, platform))
  const code = yield* running.exits
  return { code, output: running.output }
})

describe("SupervisorProcess", { timeout: 30_000 }, () => {
  for (const platform of ["linux", "win32"]) {
    it.live(`asks a worker, and answers it, as on ${platform}`, () =>
      Effect.gen(function*() {
        const { code, output } = yield* ends(
          `yield* Supervised.answer((what) => what === "name" ? Effect.succeed({ pid: process.pid }) : undefined)
           yield* Supervised.answer((what) => what === "fail" ? Effect.die(new Error("out of tea")) : undefined)
           console.log("worker heard", JSON.stringify(yield* Supervised.ask({ question: 1 })))`,
          `const child = yield* spawn((what, worker) => Effect.succeed({ what, worker }))
           console.log("right", (yield* child.ask("name")).pid === child.pid)
           console.log("wrong:", (yield* Effect.flip(child.ask("fail"))).message)
           console.log("wrong:", (yield* Effect.flip(child.ask("nothing", Duration.millis(1)))).message)
           yield* child.stop("stop")
           console.log("ended", JSON.stringify(yield* child.exited))
           console.log("wrong:", (yield* Effect.flip(child.ask("name"))).message)`,
          platform
        )
        assert.deepStrictEqual(output.split("\n").filter(Boolean).sort(), [
          `ended {"code":0,"signal":null}`,
          "right true",
          `worker heard {"what":{"question":1},"worker":1}`,
          "wrong: The process did not answer in 0.001 s",
          "wrong: The process has ended",
          "wrong: The process has no answer: out of tea"
        ])
        assert.strictEqual(code, 0)
      }))
  }

  it.live("fails a question when the worker dies over it", () =>
    Effect.gen(function*() {
      const { output } = yield* ends(
        `yield* Supervised.answer(() => Effect.sync(() => process.kill(process.pid, "SIGKILL")))`,
        `const child = yield* spawn()
         console.log("wrong:", (yield* Effect.flip(child.ask("x"))).message)
         console.log("ended", JSON.stringify(yield* child.exited))`
      )
      assert.strictEqual(output, `wrong: The process has ended\nended {"code":null,"signal":"SIGKILL"}\n`)
    }))

  it.live("does not mind what an application says over the channel", () =>
    Effect.gen(function*() {
      const { code, output } = yield* ends(
        `for (const message of [null, "ready", 7, [], { type: "recycle" }, { type: "told" }, { type: "x" }]) {
           process.send(message)
         }
         yield* Supervised.ask("done")`,
        `const done = yield* Deferred.make()
         const child = yield* spawn(() => Effect.as(Deferred.succeed(done, undefined), null))
         yield* Deferred.await(done)
         yield* Effect.raceAllFirst([
           Effect.as(child.ready, "ready"), child.recycle, Effect.succeed("nothing")
         ]).pipe(Effect.map((heard) => console.log("heard", heard)))
         yield* child.stop("stop")
         yield* child.exited`
      )
      assert.strictEqual(output, "heard nothing\n")
      assert.strictEqual(code, 0)
    }))

  it.live("has questions wait that come before the worker serves, and says a restart before it stops [C149]", () =>
    Effect.gen(function*() {
      const { output } = yield* ends(
        `yield* Supervised.ask("early")
         yield* Supervised.answer((what) => what === "name" ? Effect.succeed("worker") : undefined)
         const server = { restarting: Effect.sync(() => console.log("restarting")) }
         const limits = { maxRequests: 0, maxRequestsJitter: 0, maxRss: 0 }
         yield* Layer.build(Supervised.serving(limits).pipe(
           Layer.provide(Layer.succeed(Server, server))
         ))`,
        `const names = yield* Deferred.make()
         const started = yield* Deferred.make()
         const child = yield* spawn(() => Effect.as(
           Effect.forkDetach(
             Effect.flatMap(Deferred.await(started), (child) => Deferred.complete(names, child.ask("name"))),
             { startImmediately: true }
           ),
           null
         ))
         yield* Deferred.succeed(started, child)
         console.log("answered by", yield* Deferred.await(names))
         yield* child.ready
         yield* child.stop("restart")
         console.log("ended", (yield* child.exited).code)`
      )
      assert.strictEqual(output, "answered by worker\nrestarting\nended 0\n")
    }))

  it.live("tells a worker to open its log files anew", () =>
    Effect.gen(function*() {
      const { output } = yield* ends(
        `yield* Layer.build(Supervised.reopening(Effect.sync(() => console.log("reopened"))))
         yield* Supervised.ask("ready")`,
        `const asked = yield* Deferred.make()
         const child = yield* spawn(() => Effect.as(Deferred.succeed(asked, undefined), null))
         yield* Deferred.await(asked)
         yield* child.reopen
         yield* child.stop("stop")
         yield* child.exited`
      )
      assert.strictEqual(output, "reopened\n")
    }))

  it.live("has a socket that is shared through Node's cluster [W134]", () =>
    Effect.gen(function*() {
      const { output } = yield* ends(
        `const { createServer } = yield* Effect.promise(() => import("node:net"))
         const server = createServer()
         yield* Effect.callback((resume) => void server.listen({ port: 0, host: "127.0.0.1" }, () => resume(Effect.void)))
         yield* Supervised.ask(server.address().port)
         server.close()`,
        `const ports = []
         const both = yield* Deferred.make()
         const answer = (port) => {
           if (ports.push(port) === 2) Deferred.doneUnsafe(both, Effect.void)
           return Effect.as(Deferred.await(both), null)
         }
         const children = [yield* spawn(answer), yield* spawn(answer)]
         yield* Deferred.await(both)
         console.log("on one port", ports[0] > 0 && ports[0] === ports[1])
         for (const child of children) {
           yield* child.stop("stop")
           console.log("ended", (yield* child.exited).code)
         }`,
        "win32"
      )
      assert.strictEqual(output, "on one port true\nended 0\nended 0\n")
    }))

  it.live("starts more workers than ten without a warning, and takes all of them along when it exits at once", () =>
    Effect.gen(function*() {
      const running = yield* start(program(
        `yield* Supervised.ask(process.pid)`,
        `const pids = []
         const done = yield* Deferred.make()
         for (let index = 0; index < 12; index++) {
           yield* spawn((pid) => Effect.sync(() => {
             if (pids.push(pid) === 12) Deferred.doneUnsafe(done, Effect.void)
           }))
         }
         yield* Deferred.await(done)
         console.log("pids", pids.join(" "))
         process.exit(1)`
      ))
      assert.strictEqual(yield* running.exits, 1)
      const pids = /pids (.*)/.exec(running.output)![1]!.split(" ").map(Number)
      assert.notInclude(running.output, "Warning")
      while (pids.some(isAlive)) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      assert.lengthOf(pids, 12)
    }))
})
