/**
 * A real nginx in front of a server: in a folder of its own, on unix sockets, ended by its process id with the scope. Either
 * with a location that a test writes, or with the site that deploy/nginx ships, of which only paths and addresses change.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Tls from "node:tls"
import type { Issued } from "./certificates.ts"
import { root } from "./commandLine.ts"
import { connect, until } from "./sockets.ts"

/** Why there can be no nginx here; `undefined` when there can. */
export const missing: string | undefined = (() => {
  const { status, stderr } = spawnSync("nginx", ["-V"], { encoding: "utf8" })
  if (status !== 0) return "there is no nginx on this machine"
  const modules = ["http_realip_module", "http_ssl_module", "http_v2_module"]
  const absent = modules.filter((module) => !stderr.includes(module))
  return absent.length === 0 ? undefined : `this nginx has no ${absent.join(", ")}`
})()

/** Header in which a test says what the address of its client is; on a unix socket it has none. */
export const clientHeader = "x-test-client"

const configOf = (folder: string, inHttp: string): string => `
daemon off;
master_process off;
pid ${folder}/pid;
error_log ${folder}/error.log;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  set_real_ip_from unix:;
  real_ip_header ${clientHeader};
${inHttp}
}
`

const start = (folder: string, inHttp: string, path: string): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function*() {
    Fs.writeFileSync(Path.join(folder, "nginx.conf"), configOf(folder, inHttp))
    let output = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn("nginx", ["-p", folder, "-c", `${folder}/nginx.conf`], {
          stdio: ["ignore", "ignore", "pipe"]
        })
        child.stderr.on("data", (text: Buffer) => output += text.toString())
        return child
      }),
      ended
    )
    yield* until(() => Fs.existsSync(path) || child.exitCode !== null)
    if (child.exitCode !== null) return yield* Effect.die(new Error(`nginx did not start: ${output}`))
    const accepts = Effect.match(Effect.scoped(connect({ _tag: "unix", path })), {
      onFailure: () => false,
      onSuccess: () => true
    })
    yield* Effect.repeat(accepts, { until: (is) => is })
    return path
  })

const ended = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** Starts one that asks `upstream`. **Returns** the path of the socket it listens on. */
export const nginx = (
  folder: string,
  upstream: string,
  location: string
): Effect.Effect<string, never, Scope.Scope> =>
  start(
    folder,
    `
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  upstream app { server ${upstream}; keepalive 4; }
  server {
    listen unix:${folder}/nginx.sock;
${location}
  }`,
    Path.join(folder, "nginx.sock")
  )

// ---- the site that is shipped

/** The text of a file in deploy/nginx. */
export const shipped = (name: string): string => Fs.readFileSync(Path.join(root, "deploy/nginx", name), "utf8")

/** What a test puts in the place of what only a real machine has. Each has to be there. */
type Substitutions = ReadonlyArray<readonly [pattern: RegExp, replacement: string]>

const substitute = (text: string, substitutions: Substitutions): string =>
  substitutions.reduce((text, [pattern, replacement]) => {
    if (!pattern.test(text)) throw new Error(`deploy/nginx has nothing like ${String(pattern)} any more`)
    return text.replace(pattern, () => replacement)
  }, text)

/** Where the shipped site listens in a test. */
export interface Site {
  readonly http: string
  readonly https: string
}

/** Starts one with the shipped site, which asks `server` as `upstreamFile` says. */
export const site = Effect.fnUntraced(function*(options: {
  readonly folder: string
  readonly upstreamFile: `upstream-${"tcp" | "unix" | "compose"}.conf`
  /** As nginx writes it: an address with its port, or `unix:` and a path. */
  readonly server: string
  /** For example.com. */
  readonly certificate: Issued
}) {
  const { certificate, folder, server, upstreamFile } = options
  const [http, https] = [Path.join(folder, "http.sock"), Path.join(folder, "https.sock")]
  const config = substitute(shipped("slipway.conf"), [
    [/^ {2}listen 80;$/m, `  listen unix:${http};`],
    [/^ {2}listen \[::\]:80;$/m, ""],
    [/^ {2}listen 443 ssl http2;$/m, `  listen unix:${https} ssl http2;`],
    [/^ {2}listen \[::\]:443 ssl http2;$/m, ""],
    [/\/etc\/nginx\/tls\/fullchain\.pem/, certificate.certFile],
    [/\/etc\/nginx\/tls\/privkey\.pem/, certificate.keyFile]
  ])
  const upstream = substitute(shipped(upstreamFile), [[/(?<=^ {2}server )[^;]+(?=;$)/m, server]])
  yield* start(folder, `${upstream}\n${config}`, https)
  return { http, https } satisfies Site
})

/** What a connection through TLS has brought so far. */
export interface Client {
  readonly send: (text: string) => void
  /** Succeeds with everything received, one character a byte, once it matches. */
  readonly until: (pattern: RegExp) => Effect.Effect<string>
}

/** How to reach example.com on a site's socket, believing in `authority` alone. */
export const tlsTo = (path: string, authority: Issued, protocol: "http/1.1" | "h2"): Tls.TLSSocket =>
  Tls.connect({ path, servername: "example.com", ca: authority.cert, ALPNProtocols: [protocol] })

/** Connects over HTTP/1.1 in raw bytes; closes with the scope. */
export const client = (path: string, authority: Issued): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => tlsTo(path, authority, "http/1.1")),
      (socket) => Effect.sync(() => socket.destroy())
    ),
    (socket) => {
      let received = ""
      let end: string | undefined
      socket.setEncoding("latin1").on("data", (text: string) => received += text)
      socket.on("error", (error) => end ??= error.message)
      socket.on("close", () => end ??= "closed")
      return {
        send: (text) => void socket.write(text, "latin1"),
        until: (pattern) =>
          Effect.flatMap(until(() => end !== undefined || pattern.test(received)), () =>
            pattern.test(received)
              ? Effect.succeed(received)
              : Effect.die(new Error(`${end} before ${String(pattern)}: ${JSON.stringify(received.slice(0, 500))}`)))
      }
    }
  )
