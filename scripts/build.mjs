/**
 * Builds dist/: the library (ES modules and declarations, through tsc) and the command line program dist/main.js (minified,
 * through rolldown, with what only some calls need beside it in dist/main). The old dist stays until the new one is
 * complete.
 *
 * With --if-stale it first compares the content of everything that goes in with what the last build read, and does
 * nothing when they are equal.
 */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const dist = path.join(root, "dist")
const fresh = path.join(root, `.dist-${process.pid}`)
const record = ".inputs"
const since = performance.now()

const fingerprint = () => {
  const hash = createHash("sha256")
  const folders = ["src", "layers"].flatMap((folder) =>
    fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" }).sort()
      .filter((name) => name.endsWith(".ts"))
      .map((name) => path.join(folder, name))
  )
  const single = ["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json", "scripts/build.mjs"]
  for (const file of [...folders, ...single]) hash.update(`${file}\n`).update(fs.readFileSync(path.join(root, file)))
  return hash.digest("hex")
}

const lastFingerprint = () => {
  try {
    return fs.readFileSync(path.join(dist, record), "utf8")
  } catch {
    return undefined
  }
}

const library = () =>
  new Promise((resolve, reject) => {
    const tsc = path.join(root, "node_modules/typescript/bin/tsc")
    spawn(process.execPath, [tsc, "-p", "tsconfig.build.json", "--outDir", fresh], { cwd: root, stdio: "inherit" })
      .once("error", reject)
      .once("exit", (code) => code === 0 ? resolve(undefined) : reject(new Error("the library does not compile")))
  })

/**
 * What gives whole modules to its user, such as all of Schema, is a bundle of its own: in one with the program, what the two
 * share would be whole for the program as well (280 kB more at each start, 60 ms of 200 on a slow machine).
 */
const apart = "EvalScope"

/**
 * The prompts of effect's command line make an Intl.Segmenter when they are loaded, and with it load tables of ICU: 10 ms of
 * each start. This one waits until somebody prompts.
 */
const lateSegmenter = `
  export class LateSegmenter {
    constructor(...options) {
      this.options = options
    }
    segment(text) {
      this.segmenter ??= Reflect.construct(Reflect.get(Intl, "Segmenter"), this.options)
      return this.segmenter.segment(text)
    }
  }
`

/** All that a chunk imports before it runs. */
const startOf = (chunks) => {
  const byName = new Map(chunks.map((chunk) => [chunk.fileName, chunk]))
  const modules = new Set()
  const follow = (name) => {
    const chunk = byName.get(name)
    if (chunk === undefined) return
    byName.delete(name)
    for (const module of chunk.moduleIds) modules.add(module)
    chunk.imports.forEach(follow)
  }
  follow("main.js")
  return modules
}

const program = async () => {
  const { rolldown } = await import("rolldown")
  const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
  const options = {
    cwd: root,
    platform: "node",
    // Loaded at run time where they are installed: what runs TypeScript where Node cannot, and what makes ws faster.
    external: ["esbuild", "bufferutil", "utf-8-validate"],
    transform: {
      target: "node20.19",
      define: { __SLIPWAY_VERSION__: JSON.stringify(version) },
      inject: { "Intl.Segmenter": ["late-segmenter", "LateSegmenter"] }
    },
    // Of packages that import what they also load later.
    checks: { ineffectiveDynamicImport: false }
  }
  const late = {
    name: "late-segmenter",
    resolveId: (id) => id === "late-segmenter" ? { id, moduleSideEffects: false } : undefined,
    load: (id) => id === "late-segmenter" ? lateSegmenter : undefined
  }
  // Who imports it is in a chunk, beside it: the text stays as it is.
  const beside = {
    name: "apart",
    resolveId: (id) => id.endsWith(`/${apart}.ts`) ? { id: `./${apart}.js`, external: true } : undefined
  }
  const output = { format: "esm", minify: true, comments: { legal: false }, dir: fresh }
  const expression = await rolldown({ ...options, input: `layers/internal/${apart}.ts`, plugins: [late] })
  await expression.write({ ...output, entryFileNames: "main/[name].js", codeSplitting: false })
  await expression.close()
  const whole = await rolldown({ ...options, input: "src/main.ts", plugins: [late, beside] })
  const start = startOf((await whole.generate({ format: "esm" })).output)
  // One file is read faster than forty. It is not main.js: a chunk that imported that under another name would run it anew.
  await whole.write({
    ...output,
    chunkFileNames: "main/[name]-[hash].js",
    codeSplitting: { groups: [{ name: "start", test: (id) => start.has(id) && id !== path.join(root, "src/main.ts") }] }
  })
  await whole.close()
  fs.chmodSync(path.join(fresh, "main.js"), 0o755)
}

const inputs = fingerprint()

if (process.argv.includes("--if-stale") && lastFingerprint() === inputs) {
  console.log("dist is up to date")
} else {
  process.once("exit", () => fs.rmSync(fresh, { recursive: true, force: true }))
  try {
    await Promise.all([library(), program()])
    fs.writeFileSync(path.join(fresh, record), inputs)
    fs.rmSync(dist, { recursive: true, force: true })
    fs.renameSync(fresh, dist)
    console.log(`built dist in ${Math.round(performance.now() - since)} ms`)
  } catch (error) {
    console.error(`dist is not built: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
