/**
 * The pages that people see instead of a problem document: a small one that says no more than the problem, and one for
 * the developer with cause and request. Everything that comes from outside is escaped; nothing is loaded from anywhere.
 */
import * as Headers from "effect/http/Headers"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as ProblemDetails from "effect/http/ProblemDetails"
import * as UrlParams from "effect/http/UrlParams"
import * as Redacted from "effect/Redacted"
import { escape } from "./Html.ts"

/** A page for anybody. */
export const plain = (problem: ProblemDetails.ProblemDetails): string => page(problem, "")

/**
 * A page for the developer. `stack` is the cause as text; of the headers, values of those named in `redactedNames` and
 * credentials for a proxy are not shown.
 */
export const development = (
  problem: ProblemDetails.ProblemDetails,
  stack: string,
  request: HttpServerRequest,
  redactedNames: ReadonlyArray<string | RegExp>
): string => {
  const headers = Headers.redact(request.headers, [...redactedNames, "proxy-authorization"])
  const rows = Object.entries(headers).map(([name, value]) =>
    `<tr><th scope="row">${escape(name)}</th><td>${escape(Redacted.isRedacted(value) ? "(hidden)" : value)}</td></tr>`
  )
  return page(
    problem,
    `<pre>${escape(stack)}</pre>
<h2>Request</h2>
<p><code>${escape(`${request.method} ${UrlParams.redactUrl(request.originalUrl)}`)}</code></p>
<table>
${rows.join("\n")}
</table>
<p>You see this because Development is on.</p>
`
  )
}

const page = (problem: ProblemDetails.ProblemDetails, more: string): string => {
  const title = escape(problem.title ?? "")
  const detail = problem.detail === undefined ? "" : `<p>${escape(problem.detail)}</p>\n`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${problem.status} ${title}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.3rem } h2 { font-size: 1.1rem }
pre { padding: 1rem; overflow-x: auto; background: #8882; font-size: .85rem }
table { border-collapse: collapse; font-size: .85rem }
th, td { padding: .2rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid #8884 }
th { white-space: nowrap; font-weight: 600 }
</style>
<h1>${problem.status} ${title}</h1>
${detail}${more}</html>
`
}
