/** Parts of request bodies, as every wire gives them to an exchange. */
import type { HttpRequest } from "../../src/schema/Event.ts"

export const noBytes = new Uint8Array(0)

/** The only part of a request without a body. */
export const emptyRequest: HttpRequest = Object.freeze({ type: "http.request", body: noBytes, more: false })

/** A class for the same reason as the scope of a request, see makeExchange. */
export class BodyPart implements HttpRequest {
  readonly type = "http.request"
  readonly body: Uint8Array
  readonly more: boolean
  constructor(body: Uint8Array, more: boolean) {
    this.body = body
    this.more = more
  }
}
