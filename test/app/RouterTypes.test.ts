/** What the types of routes say. Most of it is checked by the compiler: an error that is expected and not there is one. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type App, compose, type Middleware } from "../../src/app/App.ts"
import * as Router from "../../src/app/Router.ts"
import type { SendError } from "../../src/app/SendError.ts"

class Clock extends Context.Service<Clock, { readonly now: string }>()("test/Clock") {}
class User extends Context.Service<User, { readonly name: string }>()("test/User") {}
class Users extends Context.Service<Users, { readonly all: ReadonlyArray<string> }>()("test/Users") {}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same: <A, B>(...different: Equal<A, B> extends true ? [] : [never]) => void = () => {}
const ok = Effect.succeed("ok")

type NeedsOf<A> = A extends App<any, infer R> ? R : never
type ErrorOf<A> = A extends App<infer E, any> ? E : never

/** Provides User, needs Users; as generic as middleware is. */
const authenticate = <E, R>(app: App<E, R>): App<E, Exclude<R, User> | Users> => (exchange) =>
  Effect.flatMap(Users, ({ all }) => Effect.provideService(app(exchange), User, { name: all[0]! }))

const passThrough: Middleware = (app) => app

describe("types of routes", () => {
  it("takes the names of parameters from the path", () => {
    Router.get("/a/:id/{slug}/{no:\\d{1,3}}/v:major.:minor/*rest", ({ path }) => {
      same<
        typeof path,
        {
          readonly id: string
          readonly slug: string
          readonly no: string
          readonly major: string
          readonly minor: string
          readonly rest: string
        }
      >()
      return ok
    })
    Router.get("/archive/:year/:month?/:day?", ({ path }) => {
      same<typeof path, { readonly year: string; readonly month?: string; readonly day?: string }>()
      return ok
    })
    Router.get("/12:30/\\:literal/*", ({ path }) => {
      same<typeof path, { readonly "*": string }>()
      return ok
    })
    // @ts-expect-error the path has no such parameter
    Router.get("/a/:id", ({ path }) => Effect.succeed(path.name))
    const dynamic: string = "/:anything"
    Router.get(dynamic, ({ path }) => Effect.succeed(path["anything"]!))
  })

  it("decodes parts by their Schemas and knows the others", () => {
    Router.post(
      "/:id/:mode/:page?",
      {
        path: { id: Schema.Int, page: Schema.Int },
        query: { limit: Schema.Int },
        headers: { "x-key": Schema.String },
        cookies: { theme: Schema.Literals(["light", "dark"]) },
        body: Schema.Struct({ title: Schema.String })
      },
      ({ body, cookies, headers, path, query }) => {
        same<typeof path, { readonly mode: string; readonly id: number; readonly page?: number }>()
        same<typeof query, { readonly limit: number }>()
        same<typeof headers, { readonly "x-key": string }>()
        same<typeof cookies, { readonly theme: "light" | "dark" }>()
        same<typeof body, { readonly title: string }>()
        return ok
      }
    )
    Router.get("/", ({ body, cookies, query }) => {
      same<typeof body, undefined>()
      same<typeof cookies, Readonly<Record<string, string>>>()
      same<typeof query, Readonly<Record<string, string | ReadonlyArray<string>>>>()
      return ok
    })
    assert.throws(() =>
      Router.make(
        // @ts-expect-error `ID` is not a parameter of the path
        Router.get("/:id", { path: { ID: Schema.Int } }, () => ok)
      ), /GET \/:id is invalid: `path` has a Schema for "ID"/)
    // @ts-expect-error there is no option of that name
    Router.get("/:id", { paht: { id: Schema.Int } }, () => ok)
  })

  it("demands what `success` says", () => {
    const success = Schema.Struct({ id: Schema.Int })
    Router.get("/", { success }, () => Effect.succeed({ id: 1 }))
    Router.get("/", { success }, () => Effect.succeed(HttpServerResponse.empty()))
    // @ts-expect-error an id is a number
    Router.get("/", { success }, () => Effect.succeed({ id: "1" }))
    // @ts-expect-error nothing is no answer without a Schema that says so
    Router.get("/", () => Effect.void)
    Router.get("/", { success: Schema.Void }, () => Effect.void)
  })

  it("collects the services of handlers, without those of a request", () => {
    const router = Router.make(
      Router.get("/a", () => Effect.as(Clock, "")),
      Router.group(
        "/b",
        Router.post("/", () => Effect.andThen(Effect.addFinalizer(() => Effect.void), Effect.as(Users, "")))
      ),
      Router.sse("/c", () => Stream.fromEffect(Effect.as(User, "")))
    )
    same<NeedsOf<typeof router>, Clock | Users | User>()
    same<ErrorOf<typeof router>, SendError>()
  })

  it("subtracts what middleware provides, and adds what it needs", () => {
    const handler = () => Effect.as(User, "")
    const route = Router.make(
      Router.use(authenticate, Router.get("/:id", ({ path }) => Effect.as(User, path.id)), Router.post("/", handler))
    )
    same<NeedsOf<typeof route>, Users>()
    Router.get("/", { middleware: passThrough }, handler)
    // @ts-expect-error what changes the types goes around the route
    Router.get("/", { middleware: authenticate }, handler)
    const group = Router.make(
      Router.group(
        "/in",
        { middleware: authenticate },
        Router.get("/", handler),
        Router.get("/x", () => Effect.as(Clock, ""))
      )
    )
    same<NeedsOf<typeof group>, Users | Clock>()
    const router = Router.make({ middleware: authenticate }, Router.get("/", handler))
    same<NeedsOf<typeof router>, Users>()
    const several = Router.make({ middleware: Function.flow(authenticate, passThrough) }, Router.get("/", handler))
    same<NeedsOf<typeof several>, Users>()
    const list = Router.make({ middleware: compose(passThrough, passThrough) }, Router.get("/", handler))
    same<NeedsOf<typeof list>, User>()
    const socket = Router.make(
      Router.use(
        authenticate,
        Router.websocket("/", ({ session }) => Effect.flatMap(User, ({ name }) => session.send(name)))
      )
    )
    same<NeedsOf<typeof socket>, Users>()
  })

  it("adds what groups and routers answer with", () => {
    const router = Router.make(
      { notFound: () => Effect.as(Clock, "nothing") },
      Router.group("/a", { onError: () => Effect.as(Users, HttpServerResponse.empty()) }, Router.get("/", () => ok))
    )
    same<NeedsOf<typeof router>, Clock | Users>()
  })

  it("gives sessions the types of their messages", () => {
    const ChatMessage = Schema.Struct({ text: Schema.String })
    Router.websocket("/chat/:room", { path: { room: Schema.Int }, message: ChatMessage }, ({ path, session }) => {
      same<typeof path, { readonly room: number }>()
      return session.sendAll(Stream.map(session.messages, ({ text }) => ({ text })))
    })
    Router.websocket("/", { receive: Schema.Int, send: ChatMessage }, ({ session }) => {
      // @ts-expect-error text is a string
      return session.send({ text: 1 })
    })
    // @ts-expect-error there is no option of that name
    Router.websocket("/", { mesage: ChatMessage }, ({ session }) => session.close())
    Router.sse("/feed", { data: ChatMessage }, () => Stream.make({ text: "a" }))
    Router.sse("/feed", { data: ChatMessage }, () => Effect.succeed(Stream.make({ text: "a" })))
    Router.sse("/feed", { data: ChatMessage }, ({ session }) => session.send({ data: { text: "a" }, id: "1" }))
    // @ts-expect-error not a message
    Router.sse("/feed", { data: ChatMessage }, () => Stream.make({ text: 1 }))
  })

  it("knows names and their parameters", () => {
    const inner = Router.make(Router.get("/:key", { name: "item" }, () => ok))
    const router = Router.make(
      Router.get("/", { name: "home" }, () => ok),
      Router.get("/plain", () => ok),
      Router.group("/users/:user", { name: "users" }, Router.get("/posts/:post?", { name: "post" }, () => ok)),
      Router.mount("/inner", inner, { name: "inner" })
    )
    assert.strictEqual(router.urlFor("home"), "/")
    assert.strictEqual(router.urlFor("users.post", { user: 1 }), "/users/1/posts")
    assert.strictEqual(router.urlFor("inner.item", { key: "k" }), "/inner/k")
    // @ts-expect-error the parameter is missing
    assert.throws(() => router.urlFor("users.post", {}), /"user" is missing/)
    // @ts-expect-error there is no such name
    assert.throws(() => router.urlFor("post", { user: 1 }), /no route called "post"/)
    // @ts-expect-error a name of the mounted router is reached through its mount
    assert.throws(() => router.urlFor("item", { key: "k" }), /no route called "item"/)
  })

  it("checks controllers against the inputs of routes", () => {
    class Controller extends Context.Service<Controller, {
      readonly find: (input: { readonly path: { readonly id: number } }) => Effect.Effect<string, never, Clock>
    }>()("test/Controller") {}
    const router = Router.make(Router.get("/:id", { path: { id: Schema.Int } }, Router.call(Controller, "find")))
    same<NeedsOf<typeof router>, Controller | Clock>()
    // @ts-expect-error the method wants a number
    Router.get("/:id", Router.call(Controller, "find"))
    // @ts-expect-error there is no such method
    assert.isFunction(Router.call(Controller, "list"))
  })

  it("keeps what is passed out of the errors of sessions, and parameters of redirects in their path", () => {
    const router = Router.make(Router.websocket("/", () => Router.pass), Router.sse("/", () => Router.pass))
    same<ErrorOf<typeof router>, SendError>()
    Router.redirect("/old/:id", "/new/:id")
    // @ts-expect-error the path that is left has no such parameter
    assert.throws(() => Router.redirect("/old/:id", "/new/:name"), /no parameter "name"/)
  })
})
