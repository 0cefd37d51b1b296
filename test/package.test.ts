/**
 * What users install: the packed tarball, unpacked into a project of its own beside its dependencies, as a package
 * manager would leave it, without asking one (the network may be away). Expects a current dist: `npm test` builds it.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const readJson = (file: string) => JSON.parse(fs.readFileSync(file, "utf8"))

/** **Returns** what the command printed; a command that fails is a defect that shows it. */
const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.callback((resume, signal) => {
    execFile(command, args, { cwd, signal, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      resume(error === null ? Effect.succeed(stdout) : Effect.die(new Error(`${error.message}\n${stdout}\n${stderr}`)))
    })
  })

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "slipway-package-")))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

/** Layers that stand on packages which only their users install; the first is missed first. */
const optionalPeers = { PubSubNats: ["@nats-io/transport-node", "@nats-io/jetstream"] }

const link = (modules: string, name: string): void => {
  fs.mkdirSync(path.dirname(path.join(modules, name)), { recursive: true })
  fs.symlinkSync(path.join(root, "node_modules", name), path.join(modules, name))
}

/** A project that has installed the package: its folder, and the names of the files in the tarball. */
class Project extends Context.Service<Project, {
  readonly folder: string
  readonly packed: ReadonlyArray<string>
}>()("test/Project") {
  static readonly layer = Layer.effect(
    Project,
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const modules = path.join(folder, "node_modules")
      const installed = path.join(modules, "slipway")
      fs.mkdirSync(path.join(modules, ".bin"), { recursive: true })
      yield* run(root, "npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", folder)
      const tarball = fs.readdirSync(folder).find((name) => name.endsWith(".tgz"))
      assert.isDefined(tarball)
      yield* run(folder, "tar", "-xzf", tarball)
      fs.renameSync(path.join(folder, "package"), installed)
      const { bin, dependencies } = readJson(path.join(installed, "package.json"))
      for (const name of [...Object.keys(dependencies), "@types/node"]) link(modules, name)
      fs.symlinkSync(path.join(installed, bin.slipway), path.join(modules, ".bin/slipway"))
      fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
      const packed = (yield* run(folder, "tar", "-tzf", tarball)).trim().split("\n")
      return { folder, packed: packed.map((name) => name.replace(/^package\//, "")) }
    })
  )
}

const firstProgram = (): string => {
  const program = /^```ts\n([^]*?)^```$/m.exec(fs.readFileSync(path.join(root, "README.md"), "utf8"))?.[1]
  assert.isDefined(program, "the README begins with a program")
  assert.include(program, "port: 5000")
  return program.replace("port: 5000", "port: 0")
}

/** Compiles a program of the project; a type error is a defect that shows it. */
const compile = Effect.fnUntraced(function*(folder: string, source: string, name = "app") {
  const compilerOptions = {
    target: "ES2023",
    lib: ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
    module: "NodeNext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true
  }
  const config = path.join(folder, `tsconfig.${name}.json`)
  fs.writeFileSync(path.join(folder, `${name}.ts`), source)
  fs.writeFileSync(config, JSON.stringify({ compilerOptions, files: [`${name}.ts`] }))
  yield* run(folder, process.execPath, path.join(root, "node_modules/typescript/bin/tsc"), "-p", config)
})

// The program does not say where it listens, so this is loaded before it and does.
const tellPort = `
import { Server } from "node:net"
const { listen } = Server.prototype
Server.prototype.listen = function(...args) {
  this.once("listening", () => process.send(this.address().port))
  return listen.apply(this, args)
}
`

const startedPort = (folder: string, program: string) =>
  Effect.gen(function*() {
    const preload = `data:text/javascript,${encodeURIComponent(tellPort)}`
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--import", preload, program], {
          cwd: folder,
          stdio: ["ignore", "pipe", "pipe", "ipc"]
        })
      ),
      (child) =>
        Effect.promise(async () => {
          const ended = child.exitCode === null ? once(child, "exit") : undefined
          child.kill("SIGKILL")
          await ended
        })
    )
    let printed = ""
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text) => printed += text)
    return yield* Effect.callback<number>((resume) => {
      child.once("message", (port) => resume(Effect.succeed(Number(port))))
      child.once("close", (code) => resume(Effect.die(new Error(`the program exited with ${code}\n${printed}`))))
    })
  })

describe("package", () => {
  layer(Project.layer, { excludeTestServices: true, timeout: 60_000 })((it) => {
    it.effect("type-checks and runs the first program of the README", () =>
      Effect.gen(function*() {
        const { folder } = yield* Project
        yield* compile(folder, firstProgram())
        const port = yield* startedPort(folder, "app.js")
        const answer = yield* Effect.promise((signal) => fetch(`http://127.0.0.1:${port}/world`, { signal }))
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(yield* Effect.promise(() => answer.text()), "Hello, /world")
      }), 60_000)

    it.effect("puts its command on the path", () =>
      Effect.gen(function*() {
        const { folder } = yield* Project
        const { version } = readJson(path.join(folder, "node_modules/slipway/package.json"))
        const printed = yield* run(folder, path.join(folder, "node_modules/.bin/slipway"), "--version")
        assert.include(printed, version)
      }), 60_000)

    it.effect("has one door for each public layer and none for internals", () =>
      Effect.gen(function*() {
        const { folder, packed } = yield* Project
        const layers = packed.flatMap((name) => /^dist\/layers\/(\w+)\.js$/.exec(name)?.[1] ?? [])
        assert.include(layers, "TestClient")
        // Tests have a door of their own.
        const others = new Set(["TestClient", ...Object.keys(optionalPeers)])
        const doors = ["testing", ...layers.flatMap((name) => others.has(name) ? [] : [`layers/${name}`])]
        const script = `
          for (const door of ${JSON.stringify(doors)}) await import("slipway/" + door)
          for (const door of ["layers/internal/ServerCore", "layers/TestClient"]) {
            await import("slipway/" + door).catch((error) => console.log(error.code))
          }
        `
        const printed = yield* run(folder, process.execPath, "--input-type=module", "--eval", script)
        assert.strictEqual(printed, "ERR_PACKAGE_PATH_NOT_EXPORTED\n".repeat(2))
      }), 60_000)

    for (const [layer, peers] of Object.entries(optionalPeers)) {
      it.effect(`opens layers/${layer} to those who have installed what it stands on`, () =>
        Effect.gen(function*() {
          const { folder } = yield* Project
          const script =
            `await import("slipway/layers/${layer}").then(() => console.log("open"), (error) => console.log(error.message))`
          const enter = run(folder, process.execPath, "--input-type=module", "--eval", script)
          assert.include(yield* enter, `Cannot find package '${peers[0]}'`)
          for (const name of peers) link(path.join(folder, "node_modules"), name)
          assert.strictEqual(yield* enter, "open\n")
        }), 60_000)
    }

    it.effect("type-checks routes, an HttpApi and a test of a user", () =>
      Effect.gen(function*() {
        const { folder } = yield* Project
        for (const name of ["todos", "api"]) {
          yield* compile(folder, fs.readFileSync(path.join(root, `examples/${name}.ts`), "utf8"), name)
        }
        yield* compile(
          folder,
          `import * as Effect from "effect/Effect"
           import { Router } from "slipway"
           import * as TestClient from "slipway/testing"
           const routes = Router.make(Router.get("/:name", ({ path }) => Effect.succeed(path.name)))
           export const test = Effect.gen(function*() {
             const client = yield* TestClient.make(routes)
             const response = yield* client.get("/x")
             return (yield* response.text) satisfies string
           })`,
          "user"
        )
      }), 60_000)

    it.effect("packs what was built, its sources and its papers, and nothing else", () =>
      Effect.gen(function*() {
        const { packed } = yield* Project
        const known = /^(?:dist|src|layers|docs|deploy)\/|^(?:package\.json|README\.md|CHANGELOG\.md|LICENSE)$/
        assert.deepStrictEqual(packed.filter((name) => !known.test(name)), [])
        assert.includeMembers([...packed], ["dist/main.js", "dist/src/index.js", "dist/src/index.d.ts", "LICENSE"])
        const modules = packed.flatMap((name) => /^dist\/(.*\/.*)\.js$/.exec(name)?.[1] ?? [])
        // What the program loads when it needs it has no sources of its own.
        const compiled = modules.filter((name) => !name.startsWith("main/"))
        assert.deepStrictEqual(compiled.filter((name) => !packed.includes(`${name}.ts`)), [])
      }))

    it.effect("keeps the paths of the machine that built it to itself", () =>
      Effect.gen(function*() {
        const { folder, packed } = yield* Project
        const faults = packed.filter((name) => {
          const text = fs.readFileSync(path.join(folder, "node_modules/slipway", name), "utf8")
          return text.includes(root) || text.includes(pathToFileURL(root).href)
        })
        assert.deepStrictEqual(faults, [])
      }))
  })
})
