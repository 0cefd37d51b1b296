/** The rules of OpenAPI 3.1.0 that a document alone can break: ids, templates and their parameters, references. */

const methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]

const refsIn = (value: unknown): ReadonlyArray<string> => {
  if (typeof value !== "object" || value === null) return []
  const inner = Object.values(value).flatMap(refsIn)
  return "$ref" in value && typeof value.$ref === "string" ? [value.$ref, ...inner] : inner
}

const resolve = (document: unknown, ref: string): unknown =>
  ref.slice(2).split("/").reduce<any>(
    (value, token) => value?.[token.replaceAll("~1", "/").replaceAll("~0", "~")],
    document
  )

/** The operations of a document. */
export const operationsOf = ({ paths }: any): ReadonlyArray<readonly [path: string, method: string, operation: any]> =>
  Object.entries<any>(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => [path, method, operation] as const)
  )

/** Everything in a document that the specification forbids. */
export const faultsIn = (document: any): ReadonlyArray<string> => {
  const faults: Array<string> = []
  const ids = new Set<string>()
  const shapes = new Set<string>()
  const demand = (holds: boolean, fault: string) => void (holds || faults.push(fault))
  demand(/^3\.1\.\d+$/.test(document.openapi), "openapi")
  demand(typeof document.info.title === "string" && typeof document.info.version === "string", "info")
  for (const path of Object.keys(document.paths)) {
    const shape = path.replace(/\{[^}]*\}/g, "{}")
    demand(path.startsWith("/") && !shapes.has(shape), `${path}: the same template twice`)
    shapes.add(shape)
  }
  for (const [path, method, operation] of operationsOf(document)) {
    const at = `${method} ${path}`
    demand(methods.includes(method), `${at}: method`)
    demand(!ids.has(operation.operationId), `${at}: operationId ${operation.operationId}`)
    ids.add(operation.operationId)
    const templates = [...path.matchAll(/\{([^}]*)\}/g)].map(([, name]) => name).sort()
    const places = operation.parameters.map((parameter: any) => `${parameter.in} ${parameter.name}`)
    demand(new Set(places).size === places.length, `${at}: a parameter twice`)
    const inPath = operation.parameters.filter((parameter: any) => parameter.in === "path")
    const names = inPath.map(({ name }: any) => name).sort()
    demand(JSON.stringify(templates) === JSON.stringify(names), `${at}: declares ${names}`)
    demand(inPath.every(({ required }: any) => required === true), `${at}: path parameters are required`)
    demand(operation.parameters.every(({ schema }: any) => schema !== undefined), `${at}: a parameter without a schema`)
    const responses = Object.entries<any>(operation.responses)
    demand(responses.length > 0, `${at}: no response`)
    for (const [status, { description }] of responses) {
      demand(/^[1-5]\d\d$/.test(status) && typeof description === "string", `${at}: response ${status}`)
    }
    demand(operation.requestBody === undefined || operation.requestBody.content !== undefined, `${at}: body`)
  }
  for (const ref of refsIn(document)) {
    demand(ref.startsWith("#/") && resolve(document, ref) !== undefined, `${ref} leads nowhere`)
  }
  return faults
}
