import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { malformed, reasons } from "../src/protocol/Malformed.ts"
import { DisconnectReason } from "../src/schema/DisconnectReason.ts"
import { toMarkdown } from "../src/schema/Settings.ts"

const read = (path: string): string => Fs.readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

/** The rows of the table below a heading: the cells of each. */
const rowsBelow = (heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const page = read("docs/errors.md")
  const start = page.indexOf(`## ${heading}`)
  assert.notStrictEqual(start, -1, `docs/errors.md has no heading ${heading}`)
  const end = page.indexOf("\n## ", start + 1)
  return page.slice(start, end === -1 ? undefined : end)
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", "")))
}

/** The tags a source file gives to its reasons. */
const tagsOf = (path: string): ReadonlyArray<string> =>
  [...read(path).matchAll(/readonly _tag: "(\w+)"/g)].map(([, tag]) => tag!)

const sorted = (names: Iterable<string>) => [...new Set(names)].sort()

describe("docs/errors.md", () => {
  for (
    const [heading, path] of [
      ["SendError", "src/app/SendError.ts"],
      ["SettingsError", "src/schema/SettingsError.ts"],
      ["AppModuleError", "layers/internal/AppModule.ts"],
      ["AccessLogFormatError", "src/schema/AccessLogFormat.ts"]
    ] as const
  ) {
    it(`lists the reasons of ${heading}, and no others`, () => {
      const tags = tagsOf(path).filter((tag) => tag !== "App" && tag !== "Layer")
      assert.deepStrictEqual(sorted(rowsBelow(heading).map(([reason]) => reason!)), sorted(tags))
    })
  }

  it("lists the reasons of ServerError, and no others", () => {
    const tags = tagsOf("src/service/Server.ts").filter((tag) => tag !== "tcp" && tag !== "unix")
    assert.deepStrictEqual(sorted(rowsBelow("ServerError").map(([reason]) => reason!)), sorted(tags))
  })

  it("lists every malformed request with its status and sentence", () => {
    const expected = reasons.map((reason) => [reason, String(malformed[reason].status), malformed[reason].message])
    assert.deepStrictEqual(rowsBelow("Malformed requests"), expected)
  })

  it("lists every disconnect reason", () => {
    const standard = DisconnectReason.members[0].literals
    assert.deepStrictEqual(sorted(rowsBelow("Disconnect reasons").map(([reason]) => reason!)), sorted(standard))
  })
})

describe("docs/settings.md", () => {
  it("is what the settings table says", () => {
    assert.strictEqual(read("docs/settings.md"), toMarkdown())
  })
})
