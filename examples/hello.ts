/** The smallest whole program: `node examples/hello.ts` answers on port 5000. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Layer from "effect/Layer"
import { App, Server } from "slipway"
import * as ServerNode from "slipway/layers/ServerNode"

const app = App.http(({ scope, send }) => App.respond(send, 200, `Hello, ${scope.path}`))

Server.serve(app).pipe(Layer.provide(ServerNode.layer({ port: 5000 })), Layer.launch, NodeRuntime.runMain)
