/**
 * Traces, metrics and logs sent to an OpenTelemetry collector: effect's exporter, told where to by a setting. Everything
 * else is told by the variables of the OpenTelemetry specification (OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME,
 * OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_EXPORTER, OTEL_METRIC_EXPORT_INTERVAL and so on).
 *
 * Loads the exporter when there is something to send to, and only then. A collector that is down is left alone for a minute,
 * with a line at level debug; serving goes on all the same.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Flusher } from "effect/observability/OtlpExporter"

export interface Options {
  /** Base of the URLs, to which `/v1/traces`, `/v1/metrics` and `/v1/logs` are added. */
  readonly url: string
  readonly version: string
  readonly mode: string
  /** Of the worker, where there are several. */
  readonly worker: number | undefined
  readonly env: Readonly<Record<string, string | undefined>>
}

/** What the specification has these variables say when they are not set; effect's exporter has "none". */
const exporters = { OTEL_TRACES_EXPORTER: "otlp", OTEL_METRICS_EXPORTER: "otlp", OTEL_LOGS_EXPORTER: "otlp" }

/** The service as it is called where nobody has given it a name. */
const serviceName = "slipway"

const known = (env: Options["env"]): Record<string, string> =>
  Object.fromEntries(Object.entries(env).flatMap(([name, value]) => value === undefined ? [] : [[name, value]]))

/** Exports until the layer closes, which sends what is left for at most 3 seconds. */
export const layer = ({ env, mode, url, version, worker }: Options): Layer.Layer<Flusher> =>
  Layer.unwrap(Effect.promise(async () => {
    const [FetchHttpClient, Otlp, OtlpSerialization] = await Promise.all([
      import("effect/http/FetchHttpClient"),
      import("effect/observability/Otlp"),
      import("effect/observability/OtlpSerialization")
    ])
    const variables = { ...exporters, ...known(env), OTEL_EXPORTER_OTLP_ENDPOINT: url }
    const provider = ConfigProvider.fromEnv({ env: variables })
    const exporter = Otlp.layerFromConfig({
      resource: {
        ...(env.OTEL_SERVICE_NAME === undefined ? { serviceName } : {}),
        serviceVersion: version,
        attributes: {
          "deployment.environment.name": mode,
          "service.instance.id": `${process.pid}`,
          ...(worker === undefined ? {} : { "slipway.worker": worker })
        }
      }
    })
    return exporter.pipe(
      Layer.provide(OtlpSerialization.layerJson),
      Layer.provide(FetchHttpClient.layer),
      Layer.provide(ConfigProvider.layer(provider))
    )
  }))
