/**
 * Names of topics and channels, and patterns over topics: which are allowed, and which topics a pattern matches.
 *
 * A name has at most 100 bytes of `A-Z a-z 0-9 . : _ -`. Dots part it into segments, none of which is empty, so that
 * every back end can keep names as they are: no glob, subject or header syntax is possible in them.
 */

/** Longest name or pattern, in characters, which are bytes here. Precedent: the reference and Django Channels, 100. */
export const maxLength = 100

const segment = "[A-Za-z0-9:_-]+"
const topicSyntax = new RegExp(`^${segment}(?:\\.${segment})*$`)
const patternSyntax = new RegExp(`^(?:${segment}|\\*\\*?)(?:\\.(?:${segment}|\\*\\*?))*$`)

const syntaxProblem = "it takes letters, digits and : _ - in segments parted by single dots"

/** **Returns** why a topic or channel cannot be called so; `undefined` when it can. */
export const problemWith = (name: string): string | undefined => {
  if (name.length > maxLength) return `it has ${name.length} characters, the limit is ${maxLength}`
  if (name.length === 0) return "it is empty"
  return topicSyntax.test(name) ? undefined : syntaxProblem
}

/** True for names with a segment `*` or `**`: the only names with an asterisk. */
export const isPattern = (name: string): boolean => name.includes("*")

/** **Returns** why this is no pattern; `undefined` when it is one. Every topic is a pattern as well. */
export const problemWithPattern = (pattern: string): string | undefined => {
  if (pattern.length > maxLength) return `it has ${pattern.length} characters, the limit is ${maxLength}`
  if (pattern.length === 0) return "it is empty"
  return patternSyntax.test(pattern) ? undefined : `${syntaxProblem}; * is one whole segment, ** one or more`
}

/**
 * Compiles a valid pattern. `*` is exactly one segment, `**` is one or more: `chat.*` matches `chat.lobby` and not
 * `chat`, `chat.**` matches `chat.lobby` and `chat.lobby.typing`, `**` matches every topic.
 *
 * Matching takes time linear in the topic for each `**`; names of 100 characters bound it.
 */
export const matcher = (pattern: string): (topic: string) => boolean => {
  const wanted = pattern.split(".")
  return (topic) => matches(wanted, topic.split("."))
}

const matches = (wanted: ReadonlyArray<string>, found: ReadonlyArray<string>): boolean => {
  let next = 0
  // The last `**` takes one segment more whenever what follows it does not fit; an earlier one never has to.
  let afterAny = -1
  let takenTo = 0
  for (let at = 0; at < found.length; at++) {
    const segment = wanted[next]
    if (segment === "**") {
      afterAny = ++next
      takenTo = at
    } else if (segment !== undefined && (segment === "*" || segment === found[at])) {
      next++
    } else if (afterAny >= 0) {
      next = afterAny
      at = ++takenTo
    } else {
      return false
    }
  }
  return next === wanted.length
}
