/**
 * Redirects to where somebody outside says, such as `?next=`, without becoming a way to other sites. A redirect to a
 * place that the program names is effect/http's `HttpServerResponse.redirect`.
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"

export interface Options {
  /** Status of the answer: 301, 302, 303, 307 or 308. Default 303: the client goes on with a GET. */
  readonly status?: 301 | 302 | 303 | 307 | 308
  /** Where to go when the target is not on this site. Default `/`. */
  readonly fallback?: string
}

/**
 * Redirects to a path of this site. The target is read as browsers read it (WHATWG URL), so `//host`, `/\host`,
 * `/..//host` and `javascript:` do not lead away; the path is sent percent-encoded, with query and fragment.
 *
 * A target with a host goes to the fallback, also when the host is our own: give the path.
 */
export const local = (target: string, options?: Options): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.redirect(pathOf(target) ?? options?.fallback ?? "/", { status: options?.status ?? 303 })

/** RFC 6761 section 6.4: no site has this name. */
const here = "http://here.invalid"

const pathOf = (target: string): string | undefined => {
  if (!URL.canParse(target, here)) return undefined
  const url = new URL(target, here)
  if (url.origin !== here) return undefined
  // Dot segments can leave an empty one in front, and two slashes name a host.
  return url.pathname.replace(/^\/+/, "/") + url.search + url.hash
}
