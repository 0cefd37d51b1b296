/**
 * What the page does in a browser: an EventSource, which comes back by itself with the id of the last event, and a form.
 * Text of others is put in as text, never as HTML.
 */
export const script = `
const articles = document.getElementById("articles")
const status = document.getElementById("status")
const problem = document.getElementById("problem")
const form = document.querySelector("form")
const mostShown = 100
let lastId

const element = (tag, content) => {
  const made = document.createElement(tag)
  made.textContent = content
  return made
}

const follow = () => {
  // A browser adds the id of the last event by itself, but not when we begin again.
  const source = new EventSource(lastId === undefined ? "feed" : "feed?lastEventId=" + encodeURIComponent(lastId))
  source.onopen = () => status.textContent = "Connected."
  source.onmessage = ({ data, lastEventId }) => {
    lastId = lastEventId
    const { at, title } = JSON.parse(data)
    const article = document.createElement("section")
    article.className = "row"
    const time = element("time", new Date(at).toLocaleTimeString())
    time.dateTime = at
    article.append(element("h2", title), time)
    articles.prepend(article)
    while (articles.children.length > mostShown) articles.lastChild.remove()
  }
  source.onerror = () => {
    status.textContent = "The connection is broken. Trying again."
    // After an answer that is no stream, such as a proxy's 502, a browser gives up.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 3000)
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault()
  problem.textContent = ""
  const { title } = form.elements
  try {
    const body = JSON.stringify({ title: title.value.trim() })
    const { ok, status } = await fetch("articles", { method: "POST", headers: { "content-type": "application/json" }, body })
    if (ok) title.value = ""
    else problem.textContent = "The server says " + status
  } catch {
    problem.textContent = "The server cannot be reached"
  }
})

follow()
`
