import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as TestClient from "../../layers/TestClient.ts"

const read = (path: string): string => Fs.readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")

describe("docs/testing.md", () => {
  it("shows the example test as it runs, but for where it imports from", () => {
    const shown = /^```ts\n([^]*?)^```$/m.exec(read("docs/testing.md"))?.[1]
    const asUsers = read("test/examples/testing.test.ts")
      .replace(`import * as TestClient from "../../layers/TestClient.ts"\n`, "")
      .replace(
        `import * as App from "../../src/app/App.ts"\n`,
        `import { App } from "slipway"\nimport * as TestClient from "slipway/testing"\n`
      )
    assert.strictEqual(shown, asUsers)
  })

  it("names what there is", () => {
    const named = [...read("docs/testing.md").matchAll(/\bTestClient\.(\w+)/g)].map(([, name]) => name!)
    assert.isAbove(named.length, 5)
    assert.deepStrictEqual(named.filter((name) => !Object.hasOwn(TestClient, name)), [])
  })
})
