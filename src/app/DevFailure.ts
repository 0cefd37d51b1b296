/**
 * Why an application cannot run, as a developer reads it: in words, with the frames that matter and the lines around the
 * first of them. Crosses from a worker to its supervisor, to the other workers, and to the browser. Data and its text;
 * who finds frames and reads sources is layers/internal/ReloadFailure.ts.
 */

/** One line of a stack. */
export interface Frame {
  /** The function; empty where it has no name. */
  readonly call: string
  /** Path from the current directory where it is below it, absolute otherwise. */
  readonly file: string
  readonly line: number
  readonly column: number
}

/** A place in a file, with the lines around it. */
export interface CodeFrame {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly lines: ReadonlyArray<{ readonly number: number; readonly text: string }>
}

/** An application that does not start. */
export interface DevFailure {
  /** What did not work, in a few words. */
  readonly title: string
  /** The error in its own words; may have several lines. */
  readonly message: string
  readonly code?: CodeFrame
  /** Innermost first, without those of the runtime. */
  readonly frames: ReadonlyArray<Frame>
}

// oxlint-disable-next-line no-control-regex
const controls = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]/g

/** Text that cannot move a terminal's cursor. Line feeds and tabs stay. */
export const harmless = (text: string): string =>
  text.replaceAll("\r\n", "\n").replace(
    controls,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`
  )

/** `file:line:column`, as editors and terminals open it. */
export const placeOf = ({ column, file, line }: Frame | CodeFrame): string => `${file}:${line}:${column}`

/** The lines of a code frame, the one that is meant marked, and a caret below its column. */
export const codeText = ({ column, line, lines }: CodeFrame): string => {
  const width = String(lines.at(-1)?.number ?? 0).length
  return lines.flatMap(({ number, text }) => {
    const isMeant = number === line
    const row = `${isMeant ? ">" : " "} ${String(number).padStart(width)} | ${text}`
    // Tabs stay tabs, so that the caret stands below its column however wide they are shown.
    const blank = text.slice(0, Math.max(column - 1, 0)).replace(/[^\t]/g, " ")
    return isMeant ? [row, `  ${" ".repeat(width)} | ${blank}^`] : [row]
  }).join("\n")
}

/** The whole failure as plain text of several lines. */
export const toText = (failure: DevFailure): string => {
  const parts = [failure.title, failure.message]
  if (failure.code !== undefined) parts.push(`${placeOf(failure.code)}\n${codeText(failure.code)}`)
  if (failure.frames.length > 0) {
    parts.push(
      failure.frames.map((frame) => `    at ${frame.call} (${placeOf(frame)})`.replace(" at  (", " at (")).join("\n")
    )
  }
  return harmless(parts.join("\n\n"))
}
