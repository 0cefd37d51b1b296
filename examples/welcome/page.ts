/**
 * The welcome page as one string, without assets of its own or anyone else's. Its content security policy names the
 * hashes of the one style and the one script, so nothing that is ever injected runs. Links and forms work without the
 * script; addresses are relative, so that the page can be mounted anywhere.
 */
import * as Crypto from "node:crypto"
import { script } from "./script.ts"
import { style } from "./style.ts"

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;"
}

/** Text as it may stand in HTML, in an attribute too. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character]!)

const card = (path: string, title: string, description: string): string => `
<section class="answer" data-path="${path}" aria-labelledby="${path}-title">
<div class="row"><h2 id="${path}-title"><a href="${path}">${title}</a></h2>
<button type="button" class="live">Try <code>/${path}</code></button></div>
<p>${description}</p>
<pre aria-live="polite" tabindex="0" aria-label="Answer of /${path}"></pre>
</section>`

const socketCard = `
<section id="socket" data-path="echo" aria-labelledby="socket-title">
<h2 id="socket-title">A WebSocket</h2>
<p>What you send comes back: <code>websocket.receive</code> in, <code>websocket.send</code> out.</p>
<form class="row live"><input name="text" autocomplete="off" aria-label="Message" value="Ahoy!">
<button>Send</button></form>
<pre class="live" role="log" tabindex="0" aria-label="Messages"></pre>
<p class="dead">It needs a script, or any WebSocket client at <code>/echo</code>.</p>
</section>`

const feedCard = `
<section id="feed" data-path="feed" aria-labelledby="feed-title">
<div class="row"><h2 id="feed-title">A live feed</h2><button type="button" class="live">Pause</button></div>
<p>The server's clock, as server-sent events. <span role="status"></span></p>
<pre class="live" tabindex="0" aria-label="Events"></pre>
<p class="dead">It needs a script, or <code>curl -N -H "accept: text/event-stream"</code> at <code>/feed</code>.</p>
</section>`

const echoCard = `
<section class="answer" data-path="echo" aria-labelledby="echo-title">
<form action="echo" method="post" enctype="text/plain">
<div class="row"><h2 id="echo-title">An echo</h2><button>Try <code>/echo</code></button></div>
<p>The request body goes back part by part, while it is still arriving.</p>
<textarea name="text" rows="2" aria-label="Text to send">Send me to the server and back.</textarea>
</form>
<pre aria-live="polite" tabindex="0" aria-label="Answer of /echo"></pre>
</section>`

/** The page for a request that came over `over`, such as `HTTP/1.1 in clear text`. */
export const page = (over: string): string =>
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Slipway is running</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>Slipway is running.</h1>
<p>This page came over <strong>${escape(over)}</strong>.</p>
<p>One application, one function: <code>scope</code> says what arrived, <code>receive</code> yields what the client
sends, <code>send</code> takes the answer. Everything below is made of these three.</p>
</header>
${socketCard}
${feedCard}
${card("plain", "Text", "A start and a body, sent in one piece.")}
${card("json", "JSON", "The same, with another content type.")}
${card("stream", "A stream", "Parts that leave as they are made, with a pause between them.")}
${echoCard}
${card("scope", "The scope", "Everything the server says about your request: data and nothing else.")}
<footer><p>Browsers speak HTTP/2 over TLS only: start with <code>--tls-cert</code> and <code>--tls-key</code>, or ask
with <code>curl --http2-prior-knowledge</code>.</p>
<p>This page is <code>examples/welcome.ts</code>. Change it, or serve your own:
<code>slipway ./app.ts</code></p></footer>
</main>
<script>${script}</script>
</body>
</html>
`

const hash = (source: string): string => `'sha256-${Crypto.createHash("sha256").update(source).digest("base64")}'`

/** Headers of the page. */
export const pageHeaders = [
  ["content-type", "text/html; charset=utf-8"],
  ["cache-control", "no-store"],
  [
    "content-security-policy",
    `default-src 'none'; style-src ${hash(style)}; script-src ${hash(script)}; connect-src 'self'; img-src data:; ` +
    `base-uri 'none'; form-action 'self'; frame-ancestors 'none'`
  ],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"]
] as const
