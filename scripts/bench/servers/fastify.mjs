/** Fastify 5, logger off, its own router and serializers. */
import Fastify from "fastify"
import { Readable } from "node:stream"
import { announce, hello, keepAliveMillis, streamPiece, streamPieces } from "./common.mjs"

const server = Fastify({ logger: false, keepAliveTimeout: keepAliveMillis })
server.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body))

const message = { type: "object", properties: { message: { type: "string" } } }

server.get("/", (_request, reply) => {
  reply.type("text/plain").send(hello)
})
server.get("/json", { schema: { response: { 200: message } } }, (_request, reply) => {
  reply.send({ message: hello })
})
server.get("/users/:id", (request, reply) => {
  reply.type("text/plain").send(`${request.params.id} ${request.query.fields}`)
})
server.post("/echo", (request, reply) => {
  reply.type("application/octet-stream").send(request.body)
})
server.get("/stream", (_request, reply) => {
  reply.type("application/octet-stream").send(Readable.from(pieces(), { objectMode: false }))
})

const pieces = function*() {
  for (let index = 0; index < streamPieces; index += 1) yield streamPiece
}

await server.listen({ port: 0, host: "127.0.0.1" })
announce(server.server.address().port)
