/** What the command line program loads before it does anything: every worker pays for it at each start. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./utils/commandLine.ts"

/** The file and all that it imports before it runs. */
const loadedBy = (file: string, loaded = new Set<string>()): ReadonlySet<string> => {
  if (loaded.has(file)) return loaded
  loaded.add(file)
  // Minified by rolldown: an import stands at the beginning of a statement.
  const imports = fs.readFileSync(file, "utf8").matchAll(
    /(?:^|[;\n])(?:import|export)\s*(?:\{[^{}]*\}\s*from)?\s*"(\.[^"]+)"/g
  )
  for (const [, specifier] of imports) loadedBy(path.resolve(path.dirname(file), specifier!), loaded)
  return loaded
}

describe("dist/main.js", () => {
  it("loads less than 800 kB in three files to start, and not what only an expression can use", () => {
    const files = [...loadedBy(path.join(root, "dist/main.js"))]
    assert.deepStrictEqual(files.map((file) => path.basename(file).replace(/-.*/, "")), [
      "main.js",
      "start",
      "rolldown"
    ])
    const bytes = files.reduce((sum, file) => sum + fs.statSync(file).size, 0)
    assert.isAbove(bytes, 100_000)
    assert.isBelow(bytes, 800_000)
  })
})
