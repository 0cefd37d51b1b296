/**
 * The page of the chat as one string, the same for every room: the script reads the room from the address. Its content
 * security policy names the hashes of its script and its style, so nothing that is ever injected runs.
 */
import * as Crypto from "node:crypto"
import { script } from "./script.ts"
import { style } from "./style.ts"

export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Chat</title>
<style>${style}</style>
</head>
<body>
<header>
<h1 id="room"></h1>
<p id="status" role="status"></p>
<form id="go"><input name="room" aria-label="Another room" placeholder="another-room" required maxlength="40"
pattern="[a-z0-9\\-]+" title="Small letters, digits and -" autocomplete="off"><button>Go</button></form>
</header>
<main>
<ol id="messages" role="log" aria-label="Messages" tabindex="0"></ol>
<aside aria-labelledby="here-title"><h2 id="here-title">Here</h2><ul id="here"></ul></aside>
</main>
<footer>
<p id="typing" aria-live="polite"></p>
<form id="enter"><input name="name" aria-label="Your name" placeholder="Your name" required maxlength="30"
pattern="(?=.*\\S)(?:\\u200d|[^\\p{C}])+" title="Letters that can be seen" autocomplete="nickname"><button>Come in</button></form>
<form id="say" hidden><input name="text" aria-label="Message" placeholder="Write to the room" required maxlength="1000"
pattern=".*\\S.*" autocomplete="off"><button>Send</button></form>
</footer>
<script>${script}</script>
</body>
</html>
`

const hashOf = (text: string) => `'sha256-${Crypto.createHash("sha256").update(text).digest("base64")}'`

/** Headers of the page. */
export const pageHeaders = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-store",
  "content-security-policy":
    `default-src 'none'; script-src ${hashOf(script)}; style-src ${
      hashOf(style)
    }; connect-src 'self'; img-src data:; ` +
    `base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer"
}
