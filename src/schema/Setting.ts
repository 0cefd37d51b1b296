/**
 * What a row of the settings table is: kind, default, meaning and names of one setting, and the types that follow from a
 * table of them. The rows are in ServerSettings.ts and CommandSettings.ts.
 */
import type * as Kind from "./SettingKind.ts"

/** One row of the table. `A` is what the server uses, `I` what a program may write, `D` its default. */
export interface Setting<A, I, D extends I | undefined = I | undefined> {
  readonly kind: Kind.Kind<A, I>
  readonly default: D
  /** What the default is, in words, where it is not a constant. */
  readonly defaultText?: string
  /** What it does, in which unit, and what happens at the limit. */
  readonly description: string
  /** One letter that stands for the flag. */
  readonly alias?: string
  /** Environment variables read when the setting's own is not set. */
  readonly weakerEnv?: ReadonlyArray<string>
  /** A flag without a value that stands for this text. */
  readonly offFlag?: { readonly name: string; readonly text: string; readonly description: string }
  /** True for what cannot be said in a config file. */
  readonly notInFile?: true
  /** What the first screen of `--help` says of it. Default: it is not there. */
  readonly brief?: string
  /** The heading below which the documentation has it. */
  readonly section?: string
}

/** Makes a row. */
export const setting = <A, I, const D extends I | undefined>(
  kind: Kind.Kind<A, I>,
  defaultValue: D,
  description: string,
  more?: Pick<Setting<A, I>, "alias" | "defaultText" | "weakerEnv" | "offFlag" | "notInFile" | "brief">
): Setting<A, I, D> => ({ kind, default: defaultValue, description, ...more })

/** Puts rows below one heading. */
export const section = <T extends Readonly<Record<string, Setting<any, any>>>>(title: string, rows: T): T =>
  Object.fromEntries(Object.entries(rows).map(([key, row]) => [key, { ...row, section: title }])) as unknown as T

/** What a table of rows is once it is checked and complete. */
export type Decoded<T> = {
  readonly [K in keyof T]: T[K] extends Setting<infer A, infer _I, infer D> ? D extends undefined ? A | undefined : A
    : never
}
/** What a program may write for a table of rows. */
export type Written<T> = {
  readonly [K in keyof T]?: T[K] extends Setting<infer _A, infer I, infer _D> ? I | undefined : never
}
