/**
 * Builds dist/: the library (ES modules and declarations, through tsc) and the command line program dist/main.js (minified,
 * through esbuild, with what only some calls need beside it in dist/main). The old dist stays until the new one is
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

const program = async () => {
  const esbuild = await import("esbuild")
  const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
  const options = {
    absWorkingDir: root,
    bundle: true,
    minify: true,
    legalComments: "none",
    platform: "node",
    format: "esm",
    target: "node20.19",
    // Loaded at run time if it is installed, to run TypeScript where Node cannot.
    external: ["esbuild"],
    define: { __SLIPWAY_VERSION__: JSON.stringify(version) },
    // CommonJS packages in the bundle ask for node modules with require.
    banner: { js: `import{createRequire as _require}from"node:module";const require=_require(import.meta.url);` }
  }
  await esbuild.build({
    ...options,
    entryPoints: [`layers/internal/${apart}.ts`],
    outdir: path.join(fresh, "main")
  })
  await esbuild.build({
    ...options,
    entryPoints: ["src/main.ts"],
    outdir: fresh,
    chunkNames: "main/[name]-[hash]",
    // What only some calls need is loaded by those alone.
    splitting: true,
    plugins: [{
      name: "apart",
      // Who imports it is in a chunk, beside it.
      setup: (build) =>
        build.onResolve({ filter: new RegExp(`/${apart}\\.ts$`) }, () => ({ path: `./${apart}.js`, external: true }))
    }]
  })
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
