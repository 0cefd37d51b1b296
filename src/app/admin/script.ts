/**
 * What the dashboard does in a browser: listens to the server's events and puts numbers where they belong. Text comes
 * in as text, never as HTML. Keeps what it has when the connection is lost, says so, and goes on when it is back.
 */
import { plots } from "./plots.ts"
import { columns } from "./Samples.ts"

const formats = `
const columns = ${JSON.stringify(columns)}
const find = (selector) => document.querySelector(selector)
const put = (element, text) => { if (element.textContent !== text) element.textContent = text }
const none = "\\u2013"

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const digits = (value, most) =>
  value.toFixed(value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? Math.min(1, most) : most)
const number = (value) => {
  if (value >= 1e9) return digits(value / 1e9, 2) + "G"
  if (value >= 1e6) return digits(value / 1e6, 2) + "M"
  return value >= 1e4 ? digits(value / 1e3, 1) + "k" : value >= 100 ? grouped.format(value) : digits(value, 1)
}
const millis = (value) => {
  if (value >= 6e4) return span(value)
  return value >= 1000 ? digits(value / 1000, 2) + " s" : digits(value, value < 1 ? 2 : 1) + " ms"
}
const bytes = (value) => {
  let unit = 0
  for (; value >= 1024 && unit < 4; unit++) value /= 1024
  return digits(value, unit > 1 ? 1 : 0) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit]
}
const percent = (value) => digits(value * 100, 1) + " %"
const span = (milliseconds) => {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]
  const first = Math.max(0, parts.findIndex(([size]) => seconds >= size))
  const words = []
  let rest = seconds
  for (const [size, unit] of parts.slice(first === -1 ? 3 : first).slice(0, 2)) {
    words.push(Math.floor(rest / size) + " " + unit)
    rest %= size
  }
  return words.join(" ")
}
const clock = (at) => at === undefined ? "" : new Date(at).toLocaleTimeString("en-GB")
const maybe = (format, value) => value === null || value === undefined ? none : format(value)
`

const tables = `
const cell = (text, kind = "", share) => ({ text, kind, share })

// Rows and cells are made once and filled again, so that a selection and the scroll position stay.
const fill = (selector, rows, whenEmpty) => {
  const body = find(selector)
  const wide = body.closest("table").tHead.rows[0].cells.length
  const isEmpty = rows.length === 0
  const wanted = isEmpty ? [[cell(whenEmpty)]] : rows
  while (body.rows.length > wanted.length) body.rows[body.rows.length - 1].remove()
  wanted.forEach((cells, index) => {
    let row = body.rows[index]
    if (row !== undefined && row.cells.length !== cells.length) { row.replaceChildren() }
    row ??= body.insertRow()
    row.className = isEmpty ? "empty" : ""
    cells.forEach(({ kind, share, text }, column) => {
      const isName = column === 0 && !isEmpty
      let found = row.cells[column]
      if (found === undefined) {
        found = document.createElement(isName ? "th" : "td")
        if (isName) found.scope = "row"
        row.append(found)
      }
      if (isEmpty) found.colSpan = wide
      if (found.className !== kind) found.className = kind
      if (kind.includes("wide")) found.title = text
      if (share !== undefined) found.style.setProperty("--share", Math.min(1, share).toFixed(3))
      put(found, text)
    })
  })
}

const stateKinds = { serving: "good", starting: "warn", stopping: "warn", waiting: "bad", dead: "bad" }

const showWorkers = ({ nowMillis, workers }) => {
  const serving = workers.filter(({ state }) => state === "serving").length
  put(find("#workers-count"), serving + " of " + workers.length + " serving")
  fill("#workers", workers.map((worker) => [
    cell(worker.number === 0 ? "\\u2014" : String(worker.number)),
    cell(maybe(String, worker.pid)),
    cell(worker.state, "text mark " + stateKinds[worker.state]),
    cell(worker.sinceMillis === undefined ? none : span(nowMillis - worker.sinceMillis)),
    cell(maybe(number, worker.rate)),
    cell(maybe(percent, worker.cpu), "meter", worker.cpu ?? 0),
    cell(maybe(bytes, worker.rss)),
    cell(maybe(millis, worker.lag), worker.lag > 100 ? "bad" : worker.lag > 25 ? "warn" : ""),
    cell(maybe(number, worker.exchanges)),
    cell(maybe(number, worker.connections)),
    cell(String(worker.crashes), worker.crashes > 0 ? "warn" : "")
  ]), "There are no workers.")
}

const showRoutes = ({ routes }) => {
  const most = Math.max(1, ...routes.map(({ rate }) => rate))
  fill("#routes", routes.map((route) => [
    cell(route.route, "text wide"),
    cell(number(route.rate), "meter", route.rate / most),
    cell(number(route.count)),
    cell(number(route.errors), route.errors > 0 ? "bad" : ""),
    cell(millis(route.mean)),
    cell(millis(route.max))
  ]), "No requests have been answered yet.")
}

const showErrors = ({ errors }) => {
  fill("#errors", errors.map((error) => [
    cell(clock(error.atMillis), "text"),
    cell(error.status === 0 ? "none" : String(error.status), "bad"),
    cell(error.method + " " + error.path, "text wide"),
    cell(error.problem ?? "", "text"),
    cell(error.requestId, "text")
  ]), "Nothing has gone wrong.")
}

const showChecks = ({ checks }) => {
  fill("#checks", checks.map((check) => {
    const kind = check.failing === 0 ? "good" : check.isCritical ? "bad" : "warn"
    const where = check.workers > 1 ? " on " + check.failing + " of " + check.workers + " workers" : ""
    const word = check.status === "ok" ? "well" : check.status === "timeout" ? "no answer" : "failing"
    return [
      cell(check.name, "text"),
      cell(check.failing === 0 ? "well" : word + where, "text mark " + kind),
      cell(check.kind === "both" ? "live, ready" : check.kind, "text"),
      cell(check.isCritical ? "decides" : "shown only", "text"),
      cell(millis(check.durationMillis)),
      cell(check.problem ?? "", "text wide")
    ]
  }), "No checks are registered.")
}
`

const main = `
const setState = (text, kind) => {
  const state = find("#state")
  put(state, text)
  if (state.className !== kind) state.className = kind
  document.body.classList.toggle("stale", kind === "lost bad")
}

const showState = ({ isDrained, isReady, isShuttingDown }) => {
  if (isShuttingDown) setState("Stopping", "bad")
  else if (isDrained) setState("Drained", "warn")
  else if (isReady) setState("Ready", "good")
  else setState("Not ready", "warn")
}

const tile = (name, value, unit, note, isAlarm) => {
  const element = find("#" + name)
  const [shown, small] = element.querySelector(".value").children
  put(shown, value)
  put(small, unit)
  put(element.querySelector(".note"), note)
  element.classList.toggle("alarm", isAlarm === true)
}

// "12.3 ms" as a large number with a small unit.
const split = (text) => {
  const blank = text.indexOf(" ")
  return blank === -1 ? [text, ""] : [text.slice(0, blank), text.slice(blank)]
}

const showTiles = ({ point, totals, workers }) => {
  const at = (column) => point[columns.indexOf(column)]
  const classes = ["ok", "redirects", "refusals", "failures"].map(at)
  const rate = classes[0] === null ? null : classes.reduce((sum, value) => sum + value, 0)
  const share = rate ? at("failures") / rate : 0
  tile("tile-rate", maybe(number, rate), " /s", number(totals.requests) + " so far")
  const [p50, p95, p99] = ["p50", "p95", "p99"].map((column) => maybe(millis, at(column)))
  tile("tile-latency", ...split(p95), "p50 " + p50 + ", p99 " + p99)
  const failing = maybe(number, at("failures")) + " /s"
  tile("tile-failures", ...split(rate === null ? none : percent(share)), failing, share >= 0.01)
  tile("tile-exchanges", maybe(number, at("exchanges")), "", maybe(number, at("connections")) + " connections")
  tile("tile-cpu", ...split(maybe(percent, at("cpu"))), "share of one core")
  tile("tile-memory", ...split(maybe(bytes, at("rss"))), "heap " + maybe(bytes, at("heap")))
  document.title = maybe(number, rate) + "/s \\u00b7 Slipway"
}

const showFacts = (now) => {
  put(find("#application"), now.application)
  put(find("#uptime"), span(now.nowMillis - now.startedAtMillis))
  put(find("#version"), now.version)
  put(find("#mode"), now.mode)
  put(find("#pid"), String(now.pid))
  put(find("#restarts"), String(now.restarts))
  put(find("#addresses"), now.addresses.join(", "))
  find("#addresses").title = now.addresses.join("\\n")
}

const showNow = (now) => {
  const last = points[points.length - 1]
  if (last === undefined || now.point[0] > last[0]) points.push(now.point)
  while (points.length > 600) points.shift()
  for (const show of [showState, showFacts, showTiles, showWorkers, showRoutes, showErrors, showChecks]) show(now)
  drawAll()
}

const plot = (name, options) => plots.push(new Plot(find("#plot-" + name), { base: 10, least: 1, ...options }))

plot("throughput", { stacked: true, unit: "answers a second", format: number, least: 4, series: [
  { column: "ok", name: "2xx", color: "ok" }, { column: "redirects", name: "3xx", color: "redirects" },
  { column: "refusals", name: "4xx", color: "refusals" }, { column: "failures", name: "5xx", color: "failures" }
] })
plot("latency", { unit: "milliseconds", format: millis, series: [
  { column: "p50", name: "p50", color: "p50", filled: true }, { column: "p95", name: "p95", color: "p95" },
  { column: "p99", name: "p99", color: "p99" }
] })
plot("connections", { unit: "number", format: number, least: 4, series: [
  { column: "connections", name: "Open", color: "main", filled: true },
  { column: "exchanges", name: "In flight", color: "third" }
] })
plot("cpu", { unit: "share of one core", format: percent, least: 0.1, series: [
  { column: "cpu", name: "All processes", color: "main", filled: true }
] })
plot("memory", { unit: "bytes", format: bytes, base: 1024, series: [
  { column: "rss", name: "Resident", color: "main", filled: true },
  { column: "heap", name: "Heap in use", color: "third" }
] })
plot("loop", { unit: "milliseconds", format: millis, least: 4, series: [
  { column: "lag", name: "Lag p99", color: "main", filled: true }, { column: "gc", name: "GC a second", color: "third" }
] })

for (const choice of document.querySelectorAll("[name=window]")) {
  choice.addEventListener("change", () => {
    windowSeconds = Number(choice.value)
    drawAll()
  })
}

const connect = () => {
  const source = new EventSource("dashboard/events")
  source.addEventListener("history", ({ data }) => {
    points = JSON.parse(data)
    drawAll()
  })
  source.addEventListener("now", ({ data }) => showNow(JSON.parse(data)))
  source.addEventListener("trouble", ({ data }) => setState("No answer: " + JSON.parse(data), "lost bad"))
  source.addEventListener("error", () => {
    setState("Connection lost, trying again", "lost bad")
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000)
  })
}
connect()
`

/** The whole program. */
export const script = `"use strict"\n{${formats}${plots}${tables}${main}}\n`
