/**
 * What is in deploy/ and in the guides about it: that every option they name exists, that numbers which depend on each other
 * fit, and that the tools which read these files take them. nginx is tested beside the server, in nginx.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Yaml from "effect/encoding/Yaml"
import * as Option from "effect/Option"
import { spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { entries, type Entry } from "../src/schema/Settings.ts"
import { folder, get, root, start } from "./utils/commandLine.ts"
import * as Docker from "./utils/dockerfile.ts"

const read = (path: string): string => Fs.readFileSync(Path.join(root, path), "utf8")

const shipped = Fs.readdirSync(Path.join(root, "deploy"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => Path.posix.join(Path.relative(root, entry.parentPath), entry.name))
  .sort()

const guides = ["docs/deployment.md", "docs/scaling.md", "docs/performance.md"]

const settingOf = (key: string): Entry => {
  const entry = entries.find((entry) => entry.key === key)
  assert.isDefined(entry, key)
  return entry
}

/** Seconds in a text that a setting or systemd takes. */
const seconds = (text: unknown): number =>
  /^\d+$/.test(String(text))
    ? Number(text)
    : Duration.toSeconds(Option.getOrThrow(Duration.fromInput(text as Duration.Input)))

/** A setting's seconds: what the environment says, or the default. */
const secondsOf = (key: string, environment: Readonly<Record<string, string>> = {}): number => {
  const entry = settingOf(key)
  return seconds(environment[entry.env] ?? entry.default)
}

/** How long a process may take to stop, as docs/drain.md counts it. */
const secondsToStop = (environment: Readonly<Record<string, string>>): number =>
  secondsOf("preStopDelay", environment) + secondsOf("shutdownTimeout", environment)
  + 2 * secondsOf("disconnectGrace", environment)

/** What has been parsed, whose shape the assertions are about. */
// oxlint-disable-next-line typescript/no-explicit-any
type Parsed = any

const yaml = (path: string): Parsed => Yaml.parse(read(path))

describe("deploy and its guides", () => {
  const known = {
    variables: new Set(entries.flatMap(({ env, weakerEnv = [] }) => [env, ...weakerEnv])),
    flags: new Set(["help", "version", ...entries.flatMap(({ flag, offFlag }) => [flag, offFlag?.name])]),
    keys: new Set(entries.map(({ key }) => key))
  }

  /** Names in code that have a hump and are not settings: of Kubernetes, and of this and other libraries. */
  const others = new Set([
    "accessLogFormat",
    "decodeUnknownEffect",
    "fnUntraced",
    "maxSurge",
    "maxUnavailable",
    "preStop",
    "scope.workerNumber",
    "workerNumber"
  ])

  const strayIn = (text: string): ReadonlyArray<string> => {
    const variables = [...text.matchAll(/\bSLIPWAY_[A-Z0-9_]+\b/g)].map(([name]) => name)
      .filter((name) => !known.variables.has(name))
    const commands = [...text.matchAll(/\b(?:slipway|main\.js) +(?:ctl|\S+\.[mt]?[jt]s)\b(?:\\\n|.)*/g)].map(([all]) =>
      all
    )
    const flags = commands.flatMap((command) => [...command.matchAll(/(?<= )--([a-z0-9-]+)/g)].map(([, flag]) => flag!))
      .filter((flag) => !known.flags.has(flag)).map((flag) => `--${flag}`)
    const keys = [...text.matchAll(/`([a-z]+[A-Z]\w*)`/g)].map(([, key]) => key!)
      .filter((key) => !known.keys.has(key) && !others.has(key))
    return [...variables, ...flags, ...keys]
  }

  for (const path of [...shipped, ...guides]) {
    it(`${path} names options that exist [C169]`, () => assert.deepStrictEqual(strayIn(read(path)), []))
  }

  it("are searched for names that do not exist", () => {
    const text =
      "SLIPWAY_PROT=1 slipway app.ts --worker 4 \\\n  --tls-crt x\nset `maxBodyByte`, `maxBodyBytes` and `SLIPWAY_PORT`"
    assert.deepStrictEqual(strayIn(text), ["SLIPWAY_PROT", "--worker", "--tls-crt", "maxBodyByte"])
  })

  it("name settings in the comments of the files, too", () => {
    const words = (path: string) =>
      read(path).split("\n").filter((line) => /^\s*#/.test(line)).join("\n").match(/\b[a-z]+[A-Z][A-Za-z]+\b/g) ?? []
    const named = shipped.flatMap(words).filter((word) => known.keys.has(word))
    for (const key of ["maxBodyBytes", "keepAliveTimeout", "shutdownTimeout", "preStopDelay"]) {
      assert.include(named, key)
    }
  })
})

describe("deploy/Dockerfile", () => {
  const dockerfile = Docker.parse(read("deploy/Dockerfile"))

  it("keeps the rules [C169]", () => assert.deepStrictEqual(Docker.faultsIn(dockerfile), []))

  for (
    const [fault, text] of [
      ["an image without a version", "FROM node:latest\nUSER 1000\nCMD [\"a\"]"],
      ["an image without a version", "FROM node\nUSER 1000\nCMD [\"a\"]"],
      ["root", "FROM node:24\nCMD [\"a\"]"],
      ["root", "FROM node:24\nUSER 1000\nUSER root\nCMD [\"a\"]"],
      ["ADD", "FROM node:24\nADD a b\nUSER 1000\nCMD [\"a\"]"],
      ["a shell in CMD", "FROM node:24\nUSER 1000\nCMD node a.js"],
      ["a shell in HEALTHCHECK", "FROM node:24\nUSER 1000\nHEALTHCHECK --interval=1s \\\n  CMD curl x\nCMD [\"a\"]"],
      [
        "apt-get without a clean up",
        "FROM node:24\nRUN apt-get update && apt-get install -y x\nUSER 1000\nCMD [\"a\"]"
      ],
      ["a relative WORKDIR", "FROM node:24\nWORKDIR app\nUSER 1000\nCMD [\"a\"]"],
      ["a stage that is not there", "FROM node:24\nCOPY --from=built a b\nUSER 1000\nCMD [\"a\"]"],
      ["a secret in ENV", "FROM node:24\nENV ADMIN_TOKEN=x\nUSER 1000\nCMD [\"a\"]"]
    ] as const
  ) {
    it(`would be refused for ${fault}: ${JSON.stringify(text)}`, () =>
      assert.deepStrictEqual(Docker.faultsIn(Docker.parse(text)), [fault]))
  }

  const environment = Docker.environmentIn(dockerfile)

  it("starts the program where npm installs it, and as nobody's child", () => {
    const { bin, name } = JSON.parse(read("package.json"))
    assert.deepStrictEqual(Docker.valueOf(dockerfile, "ENTRYPOINT"), [
      "node",
      Path.posix.join("node_modules", name, bin.slipway)
    ])
    assert.deepStrictEqual(Docker.valueOf(dockerfile, "CMD"), ["app.ts"])
    assert.strictEqual(Docker.textOf(dockerfile, "STOPSIGNAL"), "SIGTERM")
    assert.strictEqual(Docker.textOf(dockerfile, "EXPOSE"), environment.PORT)
  })

  it("leaves secrets and what it makes itself out of the image", () => {
    const left = read("deploy/.dockerignore").split("\n")
    for (const pattern of ["**/node_modules", "**/.env", "**/.env.*", "**/*.pem", "**/*.key", "**/.git"]) {
      assert.include(left, pattern)
    }
  })

  /** What the health check says of an admin port. */
  const healthAt = (address: string) =>
    Effect.callback<number | null>((resume) => {
      const [command, ...args] = Docker.valueOf(dockerfile, "HEALTHCHECK")
      assert.strictEqual(command, "node")
      const env = { ...process.env, SLIPWAY_ADMIN_LISTEN: address }
      const child = spawn(process.execPath, args, { env, stdio: "ignore" })
      child.once("exit", (code) => resume(Effect.succeed(code)))
      return Effect.sync(() => child.kill("SIGKILL"))
    })

  const healthOf = Effect.fnUntraced(function*(status: number | "closed") {
    const server = Http.createServer((request, response) => {
      response.writeHead(request.url === "/live" ? status as number : 404, { connection: "close" }).end()
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () => Effect.sync(() => server.close())
    )
    const { port } = server.address() as AddressInfo
    if (status === "closed") server.close()
    return yield* healthAt(`127.0.0.1:${port}`)
  })

  it.live("is healthy when the server says so, and not otherwise", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* healthOf(200), 0)
      assert.strictEqual(yield* healthOf(503), 1)
      assert.strictEqual(yield* healthOf("closed"), 1)
      assert.strictEqual(settingOf("adminListen").env, "SLIPWAY_ADMIN_LISTEN")
      assert.isDefined(environment.SLIPWAY_ADMIN_LISTEN)
    }))

  // Needs a dist/main.js that knows the settings of the image.
  it.live("listens on every network and the port of PORT, and logs to standard output [W139]", () =>
    Effect.gen(function*() {
      const source = `export default { fetch: () => new Response("hello") }`
      const cwd = yield* folder({ "app.mjs": source })
      const env = { ...environment, PORT: "0", SLIPWAY_ADMIN_LISTEN: "127.0.0.1:0" }
      const program = yield* start(["app.mjs"], { cwd, env })
      const [, port] = /^http:\/\/0\.0\.0\.0:(\d+)$/.exec(yield* program.ready)!
      // Any free one, as PORT says, and not the default.
      assert.notStrictEqual(Number(port), settingOf("port").default)
      assert.match(program.stderr, /\(production\)/)
      assert.strictEqual(yield* get(`http://127.0.0.1:${port}/aboard`), "hello")
      program.child.kill(Docker.textOf(dockerfile, "STOPSIGNAL") as NodeJS.Signals)
      assert.strictEqual(yield* program.exited, 0)
      assert.match(program.stdout, /"GET \/aboard HTTP\/1\.1" 200/)
    }))

  // Needs a dist/main.js that serves the admin endpoints.
  it.live("asks what the program itself serves on its admin port", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({ "app.mjs": `export default { fetch: () => new Response("hello") }` })
      const program = yield* start(["app.mjs"], {
        cwd,
        env: { ...environment, PORT: "0", SLIPWAY_ADMIN_LISTEN: "127.0.0.1:0" }
      })
      const [, address] = yield* program.waitFor("stderr", /Admin endpoints on http:\/\/([\d.]+:\d+)/)
      yield* program.ready
      assert.strictEqual(yield* healthAt(address!), 0)
    }))
})

describe("deploy/compose.yaml", () => {
  const compose = yaml("deploy/compose.yaml")
  const services = Object.entries<Parsed>(compose.services)

  it("waits for what is healthy, and everything says whether it is [C169]", () => {
    assert.deepStrictEqual(services.map(([name]) => name).sort(), ["app", "nginx", "redis"])
    for (const [name, service] of services) {
      assert.isTrue(service.healthcheck !== undefined || service.build !== undefined, name)
      for (const [needed, { condition }] of Object.entries<Parsed>(service.depends_on ?? {})) {
        assert.isDefined(compose.services[needed], needed)
        assert.strictEqual(condition, "service_healthy")
      }
    }
    assert.isDefined(Docker.valueOf(Docker.parse(read("deploy/Dockerfile")), "HEALTHCHECK"))
  })

  it("pins its images", () => {
    for (const [name, { image }] of services) if (image !== undefined) assert.match(image, /:\d/, name)
  })

  it("has two of the application, which are given longer than they take to stop", () => {
    const { deploy, environment, init, stop_grace_period } = compose.services.app
    assert.strictEqual(deploy.replicas, 2)
    assert.strictEqual(init, true)
    const needed = secondsToStop(environment)
    assert.isAbove(parseInt(stop_grace_period), needed)
    assert.isAtLeast(parseInt(compose.services.nginx.stop_grace_period), parseInt(stop_grace_period))
  })

  it("trusts its own network and no other", () => {
    const [{ subnet }] = compose.networks.default.ipam.config
    assert.strictEqual(compose.services.app.environment.SLIPWAY_TRUSTED_PROXIES, subnet)
    assert.isUndefined(compose.services.app.ports)
    assert.isUndefined(compose.services.redis.ports)
  })

  it("mounts files that are here, and builds with the Dockerfile that is", () => {
    for (const mount of compose.services.nginx.volumes as ReadonlyArray<string>) {
      const [from] = mount.split(":")
      if (from !== "./tls") assert.isTrue(Fs.existsSync(Path.join(root, "deploy", from!)), from)
    }
    assert.include(shipped, Path.posix.join("deploy", compose.services.app.build.context, "deploy/Dockerfile"))
    const upstream = read("deploy/nginx/upstream-compose.conf")
    assert.include(upstream, `server app:${Docker.environmentIn(Docker.parse(read("deploy/Dockerfile"))).PORT} `)
  })
})

describe("deploy/systemd", () => {
  const unit = read("deploy/systemd/slipway.service")
  const values = (name: string) => [...unit.matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].map(([, value]) => value!)
  const environment = Object.fromEntries(
    values("Environment").flatMap((line) => line.split(" ")).map((pair) => pair.split("="))
  )

  it("waits longer than the program takes to start and to stop [C169]", () => {
    // What main.ts adds for a worker that does not end.
    const killed = 10
    const toStop = secondsToStop(environment) + killed
    assert.isAbove(seconds(values("TimeoutStopSec")[0]), toStop)
    assert.isAbove(seconds(values("TimeoutStartSec")[0]), secondsOf("lifespanStartupTimeout", environment))
  })

  it("is told by systemd-notify, restarts what failed and not what was called wrongly", () => {
    const facts = {
      Type: "notify",
      NotifyAccess: "all",
      KillMode: "mixed",
      Restart: "on-failure",
      RestartPreventExitStatus: "2 3",
      ExecReload: "/bin/kill -HUP $MAINPID",
      NoNewPrivileges: "yes",
      ProtectSystem: "strict"
    }
    for (const [name, value] of Object.entries(facts)) assert.deepStrictEqual(values(name), [value], name)
    // V8 does not start with it.
    assert.deepStrictEqual(values("MemoryDenyWriteExecute"), [])
  })

  it("listens where nginx asks, with and without the socket unit", () => {
    const [address] = [...read("deploy/systemd/slipway.socket").matchAll(/^ListenStream=(.*)$/gm)].map(([, value]) =>
      value!
    )
    assert.strictEqual(address, `${settingOf("host").default}:${settingOf("port").default}`)
    assert.include(read("deploy/nginx/upstream-tcp.conf"), `server ${address};`)
    const [, path] = /SLIPWAY_UNIX=(\S+)/.exec(unit)!
    assert.include(read("deploy/nginx/upstream-unix.conf"), `server unix:${path};`)
  })

  const analyze = spawnSync("systemd-analyze", ["--version"], { encoding: "utf8" })
  const version = analyze.status === 0 ? Number(/systemd (\d+)/.exec(analyze.stdout)?.[1]) : 0
  if (version < 250) {
    console.log("Not tested: what systemd says of its units, because there is no systemd-analyze from 250 on")
  }

  /** Runs it on copies of the units that start the Node of this machine. */
  const analyzed = (...args: ReadonlyArray<string>) =>
    Effect.scoped(Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-units-"))),
        (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true }))
      )
      assert.include(unit, "ExecStart=/usr/bin/node ")
      Fs.writeFileSync(Path.join(directory, "slipway.service"), unit.replace("/usr/bin/node", process.execPath))
      Fs.copyFileSync(Path.join(root, "deploy/systemd/slipway.socket"), Path.join(directory, "slipway.socket"))
      const files = args[0] === "verify" ? ["slipway.service", "slipway.socket"] : ["slipway.service"]
      const { status, stderr, stdout } = spawnSync(
        "systemd-analyze",
        [...args, ...files.map((name) => Path.join(directory, name))],
        { encoding: "utf8" }
      )
      return { status, output: `${stdout}${stderr}` }
    }))

  it.live.skipIf(version < 250)("is what systemd understands, every line [C169]", () =>
    Effect.gen(function*() {
      const { output, status } = yield* analyzed("verify")
      // Other units of the machine are none of our business.
      assert.deepStrictEqual(output.split("\n").filter((line) => line.includes("slipway")), [])
      assert.strictEqual(status, 0)
    }))

  it.live.skipIf(version < 250)("leaves little that the program could do to the machine", () =>
    Effect.gen(function*() {
      const { output, status } = yield* analyzed("security", "--offline=yes", "--threshold=20", "--no-pager")
      assert.match(output, /Overall exposure level for slipway\.service: [01]\.\d/)
      assert.strictEqual(status, 0)
    }))
})

describe("deploy/logrotate", () => {
  it("tells the main process of the service to open the files anew, and nobody else [C169]", () => {
    const rules = read("deploy/logrotate/slipway")
    const unit = read("deploy/systemd/slipway.service")
    const [, directory] = /^LogsDirectory=(.*)$/m.exec(unit)!
    const [, user] = /^User=(.*)$/m.exec(unit)!
    assert.include(rules, `/var/log/${directory}/*.log {`)
    assert.include(rules, `create 0640 ${user} `)
    // Every other process of the unit would take the signal, too: Node starts its inspector then.
    assert.match(rules, /^ {4}systemctl kill --kill-who=main --signal=SIGUSR1 slipway\.service$/m)
  })
})

describe("deploy/kubernetes", () => {
  const files = shipped.filter((path) => path.startsWith("deploy/kubernetes/"))
  const objects: ReadonlyArray<Parsed> = files.map(yaml)
  const one = (kind: string): Parsed => objects.find((object) => object.kind === kind)
  const pod = one("Deployment").spec.template
  const [container] = pod.spec.containers
  const environment: Record<string, string> = Object.fromEntries(
    container.env.map(({ name, value }: Parsed) => [name, value])
  )

  it("has a Deployment, a Service, a budget and an autoscaler, of APIs that are stable [C169]", () => {
    const kinds = objects.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`).sort()
    assert.deepStrictEqual(kinds, [
      "apps/v1 Deployment",
      "autoscaling/v2 HorizontalPodAutoscaler",
      "policy/v1 PodDisruptionBudget",
      "v1 Service"
    ])
  })

  it("means the same pods everywhere", () => {
    const { labels } = pod.metadata
    assert.deepStrictEqual(one("Deployment").spec.selector.matchLabels, labels)
    assert.deepStrictEqual(one("Service").spec.selector, labels)
    assert.deepStrictEqual(one("PodDisruptionBudget").spec.selector.matchLabels, labels)
    for (const { labelSelector } of pod.spec.topologySpreadConstraints) {
      assert.deepStrictEqual(labelSelector.matchLabels, labels)
    }
    const { kind, name } = one("HorizontalPodAutoscaler").spec.scaleTargetRef
    assert.strictEqual(one(kind).metadata.name, name)
    assert.isUndefined(one("Deployment").spec.replicas)
    assert.isAbove(one("HorizontalPodAutoscaler").spec.minReplicas, one("PodDisruptionBudget").spec.maxUnavailable)
  })

  it("asks the ports and paths that the settings say [C169]", () => {
    const ports = Object.fromEntries(container.ports.map(({ containerPort, name }: Parsed) => [name, containerPort]))
    assert.deepStrictEqual(ports, {
      http: Number(environment[settingOf("port").env]),
      admin: Number(environment[settingOf("adminListen").env]!.split(":")[1])
    })
    const probes = { livenessProbe: "/live", readinessProbe: "/ready", startupProbe: "/live" }
    for (const [probe, path] of Object.entries(probes)) {
      assert.deepStrictEqual(container[probe].httpGet, { path, port: "admin" })
      assert.include(settingOf("adminListen").description, path)
    }
    assert.strictEqual(pod.metadata.annotations["prometheus.io/port"], String(ports.admin))
    assert.include(settingOf("adminListen").description, pod.metadata.annotations["prometheus.io/path"])
    assert.deepStrictEqual(one("Service").spec.ports.map(({ targetPort }: Parsed) => targetPort), ["http"])
  })

  it("waits longer than a pod takes to start and to stop, and longer before it stops than nodes take to hear of it", () => {
    const delay = secondsOf("preStopDelay", environment)
    const toStop = secondsToStop(environment)
    assert.isAbove(pod.spec.terminationGracePeriodSeconds, toStop)
    const { failureThreshold, periodSeconds } = container.startupProbe
    assert.isAbove(failureThreshold * periodSeconds, secondsOf("lifespanStartupTimeout", environment))
    // A load balancer that looks at the readiness has looked by then.
    assert.isAtLeast(delay, container.readinessProbe.periodSeconds * container.readinessProbe.failureThreshold)
    // They would add up.
    assert.isUndefined(container.lifecycle)
  })

  it("gives the pod no more rights than it needs, and the user of the image", () => {
    const [user] = Docker.textOf(Docker.parse(read("deploy/Dockerfile")), "USER")!.split(":")
    assert.strictEqual(pod.spec.securityContext.runAsUser, Number(user))
    assert.isTrue(pod.spec.securityContext.runAsNonRoot)
    assert.deepStrictEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] }
    })
    assert.isFalse(pod.spec.automountServiceAccountToken)
  })

  it("takes secrets from a Secret, and the heap fits into the memory", () => {
    const secrets = entries.filter(({ kind }) => kind.metavar === "SECRET").map(({ env }) => env)
    assert.include(secrets, "SLIPWAY_ADMIN_TOKEN")
    for (const { name, value } of container.env) if (secrets.includes(name)) assert.isUndefined(value, name)
    const [, heap] = /--max-old-space-size=(\d+)/.exec(environment.NODE_OPTIONS!)!
    assert.isAtMost(Number(heap), 0.75 * parseInt(container.resources.limits.memory))
  })
})

describe("docs/performance.md", () => {
  it("has the figures of docs/benchmarks.md, and no others", () => {
    const scenarios = new Map(
      read("docs/benchmarks.md").split(/^### /m).slice(1).map((part) => [/^[\w-]+/.exec(part)![0], part] as const)
    )
    const cellsOf = (line: string) => line.split("|").slice(1, -1).map((cell) => cell.trim())
    const [table] = read("docs/performance.md").split("## What costs what")[1]!.split("\nWhat follows")
    const rows = table!.split("\n").filter((line) => line.startsWith("|")).slice(2).map(cellsOf)
    assert.isAbove(rows.length, 10)
    for (const [what, scenario, server, figure] of rows) {
      const measured = scenarios.get(scenario!)?.split("\n").map(cellsOf).find(([name]) => name === server)
      assert.strictEqual(figure!.split(" ")[0], measured?.[1], `${what} (${scenario}, ${server})`)
    }
  })
})
