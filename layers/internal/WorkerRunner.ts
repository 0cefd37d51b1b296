/**
 * The worker's side of a pool, without its transport: loads the module, builds its layer, runs one task at a time and
 * says how it ended. The same in a thread, in a process, and inline.
 *
 * A task whose Schemas only check and whose handler yields a value runs without a fiber.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as WorkerTask from "../../src/app/WorkerTask.ts"
import { FromWorker, type Refusal, streamWindow, toThrown, ToWorker } from "./WorkerMessage.ts"

/** The way out of a worker. */
export interface Channel {
  /** Throws when a value cannot be cloned. */
  readonly send: (message: FromWorker, transfer?: ReadonlyArray<unknown>) => void
  /** Ends the worker. Called once, last. */
  readonly exit: () => void
}

/** What is not the handler's: it does not fit, or there is no such task. */
class Refused {
  readonly reason: Refusal
  readonly problem: string
  constructor(reason: Refusal, problem: string) {
    this.reason = reason
    this.problem = problem
  }
}

/** An error that its Schema has encoded. */
class Declared {
  readonly encoded: unknown
  constructor(encoded: unknown) {
    this.encoded = encoded
  }
}

type Ended = Exit.Exit<unknown, Refused | Declared>

class Running {
  readonly id: number
  /** What the answer moves instead of copying. */
  readonly transfer: Array<unknown> = []
  canInterrupt = false
  wasInterrupted = false
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  credits = streamWindow
  onCredit: (() => void) | undefined

  constructor(id: number) {
    this.id = id
  }
}

export class WorkerRunner {
  private readonly channel: Channel
  private readonly context: Context.Context<never>
  private readonly scope = Scope.makeUnsafe()
  private tasks: WorkerTask.Module["tasks"] = new Map()
  private services: Context.Context<never>
  private running: Running | undefined

  /** Handlers run in `context`, with the services of the module's layer added. */
  constructor(channel: Channel, context: Context.Context<never>) {
    this.channel = channel
    this.context = context
    this.services = context
  }

  /** Loads the module and builds its layer, then says that the worker is ready, or why it is not. */
  start(load: () => Promise<unknown>): void {
    const started = Effect.flatMap(Effect.tryPromise({ try: load, catch: (cause) => cause }), (value) => {
      if (!isModule(value)) return Effect.fail(new TypeError("its default export is not a WorkerTask.module([...])"))
      this.tasks = value.tasks
      if (value.layer === undefined) return Effect.void
      // Inline workers share a process: each has a state of its own all the same.
      const built = Layer.buildWithMemoMap(value.layer, Layer.makeMemoMapUnsafe(), this.scope)
      return Effect.map(built, (services) => {
        this.services = Context.merge(this.context, services)
      })
    })
    Effect.runForkWith(this.context)(started).addObserver((exit) =>
      this.channel.send(
        Exit.isSuccess(exit) ? [FromWorker.ready] : [FromWorker.startFailed, toThrown(Cause.squash(exit.cause))]
      )
    )
  }

  receive(message: ToWorker): void {
    switch (message[0]) {
      case ToWorker.run:
        return this.run(new Running(message[1]), message[2], message[3], message[4])
      case ToWorker.interrupt:
        return this.interrupt(message[1])
      case ToWorker.credit:
        return this.credit(message[1])
      case ToWorker.stop:
        return this.stop()
    }
  }

  /** Releases the layer and what still runs. Inline, this is also how a worker is terminated. */
  stop(): void {
    const { running } = this
    if (running !== undefined) running.wasInterrupted = true
    running?.fiber?.interruptUnsafe()
    Effect.runForkWith(this.context)(Scope.close(this.scope, Exit.void)).addObserver(() => this.channel.exit())
  }

  private run(running: Running, name: string, isStream: boolean, input: unknown): void {
    this.running = running
    const task = this.tasks.get(name)
    const program = task === undefined || task.isStream !== isStream
      ? Exit.fail(new Refused("TaskUnknown", ""))
      : this.programOf(task, running, input)
    if (Exit.isExit(program)) return this.answer(running, program as Ended)
    const fiber = Effect.runForkWith(this.services)(program)
    running.fiber = fiber
    fiber.addObserver((exit) => this.answer(running, exit))
  }

  private programOf(task: WorkerTask.AnyTask, running: Running, input: unknown) {
    try {
      const decoded = Effect.mapErrorEager(
        task.codecs.input.decode(input),
        (error) => new Refused("InputInvalid", error.message)
      )
      // The services that a handler needs are those of the module's layer, which its types made sure of.
      return Effect.flatMapEager(decoded, (value) => this.handle(task, running, value)) as Effect.Effect<
        unknown,
        Refused | Declared
      >
    } catch (thrown) {
      return Exit.die(thrown)
    }
  }

  private handle(task: WorkerTask.AnyTask, running: Running, input: unknown): Effect.Effect<unknown, unknown, unknown> {
    const { codecs, handler, isStream } = task
    const result = handler(input as never)
    if (isStream) return encodeError(task, running, this.drain(task, running, result))
    const encode = (value: unknown) =>
      Effect.mapErrorEager(codecs.success.encode(value, running.transfer), outputInvalid)
    if (Effect.isEffect(result)) {
      running.canInterrupt = true
      return Effect.flatMap(encodeError(task, running, result as Effect.Effect<unknown, unknown, unknown>), encode)
    }
    return isPromise(result) ? Effect.flatMap(Effect.promise(() => result), encode) : encode(result)
  }

  private drain(task: WorkerTask.AnyTask, running: Running, result: unknown): Effect.Effect<unknown, unknown, unknown> {
    running.canInterrupt = Stream.isStream(result)
    const stream = Stream.isStream(result)
      ? result
      : Stream.orDie(Stream.fromAsyncIterable(result as AsyncIterable<unknown>, (cause) => cause))
    return Stream.runForEachArray(stream, (chunk) => {
      const transfer: Array<unknown> = []
      const encoded = Effect.mapErrorEager(task.codecs.success.encode(chunk, transfer), outputInvalid)
      return Effect.flatMapEager(encoded, (values) => {
        try {
          this.channel.send([FromWorker.chunk, running.id, values], transfer)
        } catch (thrown) {
          return Effect.fail(new Refused("OutputInvalid", toThrown(thrown).message))
        }
        return --running.credits > 0 ? Effect.void : creditOf(running)
      })
    })
  }

  private interrupt(id: number): void {
    const { running } = this
    // What has ended has said so already.
    if (running === undefined || running.id !== id) return
    if (!running.canInterrupt) return this.channel.send([FromWorker.uninterruptible, id])
    running.wasInterrupted = true
    running.fiber?.interruptUnsafe()
  }

  private credit(id: number): void {
    const { running } = this
    if (running === undefined || running.id !== id) return
    running.credits++
    const { onCredit } = running
    running.onCredit = undefined
    onCredit?.()
  }

  private answer(running: Running, exit: Ended): void {
    this.running = undefined
    const { id, transfer } = running
    try {
      this.channel.send(messageOf(running, exit), transfer)
    } catch (thrown) {
      this.channel.send([FromWorker.refused, id, "OutputInvalid", toThrown(thrown).message])
    }
  }
}

const messageOf = ({ id, wasInterrupted }: Running, exit: Ended): FromWorker => {
  if (Exit.isSuccess(exit)) return [FromWorker.success, id, exit.value]
  if (wasInterrupted && Cause.hasInterruptsOnly(exit.cause)) return [FromWorker.interrupted, id]
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (error === undefined) return [FromWorker.defect, id, toThrown(Cause.squash(exit.cause))]
  return error instanceof Declared
    ? [FromWorker.failure, id, error.encoded]
    : [FromWorker.refused, id, error.reason, error.problem]
}

/** An error that does not fit its Schema was not declared, which makes it a defect. */
const encodeError = (
  { codecs }: WorkerTask.AnyTask,
  { transfer }: Running,
  effect: Effect.Effect<unknown, unknown, unknown>
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.catch(effect, (error) =>
    error instanceof Refused
      ? Effect.fail<Refused | Declared>(error)
      : Effect.matchEffect(codecs.error.encode(error, transfer), {
        onSuccess: (encoded) => Effect.fail(new Declared(encoded)),
        onFailure: () => Effect.die(error)
      }))

const outputInvalid = (error: { readonly message: string }): Refused => new Refused("OutputInvalid", error.message)

const creditOf = (running: Running): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    running.onCredit = () => resume(Effect.void)
  })

const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

// A class would not be the same one where a worker's module comes from the build and this file does not.
const isModule = (value: unknown): value is WorkerTask.Module =>
  typeof value === "object" && value !== null && "~slipway/WorkerTask/Module" in value
