/**
 * Loads what the command line names and recognises what can be served: a module's default or named export, what its factory
 * makes of arguments, an expression, a folder. Loads the modules that come before it, and the one that provides the server.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { FileSystem } from "effect/FileSystem"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Path } from "effect/Path"
import * as Result from "effect/Result"
import type { Scope } from "effect/Scope"
import { pathToFileURL } from "node:url"
import type { App } from "../../src/app/App.ts"
import * as FetchHandler from "../../src/app/FetchHandler.ts"
import * as Handler from "../../src/app/Handler.ts"
import type { ServerOptions } from "../../src/schema/Settings.ts"
import type { Health } from "../../src/service/Health.ts"
import type { Operations } from "../../src/service/Operations.ts"
import { Server } from "../../src/service/Server.ts"
import * as AppTarget from "./AppTarget.ts"
import { defaultExport, enableTypeScript } from "./TypeScript.ts"

/** What the command line provides besides the server. */
export type Provided = Platform | Health | Operations

/** What there is without a server. */
export type Platform = FileSystem | Path

/** What a module gave us to run. */
export type LoadedApp =
  | { readonly _tag: "App"; readonly app: App<unknown, Provided> }
  | { readonly _tag: "Layer"; readonly layer: Layer.Layer<never, unknown, Server | Provided> }

/** What the command line was called to serve. */
export interface Call {
  /** A module or a folder as the user wrote it. Default: the current directory. */
  readonly app?: string | undefined
  /** For the module's factory. Default: none. */
  readonly args?: Readonly<Record<string, string>> | undefined
  /** An expression instead of `app`. */
  readonly eval?: string | undefined
  /** Modules to load first, in this order. */
  readonly require?: ReadonlyArray<string> | undefined
}

/** A module whose `layer` provides the server. */
export type ServerLayer = (options: ServerOptions) => Layer.Layer<Server, unknown, Platform>

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

/** The export, or what the factory made, is nothing that can be served. Fault: application. */
export interface NotAnApp {
  readonly _tag: "NotAnApp"
  /** Which value, in words. */
  readonly what: string
  /** What it is instead, in words. */
  readonly found: string
}

/** The module is TypeScript, and neither Node nor an installed esbuild can run it. Fault: operator. */
export interface TypeScriptUnavailable {
  readonly _tag: "TypeScriptUnavailable"
}

/** Arguments were given to what has no factory to take them. Fault: operator. */
export interface TakesNoArguments {
  readonly _tag: "TakesNoArguments"
  readonly problem: string
}

/** The module of `--server` provides no server. Fault: operator. */
export interface NotAServer {
  readonly _tag: "NotAServer"
  readonly problem: string
}

export type AppModuleErrorReason =
  | NotAModule
  | LoadFailed
  | NotAnApp
  | TypeScriptUnavailable
  | TakesNoArguments
  | NotAServer

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** Why a module cannot be served. None is retryable. Match on `error.reason._tag`. */
export class AppModuleError extends Data.TaggedError("AppModuleError")<{
  /** The module as the user wrote it. */
  readonly path: string
  /** The setting that names it. Default: none does, it is the application. */
  readonly option?: string
  readonly reason: AppModuleErrorReason
}> {
  override get message(): string {
    const { option, path, reason } = this
    const name = option === undefined ? path : `${path} (${option})`
    switch (reason._tag) {
      case "NotAModule":
        return `Cannot ${option === undefined ? "serve" : "load"} ${name}: ${reason.problem}`
      case "LoadFailed":
        return `Cannot load ${name}: ${messageOf(reason.cause)}`
      case "NotAnApp":
        return `Cannot serve ${name}: ${reason.what} is ${reason.found}. Expected an App (a function from an exchange `
          + "to an Effect), a Layer such as Server.serve(app), an Effect that yields an HttpServerResponse, or an "
          + "object with a fetch method"
      case "TypeScriptUnavailable":
        return `Cannot load ${name}: TypeScript needs Node 22.18 or newer, or esbuild (npm install esbuild)`
      case "TakesNoArguments":
        return `Cannot give arguments to ${name}: ${reason.problem}`
      case "NotAServer":
        return `Cannot use ${name} as the server: ${reason.problem}`
    }
  }
}

/** What an error is about. */
type Subject = Pick<AppModuleError, "path" | "option">

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
export const fromExport = (
  value: unknown,
  modulePath: string,
  what = "its default export"
): Result.Result<LoadedApp, AppModuleError> => {
  const notAnApp = (found: string) =>
    Result.fail(new AppModuleError({ path: modulePath, reason: { _tag: "NotAnApp", what, found } }))
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

/** The files of a folder as an App. */
const folder = (root: string): Effect.Effect<LoadedApp> =>
  Effect.map(
    Effect.promise(() => import("../../src/app/Directory.ts")),
    (Directory) => ({ _tag: "App", app: Directory.make({ root }) })
  )

/** The files of the current directory as an App. */
export const currentDirectory: Effect.Effect<LoadedApp> = folder(".")

type Exports = Readonly<Record<string, unknown>>

/** Runs code of the user, which may throw. */
const running = (subject: Subject, code: () => Promise<unknown>): Effect.Effect<unknown, AppModuleError> =>
  Effect.tryPromise({
    try: code,
    catch: (cause) => new AppModuleError({ ...subject, reason: { _tag: "LoadFailed", cause } })
  })

const findTarget = (subject: Subject): Effect.Effect<AppTarget.Target, AppModuleError> =>
  Effect.fromResult(
    Result.mapError(
      AppTarget.find(subject.path),
      (problem) => new AppModuleError({ ...subject, reason: { _tag: "NotAModule", problem } })
    )
  )

const importFile = Effect.fnUntraced(function*(file: string, subject: Subject) {
  if (file.endsWith("ts") && !enableTypeScript(file)) {
    return yield* new AppModuleError({ ...subject, reason: { _tag: "TypeScriptUnavailable" } })
  }
  return (yield* running(subject, () => import(pathToFileURL(file).href))) as Exports
})

/** Imports a module that is not the application. */
const importModule = Effect.fnUntraced(function*(subject: Subject) {
  const target = yield* findTarget(subject)
  if (target._tag === "Folder") {
    return yield* new AppModuleError({ ...subject, reason: { _tag: "NotAModule", problem: "it is a folder" } })
  }
  return yield* importFile(target.path, subject)
})

const member = (module: Exports, name: string): unknown => {
  if (Object.hasOwn(module, name)) return module[name]
  const exports = defaultExport(module)
  return typeof exports === "object" && exports !== null && Object.hasOwn(exports, name)
    ? (exports as Exports)[name]
    : undefined
}

/** What to serve of a module: an export as it is, or a factory that makes it. */
const choose = (
  module: Exports,
  exportName: string | undefined,
  hasArguments: boolean
): { readonly what: string; readonly value: unknown; readonly isFactory: boolean } => {
  if (exportName !== undefined) {
    const isFactory = hasArguments || exportName === "make"
    return { what: `its export ${exportName}`, value: member(module, exportName), isFactory }
  }
  const value = defaultExport(module)
  const make = member(module, "make")
  // A CommonJS module that exports a factory has an object around it for its default.
  const hasDefault = value !== undefined && !(typeof make === "function" && (value as Partial<Exports>)?.make === make)
  return hasArguments || (typeof make === "function" && !hasDefault)
    ? { what: "its export make", value: make, isFactory: true }
    : { what: "its default export", value, isFactory: false }
}

/**
 * True when a program is served, and not the files of a folder. Who runs the program of a folder may let its files say
 * how; who only shows somebody's files must not.
 */
export const isProgram = (app: string | undefined): boolean =>
  app !== undefined && Result.match(AppTarget.find(app), {
    onFailure: () => true,
    onSuccess: ({ _tag }) => _tag === "Module"
  })

const noArguments = (path: string, problem: string): AppModuleError =>
  new AppModuleError({ path, reason: { _tag: "TakesNoArguments", problem } })

const fromModule = Effect.fnUntraced(function*(
  module: Exports,
  exportName: string | undefined,
  path: string,
  args: Readonly<Record<string, string>>
) {
  const hasArguments = Object.keys(args).length > 0
  const { isFactory, value, what } = choose(module, exportName, hasArguments)
  if (!isFactory) return yield* Effect.fromResult(fromExport(value, path, what))
  if (typeof value !== "function") {
    const problem = `${what} is ${describe(value)}. Expected a function from them to what is served`
    return yield* noArguments(path, problem)
  }
  const made = yield* running({ path }, async () => (value as (args: object) => unknown)({ ...args }))
  return yield* Effect.fromResult(fromExport(made, path, `what ${what} returns`))
})

/**
 * Loads what is to be served. Paths begin at the current directory; packages are looked up from there.
 *
 * An export named `make` is a factory: a function from the arguments to what is served, or to a Promise of it. So is the
 * export that `module:name` names, when there are arguments.
 *
 * **Fails with** `AppModuleError`, whatever goes wrong.
 */
export const load = Effect.fnUntraced(function*(
  call: Call | string
): Effect.fn.Return<LoadedApp, AppModuleError> {
  const { app, args = {}, eval: code, require = [] } = typeof call === "string" ? { app: call } : call
  yield* Effect.forEach(require, (spec) => importModule({ path: spec, option: "require" }), { discard: true })
  const hasArguments = Object.keys(args).length > 0
  if (code !== undefined) {
    if (hasArguments) return yield* noArguments("an expression", "it has its values in itself")
    const { evaluate } = yield* Effect.promise(() => import("./EvalScope.ts"))
    const value = yield* running({ path: "the expression" }, () => evaluate(code))
    return yield* Effect.fromResult(fromExport(value, "the expression", "its value"))
  }
  if (app === undefined) return yield* currentDirectory
  const target = yield* findTarget({ path: app })
  if (target._tag === "Module") {
    return yield* fromModule(yield* importFile(target.path, { path: app }), target.exportName, app, args)
  }
  return hasArguments ? yield* noArguments(app, "it is a folder") : yield* folder(target.path)
})

/** The server of a layer, or the error that there is none in it. */
const checked = (layer: Layer.Layer<Server, unknown, Platform>, unsuitable: (problem: string) => AppModuleError) =>
  Layer.flatMap(
    layer,
    (context): Layer.Layer<Server, AppModuleError> =>
      Option.isSome(Context.getOption(context, Server))
        ? Layer.succeedContext(context)
        : Layer.effectContext(Effect.fail(unsuitable("its layer provides no Server")))
  )

/**
 * Loads the module that provides the server: it exports `layer`, a function from the server's options to a Layer.
 *
 * **Fails with** `AppModuleError` that names the setting. So does the Layer when it is built, if it has no server in it.
 */
export const loadServer = Effect.fnUntraced(function*(
  spec: string,
  option: string
): Effect.fn.Return<ServerLayer, AppModuleError> {
  const subject: Subject = { path: spec, option }
  const unsuitable = (problem: string) => new AppModuleError({ ...subject, reason: { _tag: "NotAServer", problem } })
  const layer = member(yield* importModule(subject), "layer")
  if (typeof layer !== "function") {
    return yield* unsuitable(`its export layer is ${describe(layer)}. Expected a function from options to a Layer`)
  }
  return (options) => {
    const made: unknown = layer(options)
    return Layer.isLayer(made)
      ? checked(made as Layer.Layer<Server, unknown, Platform>, unsuitable)
      : Layer.effectContext(Effect.fail(unsuitable(`its layer gives ${describe(made)}. Expected a Layer`)))
  }
})
