/**
 * The script that a page gets in development with reload: hears of changes and failures, loads the page anew, and lays
 * the failure over it. Text for the browser, which never runs here. It loads nothing, stores two words for the session,
 * and writes text only as text: nothing that comes over the wire becomes HTML.
 */

/** Where the script and its events are. */
export const scriptPath = "/__slipway/dev.js"
export const eventsPath = "/__slipway/events"

/** Milliseconds until a browser looks for the worker that takes the place of a stopped one. */
export const retryMillis = 200

/** What stands at the end of a page. `generation` counts the changes that the worker behind it has seen. */
export const tag = (generation: number): string =>
  `<script src="${scriptPath}" data-generation="${generation}" defer></script>\n`

/**
 * The script. It asks for the events with the generation of its page, so that the server can say "reload" to a page of
 * before. A style sheet of the script's own needs no permission of a Content-Security-Policy.
 *
 * A page that stays old although it was loaded anew (another worker, a cache) is loaded six times and no more.
 */
export const script = `(() => {
  const generation = document.currentScript.dataset.generation
  const css = \`
    :host { all: initial; position: fixed; inset: 0; z-index: 2147483647; color-scheme: dark;
      font: 14px/1.5 ui-monospace, Menlo, Consolas, monospace }
    .back { position: absolute; inset: 0; overflow: auto; background: rgb(0 0 0 / .66); padding: 4vh 4vw }
    .box { max-width: 70rem; margin: auto; padding: 1.5rem; background: #181818; color: #e8e8e8;
      border-top: 6px solid #ff5555; border-radius: 6px; overflow-wrap: anywhere }
    h2 { margin: 0 2rem 1rem 0; font-size: 1.1em; color: #ff7777 }
    pre { margin: 0 0 1rem; white-space: pre-wrap; font: inherit }
    .code { padding: 1rem; background: #242424; overflow-x: auto; white-space: pre; tab-size: 4 }
    .frames, .place { color: #a8a8a8 }
    button { float: right; font: inherit; color: inherit; background: none; border: 1px solid #666;
      border-radius: 4px; cursor: pointer; padding: .1rem .6rem }
  \`
  let host
  const close = () => {
    if (host) host.remove()
    host = undefined
  }
  const show = (failure) => {
    close()
    host = document.createElement("slipway-overlay")
    const root = host.attachShadow({ mode: "open" })
    const sheet = new CSSStyleSheet()
    sheet.replaceSync(css)
    root.adoptedStyleSheets = [sheet]
    const add = (parent, name, className, text) => {
      const element = parent.appendChild(document.createElement(name))
      element.className = className
      if (text !== undefined) element.textContent = text
      return element
    }
    const back = add(root, "div", "back")
    back.addEventListener("click", (event) => { if (event.target === back) close() })
    const box = add(back, "div", "box")
    box.setAttribute("role", "alertdialog")
    box.setAttribute("aria-label", failure.title)
    const button = add(box, "button", "", "close")
    button.addEventListener("click", close)
    add(box, "h2", "", failure.title)
    add(box, "pre", "message", failure.message)
    if (failure.place) add(box, "pre", "place", failure.place)
    if (failure.code) add(box, "pre", "code", failure.code)
    if (failure.frames) add(box, "pre", "frames", failure.frames)
    document.documentElement.append(host)
    button.focus({ preventScroll: true })
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") close() })
  // A page that has been loaded for this generation, and is still of one before: every fifth coming back, so once a second.
  const triesOf = (wanted) => {
    try {
      const [last, count] = (sessionStorage.getItem("slipway-reload") || "").split(" ")
      const tries = last === wanted ? Number(count) + 1 : 1
      sessionStorage.setItem("slipway-reload", wanted + " " + tries)
      return tries
    } catch {
      return 1
    }
  }
  const source = new EventSource("${eventsPath}?generation=" + generation)
  source.addEventListener("reload", ({ data }) => {
    const tries = triesOf(data)
    if (tries > 25) source.close()
    else if (tries === 1 || tries % 5 === 0) location.reload()
  })
  // The browser's own "error" of a broken connection has no data.
  source.addEventListener("error", ({ data }) => { if (typeof data === "string") show(JSON.parse(data)) })
  source.addEventListener("fixed", close)
  addEventListener("pagehide", () => source.close())
  addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload() })
})()
`
