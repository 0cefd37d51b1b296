/**
 * The control socket: operations for whoever may open a file. Owns a unix socket of mode 0600 from bind to close, and its
 * clients. Whoever may connect may do everything: who that is, is decided by the file's owner and folder, and by nothing here.
 *
 * Never more clients, longer messages or longer waits than the bounds below; what is no request is refused and its connection
 * closed. An operation that has begun goes on when its client has gone.
 */
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import type * as SocketServer from "effect/socket/SocketServer"
import { resolve } from "../../src/schema/Settings.ts"
import { Operations } from "../../src/service/Operations.ts"
import { ServerError } from "../../src/service/Server.ts"
import * as ControlLines from "./ControlLines.ts"
import { checkFile, listenFailed, listenOnFile } from "./Listener.ts"
import * as LogLevels from "./LogLevels.ts"
import * as Protocol from "./OperationsProtocol.ts"

export interface Options {
  /** The socket's file. Its folder must exist. */
  readonly path: string
  /**
   * Takes the file from a server that still listens on it, which goes on without. For the successor of a binary upgrade, once
   * it serves. Default false: a live server's socket is never taken.
   */
  readonly takeOver?: boolean
}

/** Clients at a time; a further one is told so. */
export const maxClients = 16
/** The longest request has about 40 bytes. */
export const maxRequestBytes = 4096
/** A client that neither asks nor reads for so long is left. */
const maxSilence = "1 minute"

/**
 * Listens until the scope closes, then removes the file if it is still ours.
 *
 * **Fails with** `ServerError` (`ListenFailed`) that names the file: another server listens there, there is something that is no
 * socket, or the folder is missing or not ours. A socket that a dead process left is replaced.
 */
export const make = Effect.fnUntraced(function*({ path, takeOver = false }: Options) {
  const operations = yield* Operations
  const spec = { _tag: "unix", path } as const
  // A listener's rules for files of sockets, with the mode that is this one's.
  const settings = yield* Effect.mapError(
    Effect.fromResult(resolve({ unix: path, unixMode: 0o600 })),
    (error) => new ServerError({ reason: { _tag: "SettingsInvalid", error } })
  )
  if (!takeOver) yield* checkFile(spec)
  const scope = yield* Effect.scope
  let server: SocketServer.SocketServer["Service"] | undefined
  yield* listenOnFile(
    spec,
    settings,
    (options) =>
      NodeSocketServer.make({ path: options.path!, allowHalfOpen: true }).pipe(
        Scope.provide(scope),
        Effect.match({
          onFailure: ({ reason }) => listenFailed(spec, (reason.cause as NodeJS.ErrnoException).code ?? "unknown"),
          onSuccess: (opened) => {
            server = opened
          }
        }),
        Effect.flatMap((failure) => failure === undefined ? Effect.void : Effect.fail(failure))
      )
  )
  let clients = 0
  const serve = (socket: Socket.Socket) =>
    Effect.acquireUseRelease(
      Effect.sync(() => ++clients),
      (count) => Effect.scoped(count > maxClients ? turnAway(socket) : converse(socket, operations)),
      () => Effect.sync(() => void clients--)
    )
  yield* Effect.forkScoped(server!.run(serve), { startImmediately: true })
})

const refuse = (problem: string): Protocol.Reply => Protocol.refusal({ _tag: "NotPossible", problem })

const turnAway = (socket: Socket.Socket) =>
  Effect.flatMap(
    ControlLines.make(socket, maxRequestBytes),
    ({ write }) => write(refuse(`There are ${maxClients} clients already`))
  ).pipe(Effect.timeout(maxSilence), Effect.ignore)

/** One request after another, until the client ends, is silent for too long, or says what is no request. */
const converse = (socket: Socket.Socket, operations: Operations["Service"]) =>
  Effect.gen(function*() {
    const lines = yield* ControlLines.make(socket, maxRequestBytes)
    const say = (reply: Protocol.Reply) => Effect.timeout(lines.write(reply), maxSilence)
    const turn = Effect.timeout(lines.read, maxSilence).pipe(
      Effect.map((value) => Option.getOrElse(Protocol.decodeRequest(value), () => "This is no request")),
      Effect.catchTag("LineUnusable", ({ problem }) => Effect.succeed(problem))
    )
    while (true) {
      const asked = yield* turn
      if (typeof asked === "string") return yield* say(refuse(asked))
      const answered = Effect.flatMap(Protocol.perform(operations, asked), say)
      yield* questions.has(asked.do)
        ? answered
        // A stop must not overtake its own answer.
        : Effect.andThen(
          LogLevels.inModule("Control")(Effect.logInfo(`Told by the control socket: ${inWords(asked)}`)),
          asked.do === "stop" ? Effect.uninterruptible(answered) : answered
        )
    }
  }).pipe(
    // The end of a connection, in whatever way, is no news.
    Effect.ignore
  )

/** What changes nothing. */
const questions: ReadonlySet<Protocol.Request["do"]> = new Set(["status", "metrics", "connections", "config"])

const inWords = (request: Protocol.Request): string =>
  request.do === "scale"
    ? `scale ${request.workers}`
    : request.do === "drain"
    ? `drain ${request.on ? "on" : "off"}`
    : request.do

/** Listens as long as the Layer lives. See `make`. */
export const layer = (options: Options): Layer.Layer<never, ServerError, Operations> =>
  Layer.effectDiscard(make(options))
