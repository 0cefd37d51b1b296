/**
 * Reads Linux's /proc: which sockets listen, which process holds one, what a process is called and when it began. Knows
 * no option; where there is no /proc (macOS, Windows), it finds nothing and never fails.
 *
 * **Source** proc(5), proc_net(5); `root` stands for /proc, so that tests bring their own.
 */
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

export const defaultRoot = "/proc"

/** A socket that listens. */
export type Listening =
  | { readonly _tag: "tcp"; readonly host: string; readonly port: number; readonly inode: number }
  /** A path that begins with NUL is an abstract name. */
  | { readonly _tag: "unix"; readonly path: string; readonly inode: number }

/** Somebody's process. */
export interface Process {
  readonly pid: number
  /** The program and what it runs, without its options, which may hold secrets: `node /srv/app/server.js`. */
  readonly command: string | undefined
}

const read = (path: string): string | undefined => {
  try {
    return Fs.readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

const rowsOf = (path: string): ReadonlyArray<string> => (read(path) ?? "").split("\n").slice(1)

/** The kernel prints addresses as words of 32 bits, each in the machine's own order of bytes. */
const hostOf = (hex: string): string => {
  const bytes = Buffer.from(hex, "hex")
  if (Os.endianness() === "LE") bytes.swap32()
  if (bytes.length === 4) return bytes.join(".")
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16))
  return canonicalHost(groups.join(":"))
}

/** One spelling for each IP address. An IPv4 address stays one where it is written as IPv6. Names stay as they are. */
export const canonicalHost = (host: string): string => {
  if (Net.isIP(host) !== 6) return host
  const [address, zone] = host.split("%")
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(plain)
  if (mapped === null) return zone === undefined ? plain : `${plain}%${zone}`
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join(".")
}

const listenState = "0A"

const tcpRows = (root: string, table: "tcp" | "tcp6"): ReadonlyArray<Listening> =>
  rowsOf(Path.join(root, "self/net", table)).flatMap((row) => {
    const [, local, , state, , , , , , inode] = row.trim().split(/\s+/)
    const [host, port] = (local ?? "").split(":")
    return state === listenState && host !== undefined && port !== undefined
      ? [{ _tag: "tcp" as const, host: hostOf(host), port: Number.parseInt(port, 16), inode: Number(inode) }]
      : []
  })

/** Of the flags and types of a unix socket: it accepts connections; it is a stream. */
const acceptsConnections = 0x10000
const isStream = "0001"

const unixRows = (root: string): ReadonlyArray<Listening> =>
  rowsOf(Path.join(root, "self/net/unix")).flatMap((row) => {
    const parts = /^\S+: \S+ \S+ (\S+) (\S+) \S+ +(\d+) (.+)$/.exec(row)
    if (parts === null) return []
    const [, flags, type, inode, name] = parts as unknown as [string, string, string, string, string]
    return type === isStream && (Number.parseInt(flags, 16) & acceptsConnections) !== 0
      ? [{ _tag: "unix" as const, path: name.startsWith("@") ? `\0${name.slice(1)}` : name, inode: Number(inode) }]
      : []
  })

/** All sockets that listen in this process's network namespace. */
export const listening = (root: string = defaultRoot): ReadonlyArray<Listening> => [
  ...tcpRows(root, "tcp"),
  ...tcpRows(root, "tcp6"),
  ...unixRows(root)
]

const pids = (root: string): ReadonlyArray<number> => {
  try {
    return Fs.readdirSync(root).filter((name) => /^\d+$/.test(name)).map(Number).sort((a, b) => a - b)
  } catch {
    return []
  }
}

/** Whether a process has the socket open. False where we may not look. */
const holds = (root: string, pid: number, links: ReadonlySet<string>): boolean => {
  const folder = Path.join(root, String(pid), "fd")
  try {
    return Fs.readdirSync(folder).some((descriptor) => {
      try {
        return links.has(Fs.readlinkSync(Path.join(folder, descriptor)))
      } catch {
        return false
      }
    })
  } catch {
    return false
  }
}

/** The process that has one of the sockets open; the one with the lowest pid, which of a family is the parent. */
export const holderOf = (inodes: ReadonlyArray<number>, root: string = defaultRoot): Process | undefined => {
  const links = new Set(inodes.map((inode) => `socket:[${inode}]`))
  const pid = inodes.length === 0 ? undefined : pids(root).find((candidate) => holds(root, candidate, links))
  return pid === undefined ? undefined : { pid, command: commandOf(pid, root) }
}

const longestCommand = 120

/** What a process is called, for people. */
export const commandOf = (pid: number, root: string = defaultRoot): string | undefined => {
  const line = read(Path.join(root, String(pid), "cmdline"))
  const [program = "", argument = ""] = (line ?? "").split("\0")
  // A title that a program gave itself is one text with spaces.
  const name = program.includes(" ") ? program : Path.basename(program)
  const command = argument === "" || argument.startsWith("-") ? name : `${name} ${argument}`
  const printable = (command === "" ? read(Path.join(root, String(pid), "comm")) ?? "" : command)
    .replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ").trim().slice(0, longestCommand)
  return printable === "" ? undefined : printable
}

/** Of the kernel's clock that stat(5) counts in. 100 on every machine that Node runs on. */
const ticksPerSecond = 100

/** When a process began, in milliseconds since the epoch, to a second or so. */
export const startedAtMillis = (pid: number, root: string = defaultRoot): number | undefined => {
  const boot = /^btime (\d+)$/m.exec(read(Path.join(root, "stat")) ?? "")?.[1]
  // The second field is the name in parentheses, and may hold anything. The start is the 22nd.
  const ticks = read(Path.join(root, String(pid), "stat"))?.replace(/^.*\)\s+/s, "").split(" ")[19]
  if (boot === undefined || ticks === undefined) return undefined
  const millis = Number(boot) * 1000 + Number(ticks) * 1000 / ticksPerSecond
  return Number.isFinite(millis) ? millis : undefined
}
