/**
 * The peer of a TLS connection: its ends, what ALPN agreed on, and what the application is told in
 * `scope.extensions.tls`. What is kept are a few words and a handle; PEM and names are made when an application first
 * asks, because they cost more than a request.
 *
 * **Source** reference section 1.10.
 */
import type { X509Certificate } from "node:crypto"
import type { TLSSocket } from "node:tls"
import type { Client, ServerAddress, Tls } from "../../src/schema/Scope.ts"
import type { Peer } from "./Peer.ts"
import { cipherSuiteNumber } from "./TlsCipherSuites.ts"
import { subjectName } from "./TlsName.ts"
import type { TrustedProxies } from "./TrustedProxies.ts"

const versions: { readonly [protocol: string]: number } = { "TLSv1.2": 0x0303, "TLSv1.3": 0x0304 }

/** A verification never takes more certificates than this, OpenSSL's own bound on the depth of a chain. */
const maxChain = 100

/**
 * What the client presented, leaf first. A session that was resumed remembers the leaf only, and so do Node releases
 * with https://github.com/nodejs/node/issues/65579.
 */
const chainOf = (leaf: X509Certificate): ReadonlyArray<string> => {
  const chain: Array<string> = []
  let certificate: X509Certificate | undefined = leaf
  while (certificate !== undefined && chain.length < maxChain) {
    chain.push(certificate.toString())
    certificate = certificate.issuerCertificate
  }
  return chain
}

export class TlsPeer implements Peer {
  readonly client: Client | undefined
  readonly server: ServerAddress | undefined
  readonly scheme = "https"
  readonly proxies: TrustedProxies | undefined
  readonly alpnProtocol: "h2" | "http/1.1" | false
  private readonly serverCert: string
  private readonly leaf: X509Certificate | undefined
  private readonly error: string | null
  private readonly protocol: string | null
  private readonly suite: string
  private info: Tls | undefined = undefined

  /** Of a socket whose handshake is complete; `serverCert` is what it was begun with. */
  constructor({ client, proxies, server }: Peer, socket: TLSSocket, serverCert: string) {
    this.client = client
    this.server = server
    this.proxies = proxies
    this.alpnProtocol = socket.alpnProtocol === "h2" || socket.alpnProtocol === "http/1.1" ? socket.alpnProtocol : false
    this.serverCert = serverCert
    // Node 20 gives the chain to the first caller only, so nobody else may ask.
    this.leaf = socket.getPeerX509Certificate()
    this.error = this.leaf === undefined || socket.authorized ? null : String(socket.authorizationError)
    this.protocol = socket.getProtocol()
    this.suite = socket.getCipher().standardName
  }

  get tls(): Tls {
    return this.info ??= {
      serverCert: this.serverCert,
      clientCertChain: this.leaf === undefined ? [] : chainOf(this.leaf),
      clientCertName: this.leaf === undefined ? null : subjectName(this.leaf.raw),
      clientCertError: this.error,
      tlsVersion: versions[this.protocol ?? ""] ?? null,
      cipherSuite: cipherSuiteNumber(this.suite)
    }
  }
}
