/** The Express app on node:http. */
import { createServer } from "node:http"
import { announce, keepAliveMillis } from "./common.mjs"
import { app } from "./express-app.mjs"

const server = createServer({ keepAliveTimeout: keepAliveMillis }, app)
server.listen(0, "127.0.0.1", () => announce(server.address().port))
