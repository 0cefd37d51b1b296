/**
 * What somebody else has prepared for a server to listen on, by the address as the settings name it
 * (`Server.formatAddress`): a supervisor for its workers, or the operating system's init for a service. What is in neither
 * of the two is bound by whoever listens. Owns nothing.
 */
import * as Context from "effect/Context"

/** Descriptors of bound sockets. Empty where nothing is inherited. */
export const InheritedSockets = Context.Reference<ReadonlyMap<string, number>>("slipway/InheritedSockets", {
  defaultValue: () => new Map()
})

/** A port that several processes bind, each for itself: what `net.Server.listen` takes. */
export interface SharedPort {
  readonly host: string
  readonly port: number
  /** False where Node's cluster listens for all of them. */
  readonly reusePort: boolean
}

/** Ports that others bind as well. The numbers are real: a port 0 has been chosen for all of them. */
export const SharedPorts = Context.Reference<ReadonlyMap<string, SharedPort>>("slipway/SharedPorts", {
  defaultValue: () => new Map()
})
