/**
 * Which names somebody in this process is subscribed to, and whether the back end knows: the first one tells it, the last
 * one takes it back, all others wait for the first.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { PubSubError } from "../../src/service/PubSub.ts"
import type { Backend } from "./PubSubBackend.ts"

/** How many here are subscribed to a name, and whether the back end knows. */
interface Interest {
  count: number
  isStarted: boolean
  readonly attached: Deferred.Deferred<void, PubSubError>
}

export class Interests {
  private readonly backend: Backend
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly interests = new Map<string, Interest>()

  constructor(backend: Backend, fork: (effect: Effect.Effect<void>) => void) {
    this.backend = backend
    this.fork = fork
  }

  /** Nobody tells the back end anything any more. */
  clear(): void {
    this.interests.clear()
  }

  /** One more is subscribed. */
  enter(name: string): void {
    if (this.backend.attach === undefined) return
    const interest = this.interests.get(name)
    if (interest !== undefined) interest.count++
    else this.interests.set(name, { count: 1, isStarted: false, attached: Deferred.makeUnsafe() })
  }

  /** One has left. */
  exit(name: string): void {
    const interest = this.interests.get(name)
    if (interest === undefined || --interest.count > 0) return
    this.interests.delete(name)
    const { detach } = this.backend
    if (interest.isStarted && detach !== undefined) this.run(Effect.ignore(detach(name)))
  }

  /** Completes when the back end knows; does nothing where there is no other process. */
  attached(name: string): Effect.Effect<void, PubSubError> {
    const { attach } = this.backend
    if (attach === undefined) return Effect.void
    return Effect.suspend(() => {
      const interest = this.interests.get(name)
      if (interest === undefined) return Effect.void
      if (!interest.isStarted) {
        interest.isStarted = true
        this.run(Effect.flatMap(
          Effect.exit(attach(name)),
          (exit) => Effect.sync(() => Deferred.doneUnsafe(interest.attached, exit))
        ))
      }
      return Deferred.await(interest.attached)
    })
  }

  // Not interrupted with the one who came first: others wait for the same.
  private run(effect: Effect.Effect<void>): void {
    this.fork(Effect.uninterruptible(effect))
  }
}
