/**
 * The page of the JSON-RPC example as one string. Its content security policy names the hashes of its script and
 * its style, so nothing that is ever injected runs.
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
<title>A harbour, by JSON-RPC</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>A harbour</h1>
<p>Crates on board: <strong id="total">?</strong>, on every open page.</p>
</header>
<section>
<form class="row">
<label for="crates">Crates</label>
<input id="crates" name="crates" type="number" min="1" value="3">
<button>Load</button>
<progress value="0" max="1" aria-label="Crates loaded"></progress>
</form>
<p id="status" role="status"></p>
</section>
</main>
<script>${script}</script>
</body>
</html>
`

const hashOf = (text: string) => `'sha256-${Crypto.createHash("sha256").update(text).digest("base64")}'`

/** Headers of the page. */
export const pageHeaders = [
  ["content-type", "text/html; charset=utf-8"],
  ["cache-control", "no-store"],
  [
    "content-security-policy",
    `default-src 'none'; script-src ${hashOf(script)}; style-src ${
      hashOf(style)
    }; connect-src 'self'; img-src data:; ` +
    `base-uri 'none'; form-action 'self'; frame-ancestors 'none'`
  ],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"]
] as const
