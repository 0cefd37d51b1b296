import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as Settings from "../../src/schema/Settings.ts"

describe("SettingsDocs", () => {
  describe("toMarkdown", () => {
    it("has one row for every setting, with all its names", () => {
      const rows = Settings.toMarkdown().split("\n").filter((line) => line.startsWith("| "))
      for (const entry of Settings.entries) {
        const names = [...Settings.flagsOf(entry), ...Settings.variablesOf(entry)]
          .map((name) => `\`${name.replaceAll("|", "\\|")}\``)
        const found = rows.filter((row) => names.every((name) => row.includes(name)))
        assert.strictEqual(found.length, 1, entry.key)
        assert.strictEqual(found[0]!.replaceAll("\\|", "").split("|").length, 7, entry.key)
      }
    })

    it("has a heading for every section", () => {
      const headings = Settings.toMarkdown().split("\n").filter((line) => line.startsWith("### "))
      assert.deepStrictEqual(headings, Settings.sections.map(({ title }) => `### ${title}`))
    })
  })

  describe("toManual", () => {
    const lines = Settings.toManual().trimEnd().split("\n")
    const written = lines.map((line) => line.replace(/\\f[BIR]/g, "").replaceAll("\\-", "-").replaceAll("\\e", "\\"))

    it("is what docs/slipway.1 holds", () => {
      assert.strictEqual(fs.readFileSync(new URL("../../docs/slipway.1", import.meta.url), "utf8"), Settings.toManual())
    })

    it("explains every flag with its variables and default, below the heading of its section", () => {
      for (const entry of Settings.entries) {
        const at = written.indexOf(Settings.flagsOf(entry).join(", "))
        assert.strictEqual(lines[at - 1], ".TP", entry.key)
        assert.strictEqual(written[at + 1], entry.description)
        assert.strictEqual(written[at + 2], `Default: ${Settings.defaultText(entry)}.`)
        assert.strictEqual(written[at + 3]!, `[${Settings.variablesOf(entry).join(", ")}]`)
        const heading = written.slice(0, at).findLast((line) => line.startsWith(".SS "))
        assert.strictEqual(heading, `.SS ${entry.section}`)
      }
    })

    it("has no request and no escape but those of a manual page", () => {
      for (const line of lines) {
        assert.match(line, /^(?:\.(?:TH|SH|SS|TP|PP)\b|[^.'])/)
        assert.notMatch(line.replace(/\\(?:f[BIR]|-|e|&)/g, ""), /\\/)
        assert.strictEqual([...line.matchAll(/\\f[BI]/g)].length, [...line.matchAll(/\\fR/g)].length, line)
      }
    })
  })
})
