/** HTTP/1.1 requests on keep-alive connections, in clear or over TLS: wrk, or the bundled generator without it. */
import { wrongAnswer } from "../client.mjs"
import { drive } from "../load.mjs"

const usualConnections = 64

/** @type {import("../drivers.mjs").Driver<import("../scenarios.mjs").Http>} */
export const http = {
  describe: ({ close, connections = usualConnections }, { generator }) =>
    `${generator === "wrk" ? "wrk" : "the bundled generator"} with ${connections} connections`
    + (close === true ? ", a new one for each request" : ""),
  lacks: () => undefined,
  wrongAnswer,
  open: async (port, { close = false, connections = usualConnections, pipeline, request, secure }, { generator }) => ({
    run: (seconds) =>
      drive(generator, { port, request, pipeline, secure, close, connections, durationMillis: seconds * 1000 }),
    close: async () => {}
  })
}
