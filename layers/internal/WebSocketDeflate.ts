/**
 * Agreeing on permessage-deflate (RFC 7692): reads the client's offers in its order of preference and takes the first
 * that fits the settings. Compression itself is the library's.
 *
 * An offer with a parameter that nobody knows, or with a value that is out of range, is passed over and not the end of
 * the negotiation (RFC 7692 section 5.1: "a server MUST decline" it).
 */
import * as Ws from "ws"
import { deflateName, payloadLimit } from "./WebSocketReader.ts"
import type { WireSettings } from "./WireSettings.ts"

/** The state of one session's compression. */
export interface Deflate {
  readonly accept: (offers: ReadonlyArray<Offer>) => { readonly [parameter: string]: unknown }
  readonly cleanup: () => void
}

type Offer = { readonly [parameter: string]: ReadonlyArray<string | true> }

interface DeflateOptions {
  readonly isServer: true
  readonly maxPayload: number
  readonly threshold: 0
  readonly serverNoContextTakeover: true | undefined
  readonly clientNoContextTakeover: true | undefined
  readonly serverMaxWindowBits: number | undefined
  readonly clientMaxWindowBits: number | undefined
}

const library = Ws as unknown as {
  readonly PerMessageDeflate: new(options: DeflateOptions) => Deflate
  readonly extension: {
    readonly parse: (header: string) => { readonly [name: string]: ReadonlyArray<Offer> | undefined }
    readonly format: (extensions: { readonly [name: string]: unknown }) => string
  }
}

/** What was agreed: the state, and the header that says so. `undefined`: no compression. */
export interface Agreement {
  readonly deflate: Deflate
  readonly header: string
}

/** True when the list of extensions follows its grammar. */
export const isExtensionList = (header: string): boolean => {
  try {
    library.extension.parse(header)
    return true
  } catch {
    return false
  }
}

/** RFC 7692 section 7.1.2: "a decimal integer value without leading zeroes between 8 to 15". Anything else is NaN. */
const windowBits = (offer: Offer, parameter: string): number | undefined => {
  const value = offer[parameter]?.[0]
  return typeof value === "string" ? /^(?:[89]|1[0-5])$/.test(value) ? Number(value) : NaN : undefined
}

/** Takes the first offer that fits. `header` is a valid list. */
export const negotiate = (header: string, settings: WireSettings): Agreement | undefined => {
  if (header === "" || !settings.wsCompression) return undefined
  for (const offer of library.extension.parse(header)[deflateName] ?? []) {
    const agreement = take(offer, settings)
    if (agreement !== undefined) return agreement
  }
  return undefined
}

const take = (offer: Offer, settings: WireSettings): Agreement | undefined => {
  const { wsCompressionContext, wsCompressionWindowBits: ours } = settings
  const server = windowBits(offer, "server_max_window_bits")
  // zlib cannot compress with a window of 2^8: what it makes instead would not fit the client's.
  if (server === 8) return undefined
  const client = windowBits(offer, "client_max_window_bits")
  if (Number.isNaN(server) || Number.isNaN(client)) return undefined
  const mayLimitClient = offer["client_max_window_bits"] !== undefined
  const withoutContext = wsCompressionContext ? undefined : true
  const deflate = new library.PerMessageDeflate({
    isServer: true,
    maxPayload: payloadLimit(settings.wsMaxMessageBytes),
    threshold: 0,
    serverNoContextTakeover: withoutContext,
    clientNoContextTakeover: withoutContext,
    serverMaxWindowBits: server === undefined && ours === 15 ? undefined : Math.min(server ?? 15, ours),
    // Without the parameter the client has not said that it understands a limit (RFC 7692 section 7.1.2.2).
    clientMaxWindowBits: ours === 15 && !(mayLimitClient && client !== undefined)
      ? undefined
      : Math.min(client ?? 15, ours)
  })
  try {
    return { deflate, header: library.extension.format({ [deflateName]: deflate.accept([offer]) }) }
  } catch {
    return undefined
  }
}
