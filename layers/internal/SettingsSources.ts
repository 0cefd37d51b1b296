/**
 * Collects settings from flags, environment variables and a config file into options, and remembers what the user
 * called each one so that errors speak in those words. A flag is stronger than a variable, that than the file.
 *
 * Checks names only; values are checked by src/schema/Settings.ts. Never reads `process`: the caller hands it over.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Settings from "../../src/schema/Settings.ts"

/** What the user wrote, as text. */
export interface Sources {
  /** Flags by the setting's key; a list for repeatable ones. */
  readonly flags: Readonly<Record<string, string | ReadonlyArray<string>>>
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Options for `Settings.resolve` and `Settings.resolveCommand`, and where they came from. */
export interface Collected {
  readonly server: Settings.ServerOptions
  readonly command: Settings.CommandOptions
  /** What the user called a setting, for errors. */
  readonly nameOf: Settings.NameOf
  /** True for what some source sets, even to its default. */
  readonly isSet: (key: string) => boolean
  /** Remarks for the log: variables that look like settings and are none. */
  readonly warnings: ReadonlyArray<string>
}

interface Given {
  readonly value: unknown
  readonly name: string
}

type Source = Map<string, Given>

const fail = (reason: Settings.SettingsErrorReason) => new Settings.SettingsError({ reason })

const give = (source: Source, entry: Settings.Entry, raw: unknown, name: string): void => {
  source.set(entry.key, { value: entry.kind.fromText(raw), name })
}

const fromFlags = (flags: Sources["flags"]): Source => {
  const source: Source = new Map()
  for (const entry of Settings.entries) {
    const raw = flags[entry.key]
    if (raw !== undefined) give(source, entry, raw, `--${entry.flag}`)
  }
  return source
}

// `PORT=` in a compose file means "not set"; `SLIPWAY_SERVER_HEADER=` means the empty value, which that setting has.
const isMeant = (entry: Settings.Entry, text: string): boolean =>
  text !== "" || Option.isSome(Schema.decodeUnknownOption(entry.kind.schema)(""))

const fromEnv = (env: Sources["env"], namesOf: (entry: Settings.Entry) => ReadonlyArray<string>): Source => {
  const source: Source = new Map()
  for (const entry of Settings.entries) {
    for (const name of namesOf(entry)) {
      const text = env[name]
      if (text !== undefined && isMeant(entry, text)) give(source, entry, text, name)
    }
  }
  return source
}

const strayVariables = (env: Sources["env"]): Array<string> => {
  const known = Settings.entries.map((entry) => entry.env)
  return Object.keys(env).filter((name) => name.startsWith("SLIPWAY_") && !known.includes(name)).map((name) => {
    const nearest = Settings.nearest(name, known)
    return `The environment variable ${name} is no setting.${nearest === undefined ? "" : ` Did you mean ${nearest}?`}`
  })
}

const problemOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const parse = Effect.fnUntraced(function*(path: string, content: string) {
  const unreadable = (cause: unknown) =>
    fail({ _tag: "ConfigFileUnreadable", path, problem: problemOf(cause).replace(/\s*\n\s*/g, " ") })
  switch (/\.([^./\\]*)$/.exec(path)?.[1]?.toLowerCase()) {
    case "toml": {
      const Toml = yield* Effect.promise(() => import("effect/encoding/Toml"))
      return yield* Effect.fromResult(Result.mapError(Toml.parse(content), unreadable))
    }
    case "yaml":
    case "yml": {
      const Yaml = yield* Effect.promise(() => import("effect/encoding/Yaml"))
      return yield* Effect.try({ try: () => Yaml.parse(content), catch: unreadable })
    }
    case "json":
      return yield* Effect.try({ try: () => JSON.parse(content) as unknown, catch: unreadable })
    default:
      return yield* unreadable("its name must end in .toml, .yaml, .yml or .json")
  }
})

const fromFile = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const content = yield* Effect.mapError(fs.readFileString(path), (error) =>
    fail({
      _tag: "ConfigFileUnreadable",
      path,
      problem: error.reason._tag === "NotFound" ? "there is no such file" : error.message
    }))
  const parsed = yield* parse(path, content)
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    return yield* fail({ _tag: "ConfigFileUnreadable", path, problem: "it must hold option names with values" })
  }
  const source: Source = new Map()
  const entries = Settings.entries.filter((entry) => entry.notInFile !== true)
  for (const [key, raw] of Object.entries(parsed)) {
    const entry = entries.find((candidate) => candidate.key === key)
    if (entry === undefined) {
      return yield* Settings.unknownOption(key, entries.map((candidate) => candidate.key), ` in ${path}`)
    }
    give(source, entry, raw, `${key} in ${path}`)
  }
  return source
})

// A stronger source that says where to listen replaces what a weaker one says: a platform's PORT must not forbid
// --unix.
const override = (weaker: Source, stronger: Source): Source => {
  const merged: Source = new Map(weaker)
  for (const [one, two] of Settings.listenerConflicts) {
    const replaced = (stronger.has(one) && merged.delete(two)) || (stronger.has(two) && merged.delete(one))
    if (replaced) merged.delete("unixMode")
  }
  for (const [key, given] of stronger) merged.set(key, given)
  return merged
}

/**
 * Reads every source and merges them.
 *
 * **Fails with** `SettingsError` when the config file cannot be read or has a key that is no setting.
 */
export const collect = Effect.fnUntraced(function*(sources: Sources) {
  const flags = fromFlags(sources.flags)
  const env = fromEnv(sources.env, (entry) => [entry.env])
  const weakerEnv = fromEnv(sources.env, (entry) => entry.weakerEnv ?? [])
  const config = flags.get("config") ?? env.get("config")
  const file = typeof config?.value === "string" ? yield* fromFile(config.value) : new Map<string, Given>()
  const merged = [weakerEnv, env, flags].reduce(override, file)

  const group = (name: Settings.Entry["group"]): Record<string, unknown> =>
    Object.fromEntries(
      Settings.entries.flatMap((entry) => {
        const given = merged.get(entry.key)
        return entry.group === name && given !== undefined ? [[entry.key, given.value]] : []
      })
    )

  const collected: Collected = {
    server: group("server"),
    command: group("command"),
    nameOf: (key) => merged.get(key)?.name ?? key,
    isSet: (key) => merged.has(key),
    warnings: strayVariables(sources.env)
  }
  return collected
})
