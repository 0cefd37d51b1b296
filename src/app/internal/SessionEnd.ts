/**
 * Waits for the end of a session and tells it to whoever asks, before or after. Watches the exchange's connection from
 * the first question on, so it sees the end also when nobody receives. Never ends anything itself.
 */
import * as Effect from "effect/Effect"
import type { CloseInfo } from "../CloseInfo.ts"
import type { ConnectionState } from "../Exchange.ts"

export class SessionEnd {
  private readonly connection: ConnectionState
  private readonly find: Effect.Effect<CloseInfo>
  private info: CloseInfo | undefined = undefined
  private waiting: Array<(info: CloseInfo) => void> | undefined = undefined

  /** `find` is run once, when the connection says that the exchange is over. */
  constructor(connection: ConnectionState, find: Effect.Effect<CloseInfo>) {
    this.connection = connection
    this.find = find
  }

  readonly closed: Effect.Effect<CloseInfo> = Effect.callback((resume) => {
    const tell = (info: CloseInfo) => resume(Effect.succeed(info))
    this.add(tell)
    return Effect.sync(() => {
      const index = this.waiting?.indexOf(tell) ?? -1
      if (index !== -1) this.waiting!.splice(index, 1)
    })
  })

  /** Runs the callback outside of any fiber of the application, which may be over by then; logs where it was registered. */
  readonly onClose = (callback: (info: CloseInfo) => void): Effect.Effect<void> =>
    Effect.withFiber((fiber) => {
      const run = Effect.runForkWith(fiber.context)
      this.add((info) =>
        run(Effect.catchCause(
          Effect.sync(() => callback(info)),
          (cause) => Effect.logError("An onClose callback failed", cause)
        ))
      )
      return Effect.void
    })

  private add(tell: (info: CloseInfo) => void): void {
    if (this.info !== undefined) return tell(this.info)
    if (this.waiting !== undefined) return void this.waiting.push(tell)
    this.waiting = [tell]
    // The connection's callbacks run in the middle of its ending; what is left to receive may come only after them.
    const ended = () => void Effect.runFork(Effect.map(this.find, (info) => this.settle(info)))
    this.connection.onDisconnect(ended)
    this.connection.onComplete(ended)
  }

  private settle(info: CloseInfo): void {
    this.info = info
    const waiting = this.waiting
    this.waiting = undefined
    for (const tell of waiting ?? []) tell(info)
  }
}
