import { httpServerContract } from "../contract/HttpServer.ts"
import { node } from "../utils/httpServers.ts"

httpServerContract(node)
