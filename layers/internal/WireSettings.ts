/** The settings that connections look at, with durations as milliseconds. Derived from ServerSettings once. */
import * as Duration from "effect/Duration"
import type { ServerSettings } from "../../src/schema/Settings.ts"

export const fromSettings = (settings: ServerSettings) => ({
  ...settings,
  headerTimeoutMillis: Duration.toMillis(settings.headerTimeout),
  bodyTimeoutMillis: Duration.toMillis(settings.bodyTimeout),
  requestTimeoutMillis: Duration.toMillis(settings.requestTimeout),
  keepAliveTimeoutMillis: Duration.toMillis(settings.keepAliveTimeout),
  writeTimeoutMillis: Duration.toMillis(settings.writeTimeout),
  shutdownTimeoutMillis: Duration.toMillis(settings.shutdownTimeout),
  drainWindowMillis: Duration.toMillis(settings.drainWindow),
  disconnectGraceMillis: Duration.toMillis(settings.disconnectGrace),
  wsIdleTimeoutMillis: Duration.toMillis(settings.wsIdleTimeout),
  wsCloseTimeoutMillis: Duration.toMillis(settings.wsCloseTimeout),
  wsPingIntervalMillis: Duration.toMillis(settings.wsPingInterval),
  wsPingTimeoutMillis: Duration.toMillis(settings.wsPingTimeout),
  sseIdleTimeoutMillis: Duration.toMillis(settings.sseIdleTimeout),
  sseShutdownRetryMillis: Duration.toMillis(settings.sseShutdownRetry),
  tlsHandshakeTimeoutMillis: Duration.toMillis(settings.tlsHandshakeTimeout),
  tlsReloadMillis: Duration.toMillis(settings.tlsReload),
  lifespanStartupTimeoutMillis: Duration.toMillis(settings.lifespanStartupTimeout)
})

export type WireSettings = ReturnType<typeof fromSettings>
