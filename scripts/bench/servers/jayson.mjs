/** jayson, the JSON-RPC server of most Node programs, on node:http. */
import jayson from "jayson"
import { announce, keepAliveMillis } from "./common.mjs"

const server = new jayson.Server({
  subtract: (/** @type {[number, number]} */ [minuend, subtrahend], /** @type {Function} */ done) =>
    done(null, minuend - subtrahend)
}).http()

server.keepAliveTimeout = keepAliveMillis
server.listen(0, "127.0.0.1", () => announce(server.address().port))
