/**
 * What one peer may make an engine hold or do. Every limit holds while bytes arrive, not after.
 */

export interface Limits {
  /** Longest request line in bytes, empty lines before it included. Above: 414. Precedents: nginx 8192, gunicorn 4094. */
  readonly requestLineBytes: number
  /** Longest field section in bytes, line ends included; trailers alike. Above: 431. Precedents: Apache 8190 a line, node 16384. */
  readonly headerBytes: number
  /** Most fields in a section. Above: 431. Precedents: Apache 100, gunicorn 100. */
  readonly headerCount: number
  /** Longest request body in bytes, declared or received; `Infinity` for none. Above: 413. */
  readonly bodyBytes: number
  /** Most bytes of chunk extensions and needless zeros in one body. Above: 400. Precedent: hyper 16384. */
  readonly chunkExtensionBytes: number
}

export const defaults: Limits = {
  requestLineBytes: 8192,
  headerBytes: 8192,
  headerCount: 100,
  bodyBytes: 10_000_000,
  chunkExtensionBytes: 16_384
}
