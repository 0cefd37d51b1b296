/** Ways to ask a server and see more than its answer: what the application did, what was logged, what a socket shows. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as AccessLogMemory from "../../layers/AccessLogMemory.ts"
import type * as ServerMemory from "../../layers/ServerMemory.ts"
import type { App } from "../../src/app/App.ts"
import type { Address, ServerError } from "../../src/service/Server.ts"
import { capture } from "./logs.ts"
import { exchange, serve } from "./serve.ts"
import { connect } from "./sockets.ts"

/** Like `exchange`, and fails when the application itself failed, which an answer may not show. */
export const soundExchange = <E, R>(
  app: App<E, R>,
  bytes: string,
  options: ServerMemory.Options = {}
): Effect.Effect<string, ServerError | E, R | Scope.Scope> =>
  Effect.gen(function*() {
    const failures: Array<Cause.Cause<E>> = []
    const watched: App<E, R> = (inner) =>
      Effect.onError(app(inner), (cause) => Effect.sync(() => void failures.push(cause)))
    const answer = yield* exchange(watched, bytes, options)
    const failure = failures[0]
    return failure === undefined ? answer : yield* Effect.failCause(failure)
  })

/**
 * Sends `bytes` on one connection, and gives what came back when nothing more can come, whether the server has closed,
 * the lines of the access log (method, path, status, body bytes, problem) and the errors that were logged.
 */
export const asked = <E>(app: App<E>, bytes: string, options: ServerMemory.Options = {}) =>
  Effect.gen(function*() {
    const logs = capture()
    const access = yield* AccessLogMemory.make({ format: "%m %U %s %B %X" })
    const { connect } = yield* serve(app, options).pipe(Effect.provide(access), Effect.provide(logs.layer))
    const client = yield* connect()
    yield* client.send(bytes)
    const answer = yield* client.read
    const isEnded = yield* client.isEnded
    const lines = yield* Effect.provide(Effect.flatMap(AccessLogMemory.Lines, (memory) => memory.lines), access)
    return { answer, isEnded, lines, errors: logs.lines.filter((line) => line.level === "Error") }
  })

/** Sends `bytes` over a socket and returns what comes until the server closes. */
export const askSocket = (addresses: ReadonlyArray<Address>, bytes: string) =>
  Effect.scoped(Effect.gen(function*() {
    const client = yield* connect(addresses[0]!)
    yield* client.send(bytes)
    return yield* client.readAll
  }))
