/** A real nginx in front of a server: in a folder of its own, on unix sockets, ended by its process id with the scope. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { connect, until } from "./sockets.ts"

/** Why there can be no nginx here; `undefined` when there can. */
export const missing: string | undefined = (() => {
  const { status, stderr } = spawnSync("nginx", ["-V"], { encoding: "utf8" })
  if (status !== 0) return "there is no nginx on this machine"
  return stderr.includes("http_realip_module") ? undefined : "this nginx has no realip module"
})()

/** Header in which a test says what the address of its client is; on a unix socket it has none. */
export const clientHeader = "x-test-client"

const configOf = (folder: string, upstream: string, location: string): string => `
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
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  upstream app { server ${upstream}; keepalive 4; }
  server {
    listen unix:${folder}/nginx.sock;
${location}
  }
}
`

/** Starts one that asks `upstream`. **Returns** the path of the socket it listens on. */
export const nginx = (
  folder: string,
  upstream: string,
  location: string
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function*() {
    const path = Path.join(folder, "nginx.sock")
    Fs.writeFileSync(Path.join(folder, "nginx.conf"), configOf(folder, upstream, location))
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
