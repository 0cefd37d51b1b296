/**
 * The settings of the command line program, in the order of the documentation. What a row is stands in Setting.ts, what is
 * done with them in Settings.ts.
 */
import { presetNames } from "./AccessLogFormat.ts"
import { section, setting } from "./Setting.ts"
import * as Kind from "./SettingKind.ts"

/** What only the command line program needs to know. */
export const command = {
  ...section("What is served", {
    env: setting(
      Kind.oneOf(["development", "production"]),
      undefined,
      "Mode. Development checks every event, shows errors to the browser, prints pretty logs, and tries the next port when 5000 is taken.",
      {
        alias: "E",
        defaultText: "development on a terminal and with reload or inspect, production otherwise",
        brief: "Mode of running"
      }
    ),
    eval: setting(
      Kind.text("CODE", "an expression", (value) => value.trim() !== ""),
      undefined,
      "Expression of JavaScript to serve instead of a module. In scope: App, Handler, Router and the other modules of Slipway, Effect, Stream, HttpServerResponse.",
      { alias: "e", notInFile: true, brief: "Expression to serve instead of a module" }
    ),
    require: setting(
      Kind.list("MODULE", "one or more modules"),
      undefined,
      "Modules to load before the application, by path or by name of a package.",
      {
        alias: "r"
      }
    ),
    server: setting(
      Kind.text("MODULE", "the name or path of a module", (value) => value !== ""),
      undefined,
      "Module whose layer(options) provides the server instead of ServerNode.",
      { alias: "s" }
    )
  }),
  ...section("Workers", {
    workers: setting(
      Kind.workers,
      1,
      "Processes that serve: a number, or auto for one a core. With 1 there is no supervisor.",
      { alias: "w", weakerEnv: ["WEB_CONCURRENCY"], brief: "Processes that serve" }
    ),
    heartbeatTimeout: setting(
      Kind.duration,
      "50 seconds",
      "Time after which a worker that is not heard is killed and replaced: its event loop stands still. 0 is off."
    ),
    maxRequests: setting(
      Kind.integer(0),
      0,
      "Requests, event streams and WebSockets after which a worker is replaced. 0 is off. Needs workers."
    ),
    maxRequestsJitter: setting(
      Kind.integer(0),
      0,
      "At most so many requests more than maxRequests, by chance, so that workers are not all replaced at once."
    ),
    maxRss: setting(
      Kind.bytes(0),
      0,
      "Bytes of memory above which a worker is replaced. 0 is off. Needs workers."
    )
  }),
  ...section("Process", {
    pidFile: setting(
      Kind.path,
      undefined,
      "File with the number of the process, there as long as it runs. Refused while the process that it names lives."
    ),
    daemonize: setting(
      Kind.flag,
      false,
      "Goes on in the background. The command ends once the server serves.",
      { alias: "D" }
    ),
    user: setting(
      Kind.text("USER", "the name or number of a user", (value) => /^[^\s:]+$/.test(value)),
      undefined,
      "User to become once the addresses are bound. Needs root."
    ),
    group: setting(
      Kind.text("GROUP", "the name or number of a group", (value) => /^[^\s:]+$/.test(value)),
      undefined,
      "Group to become once the addresses are bound. Needs root.",
      { defaultText: "the groups of user" }
    ),
    umask: setting(Kind.fileMode, undefined, "Permission bits that new files do not get.", {
      defaultText: "that of the caller"
    }),
    chdir: setting(Kind.folder, undefined, "Folder to work in. The application's path is looked up from there."),
    title: setting(
      Kind.text("TITLE", "a text that is not empty", (value) => value !== ""),
      undefined,
      "Name of the process as ps shows it."
    )
  }),
  ...section("Logs", {
    accessLog: setting(
      Kind.accessLog,
      "-",
      "Where each finished request is logged: a file, - for standard output, syslog://host:port or syslog: for this machine's syslog, or none.",
      {
        offFlag: { name: "no-access-log", text: "none", description: "The same as --access-log none." },
        brief: "Where requests are logged"
      }
    ),
    accessLogFormat: setting(
      Kind.accessLogFormat,
      "combined",
      `Form of the access log: a preset (${presetNames.join(", ")}) or a format string.`
    ),
    logLevel: setting(
      Kind.oneOf(["debug", "info", "warn", "error", "none"]),
      "info",
      "Least severe messages of the log, which goes to standard error."
    ),
    logFormat: setting(
      Kind.oneOf(["pretty", "text", "json"]),
      undefined,
      "Form of the log: for people, logfmt, or JSON lines.",
      { defaultText: "pretty in development on a terminal, text otherwise" }
    ),
    logLevels: setting(
      Kind.moduleLevels,
      undefined,
      "Levels of single modules of the log, such as Supervisor=debug; the others keep logLevel."
    ),
    quiet: setting(Kind.flag, false, "Only errors are logged, and no access log unless one is asked for.", {
      alias: "q"
    }),
    errorLog: setting(
      Kind.destination,
      "-",
      "Where the log goes instead of standard error: a file, or none. USR1 opens it anew."
    ),
    logRotateBytes: setting(
      Kind.bytes(0),
      0,
      "Bytes after which a log file is put aside and begun anew. 0 is off."
    ),
    logRotateInterval: setting(
      Kind.duration,
      "0 seconds",
      "Time after which a log file is put aside and begun anew. 0 is off."
    ),
    logRotateKeep: setting(Kind.integer(1), 10, "Log files put aside that are kept; older ones are deleted.")
  }),
  ...section("Seeing and commanding", {
    controlSocket: setting(
      Kind.path,
      undefined,
      "Unix socket, on Windows a pipe, on which slipway ctl asks and commands this server. Only its user may connect."
    ),
    adminListen: setting(
      Kind.listenSpec,
      undefined,
      "Address of a port of its own for /live, /ready, /metrics, /status and /dashboard. Needs adminToken where others can reach it."
    ),
    adminToken: setting(
      Kind.secret,
      undefined,
      "Secret for /metrics, /status and /dashboard: a bearer token, or the password of any user."
    ),
    livePath: setting(
      Kind.urlPath,
      undefined,
      "Path on the server's own addresses that says whether the process lives."
    ),
    readyPath: setting(
      Kind.urlPath,
      undefined,
      "Path on the server's own addresses that says whether requests should come: 503 while it starts or stops."
    ),
    metricsPath: setting(
      Kind.urlPath,
      undefined,
      "Path on the server's own addresses for the metrics of all workers, as Prometheus reads them. adminToken guards it."
    ),
    otlpUrl: setting(
      Kind.url,
      undefined,
      "Where metrics, traces and logs are sent with OTLP over HTTP, such as http://127.0.0.1:4318; /v1/traces and so on are added.",
      { weakerEnv: ["OTEL_EXPORTER_OTLP_ENDPOINT"] }
    )
  }),
  ...section("Development", {
    reload: setting(
      Kind.flag,
      false,
      "Restarts the application when its files change. For development; cannot be together with daemonize.",
      { brief: "Restart when files change" }
    ),
    reloadDirs: setting(
      Kind.folders,
      undefined,
      "Folders to watch for reload.",
      { defaultText: "the application's" }
    ),
    reloadInclude: setting(Kind.list("GLOB", "one or more patterns"), undefined, "Further files that reload watches."),
    reloadExclude: setting(Kind.list("GLOB", "one or more patterns"), undefined, "Files that reload does not watch."),
    reloadDelay: setting(Kind.duration, "250 millis", "Time without a further change after which reload restarts."),
    inspect: setting(
      Kind.flag,
      false,
      "Shows each exchange on standard error, headers and bodies included. In development only."
    ),
    open: setting(Kind.flag, false, "Opens the address in a browser once the server serves.")
  }),
  ...section("Configuration", {
    config: setting(
      Kind.optionalFile,
      undefined,
      "Config file to read: .toml, .yaml, .yml or .json. Its keys are option names, such as maxBodyBytes.",
      {
        alias: "c",
        notInFile: true,
        defaultText: "slipway.toml, .yaml, .yml or .json, if there is one",
        offFlag: { name: "no-config", text: "none", description: "The same as --config none." },
        brief: "Config file to read"
      }
    ),
    profile: setting(
      Kind.text("NAME", "the name of a profile", (value) => /^[\w-]+$/.test(value)),
      undefined,
      "Profile of the config file: a table below profiles, whose options count before the others of the file.",
      { notInFile: true, defaultText: "the one that is called like env, if there is one" }
    ),
    envFile: setting(
      Kind.optionalFile,
      undefined,
      "File of environment variables, for the settings and the application. They do not replace those that are set.",
      {
        notInFile: true,
        defaultText: ".env, if there is one",
        offFlag: { name: "no-env-file", text: "none", description: "Reads no such file." }
      }
    ),
    checkConfig: setting(
      Kind.flag,
      false,
      "Checks the settings and loads the application, starts nothing, ends with 0 or 2.",
      {
        notInFile: true
      }
    ),
    printConfig: setting(
      Kind.flag,
      false,
      "Prints every setting, its value and what set it, and ends; as JSON with logFormat json.",
      {
        notInFile: true
      }
    )
  })
} as const
