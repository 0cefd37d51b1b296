/**
 * Questions and answers over the channel between a supervisor and a worker, the same on both sides. Owns the questions
 * that wait; the channel is the caller's. No wait is without end, and none outlives the other side.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Message from "./SupervisorMessage.ts"

/** Why a question got no answer. */
export type AskErrorReason =
  /** The other side has ended, or is about to. Fault: nobody. */
  | { readonly _tag: "Ended" }
  /** The other side did not answer in time: it is busy, or its event loop stands still. Retryable. */
  | { readonly _tag: "TimedOut"; readonly millis: number }
  /** The other side has no answer: nobody there knows the question, or who knows it has failed. Fault: us. */
  | { readonly _tag: "NotAnswered"; readonly problem: string }

export class AskError extends Data.TaggedError("AskError")<{ readonly reason: AskErrorReason }> {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "Ended":
        return "The process has ended"
      case "TimedOut":
        return `The process did not answer in ${reason.millis / 1000} s`
      case "NotAnswered":
        return `The process has no answer: ${reason.problem}`
    }
  }
}

/** Answers a question with a JSON value, or returns `undefined` for one that it does not know. */
export type Answer = (what: unknown) => Effect.Effect<unknown> | undefined

/** What is said to a question that nobody knows. */
export const nobodyKnows = "nobody knows this question"

/** How long an answer may take, where the asker says nothing else. */
export const answerTimeout = Duration.seconds(5)

type Word = Message.Ask | Message.Told

export class Asking {
  private readonly send: (word: Word) => boolean
  private readonly answer: Answer
  private readonly run: (effect: Effect.Effect<void>) => void
  private readonly waiting = new Map<number, Deferred.Deferred<unknown, AskError>>()
  private nextId = 1
  private isEnded = false

  /** `send` says whether there was a channel to send on; `run` starts the fiber of an answer. */
  constructor(
    send: (word: Word) => boolean,
    answer: Answer,
    run: (effect: Effect.Effect<void>) => void
  ) {
    this.send = send
    this.answer = answer
    this.run = run
  }

  /** Asks the other side. **Fails with** `AskError`, at the latest after `timeout`. */
  ask(what: unknown, timeout: Duration.Duration = answerTimeout): Effect.Effect<unknown, AskError> {
    return Effect.suspend(() => {
      const id = this.nextId++
      const told = Deferred.makeUnsafe<unknown, AskError>()
      this.waiting.set(id, told)
      return Effect.suspend(() =>
        this.isEnded || !this.send({ type: "ask", id, what })
          ? Effect.fail(failure({ _tag: "Ended" }))
          : Deferred.await(told)
      ).pipe(
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail(failure({ _tag: "TimedOut", millis: Duration.toMillis(timeout) }))
        }),
        Effect.ensuring(Effect.sync(() => this.waiting.delete(id)))
      )
    })
  }

  /** Takes what the other side has said. An answer that comes too late is dropped. */
  hear(word: Word): void {
    if (word.type === "ask") return this.run(this.reply(word))
    const told = this.waiting.get(word.id)
    if (told === undefined) return
    Deferred.doneUnsafe(
      told,
      word.problem === undefined
        ? Effect.succeed(word.value)
        : Effect.fail(failure({ _tag: "NotAnswered", problem: word.problem }))
    )
  }

  /** The other side has gone: nobody waits for it any more. */
  end(): void {
    this.isEnded = true
    for (const told of this.waiting.values()) Deferred.doneUnsafe(told, Effect.fail(failure({ _tag: "Ended" })))
  }

  // What cannot be said in JSON throws in `send`, and becomes a problem as well.
  private reply({ id, what }: Message.Ask): Effect.Effect<void> {
    return Effect.suspend(() => this.answer(what) ?? Effect.die(nobodyKnows)).pipe(
      Effect.map((value) => void this.send({ type: "told", id, value })),
      Effect.catchCause((cause) =>
        Effect.sync(() => {
          const problem = Cause.squash(cause)
          this.send({ type: "told", id, problem: problem instanceof Error ? problem.message : String(problem) })
        })
      )
    )
  }
}

const failure = (reason: AskErrorReason): AskError => new AskError({ reason })
