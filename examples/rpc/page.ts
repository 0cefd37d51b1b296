/**
 * The page of the JSON-RPC example as one string. Its content security policy names the hash of its one script, so
 * nothing that is ever injected runs.
 */
import * as Crypto from "node:crypto"
import { script } from "./script.ts"

export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>A harbour, by JSON-RPC</title>
</head>
<body>
<main>
<h1>A harbour</h1>
<p>Crates on board: <strong id="total">?</strong></p>
<form>
<label>Crates <input name="crates" type="number" min="1" value="3"></label>
<button>Load</button>
<progress value="0" max="1" aria-label="Crates loaded"></progress>
</form>
<p id="status" role="status"></p>
</main>
<script>${script}</script>
</body>
</html>
`

const hash = Crypto.createHash("sha256").update(script).digest("base64")

/** Headers of the page. */
export const pageHeaders = [
  ["content-type", "text/html; charset=utf-8"],
  ["cache-control", "no-store"],
  [
    "content-security-policy",
    `default-src 'none'; script-src 'sha256-${hash}'; connect-src 'self'; img-src data:; ` +
    `base-uri 'none'; form-action 'self'; frame-ancestors 'none'`
  ],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"]
] as const
