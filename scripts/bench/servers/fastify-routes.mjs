/** Fastify with as many routes as are asked for, each with a typed parameter. */
import Fastify from "fastify"
import { announce, keepAliveMillis } from "./common.mjs"

/** @param {number} count */
export const serveRoutes = async (count) => {
  const server = Fastify({ logger: false, keepAliveTimeout: keepAliveMillis })
  const params = { type: "object", properties: { id: { type: "integer" } } }
  for (let index = 0; index < count; index += 1) {
    server.get(`/group${index}/items/:id`, { schema: { params } }, (request, reply) => {
      reply.type("text/plain").send(`item ${/** @type {{ id: number }} */ (request.params).id}`)
    })
  }
  await server.listen({ port: 0, host: "127.0.0.1" })
  announce(server.server.address().port)
}
