/**
 * What is open when the signal comes, from the client's side. Each scenario opens, tells when it stands, and then reports
 * what it saw and how many seconds after the signal. It never fails: what goes wrong is what it saw.
 */
import * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { WebSocket } from "ws"

/**
 * @typedef {object} Scenario
 * @property {string} title
 * @property {"1.1" | "2"} version
 * @property {(port: number, see: (what: string) => void, signalled: Promise<void>) => Promise<() => void>} open gives
 *   what closes the client; the first call of `see` counts
 */

const host = "127.0.0.1"
const kept = () => new Http.Agent({ keepAlive: true })

/** The answer of one request, or why there is none. */
const ask = (port, path, agent, headers = {}) =>
  new Promise((resolve) => {
    const request = Http.get({ host, port, path, agent, headers }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text) => body += text)
      response.on("end", () => resolve({ body, response }))
      response.on("error", (error) => resolve({ body, error: error.code }))
    })
    request.on("error", (error) => resolve({ error: error.code }))
  })

const answered = ({ error, response }) =>
  error === undefined ? `${response.statusCode}, \`${response.headers.connection ?? "no connection header"}\`` : error

const slow = async (port, see) => {
  const agent = kept()
  await ask(port, "/", agent)
  void ask(port, "/slow", agent).then((answer) => see(answered(answer)))
  return () => agent.destroy()
}

const idle = async (port, see) => {
  const agent = kept()
  await ask(port, "/", agent)
  const [socket] = Object.values(agent.freeSockets).flat()
  socket.on("error", (error) => see(error.code)).on("close", () => see("closed"))
  return () => agent.destroy()
}

const events = (port, see) =>
  new Promise((resolve) => {
    const headers = { accept: "text/event-stream" }
    const request = Http.get({ host, port, path: "/events", headers, agent: kept() }, (response) => {
      let last = ""
      response.setEncoding("utf8").on("data", (text) => {
        last = text
        resolve(() => request.destroy())
      })
      response.on("end", () => {
        const retry = /retry: \d+\n\n$/.test(last)
        see(`clean end${retry ? ", `retry`" : ""}`)
      })
      response.on("error", (error) => see(`cut (${error.code})`))
    })
    request.on("error", (error) => see(error.code))
  })

const webSocket = (port, see) =>
  new Promise((resolve) => {
    const session = new WebSocket(`ws://${host}:${port}/socket`)
    session.on("error", (error) => see(error.message))
    session.on("close", (code) => see(`${code}`))
    session.on("open", () => resolve(() => session.terminate()))
  })

const pipelined = (port, see) =>
  new Promise((resolve) => {
    const socket = Net.connect({ host, port })
    let text = ""
    const get = (path) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`
    socket.on("connect", () => socket.write(get("/slow") + get("/")))
    socket.on("data", (bytes) => text += bytes.toString("latin1"))
    socket.on("error", (error) => text += error.code)
    socket.on("close", () => {
      const answers = text.split("HTTP/1.1 200").length - 1
      see(`${answers} of 2 answered${/connection: close/i.test(text) ? ", `close`" : ""}`)
    })
    // Longer than the slow answer: what is said in one piece has arrived by then.
    void sleep(200).then(() => resolve(() => socket.destroy()))
  })

const stream = (session, path) =>
  new Promise((resolve) => {
    const request = session.request({ ":path": path })
    let status = "no answer"
    request.on("response", (headers) => status = `${headers[":status"]}`)
    request.on("error", (error) => status = /REFUSED/.test(error.message) ? "refused" : error.code)
    request.on("close", () => resolve(status))
    request.resume()
  })

/** What the server says takes this long, as it does on the way to another continent. */
const awayMillis = 100
const lateMillis = 60

const farAway = (port) =>
  new Promise((resolve) => {
    const proxy = Net.createServer((near) => {
      const far = Net.connect({ host, port })
      near.on("data", (bytes) => far.write(bytes)).on("error", () => far.destroy()).on("end", () => far.end())
      far.on("data", (bytes) => setTimeout(() => near.write(bytes), awayMillis))
      far.on("error", () => near.destroy()).on("close", () => setTimeout(() => near.end(), awayMillis))
    })
    proxy.listen(0, host, () => resolve(proxy))
  })

/** One slow stream, and one that is sent when the server stops and the client cannot have heard of it. */
const http2 = async (port, see, signalled) => {
  const proxy = await farAway(port)
  const session = Http2.connect(`http://${host}:${proxy.address().port}`)
  session.on("error", () => {})
  await stream(session, "/")
  const open = stream(session, "/slow")
  void signalled.then(async () => {
    await sleep(lateMillis)
    const [first, second] = await Promise.all([open, stream(session, "/")])
    see(`${first}; late one ${second}`)
  })
  return () => {
    session.destroy()
    proxy.close()
  }
}

/** @type {ReadonlyArray<Scenario>} */
export const scenarios = [
  { title: "slow GET on keep-alive", version: "1.1", open: slow },
  { title: "idle keep-alive", version: "1.1", open: idle },
  { title: "endless SSE", version: "1.1", open: events },
  { title: "idle WebSocket", version: "1.1", open: webSocket },
  { title: "pipelined second request", version: "1.1", open: pipelined },
  { title: "slow HTTP/2 stream", version: "2", open: http2 }
]
