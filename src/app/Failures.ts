/**
 * Errors become answers here and nowhere else: which status a failure has, what its client may read, what is logged.
 * The client learns of a fault of ours that it happened and nothing more, unless Development is on.
 *
 * Never answers an interruption: whoever interrupted (a timeout, the server, the client's leaving) has the word.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as ErrorReporter from "effect/ErrorReporter"
import * as Headers from "effect/http/Headers"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as ProblemDetails from "effect/http/ProblemDetails"
import * as JsonPointer from "effect/JsonPointer"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as App from "./App.ts"
import * as ContentNegotiation from "./ContentNegotiation.ts"
import { Development } from "./Development.ts"
import * as ErrorPage from "./internal/ErrorPage.ts"
import { contentSecurityPolicy } from "./internal/Html.ts"
import { Problem } from "./Problem.ts"

// ---- input that does not fit

/** Where in a request something was expected. */
export type Part = "path" | "query" | "headers" | "cookies" | "body"

/** One thing that does not fit. */
export interface Issue {
  /** Keys and indices from the root, separated by `/` and escaped as in RFC 6901: `items/0/price`. Empty: the root. */
  readonly path: string
  /** What was expected. Never a value of a header or a cookie. */
  readonly message: string
}

/**
 * A part of the request is not what a handler asked for. Fault: client. Answered with a problem whose `errors` list
 * `{ in, path, message }`; not logged.
 */
export class InvalidRequest extends Data.TaggedError("InvalidRequest")<{
  /** 400 for what cannot be read, 415 for a body of another media type, 422 for a body that is readable and wrong. */
  readonly status: 400 | 415 | 422
  readonly part: Part
  readonly issues: ReadonlyArray<Issue>
}> implements HttpServerRespondable.Respondable {
  constructor(options: {
    readonly status: 400 | 415 | 422
    readonly part: Part
    readonly issues: ReadonlyArray<Issue>
  }) {
    // As in Problem: what a client did needs no stack.
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    try {
      super(options)
    } finally {
      Error.stackTraceLimit = limit
    }
  }

  /**
   * Makes one out of a failed decoding.
   *
   * **Limits** the first 100 issues: an answer stays small, however much is wrong.
   */
  static fromSchemaError(part: Part, status: 400 | 415 | 422, error: Schema.SchemaError): InvalidRequest {
    return new InvalidRequest({ status, part, issues: issuesOf(error, part === "headers" || part === "cookies") })
  }

  override get message(): string {
    return this.status === 415 ? "The media type of the body is not accepted" : sentences[this.part]
  }

  override get [ErrorReporter.ignore](): boolean {
    return true
  }

  /** The answer, as a Problem. */
  get problem(): Problem {
    const { issues, message, part, status } = this
    const errors = issues.map((issue) => ({ in: part, ...issue }))
    return new Problem({ status, detail: message, extensions: { errors } })
  }

  /** The answer as `application/problem+json`. */
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return this.problem[HttpServerRespondable.symbol]()
  }
}

const sentences: { readonly [part in Part]: string } = {
  path: "The path of the request is not valid",
  query: "The query of the request is not valid",
  headers: "The headers of the request are not valid",
  cookies: "The cookies of the request are not valid",
  body: "The body of the request is not valid"
}

const maxIssues = 100

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const issuesOf = (error: Schema.SchemaError, isSecret: boolean): ReadonlyArray<Issue> =>
  format(withoutInput(error.issue, isSecret)).issues.slice(0, maxIssues).map(({ message, path = [] }) => ({
    path: path.map((key) => JsonPointer.escapeToken(String(key))).join("/"),
    message
  }))

/**
 * A copy of an issue that can be shown. Rejected values are in issues only when a decoder was asked to report them; a
 * secret must also be kept out of what checks and transformations say about it in words of their own.
 */
const withoutInput = (issue: SchemaIssue.Issue, isSecret: boolean): SchemaIssue.Issue => {
  const copy = Object.assign(Object.create(Object.getPrototypeOf(issue)), issue)
  delete copy.input
  if (copy.issue !== undefined) copy.issue = withoutInput(copy.issue, isSecret)
  if (copy.issues !== undefined) {
    // Of a body of 400 KB with 200,000 mistakes, formatting all to show 100 took 200 ms (Node 20).
    copy.issues = copy.issues.slice(0, maxIssues).map((inner: SchemaIssue.Issue) => withoutInput(inner, isSecret))
  }
  if (isSecret && issue._tag === "InvalidValue") copy.annotations = { expected: issue.annotations?.expected }
  return copy
}

// ---- pages

/** A failure that is about to be answered. */
export interface Failure {
  /** What the client may know; `status` and `title` are always there. */
  readonly problem: ProblemDetails.ProblemDetails & { readonly status: number; readonly title: string }
  /** What happened. Not for the client. */
  readonly cause: Cause.Cause<unknown>
}

/** Makes the page for a failure. A response with status 200 gets the status of the failure. */
export type Page = (
  failure: Failure
) => Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, HttpServerRequest.HttpServerRequest>

/** Pages by status, and one for every other status. */
export interface Pages {
  readonly [status: number]: Page
  readonly default?: Page
}

const CurrentPages = Context.Reference<Pages>("slipway/app/Failures/CurrentPages", { defaultValue: () => ({}) })

/**
 * Middleware that gives failures pages of the site's own. They are for people: a client that does not prefer
 * `text/html` gets the problem as JSON, with or without them. Tables nest; the innermost that knows the status decides.
 *
 * A page that fails is logged, and the built-in one is sent. In Development a status of 500 and above always has the
 * developer's page.
 *
 * **Example**
 * ```ts
 * const app = Failures.pages({
 *   404: () => HttpServerResponse.html`<h1>Nothing here</h1>`,
 *   default: ({ problem }) => HttpServerResponse.html`<h1>${problem.title}</h1>`
 * })(routes)
 * ```
 */
export const pages = (pages: Pages): App.Middleware => (app) => (exchange) =>
  Effect.flatMap(
    CurrentPages,
    (outer) =>
      Effect.provideService(app(exchange), CurrentPages, pages.default === undefined ? { ...outer, ...pages } : pages)
  )

// ---- answers

/**
 * Answers the failure of a handler.
 *
 * | failure | answer |
 * | --- | --- |
 * | an HttpServerResponse | itself |
 * | a `Problem`, an `InvalidRequest` | the problem |
 * | an `HttpServerRespondable` | its response; a problem in place of an empty body |
 * | a typed `Schema.SchemaError` | 422 with the fields, as for a body that does not fit |
 * | a typed `NoSuchElementError` | 404 |
 * | anything else, and every other defect | 500 that says nothing |
 *
 * Where there are several, a response goes first, then a defect without an answer, then the first. A problem is a page
 * for clients that prefer `text/html` and `application/problem+json` for all others, with `vary: accept`. A status of
 * 500 and above is logged and reported once, with its cause; others are not.
 *
 * **Fails with** nothing. A cause of nothing but interruptions is raised again.
 */
export const answer = (
  cause: Cause.Cause<unknown>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> =>
  Cause.hasInterruptsOnly(cause)
    ? Effect.failCause(cause as Cause.Cause<never>)
    : Effect.flatMap(outcomeOf(cause), settle)

/** What a failure comes to. */
interface Outcome {
  /** Its status, headers and cookies are the answer's; so is its body, where there is no problem. */
  readonly response?: HttpServerResponse.HttpServerResponse
  /** To be shown in the form that the client likes. */
  readonly problem?: Problem
  /** What is logged when it is our fault. */
  readonly cause: Cause.Cause<unknown>
}

const outcomeOf = (cause: Cause.Cause<unknown>): Effect.Effect<Outcome> => {
  const response = cause.reasons.find(isResponse)
  if (response !== undefined) {
    const rest = Cause.fromReasons(cause.reasons.filter((reason) => !isResponse(reason)))
    return Effect.succeed({ response: response.defect as HttpServerResponse.HttpServerResponse, cause: rest })
  }
  const reason = cause.reasons.find(isBug) ?? cause.reasons.find((reason) => !Cause.isInterruptReason(reason))
  if (reason === undefined || Cause.isInterruptReason(reason)) return Effect.succeed(internal(cause))
  const isTyped = Cause.isFailReason(reason)
  const error = isTyped ? reason.error : reason.defect
  if (error instanceof Problem) return Effect.succeed({ problem: error, cause })
  if (error instanceof InvalidRequest) return Effect.succeed({ problem: error.problem, cause })
  if (HttpServerResponse.isHttpServerResponse(error)) return Effect.succeed({ response: error, cause: Cause.empty })
  if (HttpServerRespondable.isRespondable(error)) return respond(error, cause)
  if (isTyped && Schema.isSchemaError(error)) return Effect.succeed({ problem: unprocessable(error), cause })
  if (isTyped && Cause.isNoSuchElementError(error)) {
    return Effect.succeed({ problem: new Problem({ status: 404 }), cause })
  }
  return Effect.succeed(internal(cause))
}

const isResponse = (reason: Cause.Reason<unknown>): reason is Cause.Die =>
  Cause.isDieReason(reason) && HttpServerResponse.isHttpServerResponse(reason.defect)

/** A defect that has no answer. Effect makes a failure a defect when a finalizer after it dies, so order says little. */
const isBug = (reason: Cause.Reason<unknown>): boolean =>
  Cause.isDieReason(reason) && !HttpServerRespondable.isRespondable(reason.defect)

const internal = (cause: Cause.Cause<unknown>): Outcome => ({ problem: new Problem({ status: 500 }), cause })

/** Which part did not fit is not known here, and it may be a cookie; routes say the part with an InvalidRequest. */
const unprocessable = (error: Schema.SchemaError): Problem =>
  new Problem({ status: 422, extensions: { errors: issuesOf(error, true) } })

/** Asks an error for its answer; one that cannot give it is a fault of ours. */
const respond = (
  respondable: HttpServerRespondable.Respondable,
  cause: Cause.Cause<unknown>
): Effect.Effect<Outcome> =>
  Effect.matchCauseEffect(Effect.suspend(() => respondable[HttpServerRespondable.symbol]()), {
    onSuccess: (response) => {
      const { body, status } = response
      const isBare = body._tag === "Empty" && status >= 400 && status <= 599
      return Effect.succeed(isBare ? { response, problem: new Problem({ status }), cause } : { response, cause })
    },
    onFailure: (failure) =>
      Cause.hasInterruptsOnly(failure)
        ? Effect.failCause(failure as Cause.Cause<never>)
        : Effect.succeed(internal(Cause.combine(cause, failure)))
  })

const settle = (
  outcome: Outcome
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const { cause, problem, response } = outcome
    const answered = problem === undefined ? Effect.succeed(response!) : show(problem, response, cause, request)
    const status = problem?.status ?? response!.status
    return status < 500 ? answered : Effect.andThen(logged(request, "failed", cause), answered)
  })

const logged = (
  request: HttpServerRequest.HttpServerRequest,
  what: string,
  cause: Cause.Cause<unknown>
): Effect.Effect<void> => {
  const method = inOneLine(request.method)
  const path = inOneLine(/^(?:[a-z][a-z0-9+.-]*:\/\/[^/?#]*)?([^?#]*)/i.exec(request.originalUrl)![1] || "/")
  return Effect.andThen(
    ErrorReporter.report(cause),
    Effect.annotateLogs(Effect.logError(`${method} ${path} ${what}`, cause), { method, path })
  )
}

/** A path may hold anything; a line of a log is one line. */
const inOneLine = (text: string): string =>
  text.replace(
    /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** JSON goes first: it is for the clients that do not care. */
const forms = ["application/problem+json", "application/json", "text/html"] as const

const show = (
  problem: Problem,
  given: HttpServerResponse.HttpServerResponse | undefined,
  cause: Cause.Cause<unknown>,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> =>
  Effect.withFiber((fiber) => {
    const isOpen = problem.status >= 500 && fiber.getRef(Development)
    const stack = isOpen ? Cause.pretty(cause) : undefined
    const isPage = ContentNegotiation.choose(request.headers["accept"], forms) === "text/html"
    const shown = !isPage
      ? document(problem, stack, request)
      : stack === undefined
      ? pageOf(problem, cause, fiber.getRef(CurrentPages), request)
      : Effect.succeed(
        html(
          problem.status,
          ErrorPage.development(problem.details, stack, request, fiber.getRef(Headers.CurrentRedactedNames))
        )
      )
    return Effect.map(shown, (response) => ContentNegotiation.varyByAccept(dress(response, problem, given)))
  })

/** The problem as JSON, for a developer with the lines of the stack. */
const document = (
  problem: Problem,
  stack: string | undefined,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.catchCause(
    Effect.sync(() =>
      ProblemDetails.toResponse({
        ...problem.details,
        ...(stack === undefined ? undefined : { stack: stack.split("\n") })
      })
    ),
    (failure) =>
      Effect.as(
        logged(request, "has a problem that is not JSON", failure),
        ProblemDetails.toResponse(new Problem({ status: 500 }).details)
      )
  )

const pageOf = (
  problem: Problem,
  cause: Cause.Cause<unknown>,
  pages: Pages,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> => {
  const { status } = problem
  const builtIn = Effect.sync(() => html(status, ErrorPage.plain(problem.details)))
  const page = pages[status] ?? pages.default
  if (page === undefined) return builtIn
  const made = Effect.suspend(() => page({ problem: problem.details as Failure["problem"], cause }))
  return Effect.matchCauseEffect(made, {
    onSuccess: (response) =>
      Effect.succeed(response.status === 200 ? HttpServerResponse.setStatus(response, status) : response),
    onFailure: (failure) =>
      Cause.hasInterruptsOnly(failure)
        ? Effect.failCause(failure as Cause.Cause<never>)
        : Effect.andThen(logged(request, `has no page for its ${status}`, failure), builtIn)
  })
}

const html = (status: number, page: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(page, {
    status,
    contentType: "text/html; charset=utf-8",
    headers: { "content-security-policy": contentSecurityPolicy }
  })

/** Puts the headers of a problem, and what an error gave besides its empty body, on the answer. */
const dress = (
  response: HttpServerResponse.HttpServerResponse,
  { headers }: Problem,
  given: HttpServerResponse.HttpServerResponse | undefined
): HttpServerResponse.HttpServerResponse => {
  let dressed = response
  if (headers !== undefined) dressed = HttpServerResponse.setHeaders(dressed, headers)
  if (given !== undefined) {
    const { "content-length": _length, "content-type": _type, ...others } = given.headers
    dressed = HttpServerResponse.mergeCookies(HttpServerResponse.setHeaders(dressed, others), given.cookies)
  }
  return dressed
}
