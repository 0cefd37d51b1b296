/**
 * The answer to every request of an application that has not started yet: the failure as a page, as JSON or as text, by
 * what the client prefers, always with 500. The page works without its script, which brings the overlay and the reload.
 *
 * Also says which policy of a page may be widened for that script: only Slipway's own.
 */
import * as Effect from "effect/Effect"
import type { App } from "./App.ts"
import * as ContentNegotiation from "./ContentNegotiation.ts"
import * as DevFailure from "./DevFailure.ts"
import { contentSecurityPolicy, escape } from "./internal/Html.ts"

/** Slipway's own pages load nothing; in development they may load the script. The policy of an application stays. */
export const widened = (policy: string): string =>
  policy === contentSecurityPolicy ? `${policy}; script-src 'self'; connect-src 'self'` : policy

const forms = ["text/plain", "application/json", "text/html"] as const

/** A failure as a page of its own. */
export const html = (failure: DevFailure.DevFailure): string => {
  const title = escape(failure.title)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.3rem }
pre { padding: 1rem; overflow-x: auto; background: #8882; font-size: .85rem }
</style>
<h1>${title}</h1>
<pre>${escape(DevFailure.toText(failure))}</pre>
<p>This page is loaded again when a file has changed and the application starts.</p>
</html>
`
}

/** Answers everything with the failure that stands now. WebSockets and streams of events are declined. */
export const app = (current: () => DevFailure.DevFailure): App => (exchange) => {
  if (exchange.type === "lifespan") return Effect.void
  if (exchange.type === "websocket") return Effect.orDie(exchange.send({ type: "websocket.close" }))
  const accept = exchange.scope.headers.filter(([name]) => name === "accept").map(([, value]) => value).join(",")
  const form = ContentNegotiation.choose(accept === "" ? undefined : accept, forms) ?? "text/plain"
  const failure = current()
  const body = form === "text/html"
    ? html(failure)
    : form === "application/json"
    ? JSON.stringify({ status: 500, ...failure })
    : `${DevFailure.toText(failure)}\n`
  const headers: ReadonlyArray<readonly [string, string]> = [
    ["content-type", form === "application/json" ? form : `${form}; charset=utf-8`],
    ["cache-control", "no-store"],
    ["vary", "accept"],
    ["content-security-policy", contentSecurityPolicy]
  ]
  return Effect.orDie(
    exchange.type === "http"
      ? Effect.andThen(
        exchange.send({ type: "http.response.start", status: 500, headers }),
        exchange.send({ type: "http.response.body", body: exchange.scope.method === "HEAD" ? "" : body })
      )
      : Effect.andThen(
        exchange.send({ type: "sse.http.response.start", status: 500, headers }),
        exchange.send({ type: "sse.http.response.body", body })
      )
  )
}
