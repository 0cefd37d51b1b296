/**
 * What the welcome page does in a browser: opens the WebSocket and the feed, and shows the other answers in place. Text
 * of the server is put in as text, never as HTML. Without it links and the form work as links and forms do.
 */
export const script = `
document.documentElement.classList.add("scripted")
const find = (selector, within = document) => within.querySelector(selector)

const addLine = (output, text, most) => {
  const lines = output.textContent === "" ? [] : output.textContent.split("\\n")
  output.textContent = [...lines, text].slice(-most).join("\\n")
  output.scrollTop = output.scrollHeight
}

const talk = (card) => {
  const form = find("form", card)
  const input = find("input", card)
  const output = find("pre", card)
  const waiting = []
  let socket
  const connect = () => {
    const url = new URL(card.dataset.path, location.href)
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
    socket = new WebSocket(url)
    socket.onopen = () => { for (const text of waiting.splice(0)) socket.send(text) }
    socket.onmessage = ({ data }) => addLine(output, "\\u2190 " + data, 50)
    socket.onclose = ({ code, reason }) => addLine(output, "Closed: " + [code, reason].join(" "), 50)
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    if (input.value === "") return
    addLine(output, "\\u2192 " + input.value, 50)
    if (socket.readyState > WebSocket.OPEN) connect()
    if (socket.readyState === WebSocket.OPEN) socket.send(input.value)
    else waiting.push(input.value)
    input.value = ""
  })
  connect()
}

const listen = (card) => {
  const button = find("button", card)
  const status = find("[role=status]", card)
  const output = find("pre", card)
  let source
  const open = () => {
    source = new EventSource(card.dataset.path)
    source.addEventListener("over", ({ data }) => status.textContent = "It comes over " + data + ".")
    source.onmessage = ({ data, lastEventId }) => addLine(output, "id " + lastEventId + "   " + data, 5)
    source.onerror = () => status.textContent = "The stream has broken off. The browser connects again."
  }
  button.addEventListener("click", () => {
    const paused = source.readyState === EventSource.CLOSED
    button.textContent = paused ? "Pause" : "Go on"
    if (paused) return open()
    source.close()
    status.textContent = "Closed by you. The server has ended its loop."
  })
  open()
}

const show = async (card, init) => {
  const output = find("pre", card)
  const trigger = find("button", card)
  trigger.disabled = true
  output.textContent = ""
  try {
    const response = await fetch(card.dataset.path, init)
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      output.textContent += value
    }
  } catch (error) {
    output.textContent += "\\n" + error
  } finally {
    trigger.disabled = false
  }
}

talk(find("#socket"))
listen(find("#feed"))
for (const card of document.querySelectorAll(".answer")) {
  find("button", card).addEventListener("click", (event) => {
    event.preventDefault()
    const input = find("textarea", card)
    show(card, input ? { method: "POST", body: input.value } : {})
  })
}
`
