/**
 * Routes as data, before a router is made of them: what the constructors of Router.ts note down and RouteTable.ts lays
 * out. Types are erased here; Router.ts has them.
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { App } from "../App.ts"
import type { Constraints } from "./RoutePattern.ts"
import type { Metadata } from "./RouteTypes.ts"

/** Fails a handler that leaves the request to the next route. Never reaches a client. */
export class Pass extends Data.TaggedError("Pass")<{}> {
  override get message(): string {
    return "A handler passed outside of a router"
  }
}

export const isPass = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) => reason._tag === "Fail" && reason.error instanceof Pass)

export type Wrap = (app: App<any, any>) => App<any, any>
export type Handler = (input: any) => unknown
export type Recover = (cause: Cause.Cause<unknown>, input: any) => Effect.Effect<unknown, unknown, unknown>
type Fields = Schema.Struct.Fields

export interface Options extends Metadata {
  readonly name?: string
  readonly path?: Fields
  readonly outer?: Fields
  readonly constraints?: Constraints
  readonly query?: Schema.Top | Fields
  readonly headers?: Schema.Top | Fields
  readonly cookies?: Schema.Top | Fields
  readonly body?: Schema.Top | ReadonlyArray<Schema.Top> | Fields
  readonly success?: Schema.Top | ReadonlyArray<Schema.Top>
  readonly status?: number
  readonly errors?: Schema.Top | ReadonlyArray<Schema.Top>
  readonly middleware?: Wrap
  /** Of sse. */
  readonly data?: Schema.Top
  /** Of websocket. */
  readonly message?: Schema.Top
  readonly receive?: Schema.Top
  readonly send?: Schema.Top
  readonly encoding?: "json" | "text" | "bytes"
}

export type Protocol = "http" | "sse" | "websocket"

export interface Route {
  readonly _tag: "Route"
  readonly protocol: Protocol
  /** `*` stands for any. Empty for sessions. */
  readonly methods: ReadonlyArray<string>
  readonly path: string
  readonly options: Options
  readonly handler: Handler
}

export interface GroupOptions extends Metadata {
  readonly name?: string
  readonly middleware?: Wrap
  readonly notFound?: Handler
  readonly onError?: Recover
}

export interface Group {
  readonly _tag: "Group"
  readonly prefix: string
  readonly host?: string
  readonly options: GroupOptions
  readonly children: ReadonlyArray<Node>
}

export interface Mount {
  readonly _tag: "Mount"
  readonly prefix: string
  readonly app: App<any, any>
  readonly name: string | undefined
  readonly passThrough: boolean
}

export interface Docs {
  readonly _tag: "Docs"
  readonly path: string
  readonly options: {
    readonly title?: string
    readonly version?: string
    readonly description?: string
    readonly json?: string
    readonly servers?: ReadonlyArray<{ readonly url: string; readonly description?: string }>
  }
}

export type Node = Route | Group | Mount | Docs

/** A path below a prefix: a prefix of `/` adds nothing, and `/` is the prefix itself. */
export const join = (prefix: string, path: string): string => {
  const above = prefix === "/" ? "" : prefix
  return path === "/" && above !== "" ? above : above + path
}

/** Type of `join`. */
export type Join<Prefix extends string, Path extends string> = Prefix extends "/" | "" ? Path
  : Path extends "/" ? Prefix
  : `${Prefix}${Path}`
