/**
 * The two faces of a directory listing: a page for people and JSON for programs. Everything that comes from the file
 * system is escaped. Links are relative, so a listing stays right under any mount point and behind any proxy.
 */
import { escape } from "./Html.ts"

/** One line of a listing. */
export interface Entry {
  readonly name: string
  readonly type: "directory" | "file"
  /** Bytes; 0 for a directory. */
  readonly size: number
  /** `undefined` when the file system does not know. */
  readonly modified: Date | undefined
}

/** Loads tables of ICU, which takes 6 to 10 ms of a slow machine: only where folders are listed. */
const collator = new Intl.Collator("en", { numeric: true })

/** Folders first, then by name, numbers by value. */
export const sort = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry> =>
  entries.toSorted((a, b) => a.type === b.type ? collator.compare(a.name, b.name) : a.type === "directory" ? -1 : 1)

/** An array of `{ name, type, size, modified }`, dates in ISO 8601. */
export const json = (entries: ReadonlyArray<Entry>): string => JSON.stringify(entries)

/** `path` is the decoded path of the directory for the title; the root has no link to a parent. */
export const html = (path: string, isRoot: boolean, entries: ReadonlyArray<Entry>): string => {
  const title = escape(path)
  const rows = entries.map(row)
  if (!isRoot) rows.unshift(`<tr><td><a href="../">../</a></td><td></td><td></td></tr>`)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% }
td, th { padding: .2rem .6rem; text-align: left; border-bottom: 1px solid #8884 }
td:first-child { overflow-wrap: anywhere; width: 100% }
td + td, th + th { white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums }
a { text-decoration: none } a:hover { text-decoration: underline }
</style>
<h1>${title}</h1>
<table>
<thead><tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr></thead>
<tbody>
${rows.join("\n")}
</tbody>
</table>
</html>
`
}

const row = (entry: Entry): string => {
  const slash = entry.type === "directory" ? "/" : ""
  // "./" keeps a name with a colon from being read as a scheme.
  const link = escape(`./${encodeURIComponent(entry.name)}${slash}`)
  const size = entry.type === "directory" ? "" : humanSize(entry.size)
  const modified = entry.modified === undefined ? "" : entry.modified.toISOString().slice(0, 16).replace("T", " ")
  return `<tr><td><a href="${link}">${escape(entry.name)}${slash}</a></td><td>${size}</td><td>${modified}</td></tr>`
}

const humanSize = (bytes: number): string => {
  if (bytes < 1024) return `${bytes} B`
  let value = bytes
  let unit = -1
  while (value >= 1024 && unit < 3) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][unit]}`
}
