/**
 * Chooses among the media types a handler can answer with, by what the client accepts. Owns the reading of `Accept` for
 * that purpose and the `vary` that caches need; what the representations are is the handler's business.
 *
 * **Source** RFC 9110 sections 12.4.2, 12.5.1 and 12.5.5.
 */
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { splitOutsideQuotes } from "../protocol/FieldList.ts"
import { Problem } from "./Problem.ts"

interface Parameters {
  readonly [name: string]: string
}

interface MediaType {
  readonly type: string
  readonly subtype: string
  readonly parameters: Parameters
}

interface Range extends MediaType {
  /** 0 to 1; 0 is "not acceptable". */
  readonly weight: number
}

/**
 * The offered media type that the client likes best, `undefined` when it accepts none of them.
 *
 * The most specific range that matches a type gives it its weight; among types of equal weight the first offered wins.
 * No `accept`, an empty one and one without a readable range accept everything. A `charset` in a range is ignored: it
 * is not a property of types that have one encoding.
 *
 * **Source** RFC 9110 section 12.5.1.
 */
export const choose = <const Offered extends string>(
  accept: string | undefined,
  offered: ReadonlyArray<Offered>
): Offered | undefined => {
  const ranges = accept === undefined ? [] : parseRanges(accept)
  if (ranges.length === 0) return offered[0]
  let best: Offered | undefined
  let bestWeight = 0
  for (const candidate of offered) {
    const weight = weightOf(parseMediaType(candidate), ranges)
    if (weight > bestWeight) {
      best = candidate
      bestWeight = weight
    }
  }
  return best
}

/** A representation: a response, or an Effect that makes it. */
type Representation<E, R> =
  | HttpServerResponse.HttpServerResponse
  | Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/**
 * Answers with the representation that the client likes best; only that one is made. The first is for clients that do
 * not care. `vary: accept` is added to the answer, so that caches keep the representations apart.
 *
 * **Fails with** a `Problem` of status 406 that lists what is available, when the client accepts none.
 *
 * **Example**
 * ```ts
 * ContentNegotiation.respond({
 *   "application/json": () => HttpServerResponse.jsonUnsafe(todo),
 *   "text/html": () => renderTodo(todo)
 * })
 * ```
 */
export const respond = <E = never, R = never>(
  representations: { readonly [mediaType: string]: () => Representation<E, R> }
): Effect.Effect<HttpServerResponse.HttpServerResponse, E | Problem, R | HttpServerRequest.HttpServerRequest> => {
  const offered = Object.keys(representations)
  return Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) =>
      Effect.suspend((): Effect.Effect<HttpServerResponse.HttpServerResponse, E | Problem, R> => {
        const chosen = choose(request.headers["accept"], offered)
        if (chosen === undefined) return Effect.fail(notAcceptable(offered))
        const representation = representations[chosen]!()
        return HttpServerResponse.isHttpServerResponse(representation)
          ? Effect.succeed(varyByAccept(representation))
          : Effect.map(representation, varyByAccept)
      })
  )
}

const notAcceptable = (available: ReadonlyArray<string>): Problem =>
  new Problem({
    status: 406,
    detail: `Available as ${available.join(", ")}`,
    extensions: { available },
    headers: { vary: "accept" }
  })

/** Adds `accept` to the `vary` of a response, once. */
export const varyByAccept = (
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse => {
  const vary = response.headers["vary"]
  if (vary === undefined) return HttpServerResponse.setHeader(response, "vary", "accept")
  const names = vary.toLowerCase().split(",").map((name) => name.trim())
  return names.includes("accept") || names.includes("*")
    ? response
    : HttpServerResponse.setHeader(response, "vary", `${vary}, accept`)
}

const weightOf = (offered: MediaType, ranges: ReadonlyArray<Range>): number => {
  let weight = 0
  let bestSpecificity = -1
  for (const range of ranges) {
    const specificity = specificityOf(range, offered)
    if (specificity > bestSpecificity) {
      bestSpecificity = specificity
      weight = range.weight
    }
  }
  return weight
}

/** How precisely a range names the offered type; -1 when it does not. */
const specificityOf = (range: Range, offered: MediaType): number => {
  if (range.type === "*") return range.subtype === "*" ? 0 : -1
  if (range.type !== offered.type) return -1
  if (range.subtype === "*") return 1
  if (range.subtype !== offered.subtype) return -1
  const names = Object.keys(range.parameters).filter((name) => name !== "charset")
  return names.every((name) => range.parameters[name] === offered.parameters[name]) ? 2 + names.length : -1
}

const parseRanges = (accept: string): Array<Range> => {
  const ranges: Array<Range> = []
  for (const item of splitOutsideQuotes(accept, ",")) {
    if (item === "") continue
    const { parameters: { q, ...parameters }, subtype, type } = parseMediaType(item)
    // Section 12.4.2; a missing zero before the point is common enough to be read.
    if (type === "" || subtype === "" || (q !== undefined && !/^(?:0|1|0?\.\d+|[01]\.|1\.0+)$/.test(q))) continue
    ranges.push({ type, subtype, parameters, weight: q === undefined ? 1 : Number(q) })
  }
  return ranges
}

const parseMediaType = (text: string): MediaType => {
  const [name = "", ...rest] = splitOutsideQuotes(text, ";")
  // Java's old clients write "*" for "*/*".
  const [type, subtype = type === "*" ? "*" : ""] = name.toLowerCase().split("/")
  const parameters: Record<string, string> = Object.create(null)
  for (const parameter of rest) {
    const equals = parameter.indexOf("=")
    if (equals === -1) continue
    parameters[parameter.slice(0, equals).trim().toLowerCase()] = unquote(parameter.slice(equals + 1).trim())
      .toLowerCase()
  }
  return { type: type!, subtype, parameters }
}

const unquote = (value: string): string =>
  value.startsWith("\"") && value.endsWith("\"") ? value.slice(1, -1).replaceAll(/\\(.)/g, "$1") : value
