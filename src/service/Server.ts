/**
 * The server: listens on its addresses and runs one fiber of an App for each exchange. How it listens is the layers'
 * business (ServerNode on sockets, ServerMemory on an in-memory network); what it promises stands here.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { App } from "../app/App.ts"
import type { ConnectionFacts } from "../schema/Report.ts"
import type { SettingsError } from "../schema/Settings.ts"

/** Where a server listens. */
export type Address =
  | {
    readonly _tag: "tcp"
    readonly host: string
    readonly port: number
    /** Whether TLS is spoken there. A server always says; absent is `http`. */
    readonly scheme?: "http" | "https"
  }
  | { readonly _tag: "unix"; readonly path: string }

/** The address as text: `http://127.0.0.1:5000`, `https://[::1]:5000`, `unix:/run/app.sock`. */
export const formatAddress = (address: Address): string =>
  address._tag === "unix"
    ? `unix:${address.path}`
    : `${address.scheme ?? "http"}://${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`

/** Live facts. Read them as often as you like: they are counters the server keeps anyway. */
export interface Stats {
  /** Connections open now. */
  readonly connections: number
  /** Exchanges whose application is running now. */
  readonly exchanges: number
  /** Connections accepted since the start, refused ones included. */
  readonly totalConnections: number
  /** Requests that reached the application since the start. */
  readonly totalExchanges: number
  /** Requests refused before they reached the application, since the start. */
  readonly totalRefused: number
  /** Requests that outlived `shutdownTimeout` when the server stopped, and were cut off. */
  readonly totalCut: number
  /**
   * True while new clients are welcome: from listening until the server is told to stop. What a load balancer asks for;
   * it turns false `preStopDelay` before the listeners close.
   */
  readonly isReady: boolean
  /** True from the moment the server accepts no more, which is `preStopDelay` after it was told to stop. */
  readonly isShuttingDown: boolean
}

/** The address is taken, forbidden, or not ours to use. Fault: operator. */
export interface ListenFailed {
  readonly _tag: "ListenFailed"
  readonly address: Address
  /** The operating system's code, such as `EADDRINUSE`. */
  readonly code: string
  /** What to do about it. */
  readonly advice: string
}

/** A setting cannot be used. Fault: operator. */
export interface SettingsInvalid {
  readonly _tag: "SettingsInvalid"
  readonly error: SettingsError
}

/** A file that TLS needs is missing, is not what it should be, or does not fit another. Fault: operator. */
export interface TlsFileUnusable {
  readonly _tag: "TlsFileUnusable"
  /** The setting that names the file. */
  readonly option: string
  readonly path: string
  readonly problem: string
}

/** The application refused to start, or did not say in time that it had. Fault: application. */
export interface StartupFailed {
  readonly _tag: "StartupFailed"
  readonly problem: string
}

/** `serve` was called a second time. One server serves one App; make another server. Fault: application. */
export interface AlreadyServing {
  readonly _tag: "AlreadyServing"
}

export type ServerErrorReason = ListenFailed | SettingsInvalid | TlsFileUnusable | StartupFailed | AlreadyServing

/** Why a server did not start, or did not reload. Match on `error.reason._tag`. */
export class ServerError extends Data.TaggedError("ServerError")<{ readonly reason: ServerErrorReason }> {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "ListenFailed":
        return `Cannot listen on ${formatAddress(reason.address)} (${reason.code}): ${reason.advice}`
      case "SettingsInvalid":
        return reason.error.message
      case "TlsFileUnusable":
        return `Cannot use ${reason.path} (${reason.option}): ${reason.problem}`
      case "StartupFailed":
        return `The application did not start: ${reason.problem}`
      case "AlreadyServing":
        return "This server already serves an application"
    }
  }
}

export class Server extends Context.Service<Server, {
  /**
   * Starts the App's lifespan, then listens on every address, then succeeds. Closing the scope stops the server: it is
   * not ready any more, after `preStopDelay` it accepts nobody, the last answers say `connection: close`, idle connections
   * close after `drainWindow`, event streams and WebSockets end, exchanges in flight get `shutdownTimeout`, what remains
   * is interrupted with the reason `server_shutdown`. The order in full is in docs/drain.md.
   */
  readonly serve: <E, R>(app: App<E, R>) => Effect.Effect<void, ServerError, R | Scope.Scope>
  /** Where the server listens, with real ports; empty before `serve`. */
  readonly addresses: Effect.Effect<ReadonlyArray<Address>>
  readonly stats: Effect.Effect<Stats>
  /** Connections open now, the oldest first, at most `limit`. Put together when it is asked for; costs nothing else. */
  readonly connections: (limit: number) => Effect.Effect<ReadonlyArray<ConnectionFacts>>
  /**
   * Reads the TLS files again: new connections are made with them, open ones go on as they are. Does nothing without
   * TLS. **Fails with** `ServerError` for a file that cannot be used; the server then goes on with what it has.
   */
  readonly reload: Effect.Effect<void, ServerError>
  /**
   * Says that the stop that follows is a restart: another process takes over, and serves already. WebSocket clients then
   * get 1012 (service restart) and not 1001, and there is no `preStopDelay`. Does not stop anything.
   */
  readonly restarting: Effect.Effect<void>
}>()("slipway/service/Server") {}

/**
 * Serves an App for as long as the Layer lives. Services in `R` are built before the first accept and released after
 * the last connection.
 */
export const serve = <E, R>(app: App<E, R>): Layer.Layer<never, ServerError, Server | Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(Effect.flatMap(Server, (server) => server.serve(app)))
