/**
 * What new TLS connections are made with: the default certificate, those by host name, the authorities, ciphers and
 * ticket keys. One for a server, shared by all its listeners; a reload replaces the whole at once and never touches a
 * connection that is open.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Tls from "node:tls"
import type { ServerSettings } from "../../src/schema/Settings.ts"
import { SettingsError } from "../../src/schema/Settings.ts"
import { ServerError } from "../../src/service/Server.ts"
import { inModule } from "./LogLevels.ts"
import * as TlsFiles from "./TlsFiles.ts"
import { fromSettings } from "./WireSettings.ts"

/** Ties tickets to this server, whatever the command line that Node would derive it from. */
const sessionIdContext = "slipway"

/** One certificate, and everything else that a handshake needs. */
export interface Identity {
  readonly options: Tls.TlsOptions
  /** The certificate itself, in PEM. */
  readonly leaf: string
}

/** What one reading of the files has made. */
export interface Loaded {
  /** For clients that name no host, or one that nobody knows. */
  readonly fallback: Identity
  readonly named: ReadonlyMap<string, Identity>
  readonly ca: string | undefined
  readonly ticketKeys: Buffer
}

/** The certificate for the host that a client names. An exact name is before a wildcard, which covers one label. */
export const select = ({ fallback, named }: Loaded, servername: string): Identity => {
  const name = servername.toLowerCase()
  const dot = name.indexOf(".")
  return named.get(name) ?? (dot < 1 ? undefined : named.get(`*${name.slice(dot)}`)) ?? fallback
}

const common = (settings: ServerSettings, ca: string | undefined): Tls.SecureContextOptions => {
  const { SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_TICKET } = Crypto.constants
  return {
    minVersion: settings.tlsMinVersion,
    honorCipherOrder: true,
    sessionIdContext,
    // A renegotiation is a handshake that nobody bounds; browsers do not ask for it, and HTTP/2 forbids it.
    secureOptions: SSL_OP_NO_RENEGOTIATION | (settings.tlsSessionTickets ? 0 : SSL_OP_NO_TICKET),
    ...(settings.tlsCiphers === undefined ? {} : { ciphers: settings.tlsCiphers }),
    ...(ca === undefined ? {} : { ca })
  }
}

const messageOf = (error: unknown): string => (error as { readonly reason?: string }).reason ?? (error as Error).message

const checkCiphers = (settings: ServerSettings): Effect.Effect<void, ServerError> =>
  Effect.try({
    try: () => void Tls.createSecureContext(common(settings, undefined)),
    catch: () =>
      new ServerError({
        reason: {
          _tag: "SettingsInvalid",
          error: new SettingsError({
            reason: {
              _tag: "InvalidValue",
              option: "tlsCiphers",
              value: settings.tlsCiphers,
              expected: "a list of ciphers of which OpenSSL knows at least one"
            }
          })
        }
      })
  })

export interface TlsContexts {
  /** What new connections are made with. Another object after a reload. */
  readonly loaded: () => Loaded
  /** Reads the files again. **Fails with** `ServerError` when they cannot be used, and leaves everything as it was. */
  readonly reload: Effect.Effect<void, ServerError>
  /** Looks at the files for ever, every `tlsReload`, and reloads when they have changed. */
  readonly watch: Effect.Effect<void>
}

/** Reads the files for the first time. **Fails with** `ServerError`. */
export const make = Effect.fnUntraced(function*(settings: ServerSettings): Effect.fn.Return<TlsContexts, ServerError> {
  const { tlsReloadMillis } = fromSettings(settings)
  const passphrase = settings.tlsPassphrase === undefined ? undefined : String(Redacted.value(settings.tlsPassphrase))
  let loaded: Loaded | undefined
  let seen = ""

  const identity = (
    { cert, key, leaf }: TlsFiles.KeyPair,
    { ca, ticketKeys }: Pick<Loaded, "ca" | "ticketKeys">,
    [option, path]: readonly [option: string, path: string]
  ): Effect.Effect<Identity, ServerError> => {
    const options = {
      ...common(settings, ca),
      cert,
      key,
      ticketKeys,
      ...(passphrase === undefined ? {} : { passphrase })
    }
    // Finds what the checks of the files do not know, such as a key that is too short for OpenSSL.
    return Effect.try({
      try: () => {
        Tls.createSecureContext(options)
        return { options, leaf }
      },
      catch: (error) => TlsFiles.fileUnusable(option, path, messageOf(error))
    })
  }

  const load = Effect.gen(function*() {
    // Before the files are read: what changes meanwhile is a change.
    seen = TlsFiles.fingerprint(settings)
    const { ca, named, pair } = yield* TlsFiles.read(settings)
    // A client whose authority was removed must not come back with a ticket.
    const ticketKeys = loaded !== undefined && loaded.ca === ca ? loaded.ticketKeys : Crypto.randomBytes(48)
    const shared = { ca, ticketKeys }
    const fallback = yield* identity(pair, shared, ["tlsCert", settings.tlsCert!])
    const identities = new Map<string, Identity>()
    for (const { cert, name } of settings.tlsSni ?? []) {
      identities.set(name, yield* identity(named.get(name)!, shared, ["tlsSni", cert]))
    }
    loaded = { ...shared, fallback, named: identities }
  })

  const look = Effect.suspend(() => {
    if (TlsFiles.fingerprint(settings) === seen) return Effect.void
    return inModule("Tls")(Effect.matchEffect(load, {
      onFailure: (error) => Effect.logError(`The TLS files have changed, but those in use are kept. ${error.message}`),
      onSuccess: () => Effect.logInfo("The TLS files have changed: new connections use them")
    }))
  })

  yield* checkCiphers(settings)
  yield* load
  return {
    loaded: () => loaded!,
    reload: load,
    watch: tlsReloadMillis === 0 ? Effect.void : Effect.forever(Effect.andThen(Effect.sleep(tlsReloadMillis), look))
  }
})
