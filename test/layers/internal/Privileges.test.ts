import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Privileges from "../../../layers/internal/Privileges.ts"
import * as Program from "../../utils/program.ts"

const isRoot = process.platform === "linux" && process.geteuid?.() === 0
const nobody = 65534

const runs = (program: string, ...args: ReadonlyArray<string>) => spawnSync(program, args).status === 0

const rights = [`--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"]
/** Not in a container without CAP_SYS_ADMIN. */
const hasMounts = runs("unshare", "--mount", "true")
/** Not where Node is installed in root's own folder. */
const nobodyHasNode = runs("setpriv", ...rights, process.execPath, "--version")

const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const path = Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-rights-"))
    Fs.chmodSync(path, 0o755)
    return path
  }),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** What a process becomes that resolves the options, gives files away, and drops its rights. It tells before it ends. */
const becoming = Effect.fnUntraced(function*(
  options: Privileges.Options,
  shell?: string,
  { files = [], readLater = [] }: {
    readonly files?: ReadonlyArray<string>
    readonly readLater?: ReadonlyArray<string>
  } = {}
) {
  const program = yield* Program.start(
    `
    import * as Effect from "effect/Effect"
    import * as Fs from "node:fs"
    import * as Privileges from "./layers/internal/Privileges.ts"
    const attempt = (operation) => { try { operation(); return "allowed" } catch (error) { return error.code } }
    const tell = (what) => console.log("told " + JSON.stringify(what) + "\\n")
    const before = [process.geteuid(), process.getegid()]
    Effect.gen(function*() {
      const identity = yield* Privileges.resolve(${JSON.stringify(options)})
      const between = [process.geteuid(), process.getegid()]
      yield* Privileges.give(${JSON.stringify(files)}, identity)
      yield* Privileges.drop(identity, ${JSON.stringify(readLater)})
      return { identity, between }
    }).pipe(Effect.runPromise).then(
      ({ identity, between }) => tell({
        identity, before, between,
        uids: [process.getuid(), process.geteuid()],
        gids: [process.getgid(), process.getegid()],
        groups: process.getgroups(),
        back: [attempt(() => process.setuid(0)), attempt(() => process.seteuid(0)), attempt(() => process.setgid(0))],
        // Read by the name of the process, not by what Node believes.
        status: /^CapEff:\\s*(\\w+)/m.exec(Fs.readFileSync("/proc/self/status", "utf8"))?.[1],
        shadow: attempt(() => Fs.readFileSync("/etc/shadow")),
        env: [process.env.HOME, process.env.USER, process.env.LOGNAME]
      }),
      (error) => tell({ reason: error.reason, message: error.message })
    )
  `,
    shell
  )
  const [, told] = yield* program.prints(/told (.*)\n/)
  return { told: JSON.parse(told!), output: program.output }
})

const denied = ["EPERM", "EPERM", "EPERM"]

/** The bundle is in a folder of root alone. */
const asNobody = `chmod -R a+rX "$(dirname "$1")"; exec setpriv ${rights.join(" ")} "$0" "$1"`

describe.skipIf(!isRoot)("Privileges (of root, on Linux)", () => {
  it.live("are given up for a user, its group and its groups, with no way back [C154]", () =>
    Effect.gen(function*() {
      const { told } = yield* becoming({ user: "nobody" }, `exec setpriv --groups 4,24,27 "$0" "$1"`)
      assert.deepStrictEqual(told.uids, [nobody, nobody])
      assert.deepStrictEqual(told.gids, [nobody, nobody])
      assert.deepStrictEqual(told.groups, [nobody])
      assert.deepStrictEqual(told.back, denied)
      assert.match(told.status, /^0+$/)
      assert.strictEqual(told.shadow, "EACCES")
      assert.deepStrictEqual(told.env, ["/nonexistent", "nobody", "nobody"])
      assert.deepStrictEqual(told.between, told.before)
    }))

  it.live.skipIf(!hasMounts)("take the supplementary groups of the user [C154]", () =>
    Effect.gen(function*() {
      const groups = Path.join(yield* folder, "group")
      Fs.writeFileSync(groups, "root:x:0:\nnogroup:x:65534:\ncertificates:x:4711:daemon,nobody\nothers:x:4712:daemon\n")
      // A table of groups of its own, seen by this process alone.
      const shell = `exec unshare --mount bash -c 'mount --bind ${groups} /etc/group && exec "$0" "$1"' "$0" "$1"`
      const { told } = yield* becoming({ user: "nobody", group: "others" }, shell)
      assert.deepStrictEqual(told.gids, [4712, 4712])
      assert.deepStrictEqual([...told.groups].sort(), [4711, 4712])
    }))

  it.live("are given up for ids, with or without a name", () =>
    Effect.gen(function*() {
      const named = yield* becoming({ user: String(nobody), group: "daemon" })
      assert.deepStrictEqual([named.told.uids[0], named.told.gids[0], named.told.identity.user.name], [
        nobody,
        1,
        "nobody"
      ])
      const nameless = yield* becoming({ user: "54321", group: "54322" })
      assert.deepStrictEqual(nameless.told.uids, [54321, 54321])
      assert.deepStrictEqual(nameless.told.gids, [54322, 54322])
      assert.deepStrictEqual(nameless.told.groups, [54322])
      assert.deepStrictEqual(nameless.told.back, denied)
    }))

  it.live("stay with a group alone, but for its rights", () =>
    Effect.gen(function*() {
      const { told } = yield* becoming({ group: "daemon" })
      assert.deepStrictEqual([told.uids, told.gids, told.groups], [[0, 0], [1, 1], [1]])
    }))

  it.live("are kept where the user or the group is unknown, or has no group", () =>
    Effect.gen(function*() {
      const user = yield* becoming({ user: "no-such-user" })
      assert.strictEqual(user.told.message, "Cannot run as user no-such-user: this machine has no such user")
      const group = yield* becoming({ user: "nobody", group: "no-such-group" })
      assert.strictEqual(group.told.message, "Cannot run as group no-such-group: this machine has no such group")
      const nameless = yield* becoming({ user: "54321" })
      assert.strictEqual(nameless.told.reason._tag, "IdentityUnknown")
      assert.include(nameless.told.message, "set group as well")
    }))

  it.live("are missing where they were taken from root, and the message does not speak of the user's name", () =>
    Effect.gen(function*() {
      const { told } = yield* becoming({ user: "nobody" }, `exec setpriv --bounding-set=-setuid,-setgid "$0" "$1"`)
      assert.strictEqual(told.reason._tag, "IdentityForbidden")
      assert.include(told.message, "EPERM")
    }))

  it.live.skipIf(!nobodyHasNode)(
    "cannot be had without root, but who one is already one may be [C154]",
    () =>
      Effect.gen(function*() {
        const other = yield* becoming({ user: "daemon" }, asNobody)
        assert.strictEqual(
          other.told.message,
          "Cannot run as user daemon: only root may become somebody else, and this is nobody; start it as root, or without user"
        )
        const group = yield* becoming({ group: "daemon" }, asNobody)
        assert.strictEqual(group.told.reason._tag, "IdentityForbidden")
        const same = yield* becoming({ user: "nobody", group: String(nobody) }, asNobody)
        assert.deepStrictEqual([same.told.uids, same.told.gids], [[nobody, nobody], [nobody, nobody]])
      })
  )

  it.live("go together with socket files and logs, but never through a link", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [file, link, target] = ["file", "link", "target"].map((name) => Path.join(place, name)) as [
        string,
        string,
        string
      ]
      Fs.writeFileSync(file, "")
      Fs.writeFileSync(target, "")
      Fs.symlinkSync(target, link)
      yield* becoming({ user: "nobody" }, ":", { files: [file, link, Path.join(place, "missing"), "\0abstract"] })
      const owner = (path: string) => [Fs.lstatSync(path).uid, Fs.lstatSync(path).gid]
      assert.deepStrictEqual(owner(file), [nobody, nobody])
      assert.deepStrictEqual(owner(link), [nobody, nobody])
      assert.deepStrictEqual(owner(target), [0, 0])
    }))

  it.live("are missed by files that are to be read later, and a warning names them", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [secret, open] = ["key.pem", "cert.pem"].map((name) => Path.join(place, name)) as [string, string]
      Fs.writeFileSync(secret, "", { mode: 0o600 })
      Fs.writeFileSync(open, "", { mode: 0o644 })
      const { output } = yield* becoming({ user: "nobody" }, ":", { readLater: [secret, open] })
      assert.include(output, `${secret} cannot be read by user 65534, so no reload will: EACCES: permission denied`)
      assert.notInclude(output, open)
    }))
})

describe("Privileges", () => {
  it.effect("are nobody's business where neither user nor group is set", () =>
    Effect.gen(function*() {
      assert.isUndefined(yield* Privileges.resolve({}))
    }))

  it.effect("cannot be changed on Windows, which the message says", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Privileges.resolve({ group: "www" }, "win32"))
      assert.include(error.message, "Cannot run as group www: Windows has no way")
    }))
})
