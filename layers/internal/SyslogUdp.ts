/**
 * Lines sent to a syslog server, one datagram each (RFC 5424 in RFC 5426). Owns one socket; resolves the server's name when
 * it is opened and whenever log files are opened anew. Nobody confirms a datagram: a server that is down loses lines, and
 * only what the operating system refuses to send is a failure.
 */
import * as Effect from "effect/Effect"
import * as dgram from "node:dgram"
import * as dns from "node:dns"
import * as os from "node:os"
import { facilities, type SyslogTarget } from "../../src/schema/SyslogTarget.ts"
import type { Destination, WriteFailure } from "./LogBuffer.ts"
import * as LogFiles from "./LogFiles.ts"

/** Bytes of a datagram at most; longer lines are cut. What rsyslog takes (8 KiB), and larger than most lines. */
const maxDatagramBytes = 8192

/** RFC 5424 table 2: informational. */
const severity = 6

const resolve = (host: string): Effect.Effect<dns.LookupAddress, Error> =>
  Effect.callback((resume) =>
    dns.lookup(
      host,
      (error, address, family) => resume(error ? Effect.fail(error) : Effect.succeed({ address, family }))
    )
  )

/** RFC 5424 §6.2.4: printable ASCII, at most 255, or a dash. */
const hostname = (): string => os.hostname().replace(/[^\x21-\x7e]/g, "").slice(0, 255) || "-"

/**
 * Opens the socket. **Fails with** the error of the name server for an unknown host.
 */
export const make = Effect.fnUntraced(function*(target: SyslogTarget, host: string, port: number) {
  const found = yield* resolve(host)
  let { address } = found
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const socket = dgram.createSocket(found.family === 6 ? "udp6" : "udp4")
      // What cannot be sent is told to its callback as well.
      socket.on("error", () => {})
      return socket
    }),
    (socket) => Effect.sync(() => socket.close())
  )
  yield* LogFiles.register(
    `access log at ${host}`,
    Effect.map(resolve(host), (now) => {
      if (now.family === found.family) address = now.address
    })
  )
  const priority = facilities[target.facility] * 8 + severity
  const from = `${hostname()} ${target.tag} ${process.pid} access -`

  const send = (datagram: Uint8Array): Effect.Effect<void, unknown> =>
    Effect.callback((resume) =>
      socket.send(datagram, port, address, (error) => resume(error ? Effect.fail(error) : Effect.void))
    )

  const write = (bytes: Uint8Array): Effect.Effect<void, WriteFailure> =>
    Effect.clockWith((clock) => {
      const head = Buffer.from(`<${priority}>1 ${new Date(clock.currentTimeMillisUnsafe()).toISOString()} ${from} `)
      const sendFrom = (start: number): Effect.Effect<void, WriteFailure> => {
        const end = bytes.indexOf(0x0a, start)
        if (end === -1) return Effect.void
        const line = bytes.subarray(start, Math.min(end, start + maxDatagramBytes - head.length))
        return Effect.matchEffect(send(Buffer.concat([head, line])), {
          onFailure: (cause) => Effect.fail({ cause, writtenBytes: start }),
          onSuccess: () => sendFrom(end + 1)
        })
      }
      return sendFrom(0)
    })
  const destination: Destination = { name: `syslog://${host}:${port}`, write }
  return destination
})
