/**
 * How operators reach a running server: the control socket and the admin port, where the settings ask for them. In the one
 * process there is, or in the supervisor. Each is loaded only then.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SettingKind from "../../src/schema/SettingKind.ts"
import type { ServerOptions } from "../../src/schema/Settings.ts"
import type { Operations } from "../../src/service/Operations.ts"
import type { ServerError } from "../../src/service/Server.ts"
import type { Call } from "./Call.ts"

/** The admin port has the certificate of the server, so that its address may be https. */
const tlsOf = ({ tlsCert, tlsKey, tlsPassphrase }: ServerOptions): ServerOptions => ({ tlsCert, tlsKey, tlsPassphrase })

/** Serves operators for as long as the Layer lives. **Fails with** `ServerError` where an address is not to be had. */
export const layer = (
  { collected, command: { adminListen, adminToken, controlSocket } }: Call,
  takeOver = false
): Layer.Layer<never, ServerError, Operations> => {
  const control = controlSocket === undefined
    ? Layer.empty
    : Layer.unwrap(Effect.map(
      Effect.promise(() => import("./Control.ts")),
      (Control) => Control.layer({ path: controlSocket, takeOver })
    ))
  const admin = adminListen === undefined
    ? Layer.empty
    : Layer.unwrap(Effect.map(
      Effect.promise(() => import("./AdminServer.ts")),
      (AdminServer) =>
        AdminServer.layer({
          server: { ...tlsOf(collected.server), listen: [SettingKind.formatListen(adminListen)] },
          token: adminToken
        })
    ))
  return Layer.merge(control, admin)
}
