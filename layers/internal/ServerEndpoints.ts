/**
 * A server whose applications have the endpoints of operations before them, whatever serves on it: middleware alone
 * does not reach an application that is a Layer and serves by itself.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as AccessToken from "../../src/app/AccessToken.ts"
import * as Endpoints from "../../src/middleware/Endpoints.ts"
import { Health } from "../../src/service/Health.ts"
import { Server } from "../../src/service/Server.ts"

export interface Options extends Pick<Endpoints.Options, "livePath" | "readyPath"> {
  /** Default: no metrics. */
  readonly metrics?: { readonly path: string; readonly text: Effect.Effect<string, unknown> } | undefined
  /** Secret for the metrics. Default: none, and everybody may read them who reaches the server. */
  readonly token?: Redacted.Redacted | undefined
}

/** Puts the endpoints before whatever the server around it serves; without a path it is that server. */
export const layer = ({ metrics, token, ...paths }: Options): Layer.Layer<Server, never, Server | Health> =>
  Layer.effect(
    Server,
    Effect.gen(function*() {
      const server = yield* Server
      const health = yield* Health
      const guard = token === undefined ? undefined : yield* AccessToken.guard(token)
      const endpoints = Endpoints.make({ ...paths, metrics: metrics === undefined ? undefined : { ...metrics, guard } })
      return Server.of({
        ...server,
        serve: (app) =>
          server.serve(endpoints(app)).pipe(
            Effect.provideService(Health, health),
            Effect.provideService(Server, server)
          )
      })
    })
  )
