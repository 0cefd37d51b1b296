/**
 * The numbers of a PubSub layer as Effect Metrics: read when somebody looks, never updated on the way of a message.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Stats } from "../../src/service/PubSub.ts"

const ignore = (): void => {}

/**
 * Registers the series of one layer, under the attribute `backend`. Of several layers of one name the last one's numbers
 * are shown.
 *
 * **Returns** what takes them back.
 */
export const register = (
  context: Context.Context<never>,
  backend: string,
  stats: () => Stats,
  isConnected: () => boolean
): () => void => {
  const registered: Array<{ readonly remove: () => void }> = []
  const count = (name: string, description: string, get: () => number, more: Record<string, string> = {}) =>
    registered.push(Metric.registerUnsafe(
      Metric.counter(name, { description, incremental: true, attributes: { backend, ...more } }),
      context,
      { get: () => ({ count: get(), incremental: true }), update: ignore, modify: ignore }
    ))
  const gauge = (name: string, description: string, get: () => number, more: Record<string, string> = {}) =>
    registered.push(Metric.registerUnsafe(
      Metric.gauge(name, { description, attributes: { backend, ...more } }),
      context,
      { get: () => ({ value: get() }), update: ignore, modify: ignore }
    ))
  const dropped = "Messages that a receiver did not get"
  count("pubsub_published_total", "Messages published by this process", () => stats().published)
  count("pubsub_delivered_total", "Messages handed to receivers of this process", () => stats().delivered)
  count("pubsub_dropped_total", dropped, () => stats().droppedFull, { reason: "full" })
  count("pubsub_dropped_total", dropped, () => stats().droppedExpired, { reason: "expired" })
  const subscribed = "Names that somebody in this process is subscribed to"
  gauge("pubsub_subscribed_names", subscribed, () => stats().topics, { kind: "topic" })
  gauge("pubsub_subscribed_names", subscribed, () => stats().patterns, { kind: "pattern" })
  gauge("pubsub_open_channels", "Channels of this process", () => stats().channels)
  gauge("pubsub_delayed_messages", "Messages that wait for their delay in this process", () => stats().delayed)
  gauge("pubsub_connected", "1 while the broker can be reached", () => isConnected() ? 1 : 0)
  return () => registered.forEach((registration) => registration.remove())
}
