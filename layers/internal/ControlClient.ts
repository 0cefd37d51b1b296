/**
 * Operations of a server in another process, through its control socket. Opens a connection for each operation and closes it
 * afterwards, so that a server which is replaced meanwhile is found again.
 *
 * Waits as long as the operation takes: a reload of many workers takes minutes.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Socket from "effect/socket/Socket"
import { Operations, OperationsError } from "../../src/service/Operations.ts"
import * as ControlLines from "./ControlLines.ts"
import * as Protocol from "./OperationsProtocol.ts"

/** Reports of many workers with many metrics are large; a server that says more than this is none of ours. */
const maxReplyBytes = 256 * 1024 * 1024

const unreachable = (problem: string) => new OperationsError({ reason: { _tag: "Unreachable", problem } })

/** The operations of the server that listens on the file. **Fails with** `Unreachable`, which names it, where none does. */
export const make = (path: string): Operations["Service"] => {
  const explain = (error: Socket.SocketError | ControlLines.LineUnusable): OperationsError => {
    if (error._tag === "LineUnusable") {
      return unreachable(`What listens on ${path} is no control socket: ${error.problem}`)
    }
    if (error.reason._tag !== "SocketOpenError") {
      return unreachable(`The server on ${path} has closed the connection without an answer`)
    }
    return unreachable(problemOf(path, (error.reason.cause as NodeJS.ErrnoException).code))
  }
  return Protocol.client((request) =>
    Effect.gen(function*() {
      const socket = yield* NodeSocket.makeNet({ path })
      const lines = yield* ControlLines.make(socket, maxReplyBytes)
      yield* lines.write(request)
      return yield* lines.read
    }).pipe(Effect.scoped, Effect.mapError(explain))
  )
}

const problemOf = (path: string, code: string | undefined): string => {
  switch (code) {
    case "ENOENT":
      return `There is no control socket ${path}: no server runs with this controlSocket`
    case "ECONNREFUSED":
      return `Nobody listens on ${path}: the server that made it has died, or it is no socket`
    case "EACCES":
    case "EPERM":
      return `You may not connect to ${path}: only the server's user and root may`
    case "ENOTSOCK":
      return `${path} is not a socket`
    default:
      return `Cannot connect to ${path} (${code ?? "unknown"})`
  }
}

/** The operations of the server on the file, as a Layer. See `make`. */
export const layer = (path: string): Layer.Layer<Operations> => Layer.sync(Operations, () => make(path))
