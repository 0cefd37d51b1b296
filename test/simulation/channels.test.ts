/**
 * Client events and channel messages through one `receive`, under seeded habits of application, client and publishers:
 * receives that are raced, given up and interrupted at every point, two receivers at once, bursts on both sides. What
 * must hold: every event of the client and every message reaches the application once, each kind in its order.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import * as Channels from "../../src/middleware/Channels.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import { Chance } from "./chance.ts"

interface Heard {
  readonly fromClient: Array<string>
  readonly messages: Array<string>
}

type Event = Effect.Success<ReturnType<typeof Channels.receive<App.WebSocketExchange>>>

const note = (heard: Heard, event: Event): void => {
  if (event.type === "channel.message") heard.messages.push(String(event.data))
  else if (event.type === "websocket.receive") heard.fromClient.push(String(event.text))
}

/** One way to ask for the next event; some yield none. */
const habits = (chance: Chance, exchange: App.WebSocketExchange, heard: Heard): Effect.Effect<boolean> => {
  const receive = Effect.map(Channels.receive(exchange), (event) => {
    note(heard, event)
    return event.type !== "websocket.disconnect"
  })
  const givenUp = Effect.succeed(true)
  switch (chance.int(0, 6)) {
    case 0:
      return Effect.raceFirst(receive, givenUp)
    case 1:
      return Effect.raceFirst(receive, Effect.andThen(Effect.yieldNow, givenUp))
    case 2:
      return Effect.timeoutOrElse(receive, { duration: chance.int(1, 3), orElse: () => givenUp })
    case 3:
      return Effect.flatMap(
        Effect.forkChild(receive, { startImmediately: true }),
        (fiber) =>
          Effect.andThen(
            Effect.yieldNow,
            Effect.suspend(() => {
              const exit = fiber.pollUnsafe()
              return exit === undefined ? Effect.andThen(Fiber.interrupt(fiber), givenUp) : Fiber.join(fiber)
            })
          )
      )
    case 4:
      return Effect.map(Effect.all([receive, receive], { concurrency: 2 }), ([one, two]) => one && two)
    case 5:
      return Effect.andThen(Effect.sleep(chance.int(0, 3)), receive)
    default:
      return receive
  }
}

const application = (chance: Chance, heard: Heard) =>
  App.websocket((exchange) =>
    Effect.gen(function*() {
      yield* (yield* Channels.Channel).subscribe("t.*")
      yield* exchange.receive
      yield* exchange.send({ type: "websocket.accept" })
      while (yield* habits(chance, exchange, heard));
    })
  )

/** Middleware below the channels that has something to do for each event: cancelled in the middle, the event is lost. */
const busy = (chance: Chance): App.Middleware => (app) => (exchange) =>
  exchange.type !== "websocket" ? app(exchange) : app(App.derive(exchange, {
    receive: Effect.tap(exchange.receive, (event) =>
      event.type === "websocket.connect" || chance.happens(0.4)
        ? Effect.void
        : chance.happens(0.5)
        ? Effect.sleep(chance.int(0, 3))
        : Effect.yieldNow)
  }))

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`)

const world = (seed: number) =>
  Effect.gen(function*() {
    const chance = new Chance(seed)
    const pubsub = yield* PubSub
    const heard: Heard = { fromClient: [], messages: [] }
    const client = yield* TestClient.make(
      busy(new Chance(seed + 2))(Channels.make()(application(new Chance(seed + 1), heard)))
    )
    const session = yield* client.websocket("/")
    yield* TestClient.settle
    const said = names("c", chance.int(0, 15))
    const published = names("m", chance.int(0, 15))
    const saying = Effect.forEach(said, (text) =>
      Effect.andThen(
        chance.happens(0.4) ? Effect.sleep(chance.int(0, 4)) : chance.happens(0.5) ? Effect.yieldNow : Effect.void,
        session.send(text)
      ))
    const publishing = Effect.forEach(published, (text) =>
      Effect.andThen(
        chance.happens(0.4) ? Effect.sleep(chance.int(0, 4)) : chance.happens(0.5) ? Effect.yieldNow : Effect.void,
        pubsub.publish(`t.${text}`, text)
      ))
    const talking = yield* Effect.forkChild(Effect.all([saying, publishing], { concurrency: 2 }))
    const isAllHeard = () =>
      heard.fromClient.length >= said.length && heard.messages.length >= published.length &&
      talking.pollUnsafe() !== undefined
    for (let turn = 0; turn < 200 && !isAllHeard(); turn++) {
      yield* TestClock.adjust(1)
      yield* TestClient.settle
    }
    yield* session.terminate
    yield* TestClient.settle
    return { heard, said, published }
  }).pipe(Effect.scoped, Effect.provide(PubSubMemory.layer()))

describe("channels under seeded habits", () => {
  for (let block = 0; block < 10; block++) {
    it.effect(`lose no event and no message, seeds ${block * 20} to ${block * 20 + 19} [C224]`, () =>
      Effect.gen(function*() {
        for (let seed = block * 20; seed < block * 20 + 20; seed++) {
          const { heard, published, said } = yield* world(seed)
          assert.deepStrictEqual(heard.fromClient, said, `events of the client, seed ${seed}`)
          assert.deepStrictEqual(heard.messages, published, `messages, seed ${seed}`)
        }
      }))
  }
})
