/**
 * The dashboard's page: the places where numbers will stand, with their names. Nothing in it comes from outside, so
 * there is nothing to escape.
 */
import { script } from "./script.ts"
import { style } from "./style.ts"

const tile = (id: string, name: string): string =>
  `<div id="tile-${id}"><dt>${name}</dt><dd class="value"><span>\u2013</span><small></small></dd>`
  + `<dd class="note"></dd></div>`

const figure = (id: string, name: string, unit: string): string =>
  `<figure class="panel" id="plot-${id}"><figcaption><h2>${name}</h2><span class="unit">${unit}</span></figcaption>
<canvas tabindex="0" role="img" aria-label="${name}"></canvas><ul class="legend"></ul></figure>`

interface Column {
  readonly name: string
  readonly kind?: string
}

const table = (
  id: string,
  title: string,
  note: string,
  columns: ReadonlyArray<Column>,
  kind = ""
): string =>
  `<section class="panel ${kind}" aria-labelledby="${id}-title">
<div class="row"><h2 id="${id}-title">${title}</h2>${note}</div>
<div class="scroll" role="region" aria-labelledby="${id}-title" tabindex="0">
<table><thead><tr>${
    columns.map(({ kind = "", name }) => `<th scope="col" class="${kind}">${name}</th>`).join("")
  }</tr></thead><tbody id="${id}"></tbody></table></div></section>`

const workerTable = table("workers", "Workers", `<span class="count" id="workers-count"></span>`, [
  { name: "No." },
  { name: "Process" },
  { name: "State", kind: "text" },
  { name: "Serving for" },
  { name: "Requests/s" },
  { name: "CPU" },
  { name: "Memory" },
  { name: "Loop lag" },
  { name: "In flight" },
  { name: "Connections" },
  { name: "Crashes" }
])

const routeTable = table(
  "routes",
  "Routes",
  `<span class="count">busiest of the last 10 s</span>`,
  [
    { name: "Route", kind: "text wide" },
    { name: "Per second" },
    { name: "Total" },
    { name: "Errors" },
    { name: "Mean" },
    { name: "Longest" }
  ],
  "fixed"
)

const errorTable = table(
  "errors",
  "Recent errors",
  `<span class="count">newest first</span>`,
  [
    { name: "Time", kind: "text" },
    { name: "Status" },
    { name: "Request", kind: "text wide" },
    { name: "Problem", kind: "text" },
    { name: "Request id", kind: "text" }
  ],
  "fixed"
)

const checkTable = table("checks", "Health checks", "", [
  { name: "Check", kind: "text" },
  { name: "Outcome", kind: "text" },
  { name: "Asked for", kind: "text" },
  { name: "Weight", kind: "text" },
  { name: "Took" },
  { name: "Problem", kind: "text wide" }
])

const fact = (id: string, name: string): string => `<div><dt>${name}</dt><dd id="${id}">\u2013</dd></div>`

const choice = (seconds: number, text: string, isChosen = false): string =>
  `<label><input type="radio" name="window" value="${seconds}"${isChosen ? " checked" : ""}>${text}</label>`

/** A hull on its way. */
const mark = `<svg width="26" height="26" viewBox="0 0 26 26" aria-hidden="true"><path fill="currentColor" `
  + `d="M3 11h20l-3.4 6.2H7.2zM11 3h2v7h-2zM14 4l6 5h-6z"/><path fill="none" stroke="currentColor" stroke-width="2" `
  + `stroke-linecap="round" d="M2 22 24 19.5"/></svg>`

const icon = `data:image/svg+xml,${
  encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 26 26"><path fill="#0b6e8f" d="M3 11h20l-3.4 6.2H7.2zM11 3h2`
      + `v7h-2zM14 4l6 5h-6z"/><path fill="none" stroke="#0b6e8f" stroke-width="2" d="M2 22 24 19.5"/></svg>`
  )
}`

/** The page, whole. Its script and its style are the only ones; who serves it says so in its policy. */
export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="${icon}">
<title>Slipway</title>
<style>${style}</style>
</head>
<body>
<header>
<div class="brand">${mark}<h1>Slipway</h1></div>
<p id="state" role="status">Connecting</p>
<p id="application"></p>
<dl class="facts">${fact("uptime", "Up")}${fact("version", "Version")}${fact("mode", "Mode")}${fact("pid", "Process")}${
  fact("restarts", "Restarts")
}${fact("addresses", "On")}</dl>
</header>
<main>
<noscript><p class="panel">This page needs a script. The same facts are at <a href="status">status</a> and
<a href="metrics">metrics</a>.</p></noscript>
<dl class="tiles" aria-label="Now">${tile("rate", "Requests")}${tile("latency", "Latency, p95")}${
  tile("failures", "Failures")
}${tile("exchanges", "In flight")}${tile("cpu", "CPU")}${tile("memory", "Memory")}</dl>
<div class="row toolbar"><p class="count" id="cursor" role="status"></p>
<fieldset><legend class="hidden">Time that the plots show</legend>${choice(60, "1 min")}${choice(300, "5 min", true)}${
  choice(600, "10 min")
}</fieldset></div>
<div class="plots">
${figure("throughput", "Throughput", "answers a second")}
${figure("latency", "Latency", "head to end of answer")}
${figure("connections", "Connections", "number")}
${figure("cpu", "CPU", "share of one core")}
${figure("memory", "Memory", "all processes")}
${figure("loop", "Event loop", "worst process")}
</div>
<div class="tables">
${routeTable}
${errorTable}
</div>
${workerTable}
${checkTable}
</main>
<footer><p>It shows and does not command: <code>slipway ctl</code> does.
History goes back ten minutes at most.</p></footer>
<script>${script}</script>
</body>
</html>
`
