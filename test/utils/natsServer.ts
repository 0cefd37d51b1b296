/**
 * A private nats-server on a free loopback port, with its own store, that tests may stop, kill and start again; and a way
 * through which its connections can be cut or held. Everything ends with the scope.
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

/** Why there is no server to test with; `undefined` where there is one. */
export const problem: string | undefined = spawnSync("nats-server", ["--version"]).error === undefined
  ? undefined
  : "no nats-server on this machine"

export interface NatsServer {
  /** `127.0.0.1:port`, the same after every start. */
  readonly address: string
  /** Completes when it takes connections. */
  readonly start: Effect.Effect<void>
  /** Ends it by a signal and waits for the end. */
  readonly stop: (signal?: "SIGTERM" | "SIGKILL") => Effect.Effect<void>
  /** Lame duck mode: it tells its clients, stops taking new ones, and ends. Completes with the end. */
  readonly lame: Effect.Effect<void>
  /** Holds the whole process, so that connections stand and nothing is answered. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** Forgets everything that is stored. Only while it is stopped. */
  readonly wipe: Effect.Effect<void>
}

/** Starts a server. `config` is text of its configuration; without JetStream it keeps nothing. */
export const make = (
  options: { readonly jetStream?: boolean; readonly config?: string } = {}
): Effect.Effect<NatsServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = new Server(options.jetStream ?? true, options.config ?? "")
      await server.start()
      return server
    }),
    (server) => Effect.promise(() => server.remove())
  ).pipe(Effect.map((server) => ({
    address: `127.0.0.1:${server.port}`,
    start: Effect.promise(() => server.start()),
    stop: (signal = "SIGTERM") => Effect.promise(() => server.end(signal)),
    lame: Effect.promise(() => server.end("SIGUSR2")),
    freeze: Effect.promise(() => server.freeze()),
    thaw: Effect.sync(() => void server.child?.kill("SIGCONT")),
    wipe: Effect.sync(() => Fs.rmSync(server.store, { force: true, recursive: true }))
  })))

class Server {
  port = -1
  child: ChildProcess | undefined
  readonly store: string
  private readonly folder: string

  constructor(jetStream: boolean, config: string) {
    this.folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-nats-"))
    this.store = Path.join(this.folder, "store")
    const text = [
      jetStream ? `jetstream { store_dir: ${JSON.stringify(this.store)} }` : "",
      "lame_duck_grace_period: \"1ms\"",
      config
    ]
    Fs.writeFileSync(Path.join(this.folder, "nats.conf"), text.join("\n"))
  }

  /** The first start takes any port that is free and says which in a file; later ones take the same. */
  async start(): Promise<void> {
    const { folder } = this
    const place = ["-c", Path.join(folder, "nats.conf"), "-a", "127.0.0.1", "-p", String(this.port)]
    const output = ["--ports_file_dir", folder, "-l", Path.join(folder, "log")]
    const child = spawn("nats-server", [...place, ...output], { stdio: "ignore" })
    this.child = child
    const file = Path.join(folder, `nats-server_${child.pid}.ports`)
    while (this.port < 0) {
      if (child.exitCode !== null) throw new Error(Fs.readFileSync(Path.join(folder, "log"), "utf8"))
      await turn()
      const text = Fs.existsSync(file) ? Fs.readFileSync(file, "utf8") : ""
      if (text.endsWith("}")) this.port = Number(new URL(JSON.parse(text).nats[0]).port)
    }
    while (!await accepts(this.port)) await turn()
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const end = new Promise((resolve) => child.once("exit", resolve))
    child.kill(signal)
    await end
  }

  /** The signal takes effect a moment after it was sent; Linux says when. */
  async freeze(): Promise<void> {
    const state = `/proc/${this.child!.pid}/stat`
    this.child!.kill("SIGSTOP")
    while (Fs.existsSync(state) && !/\) T /.test(Fs.readFileSync(state, "utf8"))) await turn()
  }

  async remove(): Promise<void> {
    await this.end("SIGKILL")
    Fs.rmSync(this.folder, { force: true, recursive: true })
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** The server says INFO first when it is ready. */
const accepts = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = Net.connect(port, "127.0.0.1")
    const done = (isReady: boolean) => () => {
      socket.destroy()
      resolve(isReady)
    }
    socket.once("data", done(true)).once("error", done(false)).once("close", done(false))
  })

/** A bare client: somebody else's program at the same server. */
export const client = (server: { readonly address: string }) =>
  Effect.acquireRelease(
    Effect.promise(() => connect({ servers: server.address })),
    (nats) => Effect.promise(() => nats.close())
  )

/** What the server says of a stream. */
export const streamInfo = (server: { readonly address: string }, stream: string) =>
  Effect.flatMap(
    client(server),
    (nats) => Effect.promise(async () => (await jetstreamManager(nats)).streams.info(stream))
  )

export interface Way {
  readonly address: string
  /** Cuts all connections that go through it now; new ones are let through. */
  readonly cut: Effect.Effect<void>
  /** Lets nothing through and cuts what is there, until `close(false)`. */
  readonly close: (isClosed: boolean) => Effect.Effect<void>
  /** Takes nothing more from the server, which has to keep what it sends, until `hold(false)`. */
  readonly hold: (isHeld: boolean) => Effect.Effect<void>
}

/** A way to the server for some of its clients. */
export const way = (server: NatsServer): Effect.Effect<Way, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Net.Socket>()
      const outers = new Map<Net.Socket, Net.Socket>()
      let isClosed = false
      const listener = Net.createServer((inner) => {
        if (isClosed) return void inner.destroy()
        const outer = Net.connect(Number(server.address.split(":")[1]), "127.0.0.1")
        outers.set(outer, inner)
        outer.on("close", () => outers.delete(outer))
        for (const [from, to] of [[inner, outer], [outer, inner]] as const) {
          sockets.add(from)
          from.on("error", () => {}).on("close", () => {
            sockets.delete(from)
            to.destroy()
          })
          from.pipe(to)
        }
      })
      await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
      const cut = () => sockets.forEach((socket) => socket.destroy())
      return {
        address: `127.0.0.1:${(listener.address() as Net.AddressInfo).port}`,
        cut: Effect.sync(cut),
        hold: (isHeld: boolean) =>
          Effect.sync(() => outers.forEach((inner, outer) => isHeld ? outer.unpipe().pause() : outer.pipe(inner))),
        close: (closed: boolean) =>
          Effect.sync(() => {
            isClosed = closed
            if (closed) cut()
          }),
        end: () => {
          cut()
          return new Promise((resolve) => listener.close(resolve))
        }
      }
    }),
    ({ end }) => Effect.promise(end)
  )
