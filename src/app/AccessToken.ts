/**
 * A secret that opens what is not for everybody: sent as a bearer token, or as the password of any user, so that a
 * browser can ask for it. Without a secret only this machine gets in, under a name of its own.
 *
 * Secrets are compared by their digests, in a time that says nothing. Who guesses wrong too often waits; what is
 * remembered of guesses is bounded.
 */
import * as Digest from "effect/crypto/Digest"
import * as Mac from "effect/crypto/Mac"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Probe from "./Probe.ts"
import type { SendError } from "./SendError.ts"

/** Runs `served` for who may, and answers everybody else. */
export type Guard = <E, R>(
  exchange: Probe.Asked,
  served: Effect.Effect<void, E, R>
) => Effect.Effect<void, E | SendError, R>

/** Wrong secrets of one client within `windowMillis` after which none of its secrets is looked at. */
const mostWrong = 10
const windowMillis = 60_000
/** Clients of whom it is remembered that they were wrong; the oldest is forgotten first. */
const mostClients = 1000

/**
 * Makes the guard of a secret. A request without one, or with a wrong one, is answered with 401. After ten wrong ones
 * within a minute everything that the same client sends is answered with 429 until the minute is over.
 *
 * **Throws** a `RangeError` for an empty secret.
 */
export const guard = Effect.fnUntraced(function*(token: Redacted.Redacted): Effect.fn.Return<Guard> {
  if (Redacted.value(token) === "") throw new RangeError("An access token must not be empty")
  const { digest } = yield* Digest.Digest.pipe(Effect.provide(Digest.layerWebCrypto))
  const digestOf = (text: string) => digest(Digest.sha256, encoder.encode(text))
  const expected = yield* digestOf(Redacted.value(token))
  const wrong = new WrongGuesses()
  return <E, R>(exchange: Probe.Asked, served: Effect.Effect<void, E, R>) =>
    Effect.clockWith((clock): Effect.Effect<void, E | SendError, R> => {
      const now = clock.currentTimeMillisUnsafe()
      const client = exchange.scope.client?.[0] ?? "unix"
      const given = secretIn(exchange)
      if (given === undefined) return Probe.text(exchange, 401, "Unauthorized", challenges)
      return Effect.flatMap(digestOf(given), (found): Effect.Effect<void, E | SendError, R> => {
        // Not before the digest, which takes a while: of guesses that come all at once, none would have been wrong yet.
        const waitMillis = wrong.waitMillis(client, now)
        if (waitMillis > 0) {
          return Probe.text(exchange, 429, "Too Many Requests", [["retry-after", String(Math.ceil(waitMillis / 1000))]])
        }
        if (Mac.timingSafeEqual(found, expected)) return served
        wrong.note(client, now)
        return Probe.text(exchange, 401, "Unauthorized", challenges)
      })
    })
})

/** RFC 7617 section 2.1: the secret may have characters beyond ASCII. */
const challenges = [
  ["www-authenticate", "Basic realm=\"Slipway\", charset=\"UTF-8\""],
  ["www-authenticate", "Bearer realm=\"Slipway\""]
] as const

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const header = ({ scope }: Probe.Asked, name: string): string | undefined =>
  scope.headers.find((header) => header[0] === name)?.[1]

/** What the client gives as its secret, `undefined` where it gives none. */
const secretIn = (exchange: Probe.Asked): string | undefined => {
  const [, scheme, value = ""] = /^(\w+) +(\S+) *$/.exec(header(exchange, "authorization") ?? "") ?? []
  switch (scheme?.toLowerCase()) {
    case "bearer":
      // A header's characters are bytes.
      return decoder.decode(Uint8Array.from(value, (char) => char.charCodeAt(0)))
    case "basic": {
      const decoded = Base64.decode(value)
      const pair = Result.isSuccess(decoded) ? decoder.decode(decoded.success) : ""
      return pair.includes(":") ? pair.slice(pair.indexOf(":") + 1) : undefined
    }
    default:
      return undefined
  }
}

class WrongGuesses {
  private readonly clients = new Map<string, { count: number; readonly untilMillis: number }>()

  /** How long a client is not listened to; 0: it is. */
  waitMillis(client: string, now: number): number {
    const seen = this.clients.get(client)
    if (seen === undefined) return 0
    if (seen.untilMillis <= now) this.clients.delete(client)
    return seen.count < mostWrong ? 0 : Math.max(0, seen.untilMillis - now)
  }

  note(client: string, now: number): void {
    const seen = this.clients.get(client)
    if (seen !== undefined) {
      seen.count++
      return
    }
    if (this.clients.size >= mostClients) this.clients.delete(this.clients.keys().next().value!)
    this.clients.set(client, { count: 1, untilMillis: now + windowMillis })
  }
}

// ---- without a secret

/**
 * The guard where there is no secret: requests of this machine only, and under one of its own names. A page of somebody
 * else's, whose name was made to lead here (DNS rebinding), sends its own name in `host`.
 */
export const loopbackOnly: Guard = (exchange, served) => {
  const { client } = exchange.scope
  const isNear = client === undefined || isLoopback(client[0])
  return isNear && isOwnName(header(exchange, "host") ?? "", client === undefined)
    ? served
    : Probe.text(exchange, 403, "Forbidden: without an access token this is for the machine itself")
}

const isLoopback = (address: string): boolean => /^(?:::ffff:)?127(?:\.\d{1,3}){3}$|^::1$/.test(address)

const isOwnName = (host: string, isUnix: boolean): boolean => {
  const name = host.replace(/:\d*$/, "").toLowerCase()
  // Clients of a unix socket name whatever they like; no browser is one.
  return isUnix || name === "localhost" || name === "[::1]" || isLoopback(name)
}
