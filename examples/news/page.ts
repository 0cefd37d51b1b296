/**
 * The page of the news as one string. Its content security policy names the hashes of its script and its style, so
 * nothing that is ever injected runs.
 */
import * as Crypto from "node:crypto"
import { style } from "../welcome/style.ts"
import { script } from "./script.ts"

export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>News</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>News</h1>
<p>Open this page twice. Break the connection, publish, mend it: nothing is missing.</p>
<p id="status" role="status"></p>
</header>
<section>
<form class="row"><input name="title" aria-label="Headline" placeholder="A headline" required maxlength="200"
pattern=".*\\S.*" autocomplete="off"><button>Publish</button></form>
<p id="problem" role="alert"></p>
</section>
<div id="articles" role="feed" aria-label="News"></div>
</main>
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
