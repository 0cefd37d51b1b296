/**
 * The language of route paths: literals, `:name`, `{name}`, `{name:regex}`, `*rest`, optional segments `:name?` at the
 * end, and `\` before a character that is meant literally. Reads a pattern into segments, tests texts against them, and
 * knows the names of its parameters as types.
 *
 * Never sees a request: texts are decoded segments.
 */

// ---- names as types

type Letter =
  | "a"
  | "b"
  | "c"
  | "d"
  | "e"
  | "f"
  | "g"
  | "h"
  | "i"
  | "j"
  | "k"
  | "l"
  | "m"
  | "n"
  | "o"
  | "p"
  | "q"
  | "r"
  | "s"
  | "t"
  | "u"
  | "v"
  | "w"
  | "x"
  | "y"
  | "z"
  | "_"
type Digit = "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9"
type Start = Letter | Uppercase<Letter>

/** The word that a text begins with, and what follows it. */
type Word<Text extends string, Taken extends string = ""> = Text extends `${infer Char}${infer Rest}`
  ? Char extends Start | Digit ? Word<Rest, `${Taken}${Char}`> : readonly [Taken, Text]
  : readonly [Taken, Text]

/** What follows the brace that closes the one before `Text`. */
type AfterBrace<Text extends string, Depth extends ReadonlyArray<unknown> = []> = Text extends
  `${infer Char}${infer Rest}` ?
  Char extends "\\" ? Rest extends `${string}${infer Later}` ? AfterBrace<Later, Depth> : ""
  : Char extends "{" ? AfterBrace<Rest, [...Depth, 0]>
  : Char extends "}" ? Depth extends readonly [unknown, ...infer Outer] ? AfterBrace<Rest, Outer> : Rest
  : AfterBrace<Rest, Depth>
  : ""

/** Names in a pattern as a union, optional ones with `?` at their end. */
type Found<Text extends string, Names extends string = never> = Text extends `${infer Char}${infer Rest}`
  ? Char extends "\\" ? Rest extends `${string}${infer Later}` ? Found<Later, Names> : Names
  : Char extends "*" ? Names | (Rest extends "" ? "*" : Rest)
  : Char extends "{" ? Found<AfterBrace<Rest>, Names | Word<Rest>[0]>
  : Char extends ":" ?
    Rest extends `${infer First}${string}`
      ? First extends Start
        ? Word<Rest> extends readonly [infer Name extends string, infer Later extends string]
          ? Later extends `?${infer More}` ? Found<More, Names | `${Name}?`> : Found<Later, Names | Name>
        : never
      : Found<Rest, Names>
    : Names
  : Found<Rest, Names>
  : Names

/** Names of the parameters of a pattern; any string for a pattern that is not a literal type. */
export type Names<Pattern extends string> = string extends Pattern ? string
  : Found<Pattern> extends infer Name ? Name extends `${infer Bare}?` ? Bare : Name & string
  : never

/** Names that may be absent. */
export type OptionalNames<Pattern extends string> = string extends Pattern ? string
  : Found<Pattern> extends infer Name ? Name extends `${infer Bare}?` ? Bare : never
  : never

// ---- reading

/** A segment with at least one parameter. Equal keys match the same texts. */
export interface Dynamic {
  readonly key: string
  /** Literals and names in their order. */
  readonly pieces: ReadonlyArray<Piece>
  readonly names: ReadonlyArray<string>
  /** What a text must match; groups `p0`, `p1`, ... hold the parameters. `undefined`: any text that is not empty. */
  readonly shape: RegExp | undefined
  /** Further tests of a parameter, by its place in `names`. */
  readonly tests: ReadonlyArray<readonly [index: number, test: RegExp]>
}

export type Segment = string | Dynamic

/** A pattern after reading. */
export interface Pattern {
  readonly text: string
  readonly segments: ReadonlyArray<Segment>
  /** How many segments at the end may be left out. */
  readonly optional: number
  /** Name of the catch-all at the end. */
  readonly rest: string | undefined
  readonly names: ReadonlyArray<string>
}

/** Names of the parameters that may be left out: each is a segment of its own. */
export const optionalNames = ({ names, optional }: Pattern): ReadonlyArray<string> =>
  names.slice(names.length - optional)

/** Tests by name of parameter, in addition to those in the pattern. */
export type Constraints = Readonly<Record<string, RegExp>>

/** A part of a segment: a literal, or a parameter with its inline test. */
export type Piece = string | { readonly name: string; readonly source: string | undefined }

/**
 * Reads a pattern.
 *
 * **Throws** an `Error` that names the pattern for one without a leading slash, a name used twice, a test that is not a
 * regular expression, a constraint for a name that is not there, and anything after a catch-all or an optional segment.
 */
export const parse = (text: string, constraints: Constraints = {}): Pattern => {
  if (!text.startsWith("/")) throw invalid(text, "it must begin with a slash")
  return read(text, text.slice(1), "/", constraints)
}

/** Reads the pattern of a host: labels in place of segments, dots in place of slashes, letters of any case. */
export const parseHost = (text: string): Pattern => {
  const lowered = lower(text)
  return read(lowered, lowered, ".", {})
}

/** Literals of a host are compared in lower case; names of parameters stay as they are. */
const lower = (text: string): string =>
  text.split(/(:\w+|\{[^]*?\}(?=\.|$))/).map((part, index) => index % 2 === 0 ? part.toLowerCase() : part).join("")

const read = (text: string, body: string, separator: string, constraints: Constraints): Pattern => {
  const segments: Array<Segment> = []
  const names: Array<string> = []
  let optional = 0
  let rest: string | undefined
  for (const source of split(text, body, separator)) {
    if (rest !== undefined) throw invalid(text, "a catch-all must be its end")
    const [pieces, isOptional] = piecesOf(text, source)
    if (source.startsWith("*")) {
      rest = source.slice(1) || "*"
      if (rest !== "*" && !/^[A-Za-z_]\w*$/.test(rest)) {
        throw invalid(text, `"${source}" is not a catch-all with a name`)
      }
      names.push(rest)
      continue
    }
    if (optional > 0 && !isOptional) throw invalid(text, "an optional segment must be at its end")
    if (isOptional) optional++
    const segment = toSegment(text, pieces, constraints)
    if (typeof segment !== "string") names.push(...segment.names)
    segments.push(segment)
  }
  if (optional > 0 && rest !== undefined) throw invalid(text, "a catch-all cannot follow an optional segment")
  check(text, names, constraints)
  return { text, segments, optional, rest, names }
}

const invalid = (text: string, problem: string): Error =>
  new Error(`The path ${JSON.stringify(text)} is invalid: ${problem}`)

const check = (text: string, names: ReadonlyArray<string>, constraints: Constraints): void => {
  names.forEach((name, index) => {
    if (names.indexOf(name) !== index) throw invalid(text, `it has two parameters called "${name}"`)
    if (name === "__proto__") throw invalid(text, `a parameter cannot be called "${name}"`)
  })
  for (const name of Object.keys(constraints)) {
    if (!names.includes(name)) throw invalid(text, `it has no parameter "${name}" to constrain`)
  }
}

/** Separators within braces belong to a test. */
const split = (text: string, body: string, separator: string): ReadonlyArray<string> => {
  const parts = [""]
  let depth = 0
  for (let index = 0; index < body.length; index++) {
    const char = body[index]!
    if (char === "\\") {
      parts[parts.length - 1] += char + (body[++index] ?? "")
      continue
    }
    if (char === "{") depth++
    if (char === "}") depth--
    if (char === separator && depth === 0) parts.push("")
    else parts[parts.length - 1] += char
  }
  if (depth !== 0) throw invalid(text, "its braces are not balanced")
  return parts
}

const piecesOf = (text: string, source: string): readonly [ReadonlyArray<Piece>, isOptional: boolean] => {
  const pieces: Array<Piece> = []
  let literal = ""
  const push = (piece: Piece) => {
    if (literal !== "") pieces.push(literal)
    literal = ""
    if (piece !== "") pieces.push(piece)
  }
  for (let index = 0; index < source.length; index++) {
    const char = source[index]!
    const name = char === ":" ? /^[A-Za-z_]\w*/.exec(source.slice(index + 1))?.[0] : undefined
    if (char === "\\") {
      literal += source[++index] ?? ""
    } else if (char === "{") {
      const end = closing(source, index)
      push(braced(text, source.slice(index + 1, end)))
      index = end
    } else if (name !== undefined) {
      push({ name, source: undefined })
      index += name.length
      if (source[index + 1] === "?") {
        if (pieces.length !== 1 || index + 2 !== source.length) {
          throw invalid(text, `":${name}?" must be a segment of its own`)
        }
        return [pieces, true]
      }
    } else if (char === "*" && index > 0) {
      throw invalid(text, "a catch-all must be a segment of its own")
    } else literal += char
  }
  push("")
  return [pieces, false]
}

const closing = (source: string, open: number): number => {
  let depth = 0
  for (let index = open; index < source.length; index++) {
    if (source[index] === "\\") index++
    else if (source[index] === "{") depth++
    else if (source[index] === "}" && --depth === 0) return index
  }
  return source.length
}

const braced = (text: string, inner: string): Piece => {
  const [, name, source] = /^([A-Za-z_]\w*)(?::([^]+))?$/.exec(inner) ?? []
  if (name === undefined) throw invalid(text, `"{${inner}}" has no name`)
  return { name, source }
}

const toSegment = (text: string, pieces: ReadonlyArray<Piece>, constraints: Constraints): Segment => {
  if (pieces.every((piece) => typeof piece === "string")) return pieces.join("")
  const names: Array<string> = []
  const tests: Array<readonly [number, RegExp]> = []
  let shape = ""
  for (const [place, piece] of pieces.entries()) {
    if (typeof piece === "string") {
      shape += literally(piece)
      continue
    }
    const index = names.push(piece.name) - 1
    const constraint = Object.hasOwn(constraints, piece.name) ? constraints[piece.name] : undefined
    if (constraint !== undefined) tests.push([index, anchored(text, constraint.source, constraint.flags)])
    // Alone, so that a mistake in it is not mended by what stands around it.
    if (piece.source !== undefined) anchored(text, piece.source)
    shape += `(?<p${index}>${piece.source ?? untested(pieces.slice(place + 1))})`
  }
  const isBare = pieces.length === 1 && (pieces[0] as Exclude<Piece, string>).source === undefined
  const key = `${isBare ? "" : shape}${tests.map(([index, test]) => ` ${index}${test}`).join("")}`
  return { key, pieces, names, shape: isBare ? undefined : anchored(text, shape), tests }
}

const literally = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")

/**
 * Matches a parameter that has no test, as short as what follows allows. Where nothing after it has a test, the first
 * place where it can end is the only one worth trying: going on behind it is cubic on `/:a-:b.json`, which costs seconds
 * for a path of 16 KB.
 */
const untested = (following: ReadonlyArray<Piece>): string => {
  const [next, ...others] = following
  const isFree = following.every((piece) => typeof piece === "string" || piece.source === undefined)
  if (!isFree || next === undefined || (typeof next === "string" && others.length === 0)) return "[^]+?"
  return typeof next === "string" ? `[^](?:(?!${literally(next)})[^])*` : "[^]"
}

const anchored = (text: string, source: string, flags = ""): RegExp => {
  try {
    return new RegExp(`^(?:${source})$`, flags.replace(/[gy]/g, ""))
  } catch (cause) {
    throw invalid(text, cause instanceof Error ? cause.message : String(cause))
  }
}

// ---- testing

/** Adds the parameters that `segment` finds in `text` to `values`; `false`, and nothing added, when it does not fit. */
export const match = (segment: Dynamic, text: string, values: Array<string>): boolean => {
  if (text === "") return false
  const before = values.length
  if (segment.shape === undefined) values.push(text)
  else {
    const groups = segment.shape.exec(text)?.groups
    if (groups === undefined) return false
    for (let index = 0; index < segment.names.length; index++) values.push(groups[`p${index}`]!)
  }
  for (const [index, test] of segment.tests) {
    if (!test.test(values[before + index]!)) {
      values.length = before
      return false
    }
  }
  return true
}
