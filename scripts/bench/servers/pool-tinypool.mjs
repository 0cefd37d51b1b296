import { Tinypool } from "tinypool"
import { options, servePool } from "./pool.mjs"

const pool = new Tinypool(options)

servePool((n) => pool.run(n))
