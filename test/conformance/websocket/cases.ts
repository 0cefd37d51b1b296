/**
 * The ground that Autobahn's fuzzing client covers without compression, case by case under its numbers: what a client sends,
 * and what an endpoint that echoes must answer. Written from the descriptions of the cases and from RFC 6455; where the
 * original lets an endpoint choose, the strict way is demanded.
 */
import { binary, close, fragments, frame, ping, pong, text } from "../../utils/webSocket.ts"

/** How the bytes are cut: one write a frame, one write for all, or pieces of so many bytes. */
export type Cut = "frames" | "whole" | number

export interface Case {
  readonly id: string
  readonly send: ReadonlyArray<Buffer>
  /** What the server says, in words, to the end of the session. Payloads above 1,000 bytes by their length. */
  readonly expect: ReadonlyArray<string>
  readonly cut: Cut
  /** Whether the client closes, with 1000, once it has heard all of that. */
  readonly goodbye: boolean
}

const cases: Array<Case> = []
const add = (id: string, send: ReadonlyArray<Buffer>, expect: ReadonlyArray<string>, cut: Cut = "whole"): void => {
  const hasEnd = expect.at(-1)?.startsWith("close") === true
  cases.push({ id, send, expect, cut, goodbye: !hasEnd })
}

const bye = close(1000)
const goodbye = "close 1000"
const protocolError = "close 1002"
const notText = "close 1007"

/** A payload as `expect` names it. */
export const named = (kind: string, payload: string): string =>
  payload.length > 1000 ? `${kind} of ${payload.length}` : `${kind} ${payload}`.trimEnd()

const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(" ", ""), "hex")
const octets = (bytes: Buffer): Array<Buffer> => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))

// ---- 1: messages

const sizes = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536]
sizes.forEach((size, index) => {
  const cut = index === 7 ? 997 : "whole"
  add(`1.1.${index + 1}`, [text("*".repeat(size))], [named("text", "*".repeat(size))], cut)
  const bytes = Buffer.alloc(size, 0xfe)
  add(`1.2.${index + 1}`, [binary(bytes)], [named("binary", bytes.toString("hex"))], cut)
})

// ---- 2: pings and pongs

const allBytes = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
const pingOf = (bytes: string): Buffer => ping(Buffer.from(bytes, "latin1"))
add("2.1", [ping()], ["pong"])
add("2.2", [ping("Hello, world!")], ["pong Hello, world!"])
add("2.3", [pingOf(allBytes)], [`pong ${allBytes}`])
add("2.4", [ping("x".repeat(125))], [`pong ${"x".repeat(125)}`])
add("2.5", [ping("x".repeat(126))], [protocolError])
add("2.6", [ping("x".repeat(125))], [`pong ${"x".repeat(125)}`], 1)
add("2.7", [pong()], [])
add("2.8", [pong("unasked")], [])
add("2.9", [pong("unasked"), ping("ping")], ["pong ping"])
const ten = Array.from({ length: 10 }, (_, index) => `payload ${index}`)
const tenPings = ten.map((payload) => ping(payload))
const tenPongs = ten.map((payload) => `pong ${payload}`)
add("2.10", tenPings, tenPongs)
add("2.11", tenPings, tenPongs, 1)

// ---- 3: reserved bits

const hello = text("Hello, world!")
const helloBack = "text Hello, world!"
add("3.1", [frame(1, "Hello, world!", { rsv: 1 })], [protocolError])
const badAmong = (rsv: number): Array<Buffer> => [hello, frame(1, "Hello, world!", { rsv }), ping()]
add("3.2", badAmong(2), [helloBack, protocolError])
add("3.3", badAmong(3), [helloBack, protocolError], "frames")
// RSV1 alone would mean compression, which was not agreed on.
add("3.4", badAmong(4), [helloBack, protocolError], 1)
add("3.5", [frame(2, hex("ff00"), { rsv: 5 })], [protocolError])
add("3.6", [frame(9, "Hello, world!", { rsv: 6 })], [protocolError])
add("3.7", [frame(8, "", { rsv: 7 })], [protocolError])

// ---- 4: reserved opcodes

for (const [group, first] of [[1, 3], [2, 11]] as const) {
  add(`4.${group}.1`, [frame(first)], [protocolError])
  add(`4.${group}.2`, [frame(first + 1, "reserved")], [protocolError])
  add(`4.${group}.3`, [hello, frame(first + 2), ping()], [helloBack, protocolError])
  add(`4.${group}.4`, [hello, frame(first + 3, "reserved"), ping()], [helloBack, protocolError])
  add(`4.${group}.5`, [hello, frame(first + 4, "reserved"), ping()], [helloBack, protocolError], 1)
}

// ---- 5: fragments

const two = fragments(1, ["fragment1", "fragment2"])
const twoBack = "text fragment1fragment2"
const cuts: ReadonlyArray<Cut> = ["whole", "frames", 1]
add("5.1", [frame(9, "ping", { fin: false }), frame(0, "ping")], [protocolError])
add("5.2", [frame(10, "pong", { fin: false }), frame(0, "pong")], [protocolError])
cuts.forEach((cut, index) => {
  add(`5.${3 + index}`, [...two], [twoBack], cut)
  add(`5.${6 + index}`, [two[0]!, ping("ping"), two[1]!], ["pong ping", twoBack], cut)
  add(`5.${9 + index}`, [frame(0, "continuation"), hello], [protocolError], cut)
  add(`5.${12 + index}`, [frame(0, "continuation", { fin: false }), hello], [protocolError], cut)
})
const stray = (fin: boolean): Array<Buffer> => [...two, frame(0, "fragment3", { fin }), hello]
add("5.15", stray(false), [twoBack, protocolError])
const strayFirst = (fin: boolean): Array<Buffer> =>
  [1, 2].flatMap(() => [frame(0, "fragment1", { fin }), frame(1, "fragment2", { fin: false }), frame(0, "fragment3")])
add("5.16", strayFirst(false), [protocolError])
add("5.17", strayFirst(true), [protocolError])
add("5.18", [frame(1, "fragment1", { fin: false }), frame(1, "fragment2")], [protocolError])
const five = fragments(1, ["fragment1", "fragment2", "fragment3", "fragment4", "fragment5"])
const fiveWithPings = [...five.slice(0, 2), ping("pongme 1!"), ...five.slice(2, 4), ping("pongme 2!"), five[4]!]
const fiveBack = ["pong pongme 1!", "pong pongme 2!", `text ${[1, 2, 3, 4, 5].map((n) => `fragment${n}`).join("")}`]
add("5.19", fiveWithPings, [...fiveBack], "frames")
add("5.20", fiveWithPings, [...fiveBack])

// ---- 6: UTF-8

const kosme = "ce ba e1 bd b9 cf 83 ce bc ce b5"
const wellFormed = (id: string, bytes: Buffer): void => add(id, [text(bytes)], [named("text", bytes.toString())])
const malformed = (id: string, digits: string): void => add(id, [text(hex(digits))], [notText])

add("6.1.1", [text("")], ["text"])
add("6.1.2", [...fragments(1, ["", "", ""])], ["text"])
add("6.1.3", [...fragments(1, ["", "middle frame payload", ""])], ["text middle frame payload"])
const umlauts = Buffer.from("Hello-µ@ßöäüàá-UTF-8!!")
const umlautsBack = `text ${umlauts}`
wellFormed("6.2.1", umlauts)
add("6.2.2", [...fragments(1, [umlauts.subarray(0, 12), umlauts.subarray(12)])], [umlautsBack])
add("6.2.3", [...fragments(1, octets(umlauts))], [umlautsBack])
add("6.2.4", [...fragments(1, octets(hex(kosme)))], [`text ${hex(kosme)}`])
const surrogateWithin = `${kosme} ed a0 80 65 64 69 74 65 64`
malformed("6.3.1", surrogateWithin)
add("6.3.2", fragments(1, octets(hex(surrogateWithin))), [notText])
const beyond = hex(`${kosme} f4 90 80 80 65 64 69 74 65 64`)
const [before, wrong, after] = [beyond.subarray(0, 11), beyond.subarray(11, 15), beyond.subarray(15)]
add("6.4.1", fragments(1, [before, wrong, after]), [notText])
add("6.4.2", fragments(1, [beyond.subarray(0, 12), beyond.subarray(12)]), [notText])
// Fail fast: the frame, and the message, are not at their end when they are wrong.
add("6.4.3", fragments(1, [before, wrong, after]).slice(0, 2), [notText], "frames")
add("6.4.4", fragments(1, [beyond.subarray(0, 12), beyond.subarray(12, 13), after]).slice(0, 2), [notText], "frames")
wellFormed("6.5.1", hex(kosme))
wellFormed("6.5.2", Buffer.from("hello$world"))
wellFormed("6.5.3", Buffer.from("hello¢world"))
wellFormed("6.5.4", Buffer.from("hello€world"))
wellFormed("6.5.5", Buffer.from("hello𤭢world"))
const prefixes = hex(kosme)
for (let length = 1; length <= 11; length++) {
  const bytes = prefixes.subarray(0, length)
  if ([2, 5, 7, 9, 11].includes(length)) wellFormed(`6.6.${length}`, bytes)
  else malformed(`6.6.${length}`, bytes.toString("hex"))
}

const table = (group: string, accepted: boolean, sequences: ReadonlyArray<string>, from = 1): void =>
  sequences.forEach((digits, index) =>
    (accepted ? wellFormed : (id: string, bytes: Buffer) => malformed(id, bytes.toString("hex")))(
      `6.${group}.${from + index}`,
      hex(digits)
    )
  )
table("7", true, ["00", "c2 80", "e0 a0 80", "f0 90 80 80"])
table("8", false, ["f8 88 80 80 80", "fc 84 80 80 80 80"])
table("9", true, ["7f", "df bf", "ef bf bf", "f4 8f bf bf"])
table("10", false, ["f7 bf bf bf", "fb bf bf bf bf", "fd bf bf bf bf bf"])
table("11", true, ["ed 9f bf", "ee 80 80", "ef bf bd", "f4 8f bf bf"])
table("11", false, ["f4 90 80 80"], 5)
const continuations = [1, 2, 3, 4, 5, 6].map((count) =>
  Array.from({ length: count }, (_, n) => n % 2 === 0 ? "80" : "bf")
)
const everyContinuation = Array.from({ length: 64 }, (_, n) => (0x80 + n).toString(16)).join("")
table("12", false, ["80", "bf", ...continuations.slice(1).map((digits) => digits.join("")), everyContinuation])
const lonely = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, n) => `${(from + n).toString(16)}20`).join("")
table("13", false, [lonely(0xc0, 0xdf), lonely(0xe0, 0xef), lonely(0xf0, 0xf7), lonely(0xf8, 0xfb), lonely(0xfc, 0xfd)])
const cutShort = ["c0", "e0 80", "f0 80 80", "f8 80 80 80", "fc 80 80 80 80"]
const cutShortHigh = ["df", "ef bf", "f7 bf bf", "fb bf bf bf", "fd bf bf bf bf"]
table("14", false, [...cutShort, ...cutShortHigh])
table("15", false, [[...cutShort, ...cutShortHigh].join("")])
table("16", false, ["fe", "ff", "fe fe ff ff"])
table("17", false, ["c0 af", "e0 80 af", "f0 80 80 af", "f8 80 80 80 af", "fc 80 80 80 80 af"])
table("18", false, ["c1 bf", "e0 9f bf", "f0 8f bf bf", "f8 87 bf bf bf", "fc 83 bf bf bf bf"])
table("19", false, ["c0 80", "e0 80 80", "f0 80 80 80", "f8 80 80 80 80", "fc 80 80 80 80 80"])
table("20", false, ["ed a0 80", "ed ad bf", "ed ae 80", "ed af bf", "ed b0 80", "ed be 80", "ed bf bf"])
const halves = ["ed a0 80", "ed ad bf", "ed ae 80", "ed af bf"]
table("21", false, halves.flatMap((high) => ["ed b0 80", "ed bf bf"].map((low) => `${high} ${low}`)))
const planes = Array.from({ length: 17 }, (_, plane) => plane)
const nonCharacters = planes.flatMap((plane) =>
  [0xfffe, 0xffff].map((low) => String.fromCodePoint(plane * 0x10000 + low))
)
table("22", true, nonCharacters.map((character) => Buffer.from(character).toString("hex")))
const specials = [0xfff9, 0xfffa, 0xfffb, 0xfffc, 0xfffd, 0xfffe, 0xffff]
table("23", true, specials.map((code) => Buffer.from(String.fromCodePoint(code)).toString("hex")))

// ---- 7: closing

add("7.1.1", [hello, bye], [helloBack, goodbye])
add("7.1.2", [bye, close(1000)], [goodbye])
add("7.1.3", [bye, ping("late")], [goodbye])
add("7.1.4", [bye, hello], [goodbye])
add("7.1.5", [two[0]!, bye, two[1]!], [goodbye])
add("7.1.6", [text("*".repeat(262_144)), bye, ping()], ["text of 262144", goodbye])
add("7.3.1", [close()], ["close"])
add("7.3.2", [frame(8, "a")], [protocolError])
add("7.3.3", [close(1000)], [goodbye])
add("7.3.4", [close(1000, "Hello, world!")], ["close 1000"])
add("7.3.5", [close(1000, "*".repeat(123))], ["close 1000"])
add("7.3.6", [close(1000, "*".repeat(124))], [protocolError])
add("7.5.1", [close(1000, hex(surrogateWithin))], [notText])
const validCodes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
validCodes.forEach((code, index) => add(`7.7.${index + 1}`, [close(code)], [`close ${code}`]))
// 1012 to 1014, which are among the invalid ones of old, have been registered since.
const invalidCodes = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]
invalidCodes.forEach((code, index) => add(`7.9.${index + 1}`, [close(code)], [protocolError]))
add("7.13.1", [close(5000)], [protocolError])
add("7.13.2", [close(65_535)], [protocolError])

// ---- 9: limits

const kib = 1024
const mib = 1024 * kib
const filled = (opcode: 1 | 2, size: number): Buffer => Buffer.alloc(size, opcode === 1 ? "*" : 0xfe)
const echoed = (opcode: 1 | 2, size: number): string =>
  opcode === 1 ? named("text", "*".repeat(size)) : named("binary", "fe".repeat(size))
const inFragments = (opcode: 1 | 2, size: number, piece: number): Array<Buffer> => {
  const whole = filled(opcode, size)
  return fragments(
    opcode,
    Array.from({ length: size / piece }, (_, at) => whole.subarray(at * piece, (at + 1) * piece))
  )
}
for (const opcode of [1, 2] as const) {
  const messages = [64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib]
  messages.forEach((size, index) =>
    add(`9.${opcode}.${index + 1}`, [frame(opcode, filled(opcode, size))], [echoed(opcode, size)])
  )
  const pieces = [64, 256, kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib]
  pieces.forEach((piece, index) =>
    add(`9.${opcode + 2}.${index + 1}`, inFragments(opcode, 4 * mib, piece), [
      echoed(opcode, 4 * mib)
    ])
  )
  const chops = [64, 128, 256, 512, kib, 2 * kib]
  chops.forEach((cut, index) =>
    add(`9.${opcode + 4}.${index + 1}`, [frame(opcode, filled(opcode, mib))], [echoed(opcode, mib)], cut)
  )
  const small = [0, 16, 64, 256, kib, 4 * kib]
  small.forEach((size, index) => {
    const thousand = Array.from({ length: 1000 }, () => frame(opcode, filled(opcode, size)))
    add(`9.${opcode + 6}.${index + 1}`, thousand, thousand.map(() => echoed(opcode, size)))
  })
}

// ---- 10: what the server sends

add("10.1.1", [text("*".repeat(65_536))], ["text of 65536"], 1300)

export const all: ReadonlyArray<Case> = cases
