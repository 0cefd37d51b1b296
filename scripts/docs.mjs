/** Writes docs/settings.md from the settings table. Needs a build: `npm run build` first. */
import { writeFileSync } from "node:fs"
import { Settings } from "slipway"

writeFileSync(new URL("../docs/settings.md", import.meta.url), Settings.toMarkdown())
console.log("wrote docs/settings.md")
