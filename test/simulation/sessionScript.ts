/**
 * What clients do in one simulated run of sessions: a few exchanges on each connection, cut into pieces, and faults. How
 * the bytes of a talk look on the wire is the business of whoever asks for a script.
 */
import type { Chance } from "./chance.ts"
import { cutIntoPieces, interleave, type Script, type Step } from "./script.ts"
import type { Talk } from "./talk.ts"

export interface Connection {
  readonly talks: ReadonlyArray<Talk>
  readonly steps: ReadonlyArray<Step>
}

/** The talks of a connection, and all that its client says in them. */
export type Say = (chance: Chance, name: string, calm: boolean) => {
  readonly talks: ReadonlyArray<Talk>
  readonly text: string
}

/** Names of connections. */
export const names = "abcd"

/** Faults find most sessions open: they come late, when the handshake is over. */
const addFaults = (chance: Chance, steps: Array<Step>): void => {
  const anywhere = () => chance.int(chance.happens(0.8) ? Math.floor(steps.length * 0.6) : 0, steps.length)
  if (chance.happens(0.6)) {
    steps.splice(chance.pick([0, anywhere()]), 0, { _tag: "pause" })
    if (chance.happens(0.4)) steps.push({ _tag: "resume" })
  }
  if (chance.happens(0.5)) {
    steps.splice(anywhere(), steps.length, {
      _tag: chance.pick(["end", "end", "reset", "reset", "readError", "writeError"])
    })
  }
}

/** The same seed gives the same script. */
export const make = (chance: Chance, say: Say): Script<Connection> => {
  const calm = chance.happens(0.25)
  const connections = Array.from({ length: chance.int(1, 3) }, (_, index) => {
    const { talks, text } = say(chance, names[index]!, calm)
    const steps = cutIntoPieces(chance, !calm && chance.happens(0.1) ? text.slice(0, chance.int(1, text.length)) : text)
    if (!calm) addFaults(chance, steps)
    return { talks, steps }
  })
  const happenings = interleave(chance, connections, calm, 0.08)
  if (!calm && chance.happens(0.3)) happenings.push({ _tag: "wait", millis: 60_000 })
  if (!calm && chance.happens(0.3)) happenings.splice(chance.int(0, happenings.length), 0, { _tag: "stop" })
  return { calm, connections, happenings }
}
