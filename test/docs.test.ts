import { assert, describe, it } from "@effect/vitest"
import * as SchemaAST from "effect/SchemaAST"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { malformed, reasons } from "../src/protocol/Malformed.ts"
import { DisconnectReason } from "../src/schema/DisconnectReason.ts"
import * as Event from "../src/schema/Event.ts"
import * as Scope from "../src/schema/Scope.ts"
import { defaultText, entries, toMarkdown } from "../src/schema/Settings.ts"

const read = (path: string): string => Fs.readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

const pages = ["README.md", ...Fs.readdirSync(new URL("../docs", import.meta.url)).map((name) => `docs/${name}`)]

/** A page's text from a heading to the next one that is not below it. */
const below = (page: string, heading: string): string => {
  const text = read(page)
  const start = `\n${text}`.indexOf(`\n${heading}`)
  assert.notStrictEqual(start, -1, `${page} has no heading ${heading}`)
  const level = heading.indexOf(" ")
  const rest = text.slice(start + level)
  const end = rest.search(new RegExp(`^#{1,${level}} `, "m"))
  return end === -1 ? rest : rest.slice(0, end)
}

/** The rows of a table whose first cell is code: the cells of each. */
const rowsIn = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text.split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", "")))

const rowsBelow = (heading: string, page = "docs/errors.md") => rowsIn(below(page, `## ${heading}`))

/** The tags a source file gives to its reasons. */
const tagsOf = (path: string): ReadonlyArray<string> =>
  [...read(path).matchAll(/readonly _tag: "(\w+)"/g)].map(([, tag]) => tag!)

const sorted = (names: Iterable<string>) => [...new Set(names)].sort()

describe("docs/errors.md", () => {
  for (
    const [heading, path] of [
      ["SendError", "src/app/SendError.ts"],
      ["SettingsError", "src/schema/SettingsError.ts"],
      ["AppModuleError", "layers/internal/AppModule.ts"],
      ["AccessLogFormatError", "src/schema/AccessLogFormat.ts"],
      ["PubSubError", "src/service/PubSub.ts"],
      ["EventsError", "src/app/internal/EventsError.ts"],
      ["WorkerPoolError", "src/service/WorkerPool.ts"],
      ["LoggerFileError", "layers/LoggerFile.ts"],
      ["AccessLogError", "layers/AccessLogFile.ts"],
      ["AccessLogSyslogError", "layers/AccessLogSyslog.ts"],
      ["LogLevelsError", "layers/internal/LogLevels.ts"],
      ["OperationsError", "src/service/Operations.ts"],
      ["ProcessError", "layers/internal/ProcessError.ts"],
      ["SupervisorError", "layers/internal/SupervisorSockets.ts"]
    ] as const
  ) {
    it(`lists the reasons of ${heading}, and no others`, () => {
      const tags = tagsOf(path).filter((tag) => !["App", "Layer", "tcp", "unix"].includes(tag))
      assert.deepStrictEqual(sorted(rowsBelow(heading).map(([reason]) => reason!)), sorted(tags))
    })
  }

  it("lists the problems of InvalidMessage and the reasons of CallError, and no others", () => {
    const listed = (heading: string) => sorted(rowsBelow(heading).map(([reason]) => reason!))
    const union = (path: string, name: string) =>
      sorted(
        [...new RegExp(`type ${name} =((?:\\s*\\|?\\s*"\\w+")+)`).exec(read(path))![1]!.matchAll(/"(\w+)"/g)].map((
          [, tag]
        ) => tag!)
      )
    assert.deepStrictEqual(listed("InvalidMessage"), union("src/app/internal/SessionCodec.ts", "MessageProblem"))
    assert.deepStrictEqual(listed("CallError"), union("src/app/internal/JsonRpcError.ts", "CallErrorReason"))
  })

  it("lists the reasons of ServerError, and no others", () => {
    const tags = tagsOf("src/service/Server.ts").filter((tag) => tag !== "tcp" && tag !== "unix")
    assert.deepStrictEqual(sorted(rowsBelow("ServerError").map(([reason]) => reason!)), sorted(tags))
  })

  it("lists every malformed request with its status and sentence", () => {
    const expected = reasons.map((reason) => [reason, String(malformed[reason].status), malformed[reason].message])
    assert.deepStrictEqual(rowsBelow("Malformed requests"), expected)
  })

  it("lists every disconnect reason", () => {
    const standard = DisconnectReason.members[0].literals
    assert.deepStrictEqual(sorted(rowsBelow("Disconnect reasons").map(([reason]) => reason!)), sorted(standard))
  })
})

describe("docs/settings.md", () => {
  it("is what the settings table says", () => {
    assert.strictEqual(read("docs/settings.md"), toMarkdown())
  })
})

describe("docs/protocol.md", () => {
  const page = "docs/protocol.md"

  /** A field's name, and whether it is always there. */
  type Field = readonly [name: string, isRequired: boolean]

  const fieldsOf = (schema: { readonly ast: SchemaAST.AST }): ReadonlyArray<Field> => {
    assert(SchemaAST.isObjects(schema.ast))
    return schema.ast.propertySignatures.map(({ name, type }) => [String(name), !SchemaAST.isOptional(type)])
  }

  const byName = (fields: ReadonlyArray<Field>) => Object.fromEntries(fields)

  const documented = (rows: ReadonlyArray<ReadonlyArray<string>>, absent = 2): ReadonlyArray<Field> =>
    rows.map((cells) => [cells[0]!, cells[absent] === "never" || cells[absent] === "required"])

  const scopes = {
    http: Scope.HttpScope,
    sse: Scope.SseScope,
    websocket: Scope.WebSocketScope,
    lifespan: Scope.LifespanScope
  }

  /** The table of all scopes ends where the headings of their parts begin. */
  const scopeTable = below(page, "## Scopes").split("\n### ")[0]!

  Object.entries(scopes).forEach(([protocol, schema], column) => {
    it(`lists the fields of the ${protocol} scope, and no others`, () => {
      const rows = rowsIn(scopeTable).filter((cells) => cells[1 + column] === "yes")
      // One column for all: a field is optional where it is in any scope.
      assert.deepStrictEqual(byName(documented(rows, 6)), byName(fieldsOf(schema)))
    })
  })

  it("has no field of a scope that is in none", () => {
    const known = new Set(Object.values(scopes).flatMap((schema) => fieldsOf(schema).map(([name]) => name)))
    assert.deepStrictEqual(rowsIn(scopeTable).map(([name]) => name!).filter((name) => !known.has(name)), [])
  })

  for (
    const [heading, schema] of [
      ["slipway", Scope.Contract],
      ["extensions", Scope.Extensions],
      ["extensions.tls", Scope.Tls]
    ] as const
  ) {
    it(`lists the fields of ${heading}, and no others`, () => {
      assert.deepStrictEqual(byName(documented(rowsIn(below(page, `### ${heading}\n`)))), byName(fieldsOf(schema)))
    })
  }

  interface EventSchema {
    readonly ast: SchemaAST.AST
    readonly fields: { readonly type: { readonly literal: string } }
  }

  const protocols = {
    http: { Received: Event.HttpReceive, Sent: Event.HttpSend },
    websocket: { Received: Event.WebSocketReceive, Sent: Event.WebSocketSend },
    sse: { Received: Event.SseReceive, Sent: Event.SseSend },
    lifespan: { Received: Event.LifespanReceive, Sent: Event.LifespanSend }
  }

  for (const [protocol, directions] of Object.entries(protocols)) {
    const chapter = below(page, `## ${protocol}\n`)
    for (const [direction, union] of Object.entries(directions)) {
      const members: ReadonlyArray<EventSchema> = union.members
      const schemas = members.map((schema) => [schema.fields.type.literal, schema] as const)

      it(`has a heading for each event that is ${direction.toLowerCase()} on ${protocol}, and for no other`, () => {
        const headings = [...chapter.matchAll(new RegExp(`^#### ${direction}: \`(.*)\`$`, "gm"))].map(([, type]) =>
          type!
        )
        assert.deepStrictEqual(headings, schemas.map(([type]) => type))
      })

      for (const [type, schema] of schemas) {
        it(`lists the fields of ${type}, and no others`, () => {
          const text = below(page, `#### ${direction}: \`${type}\`\n`)
          const fields = fieldsOf(schema).filter(([name]) => name !== "type")
          assert.deepStrictEqual(byName(documented(rowsIn(text))), byName(fields))
          assert.strictEqual(/No\s+fields\./.test(text), fields.length === 0)
        })
      }
    }
  }

  for (const [heading, name] of [["connection", "ConnectionState"], ["transport and backpressure", "TransportState"]]) {
    it(`lists the members of ${name}, and no others`, () => {
      const source = read("src/app/Exchange.ts")
      const body = new RegExp(`export interface ${name} \\{([^]*?)\n\\}`).exec(source)?.[1]
      assert.isDefined(body)
      const members = [...body.matchAll(/^ {2}readonly (\w+):/gm)].map(([, member]) => member!)
      assert.isAbove(members.length, 0)
      assert.deepStrictEqual(rowsBelow(heading!, page).map(([member]) => member!), members)
    })
  }

  it("lists every reason of a SendError", () => {
    assert.deepStrictEqual(
      rowsBelow("Errors", page).map(([reason]) => reason!),
      [...new Set(tagsOf("src/app/SendError.ts"))]
    )
  })

  it("lists every disconnect reason", () => {
    const standard: ReadonlyArray<string> = DisconnectReason.members[0].literals
    assert.deepStrictEqual(rowsBelow("How exchanges end", page).map(([reason]) => reason!), standard)
  })

  /** The lines of a table of order, without its head. */
  const orderTable = (protocol: string): ReadonlyArray<string> =>
    below(page, `### Order on ${protocol}\n`).split("\n\n")[1]!.split("\n").slice(2)

  for (const protocol of ["http", "websocket", "sse"] as const) {
    it(`says when each event may be sent on ${protocol}`, () => {
      const types = orderTable(protocol).flatMap((line) =>
        [...line.matchAll(/`([a-z_]+\.[a-z_.]+)`/g)].map(([, type]) => type!)
      )
      const members = protocols[protocol].Sent.members as ReadonlyArray<EventSchema>
      assert.deepStrictEqual(sorted(types), sorted(members.map((schema) => schema.fields.type.literal)))
    })
  }

  for (
    const [protocol, file] of [["http", "ClientExchange"], ["websocket", "WebSocketExchange"], ["sse", "SseExchange"]]
  ) {
    it(`calls the states of ${protocol} what its errors call them`, () => {
      const table = /const inWords: [^=]*= \{([^]*?)\n\}/.exec(read(`layers/internal/${file}.ts`))?.[1]
      assert.isDefined(table)
      const words = [...table.matchAll(/"(.*)"/g)].map(([, word]) => word!)
      const states = orderTable(protocol!).flatMap((line) => /^\| ([^`|]+) \|/.exec(line)?.[1]?.trim() ?? [])
      assert.deepStrictEqual(sorted(states.filter((state) => state !== "")), sorted(words))
    })
  }
})

describe("docs/http2.md", () => {
  it("lists the settings of HTTP/2 with their defaults", () => {
    const expected = entries.filter(({ key }) => key.startsWith("http2"))
      .map((entry) => [entry.key, entry.default === true ? "on" : defaultText(entry)])
    const listed = rowsBelow("Settings", "docs/http2.md").map(([key, standard]) => [key, standard])
    assert.deepStrictEqual(listed, expected)
  })
})

describe("pages", () => {
  /** What a heading's address is on the usual sites. */
  const slug = (heading: string): string => heading.toLowerCase().replace(/[^\w\s-]/g, "").trim().replace(/\s/g, "-")

  const headingsOf = (page: string): ReadonlyArray<string> =>
    [...read(page).replaceAll(/^```[^]*?^```/gm, "").matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading!))

  for (const page of pages) {
    it(`${page} links to what exists`, () => {
      const links = [...read(page).replaceAll(/^```[^]*?^```/gm, "").matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) =>
        link!
      )
      const faults = links.filter((link) => {
        if (/^https?:/.test(link)) return false
        const [path, anchor] = link.split("#") as [string, string | undefined]
        const target = path === "" ? page : Path.posix.join(Path.posix.dirname(page), path)
        if (!Fs.existsSync(new URL(`../${target}`, import.meta.url))) return true
        return anchor !== undefined && !headingsOf(target).includes(anchor)
      })
      assert.deepStrictEqual(faults, [])
    })

    it(`${page} shows examples as they are`, () => {
      const blocks = [...read(page).matchAll(/^```ts\n\/\/ (examples\/\S+)\n([^]*?)^```$/gm)]
      for (const [, path, code] of blocks) {
        assert.strictEqual(code, read(path!).replace(/^\/\*\*[^]*?\*\/\n/, ""), path)
      }
    })

    it(`${page} names options that exist`, () => {
      const commands = [...read(page).matchAll(/^(?:\$ )?(?:SLIPWAY_\w+=\S+ )*slipway .*$/gm)].map(([command]) =>
        command
      )
      const flags = commands.flatMap((command) => [...command.matchAll(/ --([\w-]+)/g)].map(([, flag]) => flag!))
      const known = new Set(["help", "version", ...entries.flatMap(({ flag, offFlag }) => [flag, offFlag?.name])])
      assert.deepStrictEqual(flags.filter((flag) => !known.has(flag)), [])
    })
  }

  it("show some examples and some options", () => {
    const texts = pages.map(read).join("\n")
    assert.include(texts, "// examples/echo.ts")
    assert.include(texts, "slipway app.ts --port 8443 --tls-cert")
  })
})
