/** An Express app with one route. */
import express from "express"

export const app = express()

app.disable("x-powered-by").disable("etag")
app.get("/users/:id", (request, response) => {
  response.type("text/plain").send(`${request.params.id} ${request.query.fields}`)
})
