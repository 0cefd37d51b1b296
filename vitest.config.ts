/** How the tests run. Tests see the sources also where an example imports "slipway", never the build. */
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// Vitest calls it to print failures, and Node 20 does not have it.
if (!("groupBy" in Map)) {
  Object.defineProperty(Map, "groupBy", {
    configurable: true,
    writable: true,
    value: <K, A>(items: Iterable<A>, keyOf: (item: A, index: number) => K): Map<K, Array<A>> => {
      const groups = new Map<K, Array<A>>()
      let index = 0
      for (const item of items) {
        const key = keyOf(item, index++)
        const group = groups.get(key)
        if (group === undefined) groups.set(key, [item])
        else group.push(item)
      }
      return groups
    }
  })
}

const fromRoot = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^slipway$/, replacement: fromRoot("src/index.ts") },
      { find: /^slipway\/testing$/, replacement: fromRoot("layers/TestClient.ts") },
      { find: /^slipway\/layers\/(\w+)$/, replacement: `${fromRoot("layers")}/$1.ts` }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    // Files share processes and what these have loaded. A test that leaves
    // something behind is a defect anyway.
    isolate: false,
    // Much of the time tests wait for processes that they have started.
    maxWorkers: 3,
    sequence: { concurrent: true },
    testTimeout: 60_000,
    coverage: { include: ["src/**/*.ts", "layers/**/*.ts"], reporter: ["text", "html"] }
  }
})
