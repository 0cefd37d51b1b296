/** The router against a slow reading of its own documentation: random routes and random requests, from a seed. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as Router from "../../src/app/Router.ts"
import * as Fake from "../utils/exchange.ts"

/** Numbers below a bound, always the same for one seed. */
const generator = (seed: number) => {
  let state = seed
  return (bound: number): number => {
    state = Math.imul(state ^ (state >>> 15), state | 1) + 0x6d2b79f5 | 0
    return ((state ^ (state >>> 14)) >>> 0) % bound
  }
}
type Next = ReturnType<typeof generator>
const oneOf = <A>(next: Next, values: ReadonlyArray<A>): A => values[next(values.length)]!

interface Model {
  readonly method: string
  readonly host: string | undefined
  readonly segments: ReadonlyArray<string>
  readonly wantsInt: boolean
  readonly passes: boolean
  readonly order: number
}

const randomRoute = (next: Next, order: number): Model => {
  const segments = Array.from({ length: 1 + next(3) }, () => oneOf(next, ["a", "b", "1", ":p", "{d:\\d+}", "x-:q"]))
  const end = next(6)
  if (end === 0) segments.push(":o?")
  if (end === 1) segments.push("*rest")
  if (end === 2) segments.push("")
  return {
    method: oneOf(next, ["GET", "GET", "POST", "HEAD", "OPTIONS", "*"]),
    host: next(4) === 0 ? "h.test" : undefined,
    segments: segments.map((segment, index) => segment.replace(/[pdqo](?=[:?]|$)/, (name) => `${name}${index}`)),
    wantsInt: segments.includes(":p") && next(3) === 0,
    passes: next(8) === 0,
    order
  }
}

const intName = ({ segments }: Model) => segments.find((segment) => segment.startsWith(":p"))!.slice(1)

const toRoute = (model: Model) => {
  const options = model.wantsInt ? { path: { [intName(model)]: Schema.Int } as {} } : {}
  const answer = Effect.succeed(HttpServerResponse.empty({ status: 200, headers: { "x-route": String(model.order) } }))
  const route = Router.method(model.method)(
    `/${model.segments.join("/")}` as string,
    options,
    () => model.passes ? Router.pass : answer
  )
  return model.host === undefined ? route : Router.host(model.host, route)
}

// ---- the documentation, read slowly

const rank = (segment: string): string =>
  segment.startsWith("*") ? "4" : segment.startsWith(":") ? "3" : /[{:]/.test(segment) ? "2" : "1"

/** The forms of a route that fit a path, each with what decides its place. */
const fits = (route: Model, path: string): ReadonlyArray<string> => {
  const { segments } = route
  const forms = segments.at(-1)!.endsWith("?") ? [segments, segments.slice(0, -1)] : [segments]
  return forms.flatMap((form) => {
    const source = form.map((segment) =>
      segment.startsWith("*") ? "(.*)" : segment.replace(/\{\w+:(.*)\}/, "($1)").replace(/:\w+\??/, "([^/]+)")
    )
    const match = new RegExp(`^/${source.join("/")}$`).exec(path)
    const place = form.findIndex((segment) => segment.startsWith(":p"))
    const refused = route.wantsInt && !Number.isInteger(Number(path.split("/")[place + 1]))
    return match === null ? [] : [`${form.map(rank).join("")} ${refused ? "refused" : "fits"}`]
  })
}

interface Expected {
  readonly tried: ReadonlyArray<Model>
  readonly allowed: ReadonlySet<string>
}

const lookUp = (routes: ReadonlyArray<Model>, method: string, host: string, paths: ReadonlyArray<string>): Expected => {
  const allowed = new Set<string>()
  const all = paths.flatMap((path, turn) =>
    routes.flatMap((route) =>
      route.host !== undefined && route.host !== host ? [] : fits(route, path).flatMap((fit) => {
        const [ranks, verdict] = fit.split(" ")
        if (verdict === "refused") return []
        if (route.method !== "*") allowed.add(route.method)
        const own = route.method === method
          ? "0"
          : method === "HEAD" && route.method === "GET"
          ? "1"
          : route.method === "*"
          ? "2"
          : ""
        // One segment after the other: literal, tested, plain, the rest.
        const key = [turn, route.host === undefined ? 1 : 0, ranks, own, route.wantsInt ? 0 : 1, 1000 + route.order]
        return own === "" ? [] : [{ key: key.join(" "), route }]
      })
    )
  )
  if (allowed.has("GET")) allowed.add("HEAD")
  if (allowed.size > 0) allowed.add("OPTIONS")
  return { tried: all.sort((a, b) => a.key < b.key ? -1 : 1).map(({ route }) => route), allowed }
}

const expected = (
  routes: ReadonlyArray<Model>,
  policy: "strict" | "ignore",
  { headers: { host }, method, target }: ReturnType<typeof randomRequest>
): string => {
  const other = target.endsWith("/") ? target.slice(0, -1) : `${target}/`
  const first = lookUp(routes, method, host, [target])
  const again = policy === "ignore" && first.tried.length === 0 && target !== "/"
  const { allowed, tried } = again ? lookUp(routes, method, host, [target, other]) : first
  const winner = tried.find(({ passes }) => !passes)
  if (winner !== undefined) return `200 ${winner.order}`
  if (tried.length > 0 || allowed.size === 0) return "404"
  return `${method === "OPTIONS" ? 204 : 405} ${[...allowed].sort().join(", ")}`
}

const randomRequest = (next: Next) => ({
  method: oneOf(next, ["GET", "GET", "HEAD", "POST", "OPTIONS", "PATCH"]),
  target: `/${Array.from({ length: 1 + next(4) }, () => oneOf(next, ["a", "b", "1", "1", "22", "x-1", ""])).join("/")}`,
  headers: { host: oneOf(next, ["h.test", "other.test"]) }
})

const text = (route: Model) => `${route.host ?? ""} ${route.method} ${route.segments.join("/")}`

describe("Router", () => {
  it.effect("finds what its documentation says, whatever the routes [C178] [C179] [C182]", () =>
    Effect.gen(function*() {
      const next = generator(20260)
      const seen: Record<string, number> = {}
      for (let set = 0; set < 100; set++) {
        const known = new Set<string>()
        const routes = Array.from({ length: 2 + next(14) }, (_, order) => randomRoute(next, order))
          .filter((route) => !known.has(text(route)) && known.add(text(route)))
        const trailingSlash = oneOf(next, ["strict", "ignore"] as const)
        const app = Router.make({ trailingSlash }, ...routes.map(toRoute))
        for (let time = 0; time < 20; time++) {
          const request = randomRequest(next)
          const { header, status } = yield* Fake.request(app, request)
          const answer = status === 200
            ? `200 ${header("x-route")}`
            : status === 404
            ? "404"
            : `${status} ${header("allow")}`
          const wanted = expected(routes, trailingSlash, request)
          seen[wanted.slice(0, 3)] = (seen[wanted.slice(0, 3)] ?? 0) + 1
          const about = `set ${set}: ${trailingSlash} ${JSON.stringify(request)}\n${routes.map(text).join("\n")}`
          assert.strictEqual(answer, wanted, about)
        }
      }
      for (const status of ["200", "204", "404", "405"]) assert.isAbove(seen[status] ?? 0, 30, status)
    }))

  it.effect("finds the way back from its own URLs [C181]", () =>
    Effect.gen(function*() {
      const next = generator(7)
      const letters = [
        "a",
        "B",
        "7",
        "/",
        "%",
        "?",
        "#",
        " ",
        ".",
        "-",
        "é",
        "漢",
        "😀",
        "\\",
        "\n",
        "\0",
        "+",
        ":",
        "&"
      ]
      const value = () => Array.from({ length: 1 + next(5) }, () => oneOf(next, letters)).join("")
      const app = Router.make(
        Router.get("/one/:a", { name: "one" }, ({ params }) => Effect.succeed(params)),
        Router.get("/two/:a-:b.json", { name: "two" }, ({ params }) => Effect.succeed(params)),
        Router.get("/optional/:a/:b?", { name: "optional" }, ({ params }) => Effect.succeed(params)),
        Router.get("/rest/:a/*b", { name: "rest" }, ({ params }) => Effect.succeed(params))
      )
      let made = 0
      for (let time = 0; time < 400; time++) {
        const name = oneOf(next, ["one", "two", "optional", "rest"] as const)
        const [a, b] = [value(), value()]
        // A text with the separator in it is not found again: the first one ends the first parameter.
        if (name === "two" && a.slice(1).includes("-")) continue
        const params = name === "one" || (name === "optional" && next(2) === 0) ? { a } : { a, b }
        let url: string
        try {
          url = app.urlFor(name, params as { readonly a: string; readonly b: string })
        } catch (error) {
          assert.match(String(error), /cannot be "\.\.?"/, JSON.stringify(params))
          continue
        }
        made++
        assert.match(url, /^\/[\w\-.~!'()*%/]*$/)
        assert.strictEqual(new URL(url, "http://a.test").pathname, url)
        assert.deepStrictEqual((yield* Fake.request(app, { target: url })).json, params, url)
      }
      assert.isAbove(made, 300)
    }))
})
