/** What programs written for Effect's HttpServer may rely on, whoever implements it: everything, area by area. */
import { describe } from "@effect/vitest"
import type { HttpServerKind } from "../utils/httpServers.ts"
import { api } from "./HttpServer/api.ts"
import { failures } from "./HttpServer/failures.ts"
import { files } from "./HttpServer/files.ts"
import { lifecycle } from "./HttpServer/lifecycle.ts"
import { middleware } from "./HttpServer/middleware.ts"
import { multipart } from "./HttpServer/multipart.ts"
import { requests } from "./HttpServer/requests.ts"
import { responses } from "./HttpServer/responses.ts"
import { router } from "./HttpServer/router.ts"
import { rpc } from "./HttpServer/rpc.ts"
import { sockets } from "./HttpServer/sockets.ts"

const areas = [router, failures, lifecycle, requests, multipart, responses, middleware, files, sockets, rpc, api]

export const httpServerContract = (kind: HttpServerKind): void => {
  describe(`${kind.name} as an HttpServer`, () => {
    for (const area of areas) area(kind)
  })
}
