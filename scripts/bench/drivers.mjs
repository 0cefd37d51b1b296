/** How load is put on a server: one driver for each way. What all of them have in common is said here. */
import { echo, fanout, handshake } from "./drivers/bundled.mjs"
import { h2load } from "./drivers/h2load.mjs"
import { http } from "./drivers/http.mjs"
import { work } from "./drivers/work.mjs"

/**
 * @typedef {object} Load
 * @property {number} requests answers or messages that arrived whole
 * @property {number} seconds
 * @property {number} errors refused, cut or late connections, and wrong answers
 * @property {number} [p50Millis] half of the answers came within this time, under full load
 * @property {number} [p99Millis]
 *
 * @typedef {object} Session a generator that is ready to begin
 * @property {(seconds: number) => Promise<Load>} run once
 * @property {() => Promise<void>} close
 */

/**
 * @template S
 * @typedef {object} Driver
 * @property {(scenario: S, options: import("./options.mjs").Options) => string} describe for the line above the table
 * @property {(scenario: S) => string | undefined} lacks what has to be installed and is not
 * @property {number} [openFiles] limit that the server is started with, where it has to be raised
 * @property {(port: number, scenario: S) => Promise<string | undefined>} wrongAnswer
 *   what is wrong with a server's answer to the scenario; `undefined` when it is what everyone has to answer. May throw.
 * @property {(port: number, scenario: S, options: import("./options.mjs").Options) => Promise<Session>} open
 */

/** @type {Record<import("./scenarios.mjs").Throughput["driver"], Driver<any>>} */
export const drivers = { http, h2load, echo, fanout, handshake, work }
