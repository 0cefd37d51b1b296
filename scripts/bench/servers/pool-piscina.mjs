import { Piscina } from "piscina"
import { options, servePool } from "./pool.mjs"

const pool = new Piscina(options)

servePool((n) => pool.run(n))
