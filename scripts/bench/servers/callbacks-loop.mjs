/** The floor: a loop that calls every callback, and one object for each publication. */
import { callbackCount, makeCallbacks, rounds } from "./callbacks.mjs"
import { serveWork } from "./work.mjs"

const { callbacks, total } = makeCallbacks()

const publish = (/** @type {string} */ topic, /** @type {string} */ data) => {
  const message = { topic, data, id: undefined }
  for (let i = 0; i < callbacks.length; i++) callbacks[i](message)
}

serveWork({
  check: async () => {
    total.bytes = 0
    publish("news", "hello")
    return `${total.bytes}`
  },
  batch: () => {
    for (let round = 0; round < rounds; round++) publish("news", "hello")
    return rounds * callbackCount
  }
})
