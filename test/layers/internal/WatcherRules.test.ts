import { assert, describe, it } from "@effect/vitest"
import * as WatcherRules from "../../../layers/internal/WatcherRules.ts"

const dirs = ["/app"]

const counting = (rules: WatcherRules.Rules, files: ReadonlyArray<string>) =>
  files.filter((file) => rules.hasFile(`/app/${file}`))

describe("WatcherRules", () => {
  it("count everything that an application may be made of [C166] [W94]", () => {
    const files = ["app.ts", "lib/a.js", "views/a.html", "a.css", "a/b/c/data.json", "schema.graphql", "Makefile"]
    assert.deepStrictEqual(counting(WatcherRules.make({ dirs }), files), files)
  })

  it("leave out what is installed, made, logged, hidden, kept by the application, or left by an editor", () => {
    const files = [
      "node_modules/a/index.js",
      "lib/node_modules/a/index.js",
      "dist/app.js",
      "coverage/a.html",
      "logs/access",
      "access.log",
      "access.log.1",
      "a.tmp",
      ".git/HEAD",
      ".env.swp",
      ".hidden/a.ts",
      "app.pid",
      "app.sock",
      "a.sqlite",
      "a.sqlite-wal",
      "data.db",
      "data.db-journal",
      ".app.ts.swp",
      "app.ts.swx",
      "app.ts~",
      "#app.ts#",
      ".#app.ts",
      "4913",
      "app.ts___jb_tmp___",
      "app.ts.kate-swp"
    ]
    assert.deepStrictEqual(counting(WatcherRules.make({ dirs }), files), [])
  })

  it("do not count what is outside, whatever its name begins with", () => {
    const rules = WatcherRules.make({ dirs })
    for (const file of ["/other/a.ts", "/app2/a.ts", "/a.ts", "/app"]) assert.isFalse(rules.hasFile(file))
  })

  it("are about names below the folder: one in a hidden or a made folder counts [W94]", () => {
    const rules = WatcherRules.make({ dirs: ["/home/.work/dist/app"] })
    assert.isTrue(rules.hasFile("/home/.work/dist/app/a.ts"))
    assert.isTrue(rules.hasFolder("/home/.work/dist/app"))
  })

  it("bring back what is included, and go where it is", () => {
    const rules = WatcherRules.make({ dirs, include: ["dist/lib/*.js", "*.log", ".github/**"] })
    assert.deepStrictEqual(
      counting(rules, [
        "dist/lib/a.js",
        "dist/a.js",
        "dist/lib/b/a.js",
        "a.log",
        "lib/a.log",
        ".github/a/b.yml",
        "a.tmp"
      ]),
      ["dist/lib/a.js", "a.log", "lib/a.log", ".github/a/b.yml"]
    )
    for (const folder of ["dist", "dist/lib", ".github", ".github/a"]) {
      assert.isTrue(rules.hasFolder(`/app/${folder}`), folder)
    }
    for (const folder of ["dist/other", "node_modules", ".git"]) {
      assert.isFalse(rules.hasFolder(`/app/${folder}`), folder)
    }
  })

  it("never walk installed modules for a pattern that fits anywhere", () => {
    const rules = WatcherRules.make({ dirs, include: ["**/*.ts"] })
    assert.isFalse(rules.hasFolder("/app/node_modules"))
    assert.isTrue(rules.hasFile("/app/a/b.ts"))
  })

  it("let what is excluded have the last word", () => {
    const rules = WatcherRules.make({
      dirs,
      include: ["*.log"],
      exclude: ["generated/", "*.css", "a.log", "lib/*.json"]
    })
    assert.deepStrictEqual(
      counting(rules, [
        "generated/a.ts",
        "generated/b/a.ts",
        "x/a.css",
        "a.log",
        "b.log",
        "lib/a.json",
        "lib/b/a.json"
      ]),
      ["b.log", "lib/b/a.json"]
    )
  })

  for (
    const [pattern, yes, no] of [
      ["*.ts", ["a.ts", ".ts"], ["a.tsx", "a/b.ts"]],
      ["**/*.ts", ["a.ts", "a/b/c.ts"], ["a.tsx"]],
      ["a/**", ["a/b", "a/b/c"], ["b/a", "a"]],
      ["a?c", ["abc"], ["ac", "a/c"]],
      ["*.{ts,js}", ["a.ts", "a.js"], ["a.css"]],
      ["[a-c].ts", ["b.ts"], ["d.ts"]],
      ["[!a-c].ts", ["d.ts"], ["b.ts"]],
      ["[z-a].ts", ["[z-a].ts"], ["a.ts", "z.ts"]],
      ["a+(b).ts", ["a+(b).ts"], ["aab.ts", "ab.ts"]],
      ["a{b", ["ab"], ["a{b"]]
    ] as const
  ) {
    it(`read ${pattern}`, () => {
      const regExp = WatcherRules.toRegExp(pattern)
      assert.deepStrictEqual([...yes, ...no].filter((name) => regExp.test(name)), [...yes])
    })
  }
})
