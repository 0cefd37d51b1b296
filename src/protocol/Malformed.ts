/**
 * What a peer can do wrong, as data. An engine never throws because of bytes it received: it yields one of these, once,
 * and is in the state `error` from then on. Each carries the status that answers it.
 */

/** Every remote fault: its status and one sentence for logs. The sentence never holds bytes of the peer. */
const faults = {
  MethodInvalid: [400, "the method is not a token"],
  TargetInvalid: [
    400,
    "the request target is empty, has a forbidden character, or has a form the method does not allow"
  ],
  VersionInvalid: [400, "the request line does not end in an HTTP version"],
  VersionUnsupported: [505, "the HTTP version is not 1.0 or 1.1"],
  Http2Preface: [505, "the client speaks HTTP/2 on a connection that is HTTP/1.1 only"],
  ConnectUnsupported: [501, "CONNECT asks for a tunnel, and this is not a proxy"],
  LineEndInvalid: [400, "a line feed without carriage return, or a carriage return without line feed"],
  FieldNameInvalid: [400, "a field name is empty, has a forbidden character, or has white space before the colon"],
  FieldValueInvalid: [400, "a field value has a control character"],
  FoldedLine: [400, "a field line starts with white space (obsolete line folding)"],
  HostMissing: [400, "an HTTP/1.1 request has no Host"],
  HostRepeated: [400, "more than one Host"],
  HostInvalid: [400, "the Host is not a host with an optional port"],
  ContentLengthInvalid: [400, "the Content-Length is not a plain decimal number"],
  ContentLengthRepeated: [400, "more than one Content-Length"],
  LengthAmbiguous: [400, "both Content-Length and Transfer-Encoding"],
  TransferEncodingInvalid: [400, "the Transfer-Encoding does not end in chunked, or chunked is not alone at the end"],
  TransferEncodingUnsupported: [501, "the Transfer-Encoding names a coding other than chunked"],
  TransferEncodingIn10: [400, "Transfer-Encoding in an HTTP/1.0 request"],
  ExpectationUnknown: [417, "the Expect is not 100-continue"],
  RequestLineTooLong: [414, "the request line is longer than the limit"],
  HeadTooLarge: [431, "the header section is larger than the limit"],
  TooManyFields: [431, "more header fields than the limit"],
  BodyTooLarge: [413, "the request body is larger than the limit"],
  ChunkSizeInvalid: [400, "a chunk size is not a hexadecimal number"],
  ChunkExtensionInvalid: [400, "a chunk extension is malformed"],
  ChunkExtensionsTooLarge: [400, "the chunk extensions are larger than the limit"],
  ChunkEndInvalid: [400, "a chunk is not followed by its line end"],
  WebSocketMethodInvalid: [400, "the method of a WebSocket handshake is not GET"],
  WebSocketVersionUnsupported: [426, "the Sec-WebSocket-Version is not 13"],
  WebSocketKeyInvalid: [400, "the Sec-WebSocket-Key is not one key of 16 bytes in base64"],
  WebSocketBodyPresent: [400, "a WebSocket handshake has a body"],
  WebSocketSubprotocolInvalid: [400, "the Sec-WebSocket-Protocol is not a list of different tokens"],
  WebSocketExtensionsInvalid: [400, "the Sec-WebSocket-Extensions is not a list of extensions"]
} as const

export type Reason = keyof typeof faults

/** A request that cannot be accepted. The connection closes after the answer: its framing is not to be trusted. */
export interface Malformed {
  readonly _tag: "Malformed"
  readonly reason: Reason
  /** The status that answers it. */
  readonly status: number
  /** One sentence for the log. */
  readonly message: string
}

/** One frozen value for each reason: refusing a flood allocates nothing. */
export const malformed: { readonly [K in Reason]: Malformed } = Object.fromEntries(
  Object.entries(faults).map(([reason, [status, message]]) => [
    reason,
    Object.freeze({ _tag: "Malformed", reason, status, message })
  ])
) as never

export const reasons = Object.keys(faults) as ReadonlyArray<Reason>
