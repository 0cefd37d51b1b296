/** node-redis as its documentation uses it: a connection to publish, a second one to subscribe. */
import { createClient } from "redis"
import { serveRedis, startRedis } from "./redis.mjs"

const path = await startRedis()
const publisher = createClient({ socket: { path, tls: false } })
const subscriber = publisher.duplicate()
await publisher.connect()
await subscriber.connect()

await serveRedis(
  (data) => publisher.publish("news", data),
  (callback) => subscriber.subscribe("news", callback)
)
