/**
 * The HTTP/2 side of one server: a `node:http2` server that never listens and is given streams. Owns the options of
 * nghttp2, where most limits of the protocol are enforced (docs/conformance.md has the list).
 */
import * as Http2 from "node:http2"
import type { Duplex } from "node:stream"
import { maxAnswerFieldBytes } from "../../src/protocol/Http2Fields.ts"
import { Http2Connection } from "./Http2Connection.ts"
import type { Peer } from "./Peer.ts"
import type { ServerCore } from "./ServerCore.ts"

/** Settings that one SETTINGS frame may hold. Precedent: node 32. */
const maxSettings = 32
/** Memory of one session beyond its streams' buffers, in MB, which is the unit of the option. */
const spareSessionMegabytes = 4
/**
 * Header fields of a request beyond those that count: pseudo header fields, and cookies, which browsers send one in a
 * field and keep 180 of for a site. What is above the limit of the settings then gets its 431, not a reset.
 */
const spareFields = 200
/** Streams that nghttp2 refuses in a row before the session ends. As many as a client may reset. */
const maxRefusedStreams = 1000

const maxUint32 = 0xffffffff

export class Http2Sessions {
  private readonly core: ServerCore
  private readonly server: Http2.Http2Server
  private opened: Http2.ServerHttp2Session | undefined = undefined

  constructor(core: ServerCore) {
    const { settings } = core
    this.core = core
    const perStream = settings.http2InitialWindowBytes + 2 * settings.writeHighWaterMark
    const megabytes = spareSessionMegabytes + Math.ceil(settings.http2MaxConcurrentStreams * perStream / 1_000_000)
    this.server = Http2.createServer({
      maxSettings,
      maxHeaderListPairs: settings.maxHeaderCount + spareFields,
      maxSendHeaderBlockLength: maxAnswerFieldBytes,
      maxSessionRejectedStreams: maxRefusedStreams,
      maxSessionMemory: Math.min(megabytes, maxUint32),
      settings: {
        enableConnectProtocol: true,
        enablePush: false,
        initialWindowSize: settings.http2InitialWindowBytes,
        maxConcurrentStreams: settings.http2MaxConcurrentStreams,
        maxFrameSize: settings.http2MaxFrameBytes,
        maxHeaderListSize: settings.http2MaxHeaderListBytes
      }
    })
    this.server.on("session", (session) => this.opened = session)
    // Every session has its own listener; without one here Node would end the process.
    this.server.on("sessionError", () => {})
  }

  /** Takes over a stream whose first bytes, unread, are the preface of HTTP/2. */
  open(stream: Duplex, peer: Peer): Http2Connection {
    this.server.emit("connection", stream)
    const session = this.opened!
    this.opened = undefined
    return new Http2Connection(this.core, session, stream, peer)
  }
}
