/** A message of PubSub as a server-sent event: its payload as the data, its place in the history as the id. */
import type { SseSendEvent } from "../../schema/Event.ts"
import type { Message } from "../../service/PubSub.ts"

const utf8 = new TextDecoder()

/** Bytes are read as UTF-8: an event has text only. */
export const eventOf = ({ data, id }: Message): SseSendEvent => ({
  type: "sse.send",
  data: typeof data === "string" ? data : utf8.decode(data),
  ...(id === undefined ? {} : { id })
})
