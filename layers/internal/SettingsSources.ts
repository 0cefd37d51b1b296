/**
 * Collects settings from flags, environment variables, a file of such variables and a config file into options, and
 * remembers what the user called each one so that errors speak in those words. A flag is stronger than a variable, that
 * than one of the .env file, that than the config file; a profile of the config file is stronger than the rest of it.
 *
 * Checks names only; values are checked by src/schema/Settings.ts. Never reads `process`: the caller hands it over.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Settings from "../../src/schema/Settings.ts"
import * as EnvFile from "./EnvFile.ts"

/** What the user wrote, as text. */
export interface Sources {
  /** Flags by the setting's key; a list for repeatable ones. */
  readonly flags: Readonly<Record<string, string | ReadonlyArray<string>>>
  readonly env: Readonly<Record<string, string | undefined>>
  /**
   * Whether `.env` and `slipway.toml` of the current directory are read where no other is named. Default: false, or true
   * where an expression is served. Only for who runs a program anyway: such files say what is loaded and where is written.
   */
  readonly discover?: boolean
  /** Whether somebody watches, who is in development then. Default: false. */
  readonly isTerminal?: boolean
}

/** A config file that was read. */
export interface ConfigFile {
  readonly path: string
  readonly profile: string | undefined
}

/** Options for `Settings.resolve` and `Settings.resolveCommand`, and where they came from. */
export interface Collected extends Settings.Origins {
  readonly server: Settings.ServerOptions
  readonly command: Settings.CommandOptions
  /** What the user called a setting, for errors. */
  readonly nameOf: Settings.NameOf
  /** True for what some source sets, even to its default. */
  readonly isSet: (key: string) => boolean
  /** Remarks for the log: variables that look like settings and are none. */
  readonly warnings: ReadonlyArray<string>
  readonly configFile: ConfigFile | undefined
  readonly envFile: string | undefined
  /** Variables of the .env file that the environment lacks: those that the application should find there. */
  readonly variables: Readonly<Record<string, string>>
}

interface Given {
  readonly value: unknown
  readonly name: string
}

type Source = Map<string, Given>
type Variables = Readonly<Record<string, string | undefined>>

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

const fromVariables = (
  variables: Variables,
  namesOf: (entry: Settings.Entry) => ReadonlyArray<string>,
  place: string
): Source => {
  const source: Source = new Map()
  for (const entry of Settings.entries) {
    for (const name of namesOf(entry)) {
      const text = variables[name]
      if (text !== undefined && isMeant(entry, text)) give(source, entry, text, name + place)
    }
  }
  return source
}

/** A variable of the setting's own name is stronger than one that other programs read as well. */
const fromEnv = (variables: Variables, place = ""): Source =>
  override(
    fromVariables(variables, (entry) => entry.weakerEnv ?? [], place),
    fromVariables(variables, (entry) => [entry.env], place)
  )

/** Heard, but no setting: says whether this is a container, see Surroundings.ts. */
const otherVariable = "SLIPWAY_CONTAINER"

const strayVariables = (variables: Variables, place = ""): Array<string> => {
  const known = Settings.entries.map((entry) => entry.env)
  const isStray = (name: string) => name.startsWith("SLIPWAY_") && name !== otherVariable && !known.includes(name)
  return Object.keys(variables).filter(isStray).map((name) => {
    const nearest = Settings.nearest(name, known)
    const hint = nearest === undefined ? "" : ` Did you mean ${nearest}?`
    return `The environment variable ${name}${place} is no setting.${hint}`
  })
}

// ---- the .env file

const defaultEnvFile = ".env"

const readEnvFile = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const unreadable = (problem: string) => fail({ _tag: "EnvFileUnreadable", path, problem })
  const content = yield* Effect.mapError(fs.readFileString(path), (error) => unreadable(readProblem(error)))
  return yield* Effect.fromResult(Result.mapError(EnvFile.parse(content), unreadable))
})

/** What a program named, what was found, or nothing. A named file is read even if it is not there, which fails. */
const choose = Effect.fnUntraced(function*(
  given: Given | undefined,
  discover: boolean,
  candidates: ReadonlyArray<string>
) {
  if (typeof given?.value === "string") return [given.value]
  if (given?.value === false || !discover) return []
  const fs = yield* FileSystem.FileSystem
  return yield* Effect.filter(candidates, (path) => Effect.orElseSucceed(fs.exists(path), () => false))
})

// ---- the config file

const defaultConfigFiles = ["slipway.toml", "slipway.yaml", "slipway.yml", "slipway.json"]

const problemOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const readProblem = (error: { readonly reason: { readonly _tag: string }; readonly message: string }): string =>
  error.reason._tag === "NotFound"
    ? "there is no such file"
    : error.reason._tag === "BadResource"
    ? "it is not a file"
    : error.message

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
      // A document of nothing but comments is null in YAML.
      return yield* Effect.try({ try: () => Yaml.parse(content) ?? {}, catch: unreadable })
    }
    case "json":
      return yield* Effect.try({ try: () => JSON.parse(content) as unknown, catch: unreadable })
    default:
      return yield* unreadable("its name must end in .toml, .yaml, .yml or .json")
  }
})

const isTable = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const fileEntries = Settings.entries.filter((entry) => entry.notInFile !== true)

/** `others` are names that may stand there and are no settings: somebody may have meant one of them. */
const fromTable = (table: Readonly<Record<string, unknown>>, place: string, others: ReadonlyArray<string> = []) => {
  const source: Source = new Map()
  for (const [key, raw] of Object.entries(table)) {
    const entry = fileEntries.find((candidate) => candidate.key === key)
    if (entry === undefined) {
      const names = [...others, ...fileEntries.map((candidate) => candidate.key)]
      return Result.fail(Settings.unknownOption(key, names, ` in ${place}`))
    }
    give(source, entry, raw, `${key} in ${place}`)
  }
  return Result.succeed(source)
}

/** A config file, all of its names checked. */
interface Read {
  readonly path: string
  readonly common: Source
  readonly profiles: ReadonlyMap<string, Source>
}

const readConfig = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const unusable = (problem: string) => fail({ _tag: "ConfigFileUnreadable", path, problem })
  const content = yield* Effect.mapError(fs.readFileString(path), (error) => unusable(readProblem(error)))
  const parsed = yield* parse(path, content)
  if (!isTable(parsed)) return yield* unusable("it must hold option names with values")
  const { profiles: written = {}, ...common } = parsed
  if (!isTable(written)) return yield* unusable("profiles must hold the names of profiles, each with options")
  const profiles = new Map<string, Source>()
  for (const [name, table] of Object.entries(written)) {
    if (!isTable(table)) return yield* unusable(`its profile ${name} must hold option names with values`)
    profiles.set(name, yield* Effect.fromResult(fromTable(table, `profile ${name} of ${path}`)))
  }
  const read: Read = { path, common: yield* Effect.fromResult(fromTable(common, path, ["profiles"])), profiles }
  return read
})

/** The mode that settings ask for, before any profile. A value that is none is refused later, by its name. */
const modeIn = (source: Source, isTerminal: boolean): string => {
  const isOn = (key: string): boolean => source.get(key)?.value === true
  const env = source.get("env")?.value
  return typeof env === "string"
    ? env
    : Settings.modeOf({ env: undefined, inspect: isOn("inspect"), reload: isOn("reload") }, isTerminal)
}

const withProfile = (
  { common, path, profiles }: Read,
  wanted: Given | undefined,
  mode: string
): Result.Result<readonly [source: Source, profile: string | undefined], Settings.SettingsError> => {
  if (wanted === undefined) {
    const profile = profiles.get(mode)
    return Result.succeed(profile === undefined ? [common, undefined] : [override(common, profile), mode])
  }
  const name = String(wanted.value)
  const profile = profiles.get(name)
  if (profile !== undefined) return Result.succeed([override(common, profile), name])
  const names = profiles.size === 0 ? "It has no profiles" : `It has ${[...profiles.keys()].join(", ")}`
  const problem = `it has no profile ${JSON.stringify(name)}, which ${wanted.name} asks for. ${names}`
  return Result.fail(fail({ _tag: "ConfigFileUnreadable", path, problem }))
}

// A stronger source that says where to listen replaces what a weaker one says: a platform's PORT must not forbid
// --unix. A switch that is off says nothing.
const override = (weaker: Source, stronger: Source): Source => {
  const says = (key: string): boolean => stronger.has(key) && stronger.get(key)!.value !== false
  const merged: Source = new Map(weaker)
  for (const { option, other } of Settings.exclusives) {
    const replaced = (says(option) && merged.delete(other)) || (says(other) && merged.delete(option))
    if (replaced) merged.delete("unixMode")
  }
  for (const [key, given] of stronger) merged.set(key, given)
  return merged
}

const configOf = Effect.fnUntraced(function*(
  stronger: Source,
  discover: boolean,
  isTerminal = false
) {
  const found = yield* choose(stronger.get("config"), discover, defaultConfigFiles)
  const wanted = stronger.get("profile")
  const [path, second] = found
  if (path === undefined) {
    if (wanted === undefined) return undefined
    const problem = "belong together: without a config file there are no profiles"
    return yield* fail({
      _tag: "Conflict",
      option: wanted.name,
      other: stronger.get("config")?.name ?? "--config",
      problem
    })
  }
  if (second !== undefined) {
    const problem = `there is ${second} as well. Name one with --config, or none with --no-config`
    return yield* fail({ _tag: "ConfigFileUnreadable", path, problem })
  }
  const read = yield* readConfig(path)
  const mode = modeIn(override(read.common, stronger), isTerminal)
  const [source, profile] = yield* Effect.fromResult(withProfile(read, wanted, mode))
  return { source, file: { path, profile } }
})

/**
 * Checks what was collected, alone and together, and finds the mode.
 *
 * **Fails with** `SettingsError`, the first there is.
 */
export const resolve = (
  collected: Collected,
  { app, isTerminal = false }: Pick<Sources, "isTerminal"> & Pick<Settings.Call, "app"> = {}
): Result.Result<Settings.Call, Settings.SettingsError> => {
  const { nameOf } = collected
  const command = Settings.resolveCommand(collected.command, nameOf)
  if (Result.isFailure(command)) return Result.fail(command.failure)
  const server = Settings.resolve(collected.server, nameOf)
  if (Result.isFailure(server)) return Result.fail(server.failure)
  const mode = Settings.modeOf(command.success, isTerminal)
  const call: Settings.Call = { app, command: command.success, mode, server: server.success }
  return Option.match(Settings.problemOf(call, collected), {
    onNone: () => Result.succeed(call),
    onSome: Result.fail
  })
}

/** The files that settings came from, in words, for the log. None: there is no such file. */
export const filesOf = ({ configFile, envFile }: Collected): Option.Option<string> => {
  const config = configFile?.profile === undefined ? configFile?.path : `${configFile.path} (${configFile.profile})`
  const files = [config, envFile].filter((file) => file !== undefined)
  return files.length === 0 ? Option.none() : Option.some(files.join(" and "))
}

/**
 * Reads every source and merges them.
 *
 * **Fails with** `SettingsError` when a file cannot be read or has a key that is no setting, when there are two config
 * files to choose from, or when there is no such profile.
 */
export const collect = Effect.fnUntraced(function*(sources: Sources) {
  const { env } = sources
  const flags = fromFlags(sources.flags)
  const own = override(fromEnv(env), flags)
  const discover = sources.discover === true || own.has("eval")
  const [envFile] = yield* choose(own.get("envFile"), discover, [defaultEnvFile])
  const read: Variables = envFile === undefined ? {} : yield* readEnvFile(envFile)
  const variables = Object.fromEntries(
    Object.entries(read).flatMap(([name, text]) => env[name] === undefined && text !== undefined ? [[name, text]] : [])
  )
  const place = ` in ${envFile}`
  const stronger = override(fromEnv(variables, place), own)
  const config = yield* configOf(stronger, discover, sources.isTerminal)
  const merged = override(config?.source ?? new Map(), stronger)

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
    warnings: [...strayVariables(env), ...strayVariables(variables, place)],
    configFile: config?.file,
    envFile,
    variables
  }
  return collected
})
