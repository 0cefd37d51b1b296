/**
 * The connection that messages arrive on: one for all topics, patterns and the inbox of the process. Knows what is
 * wanted also while the server is away, and subscribes to it again; hands each message over once.
 *
 * A pattern is subscribed to as a glob with one asterisk, which may match more; the hub asks the pattern itself.
 */
import * as TopicName from "../../src/schema/TopicName.ts"
import { type Client, problemOf } from "./PubSubRedisCommands.ts"

type Listener = (message: Buffer, channel: Buffer) => void

export interface Receiving {
  /** A message, once, by whatever it came; the channel's name is whole. */
  readonly arrived: (channel: string, message: Buffer) => void
  /** Everything wanted is subscribed to. */
  readonly subscribed: () => void
  /** The connection was lost, or Redis does not let us subscribe. */
  readonly lost: (problem: string) => void
}

/** Channels of which is known by which glob they come, at most. */
const maxRoutes = 10_000

export class Subscriptions {
  private readonly client: Client
  private readonly prefix: string
  private readonly receiving: Receiving
  private readonly channels = new Set<string>()
  /** How many patterns want each glob. */
  private readonly globs = new Map<string, number>()
  private readonly routes = new Map<string, string>()
  private readonly onMessage: Listener
  /** The last command about each channel and glob, until Redis has answered it. */
  private readonly unanswered = new Map<string, Promise<void>>()
  private connections = 0
  private reconciled: Promise<void> = Promise.resolve()

  /**
   * `prefix` is what topics begin with in Redis; `inbox` is a whole channel. The client is not connected yet, and does
   * not queue while it is offline: what it would send then is known here.
   */
  constructor(client: Client, prefix: string, inbox: string, receiving: Receiving) {
    this.client = client
    this.prefix = prefix
    this.receiving = receiving
    this.channels.add(inbox)
    this.onMessage = (message, channel) => receiving.arrived(channel.toString("latin1"), message)
    client.on("ready", () => {
      this.reconciled = this.reconcile(++this.connections)
    })
    client.on("error", (cause: unknown) => {
      if (!client.isReady) receiving.lost(problemOf(cause))
    })
  }

  /** Connects for the first time, and rejects when that is not possible. */
  async connect(): Promise<void> {
    await this.client.connect()
    await this.reconciled
  }

  close(): void {
    if (this.client.isOpen) this.client.destroy()
  }

  /** Writes in its turn, or when the server is back. The promise rejects when the connection is lost meanwhile. */
  attach(name: string): Promise<void> | undefined {
    if (!TopicName.isPattern(name)) {
      const channel = this.prefix + name
      this.channels.add(channel)
      return this.client.isReady ? this.inTurn([channel], () => this.subscribe([channel])) : undefined
    }
    const glob = this.globOf(name)
    this.globs.set(glob, (this.globs.get(glob) ?? 0) + 1)
    return this.client.isReady ? this.inTurn([glob], () => this.subscribeByGlob(glob)) : undefined
  }

  detach(name: string): void {
    if (!TopicName.isPattern(name)) {
      const channel = this.prefix + name
      this.channels.delete(channel)
      if (this.client.isReady) this.inTurn([channel], () => this.unsubscribe([channel])).catch(ignore)
      return
    }
    const glob = this.globOf(name)
    const count = this.globs.get(glob) ?? 1
    if (count > 1) return void this.globs.set(glob, count - 1)
    this.globs.delete(glob)
    if (this.client.isReady) this.inTurn([glob], () => this.unsubscribeByGlob(glob)).catch(ignore)
  }

  /**
   * One command about a name at a time: node-redis takes a name that is being unsubscribed from for subscribed, once a
   * subscription before that has been confirmed. The first step of the first command is synchronous.
   */
  private inTurn(names: ReadonlyArray<string>, run: () => Promise<void>): Promise<void> {
    const before = names.flatMap((name) => this.unanswered.get(name) ?? [])
    const turn = before.length === 0 ? run() : Promise.all(before).then(() => this.client.isReady ? run() : undefined)
    const answered = turn.catch(ignore).then(() => {
      for (const name of names) if (this.unanswered.get(name) === answered) this.unanswered.delete(name)
    })
    for (const name of names) this.unanswered.set(name, answered)
    return turn
  }

  private subscribe(channels: Array<string>): Promise<void> {
    return this.client.subscribe(channels, this.onMessage, true)
  }

  private unsubscribe(channels: Array<string>): Promise<void> {
    return this.client.unsubscribe(channels, this.onMessage, true)
  }

  private subscribeByGlob(glob: string): Promise<void> {
    return this.client.pSubscribe(glob, this.listenerOf(glob), true)
  }

  private unsubscribeByGlob(glob: string): Promise<void> {
    return this.client.pUnsubscribe(glob, this.listenerOf(glob), true)
  }

  private globOf(pattern: string): string {
    return `${this.prefix}${pattern.slice(0, pattern.indexOf("*"))}*${pattern.slice(pattern.lastIndexOf("*") + 1)}`
  }

  /** The one that node-redis has: two of them would hear a message twice. */
  private listenerOf(glob: string): Listener {
    const [known] = this.client.getPubSubListeners("PATTERNS").get(glob)?.buffers ?? []
    return known ?? ((message, channel) => {
      const name = channel.toString("latin1")
      if (this.comesBy(name) === glob) this.receiving.arrived(name, message)
    })
  }

  /**
   * By which of its subscriptions a message counts: by name, else by the first glob. node-redis notes what Redis
   * confirms before it reads the next message, so this is right also between the two.
   */
  private comesBy(channel: string): string | undefined {
    if (this.client.getPubSubListeners("CHANNELS").has(channel)) return undefined
    const globs = this.client.getPubSubListeners("PATTERNS")
    const known = this.routes.get(channel)
    if (known !== undefined && globs.has(known)) return known
    for (const glob of globs.keys()) {
      if (!matches(glob, channel)) continue
      if (this.routes.size >= maxRoutes) this.routes.clear()
      this.routes.set(channel, glob)
      return glob
    }
    return undefined
  }

  /** node-redis has subscribed to what it knew; what came and went since then is made good. */
  private async reconcile(connection: number): Promise<void> {
    const channels = this.client.getPubSubListeners("CHANNELS")
    const globs = this.client.getPubSubListeners("PATTERNS")
    const missing = [...this.channels].filter((channel) => !channels.has(channel))
    const excess = [...channels.keys()].filter((channel) => !this.channels.has(channel))
    const waits = [...this.globs.keys()].filter((glob) => !globs.has(glob))
      .map((glob) => this.inTurn([glob], () => this.subscribeByGlob(glob)))
    for (const glob of globs.keys()) {
      if (!this.globs.has(glob)) waits.push(this.inTurn([glob], () => this.unsubscribeByGlob(glob)))
    }
    if (missing.length > 0) waits.push(this.inTurn(missing, () => this.subscribe(missing)))
    if (excess.length > 0) waits.push(this.inTurn(excess, () => this.unsubscribe(excess)))
    try {
      await Promise.all(waits)
      if (connection === this.connections && this.client.isReady) this.receiving.subscribed()
    } catch (cause) {
      if (this.client.isReady) this.receiving.lost(problemOf(cause))
    }
  }
}

const matches = (glob: string, channel: string): boolean => {
  const at = glob.indexOf("*")
  return channel.length >= glob.length - 1 && channel.startsWith(glob.slice(0, at)) &&
    channel.endsWith(glob.slice(at + 1))
}

const ignore = (): void => {}
