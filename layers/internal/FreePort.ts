/**
 * The next port in development, where the default one is taken. A port that somebody chose is never moved.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Net from "node:net"
import type * as Settings from "../../src/schema/Settings.ts"
import type { Call } from "./Call.ts"
import { formatProcess, whoListens } from "./WhoListens.ts"

/** Ports that are tried after the first. */
const furtherPorts = 10

const isTaken = (host: string, port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const probe = Net.createServer()
    probe.once("error", (error) => resume(Effect.succeed("code" in error && error.code === "EADDRINUSE")))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resume(Effect.succeed(false))))
  })

const find = Effect.fnUntraced(function*({ host, port }: Settings.ServerSettings) {
  for (let candidate = port; candidate <= port + furtherPorts; candidate++) {
    if (!(yield* isTaken(host, candidate))) {
      if (candidate !== port) yield* tell(host, port, candidate)
      return candidate
    }
  }
  return port
})

const tell = (host: string, port: number, candidate: number): Effect.Effect<void> =>
  Effect.flatMap(whoListens({ _tag: "tcp", host, port }), (who) => {
    const by = Option.match(who, { onNone: () => "", onSome: (process) => ` by ${formatProcess(process)}` })
    return Effect.logWarning(`Port ${port} is taken${by}, using ${candidate}. --port chooses one`)
  })

/**
 * The options that a port which was moved changes. It looks before the application starts: one that is started twice, once
 * for nothing, might do harm.
 */
export const moved = Effect.fnUntraced(function*({ collected, mode, settings }: Call) {
  const mayMove = mode === "development" && !["port", "unix", "listen"].some(collected.isSet)
  return mayMove ? { port: yield* find(settings) } : {}
})
