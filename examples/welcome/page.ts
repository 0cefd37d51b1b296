/**
 * The welcome page as one string, without assets of its own or anyone else's. Its content security policy names the
 * hashes of the one style and the one script, so nothing that is ever injected runs.
 */
import * as Effect from "effect/Effect"

const style = `
:root { color-scheme: light dark; --ink: #10212f; --paper: #f6f8f9; --card: #fff; --line: #d5dde3; --sea: #0b6e8f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3ebf0; --paper: #0e161c; --card: #16212a; --line: #2a3944; --sea: #5cc1e0 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.6 system-ui, sans-serif }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.25rem 4rem }
header { border-bottom: 3px solid var(--sea); margin-bottom: 2rem; padding-bottom: 1.25rem }
h1 { font-size: 2.4rem; line-height: 1.1; margin: 0 0 .5rem; letter-spacing: -.02em }
h2 { font-size: 1.05rem; margin: 0 }
p { margin: .25rem 0 }
section { margin: 1rem 0; padding: 1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem }
section > div { display: flex; gap: 1rem; align-items: center; justify-content: space-between; flex-wrap: wrap }
code, pre, textarea { font: 14px/1.5 ui-monospace, monospace }
a { color: var(--sea) }
pre { margin: .75rem 0 0; padding: .75rem; max-height: 20rem; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--paper); border: 1px solid var(--line); border-radius: .5rem }
pre:empty { display: none }
textarea { width: 100%; margin-top: .75rem; padding: .6rem .75rem; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: .5rem; resize: vertical }
button { font: inherit; padding: .3rem 1rem; border: 0; border-radius: .5rem; cursor: pointer;
  background: var(--sea); color: var(--card) }
button:disabled { opacity: .5 }
:focus-visible { outline: 2px solid var(--sea); outline-offset: 2px }
`

const script = `
const show = async (section) => {
  const output = section.querySelector("pre")
  const button = section.querySelector("button")
  const input = section.querySelector("textarea")
  button.disabled = true
  output.textContent = ""
  try {
    const response = await fetch(section.dataset.path, input ? { method: "POST", body: input.value } : {})
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      output.textContent += value
    }
  } catch (error) {
    output.textContent += "\\n" + error
  } finally {
    button.disabled = false
  }
}
for (const section of document.querySelectorAll("section")) {
  section.querySelector("button").addEventListener("click", () => show(section))
}
`

const card = (path: string, title: string, description: string, input = "") => `
<section data-path="${path}" aria-label="${title}">
<div><h2>${title}</h2><button type="button">Try <code>${path}</code></button></div>
<p>${description}</p>${input}
<pre aria-live="polite"></pre>
</section>`

const textarea = `
<textarea rows="3" aria-label="Text to send">Send me to the server and back.</textarea>`

export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Slipway is running</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>Slipway is running.</h1>
<p>One application, one function: <code>scope</code> says what arrived, <code>receive</code> yields what the client
sends, <code>send</code> takes the answer. The five answers below are all made of these three.</p>
</header>
${card("/plain", "Text", "A start and a body, sent in one piece.")}
${card("/json", "JSON", "The same, with another content type.")}
${card("/stream", "A stream", "Parts that leave as they are made, with a pause between them.")}
${card("/echo", "An echo", "The request body goes back part by part, while it is still arriving.", textarea)}
${card("/scope", "The scope", "Everything the server says about your request: data and nothing else.")}
<footer><p>This page is <code>examples/welcome.ts</code>. Change it, or serve your own:
<code>slipway ./app.ts</code></p></footer>
</main>
<script>${script}</script>
</body>
</html>
`

const hash = (source: string): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(source))),
    (digest) => `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`
  )

const makeHeaders = Effect.map(
  Effect.all([hash(style), hash(script)]),
  ([styleHash, scriptHash]) =>
    [
      ["content-type", "text/html; charset=utf-8"],
      [
        "content-security-policy",
        `default-src 'none'; style-src ${styleHash}; script-src ${scriptHash}; connect-src 'self'; ` +
        `base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
      ],
      ["x-content-type-options", "nosniff"],
      ["referrer-policy", "no-referrer"]
    ] as const
)

/** Headers of the page; the hashes are made for the first visitor. */
export const pageHeaders = Effect.runSync(Effect.cached(makeHeaders))
