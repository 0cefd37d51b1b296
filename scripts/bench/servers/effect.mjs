/** Effect 4's own server: NodeHttpServer with HttpRouter. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { createServer } from "node:http"
import { keepAliveMillis } from "./common.mjs"
import { launch } from "./effect-program.mjs"

launch(
  NodeHttpServer.layer(() => createServer({ keepAliveTimeout: keepAliveMillis }), { port: 0, host: "127.0.0.1" })
)
