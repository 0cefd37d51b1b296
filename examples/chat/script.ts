/**
 * What the page does in a browser: one WebSocket that comes back by itself and goes on after the last message that it
 * has seen, and what it shows. Text of others is put in as text, never as HTML.
 */
export const script = `
const find = (selector) => document.querySelector(selector)
const room = location.pathname.split("/").pop()
const messages = find("#messages")
const status = find("#status")
const enter = find("#enter")
const say = find("#say")
const text = say.elements.text
const mostShown = 500

document.title = room + " - Chat"
find("#room").textContent = room

let name = sessionStorage.getItem("name") ?? ""
let socket
let lastId
let failures = 0
let waiting

const element = (tag, content, className = "") => {
  const made = document.createElement(tag)
  made.textContent = content
  made.className = className
  return made
}

const hueOf = (word) => [...word].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7)

const named = (who) => {
  const made = element("strong", who)
  made.style.setProperty("--hue", hueOf(who))
  return made
}

const writing = new Map()
const showWriting = () => {
  const names = [...writing.keys()]
  find("#typing").textContent = names.length === 0 ? "" :
    names.length < 3 ? names.join(" and ") + (names.length === 1 ? " is" : " are") + " writing" : "Several are writing"
}
const stopsWriting = (who) => {
  clearTimeout(writing.get(who))
  writing.delete(who)
  showWriting()
}

const show = {
  Said: ({ at, id, name: who, text: words }) => {
    lastId = id
    const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40
    const line = element("li", "", who === name ? "own" : "")
    const time = element("time", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }))
    time.dateTime = at
    line.append(named(who), time, element("p", words))
    messages.append(line)
    while (messages.children.length > mostShown) messages.firstChild.remove()
    if (isAtEnd || who === name) messages.scrollTop = messages.scrollHeight
    stopsWriting(who)
    if (who === name && text.readOnly && text.value.trim() === words) {
      text.value = ""
      text.readOnly = false
    }
  },
  Here: ({ names }) => {
    const lines = names.map((who) => {
      const line = element("li", "", who === name ? "own" : "")
      line.append(named(who))
      return line
    })
    find("#here").replaceChildren(...lines)
  },
  Typing: ({ name: who }) => {
    clearTimeout(writing.get(who))
    writing.set(who, setTimeout(() => stopsWriting(who), 3000))
    showWriting()
  }
}

const connect = () => {
  clearTimeout(waiting)
  if (socket && socket.readyState < WebSocket.CLOSING) return
  status.textContent = "Connecting"
  const url = new URL(location.pathname + "/socket", location.href)
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
  url.searchParams.set("name", name)
  if (lastId !== undefined) url.searchParams.set("after", lastId)
  socket = new WebSocket(url)
  socket.onmessage = ({ data }) => {
    failures = 0
    status.textContent = "Connected"
    const message = JSON.parse(data)
    show[message._tag]?.(message)
  }
  socket.onclose = () => {
    // What was not seen to be said is still in the field, to be sent again.
    text.readOnly = false
    status.textContent = "Connection lost, trying again"
    // Twice as long each time, up to half a minute; not all pages at once.
    waiting = setTimeout(connect, Math.min(30000, 500 * 2 ** failures++) * (0.5 + Math.random() / 2))
  }
}

const open = () => {
  enter.hidden = true
  say.hidden = false
  text.focus()
  connect()
}

enter.addEventListener("submit", (event) => {
  event.preventDefault()
  name = enter.elements.name.value.trim()
  sessionStorage.setItem("name", name)
  open()
})

let toldAt = -Infinity
text.addEventListener("input", (event) => {
  if (socket.readyState !== WebSocket.OPEN || event.timeStamp - toldAt < 2000) return
  toldAt = event.timeStamp
  socket.send(JSON.stringify({ _tag: "Typing" }))
})

say.addEventListener("submit", (event) => {
  event.preventDefault()
  if (socket.readyState !== WebSocket.OPEN || text.readOnly) return
  text.readOnly = true
  toldAt = -Infinity
  socket.send(JSON.stringify({ _tag: "Say", text: text.value }))
})

find("#go").addEventListener("submit", (event) => {
  event.preventDefault()
  location.assign(event.target.elements.room.value)
})

addEventListener("online", () => name && connect())
if (name) open()
else enter.elements.name.focus()
`
