/**
 * The settings of a server, in the order of the documentation. What a row is stands in Setting.ts, what is done with them in
 * Settings.ts.
 */
import { section, setting } from "./Setting.ts"
import * as Kind from "./SettingKind.ts"

/** What the server needs to know. */
export const server = {
  ...section("Where it listens", {
    host: setting(
      Kind.host,
      Kind.defaultHost,
      `Address to listen on. "0.0.0.0" or "::" is every network, not only this machine.`,
      { brief: "Address to listen on" }
    ),
    port: setting(
      Kind.integer(0, 65535),
      5000,
      "TCP port to listen on; 0 takes any free one. The ready line names it.",
      {
        alias: "p",
        weakerEnv: ["PORT"],
        brief: "TCP port to listen on"
      }
    ),
    unix: setting(
      Kind.path,
      undefined,
      "Unix socket to listen on, instead of host and port. A stale socket file is replaced."
    ),
    unixMode: setting(Kind.fileMode, "0660", "Permission bits of the unix sockets. Needs a unix socket to listen on."),
    listen: setting(
      Kind.listenSpecs,
      undefined,
      "Several places to listen, instead of host, port and unix. A port alone is on 127.0.0.1. http:// before an address "
        + "keeps it in clear text beside tlsCert."
    ),
    backlog: setting(Kind.integer(1, 65535), 2048, "Connections the operating system holds until they are accepted."),
    reusePort: setting(
      Kind.toggle,
      false,
      "Whether each worker binds a socket of its own (SO_REUSEPORT). Needs Node 22.12 or newer on Linux."
    )
  }),
  ...section("Limits", {
    maxConnections: setting(
      Kind.integer(1),
      1000,
      "Connections open at once; one more gets 503 with Retry-After and is closed."
    ),
    maxRequestLineBytes: setting(Kind.bytes(16), 8192, "Bytes of a request line; a longer one gets 414."),
    maxHeaderBytes: setting(Kind.bytes(16), 8192, "Bytes of all headers of a request together; more get 431."),
    maxHeaderCount: setting(Kind.integer(1), 100, "Headers of a request; more get 431."),
    maxBodyBytes: setting(Kind.bytes(0), 10_000_000, "Bytes of a request body; a larger one gets 413. 0 is unlimited."),
    maxChunkExtensionBytes: setting(
      Kind.bytes(16),
      16384,
      "Bytes of chunk extensions and needless zeros in one chunked request body; more get 400."
    ),
    maxUnreadBodyBytes: setting(
      Kind.bytes(0),
      65536,
      "Bytes of a request body left unread that are skipped to keep the connection; with more it is closed."
    ),
    writeHighWaterMark: setting(Kind.bytes(1), 65536, "Unsent bytes of a connection at which send waits."),
    writeLowWaterMark: setting(
      Kind.bytes(0),
      16384,
      "Unsent bytes of a connection at which waiting sends go on. At most writeHighWaterMark.",
      { defaultText: "16384, or writeHighWaterMark where that is less" }
    )
  }),
  ...section("Timeouts", {
    headerTimeout: setting(
      Kind.duration,
      "10 seconds",
      "Time for a request head to arrive; later it gets 408. 0 is off."
    ),
    bodyTimeout: setting(
      Kind.duration,
      "30 seconds",
      "Time without a byte of the request body while the application waits for one; then client_timeout. 0 is off."
    ),
    requestTimeout: setting(
      Kind.duration,
      "0 seconds",
      "Time for a request, its whole answer and what the application does after it; then it is interrupted. Open event streams and WebSockets have no such end. 0 is off."
    ),
    keepAliveTimeout: setting(
      Kind.duration,
      "60 seconds",
      "Time between two requests of a connection; then it is closed. 0 is off."
    ),
    writeTimeout: setting(
      Kind.duration,
      "30 seconds",
      "Time without the client taking a byte of the answer; then write_timeout and a reset. 0 is off."
    ),
    shutdownTimeout: setting(
      Kind.duration,
      "30 seconds",
      "Time for requests in flight when the server stops; what is left is cut with server_shutdown. 0 does not wait."
    ),
    preStopDelay: setting(
      Kind.duration,
      "0 seconds",
      "Time between the readiness turning off and the listener closing, in which a load balancer looks elsewhere. Not at a restart. 0 is off."
    ),
    drainWindow: setting(
      Kind.duration,
      "0 seconds",
      "Time for which idle connections stay open when the server stops, each to bring one more request. 0 closes them at once."
    ),
    disconnectGrace: setting(
      Kind.duration,
      "5 seconds",
      "Time for an application to end after its answer or after it was cut off: what cannot be interrupted, finalizers, lifespan."
    )
  }),
  ...section("Answers", {
    serverHeader: setting(Kind.headerValue, "slipway", "Value of the Server header; empty sends none."),
    fullFlush: setting(Kind.toggle, true, "Whether applications may send http.fullflush; scope.extensions says so."),
    earlyHints: setting(Kind.toggle, true, "Whether applications may send 103 Early Hints; scope.extensions says so.")
  }),
  ...section("HTTP/2", {
    http2: setting(
      Kind.toggle,
      true,
      "Whether HTTP/2 is spoken beside HTTP/1.1 on the same port: chosen by ALPN on TLS, by the preface in clear text."
    ),
    http2MaxConcurrentStreams: setting(
      Kind.integer(1, 0xffffffff),
      100,
      "Requests that one HTTP/2 connection may have open at once; a further one is refused (REFUSED_STREAM)."
    ),
    http2MaxHeaderListBytes: setting(
      Kind.bytes(16, 0xffffffff),
      65536,
      "Bytes of all headers of an HTTP/2 request, 32 added for each (RFC 9113 section 6.5.2); more reset the stream."
    ),
    http2InitialWindowBytes: setting(
      Kind.bytes(1024, 0x7fffffff),
      65535,
      "Bytes of a request body that an HTTP/2 client may send on a stream before the application reads."
    ),
    http2MaxFrameBytes: setting(
      Kind.integer(16384, 16777215),
      16384,
      "Bytes of an HTTP/2 frame that the server accepts; a larger one ends the connection."
    )
  }),
  ...section("WebSocket", {
    wsMaxMessageBytes: setting(
      Kind.bytes(1),
      1_048_576,
      "Bytes of a WebSocket message, inflated; a frame or message above closes the session with 1009."
    ),
    wsMaxQueue: setting(
      Kind.integer(1),
      1000,
      "WebSocket messages that wait for the application; more close the session with 1008. Reading stops well before."
    ),
    wsIdleTimeout: setting(
      Kind.duration,
      "0 seconds",
      "Time without a WebSocket message in either direction; then the session is closed. 0 is off."
    ),
    wsCloseTimeout: setting(
      Kind.duration,
      "10 seconds",
      "Time for a WebSocket client to answer a close, when the server stops too; then the connection is cut."
    ),
    wsPingInterval: setting(
      Kind.duration,
      "0 seconds",
      "Time between WebSocket pings until the application sends websocket.keepalive. 0 is off."
    ),
    wsPingTimeout: setting(
      Kind.duration,
      "20 seconds",
      "Time for the pong to a ping of wsPingInterval; then keepalive_timeout. 0 waits for ever."
    ),
    wsCompression: setting(
      Kind.toggle,
      false,
      "Whether permessage-deflate (RFC 7692) is accepted when a WebSocket client offers it."
    ),
    wsCompressionThreshold: setting(
      Kind.bytes(0),
      1024,
      "Bytes of a WebSocket message below which it is sent as it is, compression or not."
    ),
    wsCompressionContext: setting(
      Kind.toggle,
      false,
      "Whether compression remembers earlier messages of a session: smaller messages for 300 KB of memory a session."
    ),
    wsCompressionWindowBits: setting(
      Kind.integer(9, 15),
      15,
      "Size of the compression windows as a power of two, in both directions: 9 is 512 bytes, 15 is 32 KiB."
    )
  }),
  ...section("Event streams", {
    sseIdleTimeout: setting(
      Kind.duration,
      "0 seconds",
      "Time without anything sent on a stream of server-sent events; then it is closed with idle_timeout. 0 is off."
    ),
    sseShutdownRetry: setting(
      Kind.duration,
      "2 seconds",
      "Time after which clients of event streams come back when the server stops, half as much more or less by chance. 0 leaves it to them."
    )
  }),
  ...section("TLS", {
    tlsCert: setting(
      Kind.path,
      undefined,
      "PEM file of the server's certificate chain, leaf first. Makes TCP addresses https."
    ),
    tlsKey: setting(Kind.path, undefined, "PEM file of the private key of tlsCert."),
    tlsPassphrase: setting(Kind.secret, undefined, "Passphrase of the private keys, for those that are encrypted."),
    tlsCa: setting(Kind.path, undefined, "PEM file of the authorities that sign client certificates."),
    tlsClientCertificate: setting(
      Kind.oneOf(["none", "optional", "required"]),
      "none",
      "Whether clients are asked for a certificate. required refuses those without one that tlsCa signed."
    ),
    tlsMinVersion: setting(
      Kind.oneOf(["TLSv1.2", "TLSv1.3"]),
      "TLSv1.2",
      "Oldest version of TLS that is spoken."
    ),
    tlsCiphers: setting(
      Kind.text("CIPHERS", "a list of OpenSSL cipher names, separated by colons", (list) => /^[!-~]+$/.test(list)),
      undefined,
      "Cipher suites up to TLS 1.2, as OpenSSL names them; TLS 1.3 has its own.",
      { defaultText: "those of Node" }
    ),
    tlsSni: setting(
      Kind.certificates,
      undefined,
      "Further certificates by host name, name=cert,key; *.name covers one label. Other names get tlsCert."
    ),
    tlsSessionTickets: setting(
      Kind.toggle,
      true,
      "Whether clients may resume a TLS session with a ticket, which saves most of a handshake."
    ),
    tlsHandshakeTimeout: setting(
      Kind.duration,
      "10 seconds",
      "Time for a TLS handshake; then the connection is closed. 0 is off."
    ),
    tlsMaxHandshakes: setting(
      Kind.integer(1),
      500,
      "TLS handshakes under way at once; a further connection is closed."
    ),
    tlsReload: setting(
      Kind.duration,
      "10 seconds",
      "How often the TLS files are looked at; changed ones serve new connections. 0 is off."
    )
  }),
  ...section("Proxies", {
    trustedProxies: setting(
      Kind.proxies,
      undefined,
      "Proxies that are believed about who the client is: addresses, networks, unix for peers on unix sockets, * for any peer.",
      { defaultText: "not set: nobody is believed", weakerEnv: ["FORWARDED_ALLOW_IPS"] }
    ),
    proxyHeaders: setting(
      Kind.oneOf(["x-forwarded", "forwarded", "none"]),
      "x-forwarded",
      "Headers in which trustedProxies say so: X-Forwarded-For, -Proto, -Host and -Port, or Forwarded (RFC 7239). The other is ignored."
    ),
    proxyProtocol: setting(
      Kind.toggle,
      false,
      "Whether every connection begins with the PROXY protocol, version 1 or 2. Only trustedProxies can connect then."
    ),
    rootPath: setting(Kind.rootPath, "", "Path that a proxy takes away, given to the application as rootPath.")
  }),
  ...section("Start and stop of the application", {
    lifespan: setting(
      Kind.oneOf(["auto", "on", "off"]),
      "auto",
      "Whether the application is told of start and stop: auto accepts that it does not care, on refuses to start then."
    ),
    lifespanStartupTimeout: setting(
      Kind.duration,
      "30 seconds",
      "Time for the application to start; then the server does not. 0 is off."
    ),
    workerNumber: setting(
      Kind.integer(1),
      undefined,
      "Number of this process among several that serve the same application, told to it by its lifespan.",
      { defaultText: "not set: a process of its own" }
    )
  })
} as const
