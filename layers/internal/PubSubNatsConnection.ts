/**
 * The one connection of a process to NATS: whether it stands, what may be written to it, what waits for an answer.
 *
 * Nothing is kept for a server that is away: what is published then fails at once. What waits for an answer fails the
 * moment the connection is lost. Reconnecting and subscribing again is the client's business, which never gives up.
 */
import { connect, credsAuthenticator, deadline, InvalidArgumentError } from "@nats-io/transport-node"
import type { ConnectionOptions, Msg, MsgHdrs, NatsConnection, Status, Subscription } from "@nats-io/transport-node"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import { type Payload, PubSubError, type PubSubErrorReason, type Status as Health } from "../../src/service/PubSub.ts"
import { inModule } from "./LogLevels.ts"
import * as PubSubNatsMessage from "./PubSubNatsMessage.ts"

/** Who we are to the server. At most one of token, user with password, and credentials is needed. */
export interface Options {
  /** Servers to try, `host:port` or `nats://host:port`; a cluster tells the others by itself. No credentials in them. */
  readonly servers: string | ReadonlyArray<string>
  readonly user?: string | undefined
  readonly password?: Redacted.Redacted<string> | undefined
  readonly token?: Redacted.Redacted<string> | undefined
  /** The text of a credentials file, with its JWT and its seed. */
  readonly credentials?: Redacted.Redacted<string> | undefined
  /** Certificates for TLS. Without it TLS is used where the server offers it. */
  readonly tls?: ConnectionOptions["tls"] | undefined
  /** How long an answer is waited for: at the start, from a receiver, from JetStream. Default 5 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** Answers that are waited for; further questions fail with `Unavailable`. Default 65,536. */
  readonly maxPending?: number | undefined
}

const defaultMaxPending = 65_536

/** What is written and not confirmed by the server may be so long; then writers wait. Half of it is asked about. */
const maxUnconfirmedBytes = 8 * 1024 * 1024

/** A server that does not answer two of these is taken for lost. The client's default is two minutes. */
const pingIntervalMillis = 10_000

/** First and longest wait between attempts to reconnect. Each is cut by up to half, so that not all come at once. */
const backoffMillis = { first: 100, most: 5000 }

export const refuse = (reason: PubSubErrorReason): PubSubError => new PubSubError({ reason })

export const unavailable = (problem: string, cause?: unknown): PubSubError =>
  refuse({ _tag: "Unavailable", problem, ...cause === undefined ? undefined : { cause } })

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** When to try again. The client asks often and for each server; the answer changes only with an attempt. */
class Backoff {
  private readonly random: () => number
  private attempts = 0
  private millis = backoffMillis.first

  constructor(random: () => number) {
    this.random = random
  }

  readonly delay = (): number => this.millis

  attempted(): void {
    const most = Math.min(backoffMillis.most, backoffMillis.first * 2 ** this.attempts++)
    this.millis = most * (0.5 + this.random() / 2)
  }

  reset(): void {
    this.attempts = 0
    this.millis = backoffMillis.first
  }
}

/**
 * Connects. The connection is flushed and closed with the scope.
 *
 * **Fails with** `PubSubError`: `InvalidOption` for servers that no address can be read from, `Unavailable` when none can
 * be reached, or none takes us. Answers come to subjects below `inboxPrefix`.
 */
export const open = Effect.fnUntraced(function*(options: Options, process: string, inboxPrefix: string) {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const context = yield* Effect.context<never>()
  const servers = yield* serversOf(options.servers)
  const maxPending = options.maxPending ?? defaultMaxPending
  if (!(Number.isInteger(maxPending) && maxPending >= 1)) {
    const problem = "it takes whole numbers from 1"
    return yield* Effect.fail(refuse({ _tag: "InvalidOption", option: "maxPending", value: maxPending, problem }))
  }
  const timeoutMillis = Duration.toMillis(options.timeout ?? Duration.seconds(5))
  const backoff = new Backoff(() => random.nextDoubleUnsafe())
  const fork = Effect.runForkWith(context)
  const connection = yield* Effect.acquireRelease(
    Effect.map(
      Effect.tryPromise({
        try: () =>
          connect({
            ...identity(options),
            servers: [...servers],
            inboxPrefix,
            ...options.tls === undefined ? undefined : { tls: options.tls },
            timeout: timeoutMillis,
            pingInterval: pingIntervalMillis,
            maxReconnectAttempts: -1,
            ignoreAuthErrorAbort: true,
            noAsyncTraces: true,
            reconnectDelayHandler: backoff.delay
          }),
        catch: (cause) => unavailable(`no connection to ${servers.join(", ")}: ${messageOf(cause)}`, cause)
      }),
      (nats) =>
        new Connection(
          nats,
          process,
          clock,
          { timeoutMillis, maxPending },
          backoff,
          (effect) => void fork(inModule("PubSub")(effect))
        )
    ),
    (connection) => Effect.promise(() => connection.close())
  )
  // The client forgets servers that it could not reach at the start.
  connection.nats.setServers([...servers])
  const statuses = connection.nats.status()
  yield* Effect.forkScoped(Effect.promise(async () => {
    for await (const status of statuses) connection.changed(status)
  }))
  return connection
})

const serversOf = (servers: string | ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>, PubSubError> => {
  const list = typeof servers === "string" ? servers.split(",").map((server) => server.trim()) : servers
  const invalid = (value: unknown, problem: string) =>
    Effect.fail(refuse({ _tag: "InvalidOption", option: "servers", value, problem }))
  if (list.length === 0) return invalid("empty", "it takes one address at least")
  for (const server of list) {
    if (server.includes("@")) return invalid("a URL with credentials", "they have options of their own")
    if (!/^(?:(?:nats|tls):\/\/)?(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?\/?$/.test(server)) {
      return invalid(JSON.stringify(server), "it takes host:port and nats://host:port")
    }
  }
  return Effect.succeed(list)
}

const identity = ({ credentials, password, token, user }: Options): ConnectionOptions => ({
  ...user === undefined ? undefined : { user },
  ...password === undefined ? undefined : { pass: Redacted.value(password) },
  ...token === undefined ? undefined : { token: Redacted.value(token) },
  ...credentials === undefined
    ? undefined
    : { authenticator: credsAuthenticator(new TextEncoder().encode(Redacted.value(credentials))) }
})

export class Connection {
  readonly nats: NatsConnection
  readonly timeoutMillis: number
  private readonly maxPending: number
  private readonly process: string
  private readonly clock: Clock.Clock
  private readonly backoff: Backoff
  private readonly fork: (effect: Effect.Effect<void>) => void
  /** While it is away, and then until the server has all subscriptions again. */
  private problem: string | undefined = undefined
  private isOpen = true
  private sinceMillis: number
  private unconfirmedBytes = 0
  private isConfirming = false
  private nextNumber = 1
  /** What was said last about refusals: one for each message would be a flood. */
  private refused = ""
  /** Told when the connection is lost, and each of them once. */
  private readonly waiting = new Set<(error: PubSubError) => void>()
  private readonly lostListeners: Array<(error: PubSubError) => void> = []
  private readonly backListeners: Array<() => void> = []

  constructor(
    nats: NatsConnection,
    process: string,
    clock: Clock.Clock,
    limits: { readonly timeoutMillis: number; readonly maxPending: number },
    backoff: Backoff,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.nats = nats
    this.process = process
    this.clock = clock
    this.timeoutMillis = limits.timeoutMillis
    this.maxPending = limits.maxPending
    this.backoff = backoff
    this.fork = fork
    this.sinceMillis = clock.currentTimeMillisUnsafe()
  }

  get isConnected(): boolean {
    return this.problem === undefined
  }

  /** Why nothing can be asked for now. */
  get unavailable(): PubSubError {
    return unavailable(this.problem ?? "the connection is lost")
  }

  get health(): Health {
    return { isConnected: this.isConnected, problem: this.problem, sinceMillis: this.sinceMillis }
  }

  /** Calls back at each loss, and when the server is back and has all subscriptions again. */
  watch(lost: (error: PubSubError) => void, back: () => void): void {
    this.lostListeners.push(lost)
    this.backListeners.push(back)
  }

  changed(status: Status): void {
    switch (status.type) {
      case "disconnect":
        this.fork(Effect.logWarning(`PubSub lost its NATS server ${status.server} and tries to reconnect`))
        return this.lost(`the connection to ${status.server} is lost`)
      case "reconnecting":
        return this.backoff.attempted()
      case "reconnect":
        this.isOpen = true
        // The client has written its subscriptions; we are back when the server has read them.
        return void this.nats.flush().then(() => this.back(status.server), () => {})
      case "ldm":
        return this.fork(Effect.logInfo(`The NATS server ${status.server} is about to stop`))
      case "error":
        return this.refuses(status.error.message)
      case "close":
        return this.lost("the connection is closed")
    }
  }

  private refuses(what: string): void {
    if (what === this.refused) return
    this.refused = what
    this.fork(Effect.logWarning(`The NATS server refuses: ${what}`))
  }

  /** The last words reach a server that listens; one that does not is left after a second, by the client's timer. */
  async close(): Promise<void> {
    if (this.isConnected) await deadline(this.nats.flush(), 1000).catch(() => {})
    this.lost("the connection is closed")
    await this.nats.close().catch(() => {})
  }

  private lost(problem: string): void {
    if (this.isConnected) this.sinceMillis = this.clock.currentTimeMillisUnsafe()
    this.problem = problem
    this.isOpen = false
    this.unconfirmedBytes = 0
    const error = unavailable(problem)
    for (const fail of this.waiting) fail(error)
    for (const listener of this.lostListeners) listener(error)
  }

  private back(server: string): void {
    this.fork(Effect.logInfo(`PubSub is connected to the NATS server ${server} again`))
    this.backoff.reset()
    this.refused = ""
    this.problem = undefined
    this.sinceMillis = this.clock.currentTimeMillisUnsafe()
    for (const listener of this.backListeners) listener()
  }

  // ---- writing

  /** Writes a message with its origin. Succeeds when it is on its way; waits while the server is too far behind. */
  publish(subject: string, data: Payload, headers?: MsgHdrs): Effect.Effect<void, PubSubError> {
    if (this.isBehind) return this.later(() => this.publish(subject, data, headers))
    const error = this.tell(subject, data, headers, PubSubNatsMessage.replyOf(this.process, this.nextNumber++))
    return error === undefined ? Effect.void : Effect.fail(error)
  }

  /** Writes a message now. **Returns** why it could not be written. */
  tell(subject: string, data: Payload, headers?: MsgHdrs, reply?: string): PubSubError | undefined {
    if (!this.isOpen) return this.unavailable
    try {
      this.nats.publish(
        subject,
        data,
        headers || reply ? { ...headers && { headers }, ...reply && { reply } } : undefined
      )
    } catch (cause) {
      return this.failure(cause, data, headers)
    }
    this.wrote(data.length + subject.length)
    return undefined
  }

  /** True while so much is unconfirmed that nobody writes more. */
  private get isBehind(): boolean {
    return this.unconfirmedBytes >= maxUnconfirmedBytes && this.isConnected
  }

  private later<A>(run: () => Effect.Effect<A, PubSubError>): Effect.Effect<A, PubSubError> {
    return Effect.andThen(this.roundTrip, Effect.suspend(run))
  }

  private wrote(bytes: number): void {
    this.unconfirmedBytes += bytes
    if (this.unconfirmedBytes >= maxUnconfirmedBytes / 2 && !this.isConfirming) this.confirm()
  }

  private confirm(): void {
    const bytes = this.unconfirmedBytes
    this.isConfirming = true
    this.nats.flush().then(
      () => {
        this.isConfirming = false
        this.unconfirmedBytes = Math.max(0, this.unconfirmedBytes - bytes)
        if (this.unconfirmedBytes >= maxUnconfirmedBytes / 2) this.confirm()
      },
      () => {
        this.isConfirming = false
      }
    )
  }

  /** What a failure of the client means to the one who called. */
  failure(cause: unknown, data: Payload = "", headers?: MsgHdrs): PubSubError {
    if (cause instanceof InvalidArgumentError && cause.message.includes("max_payload")) {
      const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.length
      const limit = (this.nats.info?.max_payload ?? 0) - PubSubNatsMessage.lengthOf(headers)
      return refuse({ _tag: "MessageTooLarge", bytes, limit })
    }
    return unavailable(messageOf(cause), cause)
  }

  // ---- asking

  /** Runs something that answers; fails when the connection is lost before it does, and aborts it then. */
  call<A>(
    start: (signal: AbortSignal) => Promise<A>,
    failure: (cause: unknown) => PubSubError = (cause) => this.failure(cause)
  ): Effect.Effect<A, PubSubError> {
    return Effect.callback<A, PubSubError>((resume) => {
      if (!this.isOpen) return resume(Effect.fail(this.unavailable))
      if (this.waiting.size >= this.maxPending) {
        return resume(Effect.fail(unavailable(`${this.maxPending} answers are waited for, which is maxPending`)))
      }
      const controller = new AbortController()
      const lost = (error: PubSubError) => {
        this.waiting.delete(lost)
        controller.abort()
        resume(Effect.fail(error))
      }
      this.waiting.add(lost)
      const settle = (result: Effect.Effect<A, PubSubError>) => {
        if (this.waiting.delete(lost)) resume(result)
      }
      start(controller.signal).then(
        (value) => settle(Effect.succeed(value)),
        (cause) => settle(Effect.fail(failure(cause)))
      )
      return Effect.sync(() => {
        this.waiting.delete(lost)
        controller.abort()
      })
    })
  }

  /** Runs something that writes so many bytes and answers; waits like `publish`. */
  callWriting<A>(
    bytes: number,
    start: () => Promise<A>,
    failure: (cause: unknown) => PubSubError
  ): Effect.Effect<A, PubSubError> {
    return Effect.suspend(() => {
      if (this.isBehind) return this.later(() => this.callWriting(bytes, start, failure))
      return this.call(() => {
        const answered = start()
        this.wrote(bytes)
        return answered
      }, failure)
    })
  }

  /**
   * Completes when the server has taken all that was written before, and when all that it had sent by then has been
   * delivered here: messages and answers share one stream in each direction.
   */
  readonly roundTrip: Effect.Effect<void, PubSubError> = this.call(() =>
    deadline(this.nats.flush(), this.timeoutMillis)
  )

  /** Asks and waits for one answer. `failure` says what an error of the client means here. */
  request(
    subject: string,
    data: Payload,
    headers: MsgHdrs | undefined,
    failure: (cause: unknown) => PubSubError | undefined
  ): Effect.Effect<Msg, PubSubError> {
    return this.callWriting(
      data.length + subject.length,
      () => this.nats.request(subject, data, { timeout: this.timeoutMillis, ...headers && { headers } }),
      (cause) => failure(cause) ?? this.failure(cause, data, headers)
    )
  }

  /** Subscribes from now on, or from the next connection on. The callback must not throw. */
  subscribe(subject: string, callback: (message: Msg) => void, failed: (error: Error) => void): Subscription {
    return this.nats.subscribe(subject, {
      callback: (error, message) => error === null ? callback(message) : failed(error)
    })
  }
}
