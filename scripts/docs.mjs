/** Writes docs/settings.md and docs/slipway.1 from the settings table. Needs a build: `npm run build` first. */
import { writeFileSync } from "node:fs"
import { Settings } from "slipway"

const pages = { "settings.md": Settings.toMarkdown(), "slipway.1": Settings.toManual() }
for (const [name, content] of Object.entries(pages)) {
  writeFileSync(new URL(`../docs/${name}`, import.meta.url), content)
  console.log(`wrote docs/${name}`)
}
