/** HTTP/1.1 requests on keep-alive connections, in clear or over TLS: wrk, or the bundled generator without it. */
import { wrongAnswer } from "../client.mjs"
import { drive } from "../load.mjs"

const connections = 64

/** @type {import("../drivers.mjs").Driver<import("../scenarios.mjs").Http>} */
export const http = {
  describe: (_scenario, { generator }) =>
    `${generator === "wrk" ? "wrk" : "the bundled generator"} with ${connections} connections`,
  lacks: () => undefined,
  wrongAnswer,
  open: async (port, { pipeline, request, secure }, { generator }) => ({
    run: (seconds) =>
      drive(generator, { port, request, pipeline, secure, connections, durationMillis: seconds * 1000 }),
    close: async () => {}
  })
}
