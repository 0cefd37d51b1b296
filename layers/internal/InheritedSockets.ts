/**
 * Listening sockets that somebody else has bound and handed down as file descriptors: a supervisor to its workers. What is
 * not among them is bound by whoever listens.
 */
import * as Context from "effect/Context"

/** Descriptors by the address as the settings name it (`Server.formatAddress`). Empty where nothing is inherited. */
export const InheritedSockets = Context.Reference<ReadonlyMap<string, number>>("slipway/InheritedSockets", {
  defaultValue: () => new Map()
})
