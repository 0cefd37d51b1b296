/**
 * An Express app beside an App of our own, for moving from one to the other path by path: everything below /old is
 * Express, everything else is new. `slipway examples/express.ts` serves both.
 */
import express from "express"
import { App } from "slipway"
import * as NodeHandler from "slipway/layers/NodeHandler"

const old = express()
old.use(express.json())
old.get("/hello/:name", (request, response) => {
  response.json({ hello: request.params["name"], from: request.originalUrl })
})
old.post("/sum", (request, response) => {
  const numbers: unknown = request.body
  if (!Array.isArray(numbers) || !numbers.every((it) => typeof it === "number")) {
    response.status(422).json({ error: "The body is not a list of numbers" })
  } else {
    response.json({ sum: numbers.reduce((sum, it) => sum + it, 0) })
  }
})

const app = App.http(({ scope, send }) => App.respond(send, 200, `Hello from the new house, ${scope.path}`))

export default App.mount("/old", NodeHandler.make(old))(app)
