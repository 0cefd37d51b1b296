/**
 * Loads the module that the command line names and recognises what its default export is; without one, the current
 * directory.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { FileSystem } from "effect/FileSystem"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type { Path } from "effect/Path"
import * as Result from "effect/Result"
import type { Scope } from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import type { App } from "../../src/app/App.ts"
import * as FetchHandler from "../../src/app/FetchHandler.ts"
import * as Handler from "../../src/app/Handler.ts"
import type { Server } from "../../src/service/Server.ts"
import { defaultExport, enableTypeScript } from "./TypeScript.ts"

/** What the command line provides besides the server. */
export type Provided = FileSystem | Path

/** What a module gave us to run. */
export type LoadedApp =
  | { readonly _tag: "App"; readonly app: App<unknown, Provided> }
  | { readonly _tag: "Layer"; readonly layer: Layer.Layer<never, unknown, Server | Provided> }

/** There is no such file, or it is not a module. Fault: operator. */
export interface NotAModule {
  readonly _tag: "NotAModule"
  readonly problem: string
}

/** The module threw while it was loaded, or something it imports cannot be found. Fault: application. */
export interface LoadFailed {
  readonly _tag: "LoadFailed"
  readonly cause: unknown
}

/** The default export is nothing that can be served. Fault: application. */
export interface NotAnApp {
  readonly _tag: "NotAnApp"
  /** What it is instead, in words. */
  readonly found: string
}

/** The module is TypeScript, and neither Node nor an installed esbuild can run it. Fault: operator. */
export interface TypeScriptUnavailable {
  readonly _tag: "TypeScriptUnavailable"
}

export type AppModuleErrorReason = NotAModule | LoadFailed | NotAnApp | TypeScriptUnavailable

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** Why a module cannot be served. None is retryable. Match on `error.reason._tag`. */
export class AppModuleError extends Data.TaggedError("AppModuleError")<{
  /** The module as the user wrote it. */
  readonly path: string
  readonly reason: AppModuleErrorReason
}> {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "NotAModule":
        return `Cannot serve ${this.path}: ${reason.problem}`
      case "LoadFailed":
        return `Cannot load ${this.path}: ${messageOf(reason.cause)}`
      case "NotAnApp":
        return `Cannot serve ${this.path}: its default export is ${reason.found}. Export an App (a function from an `
          + "exchange to an Effect), a Layer such as Server.serve(app), an Effect that yields an HttpServerResponse, "
          + "or an object with a fetch method"
      case "TypeScriptUnavailable":
        return `Cannot load ${this.path}: TypeScript needs Node 22.18 or newer, or esbuild (npm install esbuild)`
    }
  }
}

type ResponseEffect = Effect.Effect<HttpServerResponse, unknown, HttpServerRequest | Scope | Provided>

const isFetcher = (value: object): value is { readonly fetch: FetchHandler.Fetch } =>
  "fetch" in value && typeof value.fetch === "function"

const describeFunction = (value: Function): string | undefined => {
  if (/^class\b/.test(Function.prototype.toString.call(value))) return "a class"
  if (value.constructor.name === "AsyncFunction") return "an async function, which returns a Promise and not an Effect"
  return value.length > 1 ? `a function of ${value.length} parameters` : undefined
}

const describe = (value: unknown): string => {
  if (value === undefined) return "missing"
  if (value === null) return "null"
  if (Array.isArray(value)) return "an array"
  if (value instanceof Promise) return "a Promise"
  if (typeof value !== "object") return `a ${typeof value}`
  const keys = Object.keys(value)
  return keys.length === 0 ? "an empty object" : `an object with ${keys.slice(0, 5).join(", ")}`
}

/**
 * Recognises what can be served: a Layer, an Effect that yields a response, an App, or an object with `fetch`.
 *
 * **Fails with** `AppModuleError` whose reason `NotAnApp` says what was found instead.
 */
export const fromExport = (value: unknown, modulePath: string): Result.Result<LoadedApp, AppModuleError> => {
  const notAnApp = (found: string) =>
    Result.fail(new AppModuleError({ path: modulePath, reason: { _tag: "NotAnApp", found } }))
  if (Layer.isLayer(value)) {
    return Result.succeed({ _tag: "Layer", layer: value as Layer.Layer<never, unknown, Server | Provided> })
  }
  if (Effect.isEffect(value)) {
    return Result.succeed({ _tag: "App", app: Handler.make(value as ResponseEffect) })
  }
  if (typeof value === "function") {
    const mistake = describeFunction(value)
    if (mistake !== undefined) return notAnApp(mistake)
    return Result.succeed({ _tag: "App", app: value as App<unknown, Provided> })
  }
  if (typeof value === "object" && value !== null && isFetcher(value)) {
    return Result.succeed({ _tag: "App", app: FetchHandler.make((request) => value.fetch(request)) })
  }
  return notAnApp(describe(value))
}

const problemWith = (modulePath: string): string | undefined => {
  if (!/\.(?:[cm]?js|m?ts)$/.test(modulePath)) return "a module's name ends in .js, .mjs, .cjs, .ts or .mts"
  const stat = fs.statSync(modulePath, { throwIfNoEntry: false })
  if (stat === undefined) return "there is no such file"
  return stat.isFile() ? undefined : "it is not a file"
}

/** The files of the current directory as an App. */
export const currentDirectory: Effect.Effect<LoadedApp> = Effect.map(
  Effect.promise(() => import("../../src/app/Directory.ts")),
  (Directory) => ({ _tag: "App", app: Directory.make({ root: "." }) })
)

/**
 * Imports a module, relative to the current directory, and recognises its default export.
 *
 * **Fails with** `AppModuleError`, whatever goes wrong.
 */
export const load = Effect.fnUntraced(function*(modulePath: string) {
  const fail = (reason: AppModuleErrorReason) => new AppModuleError({ path: modulePath, reason })
  const absolutePath = path.resolve(modulePath)
  const problem = problemWith(absolutePath)
  if (problem !== undefined) return yield* fail({ _tag: "NotAModule", problem })
  if (absolutePath.endsWith("ts") && !enableTypeScript(absolutePath)) {
    return yield* fail({ _tag: "TypeScriptUnavailable" })
  }
  const module = yield* Effect.tryPromise({
    try: () => import(pathToFileURL(absolutePath).href) as Promise<{ readonly default?: unknown }>,
    catch: (cause) => fail({ _tag: "LoadFailed", cause })
  })
  return yield* Effect.fromResult(fromExport(defaultExport(module), modulePath))
})
