/**
 * What an expression of the command line (`--eval`) finds by name, and how it is run. It is the operator's own code, with
 * everything that the program may do.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as path from "node:path"
import * as vm from "node:vm"
import * as App from "../../src/app/App.ts"
import * as Directory from "../../src/app/Directory.ts"
import * as FetchHandler from "../../src/app/FetchHandler.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import { Problem } from "../../src/app/Problem.ts"
import * as Redirect from "../../src/app/Redirect.ts"
import * as Router from "../../src/app/Router.ts"
import * as SseSession from "../../src/app/SseSession.ts"
import * as WebSocketSession from "../../src/app/WebSocketSession.ts"
import * as Server from "../../src/service/Server.ts"

const scope: Readonly<Record<string, unknown>> = {
  App,
  Directory,
  Duration,
  Effect,
  FetchHandler,
  Handler,
  HttpServerRequest,
  HttpServerResponse,
  JsonRpc,
  Layer,
  Problem,
  Redirect,
  Router,
  Schedule,
  Schema,
  Server,
  SseSession,
  Stream,
  WebSocketSession
}

/** Node warns that this is experimental, so it is asked for only where the code imports something. */
const importing = (code: string): vm.CompileFunctionOptions =>
  /\bimport\b/.test(code) ? { importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER } : {}

/** The value of an expression, which may `await` and `import()` from the current directory. Rejects as the code throws. */
export const evaluate = async (code: string): Promise<unknown> =>
  vm.compileFunction(`return (async () => (${code}\n))()`, Object.keys(scope), {
    filename: path.resolve("[eval]"),
    ...importing(code)
  })(...Object.values(scope))
