/** Headers of the PROXY protocol, as proxies write them. Text is latin1: one character is one byte. */

export const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1")

/** A header of version 2: the byte of version and command, that of the family, and what follows. */
export const binary = (command: number, family: number, rest: ReadonlyArray<number>): Buffer =>
  Buffer.concat([
    bytesOf("\r\n\r\n\0\r\nQUIT\n"),
    Buffer.from([command, family, rest.length >> 8, rest.length & 255, ...rest])
  ])

/** 192.0.2.7:4711 to 198.51.100.1:443, in version 2. */
export const overIpv4 = binary(0x21, 0x11, [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb])

/** The same in version 1. */
export const overIpv4Line = bytesOf("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n")
