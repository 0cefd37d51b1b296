/**
 * The HTTP half of a test client: effect's `HttpClient` over connections of a Dialer, with a cookie jar, request bodies
 * in short form, and failures of the application raised where they were caused.
 *
 * Transport, request and response values are those of `@effect/platform-node` and `effect/http`.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import type * as HttpMethod from "effect/http/HttpMethod"
import type * as UrlParams from "effect/http/UrlParams"
import * as Stream from "effect/Stream"
import type * as Https from "node:https"
import { arrivals, type Dialer, DialingAgent, type Raise } from "./TestClientDialer.ts"
import { execute as executeHttp2 } from "./TestClientHttp2.ts"

/** What a request carries. At most one of `json`, `form`, `multipart` and `body`. */
export interface RequestOptions extends Omit<HttpClientRequest.Options.NoUrl, "body"> {
  /** Added to the query of the URL. The same as `urlParams`. */
  readonly query?: UrlParams.Input | undefined
  /** Cookies of this request alone, by name; they win over those of the jar. */
  readonly cookies?: Readonly<Record<string, string>> | undefined
  /** A value that is sent as `application/json`. */
  readonly json?: unknown
  /** Fields that are sent as `application/x-www-form-urlencoded`. */
  readonly form?: UrlParams.Input | undefined
  /** Fields and files that are sent as `multipart/form-data`. */
  readonly multipart?: FormData | HttpBody.FormDataInput | undefined
  /** Text is sent as `text/plain`, bytes and streams as `application/octet-stream`, unless `headers` say otherwise. */
  readonly body?: HttpBody.HttpBody | string | Uint8Array | Stream.Stream<Uint8Array, unknown> | undefined
  /** Redirects to follow at most; true is 10. Default: none. */
  readonly followRedirects?: boolean | number | undefined
}

type Requested = Effect.Effect<HttpClientRequest.HttpClientRequest, HttpClientError>
type Answered = Effect.Effect<HttpClientResponse, HttpClientError>
type Verb = (url: string | URL, options?: RequestOptions) => Answered

/** The cookies that are kept between requests. Names and values are those of RFC 6265, with domains, paths and expiry. */
export interface CookieJar {
  /** Those that have not expired. */
  readonly all: Effect.Effect<ReadonlyArray<Cookies.Cookie>>
  /** The value of the newest cookie under a name that has not expired; `undefined` when there is none. */
  readonly get: (name: string) => Effect.Effect<string | undefined>
  /** Stores a cookie for every path of the server. Dies for a name or value that no cookie can have. */
  readonly set: (name: string, value: string, options?: Cookies.Cookie["options"]) => Effect.Effect<void>
  readonly clear: Effect.Effect<void>
}

/** An `HttpClient` whose verbs take bodies, queries and cookies in short form. */
export interface Verbs extends HttpClient.HttpClient {
  readonly get: Verb
  readonly head: Verb
  readonly post: Verb
  readonly put: Verb
  readonly patch: Verb
  readonly delete: Verb
  readonly del: Verb
  readonly options: Verb
  readonly query: Verb
  /** Any method, registered or not. */
  readonly request: (method: string, url: string | URL, options?: RequestOptions) => Answered
  readonly cookies: CookieJar
}

export interface Options {
  readonly dialer: Dialer
  /** What URLs that begin with `/` begin with in full. */
  readonly origin: string
  /** Whether cookies are kept. */
  readonly keepCookies: boolean
  readonly raise: Raise
  /** What requests are made over. */
  readonly httpVersion: "1.1" | "2"
}

const bodyOf = ({ body, form, json, multipart }: RequestOptions): HttpBody.HttpBody => {
  const given = Object.entries({ body, form, json, multipart }).filter(([, value]) => value !== undefined)
  if (given.length > 1) {
    throw new Error(`A request has one body; this one was given ${given.map(([name]) => name).join(" and ")}`)
  }
  if (json !== undefined) return HttpBody.jsonUnsafe(json)
  if (form !== undefined) return HttpBody.urlParams(form)
  if (multipart !== undefined) {
    return multipart instanceof FormData ? HttpBody.formData(multipart) : HttpBody.formDataRecord(multipart)
  }
  if (body === undefined) return HttpBody.empty
  if (typeof body === "string") return HttpBody.text(body)
  if (body instanceof Uint8Array) return HttpBody.uint8Array(body)
  return Stream.isStream(body) ? HttpBody.stream(body) : body
}

/** Makes the request. Throws when it is given more than one body, or a body that has no JSON. */
export const toRequest = (
  method: string,
  url: string | URL,
  options: RequestOptions = {}
): HttpClientRequest.HttpClientRequest => {
  const { cookies, followRedirects: _, form: _form, json: _json, multipart: _multipart, query, ...plain } = options
  // HttpMethod is the registered methods; the wire takes any.
  let request = HttpClientRequest.make(method as HttpMethod.HttpMethod)(url, { ...plain, body: bodyOf(options) })
  if (query !== undefined) request = HttpClientRequest.appendUrlParams(request, query)
  // A content type of one's own wins over that of the body.
  if (options.headers !== undefined) request = HttpClientRequest.setHeaders(request, options.headers)
  if (cookies !== undefined) {
    const pairs = Object.entries(cookies).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    const own = request.headers["cookie"]
    request = HttpClientRequest.setHeader(request, "cookie", [...(own === undefined ? [] : [own]), ...pairs].join("; "))
  }
  return request
}

/** A jar, and how it goes with requests. */
export class Jar implements CookieJar {
  private stored: ReadonlyArray<Cookies.Cookie> = []
  private readonly origin: string

  constructor(origin: string) {
    this.origin = origin
  }

  readonly all = Clock.clockWith((clock) =>
    Effect.sync(() => {
      const now = clock.currentTimeMillisUnsafe()
      return this.stored.filter(({ options }) => options?.expires === undefined || options.expires.getTime() > now)
    })
  )
  readonly clear = Effect.sync(() => void (this.stored = []))
  readonly get = (name: string) =>
    Effect.map(this.all, (cookies) => cookies.findLast((cookie) => cookie.name === name)?.value)
  readonly set = (name: string, value: string, options?: Cookies.Cookie["options"]) =>
    Effect.suspend(() =>
      this.store(`${this.origin}/`, Cookies.fromIterable([Cookies.makeCookieUnsafe(name, value, options)]))
    )

  /** Keeps what an answer from `url` has set. */
  store(url: string, cookies: Cookies.Cookies): Effect.Effect<void> {
    return Clock.clockWith((clock) =>
      Effect.sync(() => {
        this.stored = Cookies.mergeIntoArray(this.stored, url, cookies, clock.currentTimeMillisUnsafe())
      })
    )
  }

  /** Adds the cookies for its URL to a request. Those that the request has already win over those of the jar. */
  readonly addTo = (request: HttpClientRequest.HttpClientRequest): Effect.Effect<HttpClientRequest.HttpClientRequest> =>
    Clock.clockWith((clock) => {
      const own = request.headers["cookie"]
      const ownNames = Cookies.parseHeader(own ?? "")
      const others = this.stored.filter(({ name }) => !Object.hasOwn(ownNames, name))
      const kept = Cookies.toRequestCookieHeader(others, request.url, clock.currentTimeMillisUnsafe())
      const header = [kept, own].filter((part) => part !== undefined).join("; ")
      return Effect.succeed(header === "" ? request : HttpClientRequest.setHeader(request, "cookie", header))
    })
}

/** The URL in full. */
export const absolute = (origin: string, url: string): string => url.startsWith("/") ? origin + url : url

const executeHttp1 = (dialer: Dialer, request: HttpClientRequest.HttpClientRequest): Answered =>
  Effect.suspend(() => {
    const agent = new DialingAgent(dialer, request.url.startsWith("https:") ? "https:" : "http:")
    return NodeHttpClient.makeNodeHttp.pipe(
      Effect.flatMap((transport) => transport.execute(request)),
      // An agent of https differs by its protocol and by how it connects, which is the dialer's business.
      Effect.provideService(NodeHttpClient.HttpAgent, { http: agent, https: agent as unknown as Https.Agent }),
      Effect.tap((response) => Effect.sync(() => arrivals.set(response, agent.arrival!)))
    )
  })

/** The response, whose body dies with why the application failed where that has broken it off. */
const raisingBody = (response: HttpClientResponse, raise: Raise): HttpClientResponse => {
  const arrival = arrivals.get(response)!
  const orRaise = (error: HttpClientError): Effect.Effect<never, HttpClientError> =>
    Effect.flatMap(
      raise(arrival.clientPort, 0),
      (cause) => cause === undefined ? Effect.fail(error) : Effect.failCause(cause)
    )
  const reading = (part: "arrayBuffer" | "formData" | "json" | "text" | "urlParamsBody") => ({
    get: () => Effect.catch(response[part] as Effect.Effect<unknown, HttpClientError>, orRaise)
  })
  const raised: HttpClientResponse = Object.create(response, {
    arrayBuffer: reading("arrayBuffer"),
    formData: reading("formData"),
    json: reading("json"),
    text: reading("text"),
    urlParamsBody: reading("urlParamsBody"),
    stream: { get: () => Stream.catch(response.stream, (error) => Stream.fromEffect(orRaise(error))) }
  })
  arrivals.set(raised, arrival)
  return raised
}

/** Makes the client. */
export const make = ({ dialer, httpVersion, keepCookies, origin, raise }: Options) => {
  const jar = new Jar(origin)
  const raising = (response: HttpClientResponse): Answered =>
    Effect.flatMap(
      raise(arrivals.get(response)!.clientPort, response.status),
      (cause) => cause === undefined ? Effect.succeed(raisingBody(response, raise)) : Effect.failCause(cause)
    )
  const send = (requested: Requested): Answered =>
    requested.pipe(
      Effect.flatMap((request) => httpVersion === "2" ? executeHttp2(dialer, request) : executeHttp1(dialer, request)),
      // Requests carry what the test says and no trace of the test's own spans.
      Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
      Effect.tap((response) => keepCookies ? jar.store(response.url, response.cookies) : Effect.void),
      Effect.flatMap(raising)
    )
  const complete = (request: HttpClientRequest.HttpClientRequest) =>
    Effect.succeed(HttpClientRequest.updateUrl(request, (url) => absolute(origin, url)))
  const addCookies = (requested: Requested): Requested => keepCookies ? Effect.flatMap(requested, jar.addTo) : requested
  const client = HttpClient.makeWith(send, (request) => addCookies(complete(request)))
  // Only the first of several requests is preprocessed; here each gets the cookies that those before it have set.
  const following = HttpClient.makeWith((requested: Requested) => send(addCookies(requested)), complete)
  const request = (method: string, url: string | URL, options: RequestOptions = {}): Answered =>
    Effect.suspend(() => {
      const { followRedirects = 0 } = options
      const limit = followRedirects === true ? 10 : Number(followRedirects)
      const via = limit === 0 ? client : HttpClient.followRedirects(following, limit)
      return via.execute(toRequest(method, url, options))
    })
  const verb = (method: string): Verb => (url, options) => request(method, url, options)
  const verbs: Verbs = Object.assign(client, {
    get: verb("GET"),
    head: verb("HEAD"),
    post: verb("POST"),
    put: verb("PUT"),
    patch: verb("PATCH"),
    delete: verb("DELETE"),
    del: verb("DELETE"),
    options: verb("OPTIONS"),
    query: verb("QUERY"),
    request,
    cookies: jar
  })
  return { verbs, jar }
}
