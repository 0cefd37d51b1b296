/**
 * A worker's side of reload: asks how to begin, says which files it has loaded and why it does not start, and puts the
 * overlay around what it serves. A worker that is to show a failure serves that, and never loads the application.
 */
import * as NodeStream from "@effect/platform-node/NodeStream"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as fs from "node:fs"
import type { App } from "../../src/app/App.ts"
import type { DevFailure } from "../../src/app/DevFailure.ts"
import * as DevPage from "../../src/app/DevPage.ts"
import * as DevOverlay from "../../src/middleware/DevOverlay.ts"
import type { Server } from "../../src/service/Server.ts"
import * as DevServer from "./DevServer.ts"
import * as ReloadFailure from "./ReloadFailure.ts"
import type { Begin, FromWorker } from "./ReloadMessage.ts"
import * as Message from "./ReloadMessage.ts"
import * as ReloadModules from "./ReloadModules.ts"
import type { Answer, AskError } from "./SupervisorAsk.ts"

/** The worker's end of the channel to its supervisor: Supervised.ts has it. */
export interface Channel {
  readonly ask: (what: unknown) => Effect.Effect<unknown, AskError>
  readonly answer: (answer: Answer) => Effect.Effect<void, never, Scope.Scope>
}

export interface Session {
  /** What to serve in place of the application, which is then not to be loaded. */
  readonly page: App | undefined
  /** The server, for the application: what it serves has the overlay. */
  readonly server: Layer.Layer<Server, never, Server>
  /** Says why the application does not start. The process is to end with the code of a failed start then. */
  readonly failed: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

/** Modules that are loaded while the server runs are told so much later at most. */
const tellEvery = Duration.seconds(1)

/** Before the application is loaded. **Fails with** `AskError` when there is no supervisor that knows of reload. */
export const begin = Effect.fnUntraced(function*(
  { answer, ask }: Channel
): Effect.fn.Return<Session, AskError, Scope.Scope> {
  process.setSourceMapsEnabled(true)
  const say = (what: FromWorker) => ask(what)
  const begin = (yield* say({ type: "reload.begin", pid: process.pid })) as Begin
  const current = yield* SubscriptionRef.make(Option.fromNullishOr(begin.failure))
  yield* answer((what) =>
    Message.isToWorker(what)
      ? Effect.as(SubscriptionRef.set(current, Option.some(what.failure)), null)
      : undefined
  )
  const overlay = DevOverlay.make({
    generation: begin.generation,
    failures: SubscriptionRef.changes(current),
    readFile
  })
  if (begin.isPage) {
    const failure = () => Option.getOrElse(SubscriptionRef.getUnsafe(current), () => unknownFailure)
    return { page: DevPage.app(failure), server: DevServer.around(overlay), failed: () => Effect.void }
  }
  const fresh = ReloadModules.note()
  const loaded: Array<string> = []
  const tell = Effect.suspend(() => {
    const files = fresh()
    loaded.push(...files)
    return files.length === 0 ? Effect.void : Effect.ignore(say({ type: "reload.loaded", pid: process.pid, files }))
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(tellEvery), tell)))
  return {
    page: undefined,
    // Whoever reads that it serves may change any file from then on.
    server: DevServer.around(overlay, tell),
    failed: (cause) =>
      Effect.andThen(
        tell,
        Effect.suspend(() =>
          Effect.ignore(
            say({ type: "reload.failed", pid: process.pid, failure: ReloadFailure.fromCause(cause, { loaded }) })
          )
        )
      )
  }
})

const unknownFailure: DevFailure = ReloadFailure.bare("The application does not start", "It has not said why")

/** A file as it is read for an answer. */
const readFile: DevOverlay.Options["readFile"] = (path, offset, length) =>
  length === 0
    ? Stream.empty
    : NodeStream.fromReadable({
      evaluate: () =>
        fs.createReadStream(path, { start: offset, ...(length === undefined ? {} : { end: offset + length - 1 }) })
    })
