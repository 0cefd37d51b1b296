/**
 * Reads a file of environment variables, as Node does with `--env-file`: `NAME=value`, quotes, comments, `export`, and
 * nothing that refers to other variables. What Node passes over in silence is refused with its line.
 */
import * as Result from "effect/Result"
import { parseEnv } from "node:util"

const assignment = /^\s*(?:export\s+)?[^\s=#'"`]+\s*=[^\S\n]*(.*)$/

/** The line with which a quoted value ends that begins at `start`; `undefined` where none does. */
const endOfQuote = (lines: ReadonlyArray<string>, start: number, value: string): number | undefined => {
  const quote = value[0]!
  if (value.indexOf(quote, 1) !== -1) return start
  for (let index = start + 1; index < lines.length; index++) {
    if (lines[index]!.includes(quote)) return index
  }
  return undefined
}

const problemIn = (content: string): string | undefined => {
  const lines = content.replace(/^\uFEFF/, "").split(/\r?\n/)
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index]!
    if (/^\s*(?:#|$)/.test(line)) continue
    const value = assignment.exec(line)?.[1]
    if (value === undefined) return `line ${index + 1} is not NAME=value`
    if (!/^["'`]/.test(value)) continue
    const end = endOfQuote(lines, index, value)
    if (end === undefined) return `the quote of line ${index + 1} never ends`
    index = end
  }
  return undefined
}

/** **Fails with** what is wrong, which names the line and none of what it says: that may be a secret. */
export const parse = (content: string): Result.Result<Readonly<Record<string, string>>, string> => {
  const problem = problemIn(content)
  return problem === undefined
    ? Result.succeed(parseEnv(content.replace(/^\uFEFF/, "")) as Record<string, string>)
    : Result.fail(problem)
}
