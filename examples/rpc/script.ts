/**
 * What the page does in a browser: a JSON-RPC client in a few lines, and what it shows. Text of the server is put in as
 * text, never as HTML.
 */
export const script = `
const url = new URL("rpc", location.href)
url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
const socket = new WebSocket(url)
const waiting = new Map()
let lastId = 0

const call = (method, params, onProgress) => new Promise((resolve, reject) => {
  const id = ++lastId
  waiting.set(id, { resolve, reject, onProgress })
  socket.send(JSON.stringify({ jsonrpc: "2.0", method, params, id }))
})

const total = document.getElementById("total")
const status = document.getElementById("status")
const bar = document.querySelector("progress")
const form = document.querySelector("form")

const notifications = {
  "loaded": (params) => total.textContent = params.total,
  "$/progress": ({ token, value }) => waiting.get(token)?.onProgress?.(value)
}

socket.onmessage = ({ data }) => {
  const { error, id, method, params, result } = JSON.parse(data)
  if (method !== undefined) return notifications[method]?.(params)
  const { reject, resolve } = waiting.get(id)
  waiting.delete(id)
  if (error === undefined) resolve(result)
  else reject(error)
}

socket.onopen = async () => total.textContent = (await call("watch")).total
socket.onclose = () => status.textContent = "The connection has ended. Load the page again."

form.addEventListener("submit", async (event) => {
  event.preventDefault()
  const crates = Number(new FormData(form).get("crates"))
  status.textContent = "Loading"
  try {
    const loaded = await call("load", { crates }, ({ crate, of }) => {
      bar.value = crate / of
      bar.dispatchEvent(new Event("progress"))
    })
    status.textContent = "Loaded " + loaded
  } catch (error) {
    status.textContent = error.message + " (" + error.code + ")"
  }
})
`
