/**
 * Keeps the house as it was drawn: which folder may import which, where time and chance come from, how files start, how
 * long they get and how services are named. It reads the text of every file and runs none of it.
 *
 * The lint configuration draws the same arrows for editors. This file decides: it resolves paths, so it also sees who
 * reaches into an internal/ folder.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

const filesOf = (folder: string): Array<string> =>
  fs.existsSync(path.join(root, folder))
    ? fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
      .map((name) => path.posix.join(folder, name.split(path.sep).join("/")))
      .filter((name) => /\.(?:ts|mjs)$/.test(name))
      .sort()
    : []

const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const house = [...filesOf("src"), ...filesOf("layers")]

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
}

const isTypeOnly = (keyword: string, clause: string): boolean => {
  if (/^type\s/.test(clause)) return true
  const names = /^\{([^}]*)\}\s*$/.exec(clause)?.[1]
  return keyword === "import" && names !== undefined && names.split(",").every((name) => /^\s*type\s/.test(name))
}

const importsOf = (source: string): Array<Import> => [
  ...Array.from(
    source.matchAll(/^(import|export)\s+([^"'`;]*?)\s*from\s+"([^"]+)"/gm),
    ([, keyword = "", clause = "", specifier = ""]) => ({ specifier, typeOnly: isTypeOnly(keyword, clause) })
  ),
  ...Array.from(
    source.matchAll(/^import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"/gm),
    ([, bare, dynamic]) => ({ specifier: bare ?? dynamic ?? "", typeOnly: false })
  )
]

const withoutComments = (source: string): string =>
  source.replaceAll(/\/\*[^]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1")

const resolve = (file: string, specifier: string): string => path.posix.join(path.posix.dirname(file), specifier)

/** What a folder may import besides itself. A package list that is missing means: any that package.json declares. */
interface Arrow {
  readonly values: ReadonlyArray<string>
  readonly types?: ReadonlyArray<string>
  readonly packages?: ReadonlyArray<string>
}

const arrows: Readonly<Record<string, Arrow>> = {
  "src/protocol": { values: [], packages: [] },
  "src/schema": { values: [], packages: ["effect"] },
  "src/service": { values: ["src/schema"], types: ["src/app"], packages: ["effect"] },
  // A table of words, how paths are decoded, how lists in fields are read: grammar, and no engine.
  "src/app": {
    values: [
      "src/service",
      "src/schema",
      "src/protocol/FieldList.ts",
      "src/protocol/MountPoint.ts",
      "src/protocol/ReasonPhrases.ts",
      "src/protocol/RequestTarget.ts"
    ],
    types: ["src/protocol"],
    packages: ["effect"]
  },
  "src/middleware": { values: ["src/app", "src/service", "src/schema"], packages: ["effect"] },
  "src/index.ts": {
    values: ["src/protocol", "src/schema", "src/service", "src/app", "src/middleware"],
    packages: []
  },
  "src/main.ts": { values: ["src/schema", "src/service", "src/app", "src/middleware", "layers"] },
  "layers": { values: ["src/protocol", "src/schema", "src/service", "src/app", "src/middleware"] }
}

const homeOf = (file: string): string | undefined =>
  Object.keys(arrows).find((home) => file === home || file.startsWith(`${home}/`))

const packageOf = (specifier: string): string =>
  specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/")

const { dependencies, peerDependencies } = JSON.parse(read("package.json"))

const declared: ReadonlySet<string> = new Set(Object.keys({ ...dependencies, ...peerDependencies }))

/** Packages without subpaths. */
const wholePackages: ReadonlySet<string> = new Set(["@nats-io/jetstream", "@nats-io/transport-node", "ws"])

const faultInPackage = (file: string, arrow: Arrow, specifier: string): string | undefined => {
  if (specifier.startsWith("node:")) {
    return file.startsWith("layers/") || file === "src/main.ts" ? undefined : "only layers import node modules"
  }
  const name = packageOf(specifier)
  if (name === specifier && !wholePackages.has(name)) return "a package is imported by subpath, never whole"
  if (!declared.has(name)) return `package.json does not declare ${name}`
  return arrow.packages === undefined || arrow.packages.includes(name) ? undefined : `${name} is out of reach here`
}

const faultInPath = (file: string, home: string, arrow: Arrow, { specifier, typeOnly }: Import): string | undefined => {
  const target = resolve(file, specifier)
  if (!target.endsWith(".ts")) return "a relative import ends in .ts"
  const parent = /^(.*?)\/internal\//.exec(target)?.[1]
  if (parent !== undefined && !file.startsWith(`${parent}/`) && file !== "src/main.ts") {
    return `${parent}/internal belongs to ${parent}`
  }
  const reach = [home, ...arrow.values, ...(typeOnly ? arrow.types ?? [] : [])]
  return reach.some((place) => target === place || target.startsWith(`${place}/`))
    ? undefined
    : `${home} does not reach ${target}${typeOnly ? "" : " with a value"}`
}

const faultsOf = (file: string, source: string): Array<string> => {
  const home = homeOf(file)
  const arrow = home === undefined ? undefined : arrows[home]
  if (home === undefined || arrow === undefined) return [`${file}: no arrow is drawn for its folder`]
  return importsOf(source).flatMap((found) => {
    const fault = found.specifier.startsWith(".")
      ? faultInPath(file, home, arrow, found)
      : faultInPackage(file, arrow, found.specifier)
    return fault === undefined ? [] : [`${file}: ${found.specifier}: ${fault}`]
  })
}

describe("architecture", () => {
  describe("reading imports", () => {
    it("finds every form of import and tells types from values", () => {
      const source = [
        `import type * as A from "./A.ts"`,
        `import { b, type B } from "./B.ts"`,
        `import {\n  type C,\n  type D\n} from "./C.ts"`,
        `import "./E.ts"`,
        `export * as F from "./F.ts"`,
        `export type { G } from "./G.ts"`,
        `const h = () => import("./H.ts")`
      ].join("\n")
      assert.deepStrictEqual(importsOf(source), [
        { specifier: "./A.ts", typeOnly: true },
        { specifier: "./B.ts", typeOnly: false },
        { specifier: "./C.ts", typeOnly: true },
        { specifier: "./F.ts", typeOnly: false },
        { specifier: "./G.ts", typeOnly: true },
        { specifier: "./E.ts", typeOnly: false },
        { specifier: "./H.ts", typeOnly: false }
      ])
    })

    for (
      const [why, file, statement] of [
        ["Effect in the protocol", "src/protocol/X.ts", `import * as Effect from "effect/Effect"`],
        ["a protocol value in an app", "src/app/X.ts", `import { parse } from "../protocol/Http1.ts"`],
        ["an app value in a service", "src/service/X.ts", `import * as App from "../app/App.ts"`],
        ["a layer in src", "src/middleware/X.ts", `import * as Node from "../../layers/ServerNode.ts"`],
        ["a node module in src", "src/app/X.ts", `import * as fs from "node:fs"`],
        ["the effect barrel", "layers/X.ts", `import { Effect } from "effect"`],
        ["an undeclared package", "layers/X.ts", `import * as left from "left-pad/left"`],
        ["another folder's internals", "layers/X.ts", `import { a } from "../src/app/internal/Target.ts"`],
        ["the barrel of src in a layer", "layers/X.ts", `import { App } from "../src/index.ts"`],
        ["an import without its extension", "layers/X.ts", `import { a } from "./Y"`]
      ] as const
    ) {
      it(`refuses ${why}`, () => {
        assert.strictEqual(faultsOf(file, statement).length, 1)
      })
    }

    it("lets a service name an app's types, and an app the protocol's", () => {
      assert.deepStrictEqual(faultsOf("src/service/X.ts", `import type { App } from "../app/App.ts"`), [])
      assert.deepStrictEqual(faultsOf("src/app/X.ts", `import type { Limits } from "../protocol/Limits.ts"`), [])
    })
  })

  it("has files to look at", () => {
    assert.isAbove(filesOf("src").length, 10)
    assert.isAbove(filesOf("layers").length, 5)
  })

  it("imports along the arrows only", () => {
    assert.deepStrictEqual(house.flatMap((file) => faultsOf(file, read(file))), [])
  })

  it("shows examples through the doors that users have", () => {
    const faults = filesOf("examples").flatMap((file) =>
      importsOf(read(file))
        .filter(({ specifier }) => specifier.startsWith("."))
        .filter(({ specifier }) => !resolve(file, specifier).startsWith("examples/"))
        .map(({ specifier }) => `${file}: ${specifier}`)
    )
    assert.deepStrictEqual(faults, [])
  })

  describe("time and chance", () => {
    /** Files that may ask the machine itself, each with its reason. */
    const allowed: Readonly<Record<string, string>> = {
      "layers/internal/ServerCore.ts": "writes at the end of a turn of the event loop, which is no time",
      "layers/internal/Http2Connection.ts": "lets nghttp2 finish the bytes of a turn before its session ends",
      "layers/ServerMemory.ts": "a turn of the event loop passes no time; settle waits for what is already due",
      "layers/internal/ServerTime.ts": "the live monotonic clock as a number, where no other Clock is provided",
      "layers/internal/RuntimeReport.ts": "measures the event loop itself",
      "src/app/admin/script.ts": "runs in a browser, which has no Effect",
      "layers/internal/TlsContexts.ts": "keys of session tickets, which nobody may foresee"
    }

    /** Readings, waits and numbers that no Clock and no Random decides about, however they are reached. */
    const machine = new RegExp(
      [
        /\bDate\.now\b|\bnew Date\b(?!\((?!\)))|(?<!new )(?<![.\w])Date\(/,
        /\bDateTime\.\w*[nN]ow(?:Unsafe|AsDate)\b|\bTemporal\.Now\b/,
        /\bperformance\.\w+|\bhrtime\b|\bprocess\.uptime\b/,
        /(?<![.\w])set(?:Timeout|Interval|Immediate)\b|\bglobalThis\.set\w+|\.setTimeout\(|\bAbortSignal\.timeout\b|\bAtomics\.wait/,
        /"node:(?:timers|perf_hooks)[/\w]*"/,
        /\bMath\.random\b|\brandom(?:UUID|Bytes|Int|Fill(?:Sync)?)\b|\bgetRandomValues\b/
      ].map(({ source }) => source).join("|"),
      "g"
    )

    const usesIn = (source: string) => withoutComments(source).match(machine) ?? []
    const usesOf = (file: string) => usesIn(read(file))

    for (
      const source of [
        "Date.now()",
        "new Date()",
        "new Date",
        "Date()",
        "DateTime.nowUnsafe()",
        "Temporal.Now.instant()",
        "performance.now()",
        "performance.timeOrigin",
        "process.hrtime.bigint()",
        `import { hrtime } from "node:process"`,
        "process.uptime()",
        "setTimeout(f, 1)",
        "setInterval(f, 1)",
        "setImmediate(f)",
        "globalThis.setTimeout(f, 1)",
        "socket.setTimeout(1)",
        "AbortSignal.timeout(1)",
        "Atomics.wait(a, 0, 0)",
        `import { setTimeout as sleep } from "node:timers/promises"`,
        `import * as Hooks from "node:perf_hooks"`,
        "Math.random()",
        "crypto.randomUUID()",
        "Crypto.randomBytes(8)",
        "crypto.getRandomValues(bytes)"
      ]
    ) {
      it(`are seen in ${source}`, () => {
        assert.isNotEmpty(usesIn(source))
      })
    }

    it("are not seen where a given time is written down, nor in a type", () => {
      const source = "new Date(second * 1000)\nlet date: Date\nnew Date(\n  millis\n)\nEffect.sleep(1)\nhttpDate()"
      assert.isEmpty(usesIn(source))
    })

    it("come from Effect's Clock and Random, so that tests decide about them", () => {
      const faults = house.filter((file) => !Object.hasOwn(allowed, file))
        .flatMap((file) => usesOf(file).map((use) => `${file}: ${use}`))
      assert.deepStrictEqual(faults, [])
    })

    it("has no exception that nobody needs", () => {
      assert.deepStrictEqual(Object.keys(allowed).filter((file) => usesOf(file).length === 0), [])
    })
  })

  it("opens every file of src and layers with a header of at most ten lines", () => {
    const faults = house.flatMap((file) => {
      const header = /^(?:#!.*\n)?(\/\*\*[^]*?\*\/)/.exec(read(file))?.[1]
      if (header === undefined) return [`${file}: no header`]
      const lines = header.split("\n").length - (header.includes("\n") ? 2 : 0)
      return lines > 10 ? [`${file}: a header of ${lines} lines`] : []
    })
    assert.deepStrictEqual(faults, [])
  })

  it("keeps every file within 600 lines", () => {
    const files = [...house, ...["test", "scripts", "examples"].flatMap(filesOf)]
    const faults = files.map((file) => ({ file, lines: read(file).split("\n").length - 1 }))
      .flatMap(({ file, lines }) => lines > 600 ? [`${file}: ${lines} lines`] : [])
    assert.deepStrictEqual(faults, [])
  })

  it("names the class and the id of a service after its file", () => {
    const faults = filesOf("src/service").filter((file) => {
      const name = path.posix.basename(file, ".ts")
      const source = read(file)
      return !source.includes(`export class ${name} extends Context.Service<${name},`)
        || !source.includes(`}>()("slipway/service/${name}") {}`)
    })
    assert.deepStrictEqual(faults, [])
  })
})
