/**
 * Tasks for a worker pool: functions with a name and with Schemas for what goes in, what comes out and what may fail. A
 * module whose default export is `WorkerTask.module([...])` is what workers load; whoever calls needs the declarations
 * only, so heavy code is loaded in the workers and nowhere else.
 *
 * Nothing in here runs a task; that is the business of the WorkerPool layers.
 */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Codec from "./internal/WorkerTaskCodec.ts"

export type { AnyCodec, Codec } from "./internal/WorkerTaskCodec.ts"

/**
 * What a task takes and gives. The Encoded side of each Schema is what travels, by structured clone: plain objects,
 * arrays, bytes, Date, Map, Set, bigint. Instances of classes do not survive it, so a Schema whose Encoded side holds
 * them (`Schema.Option`) has to be wrapped, for example in `Schema.toCodecJson`.
 *
 * Schemas of `effect/workers/Transferable` move their bytes instead of copying them; the sender's are then empty.
 */
export interface Spec<I extends Codec.AnyCodec, A extends Codec.AnyCodec, E extends Codec.AnyCodec> {
  readonly input: I
  /** The result; of a stream, each element. */
  readonly success: A
  /** What the handler may fail with. Default: nothing. */
  readonly error?: E
}

interface Codecs {
  readonly input: Codec.Codec
  /** Of a stream: a chunk, which is an array of elements. */
  readonly success: Codec.Codec
  readonly error: Codec.Codec
}

interface Declared<Name extends string> {
  readonly name: Name
  /** For the pools. */
  readonly codecs: Codecs
}

/** A task as its callers know it. */
export interface Declaration<in In, out A, out E, out Name extends string = string> extends Declared<Name> {
  readonly isStream: false
  /** Types only; never present. */
  readonly "~types"?: { readonly input: (input: In) => void; readonly success: A; readonly error: E }
}

/** A task that yields a stream, as its callers know it. */
export interface StreamDeclaration<in In, out A, out E, out Name extends string = string> extends Declared<Name> {
  readonly isStream: true
  /** Types only; never present. */
  readonly "~types"?: { readonly input: (input: In) => void; readonly success: A; readonly error: E }
}

export type AnyDeclaration = Declaration<never, unknown, unknown> | StreamDeclaration<never, unknown, unknown>

/**
 * What a handler may be: a function that yields a value, a Promise of it or an Effect. Only an Effect can fail with the
 * declared error and use the services of the worker, and only an Effect can be asked to stop: what a value or a Promise
 * takes too long for ends with its worker.
 */
export type Handler<In, A, E, R> = (input: In) => A | Promise<A> | Effect.Effect<A, E, R>

/** What the handler of a stream may be. A Stream can be asked to stop, an AsyncIterable ends with its worker. */
export type StreamHandler<In, A, E, R> = (input: In) => Stream.Stream<A, E, R> | AsyncIterable<A>

/** A declaration with its handler. `R` are the services that the module's layer has to give. */
export interface Implemented<out R> {
  readonly handler: (input: never) => unknown
  /** Types only; never present. */
  readonly "~requires"?: () => R
}

export interface Task<in In, out A, out E, out R = never, out Name extends string = string>
  extends Declaration<In, A, E, Name>, Implemented<R>
{}

export interface StreamTask<in In, out A, out E, out R = never, out Name extends string = string>
  extends StreamDeclaration<In, A, E, Name>, Implemented<R>
{}

export type AnyTask<R = unknown> = AnyDeclaration & Implemented<R>

/**
 * Declares a task without its handler, for a file that callers and workers share.
 *
 * **Example**
 * ```ts
 * export const thumbnail = WorkerTask.declare("thumbnail", {
 *   input: Schema.Struct({ image: Transferable.Uint8Array, width: Schema.Int }),
 *   success: Transferable.Uint8Array
 * })
 * ```
 */
export const declare: {
  <
    const Name extends string,
    I extends Codec.AnyCodec,
    A extends Codec.AnyCodec,
    E extends Codec.AnyCodec = typeof Schema.Never
  >(
    name: Name,
    spec: Spec<I, A, E> & { readonly stream?: false }
  ): Declaration<I["Type"], A["Type"], E["Type"], Name>
  <
    const Name extends string,
    I extends Codec.AnyCodec,
    A extends Codec.AnyCodec,
    E extends Codec.AnyCodec = typeof Schema.Never
  >(
    name: Name,
    spec: Spec<I, A, E> & { readonly stream: true }
  ): StreamDeclaration<I["Type"], A["Type"], E["Type"], Name>
} = (
  name: string,
  spec: AnySpec
  // The overloads say which of the two it is.
): never => ({ name, isStream: spec.stream === true, codecs: codecsOf(spec) }) as never

type AnySpec = Spec<Codec.AnyCodec, Codec.AnyCodec, Codec.AnyCodec> & { readonly stream?: boolean }

/** Made on first use: a caller encodes inputs only, and compiling a Schema is not free. */
const codecsOf = (spec: AnySpec): Codecs => {
  const lazy = (key: keyof Codecs, schema: () => Codec.AnyCodec) => ({
    configurable: true,
    enumerable: true,
    get(this: Codecs) {
      const value = Codec.make(schema())
      Object.defineProperty(this, key, { value })
      return value
    }
  })
  return Object.defineProperties({}, {
    input: lazy("input", () => spec.input),
    success: lazy("success", () => spec.stream === true ? Schema.Array(spec.success) : spec.success),
    error: lazy("error", () => spec.error ?? Schema.Never)
  }) as Codecs
}

/** Gives a declaration its handler, in the module that workers load. */
export const implement: {
  <In, A, E, Name extends string, R = never>(
    declaration: Declaration<In, A, E, Name>,
    handler: Handler<In, NoInfer<A>, NoInfer<E>, R>
  ): Task<In, A, E, R, Name>
  <In, A, E, Name extends string, R = never>(
    declaration: StreamDeclaration<In, A, E, Name>,
    handler: StreamHandler<In, NoInfer<A>, NoInfer<E>, R>
  ): StreamTask<In, A, E, R, Name>
} = (declaration: AnyDeclaration, handler: (input: never) => unknown): never =>
  // The overloads say what it is.
  ({ ...declaration, handler }) as never

/**
 * Declares a task and gives it its handler in one, for code that is cheap to load on both sides.
 *
 * **Example**
 * ```ts
 * const fibonacci = WorkerTask.make("fibonacci", { input: Schema.Int, success: Schema.Int }, function fib(n): number {
 *   return n < 2 ? n : fib(n - 1) + fib(n - 2)
 * })
 * ```
 */
export const make: {
  <
    const Name extends string,
    I extends Codec.AnyCodec,
    A extends Codec.AnyCodec,
    E extends Codec.AnyCodec = typeof Schema.Never,
    R = never
  >(
    name: Name,
    spec: Spec<I, A, E> & { readonly stream?: false },
    handler: Handler<I["Type"], NoInfer<A["Type"]>, NoInfer<E["Type"]>, R>
  ): Task<I["Type"], A["Type"], E["Type"], R, Name>
  <
    const Name extends string,
    I extends Codec.AnyCodec,
    A extends Codec.AnyCodec,
    E extends Codec.AnyCodec = typeof Schema.Never,
    R = never
  >(
    name: Name,
    spec: Spec<I, A, E> & { readonly stream: true },
    handler: StreamHandler<I["Type"], NoInfer<A["Type"]>, NoInfer<E["Type"]>, R>
  ): StreamTask<I["Type"], A["Type"], E["Type"], R, Name>
} = (name: string, spec: AnySpec, handler: unknown): never =>
  // As in declare.
  ({ ...declare(name, spec as never) as AnyDeclaration, handler }) as never

/** What workers load: the default export of a worker module. */
export interface Module {
  readonly "~slipway/WorkerTask/Module": true
  readonly tasks: ReadonlyMap<string, AnyTask>
  /** The state of one worker, of some services, built when it starts. */
  readonly layer: Layer.Layer<never, unknown> | undefined
}

/**
 * Makes the default export of a worker module.
 *
 * `layer` is the state of each worker: built once in every worker before its first task, released when the worker ends
 * gracefully (recycled, idle, the pool's end; not when it is terminated). Its services are what handlers may use.
 *
 * Throws a RangeError when two tasks have the same name.
 */
export const module: {
  (tasks: ReadonlyArray<AnyTask<never>>, options?: { readonly layer?: undefined }): Module
  <R, E>(tasks: ReadonlyArray<AnyTask<NoInfer<R>>>, options: { readonly layer: Layer.Layer<R, E> }): Module
} = (
  tasks: ReadonlyArray<AnyTask>,
  options: { readonly layer?: Layer.Layer<never, unknown> | undefined } = {}
): Module => {
  const byName = new Map<string, AnyTask>()
  for (const task of tasks) {
    if (byName.has(task.name)) throw new RangeError(`There are two tasks named '${task.name}'`)
    byName.set(task.name, task)
  }
  return { "~slipway/WorkerTask/Module": true, tasks: byName, layer: options.layer }
}
