/** Reads a Dockerfile into its instructions, and finds what hadolint would: faults that make an image unsafe or unrepeatable. */

export interface Instruction {
  readonly name: string
  readonly text: string
}

/** Comments are gone and continued lines are one. */
export const parse = (text: string): ReadonlyArray<Instruction> =>
  text.split("\n").filter((line) => !/^\s*#/.test(line)).join("\n").replaceAll(/\\\n\s*/g, "").split("\n")
    .flatMap((line) => {
      const match = /^([A-Z]+)\s+(.*)$/.exec(line)
      return match === null ? [] : [{ name: match[1]!, text: match[2]!.trim() }]
    })

/** The last instruction of a name: that is the one which counts. */
export const textOf = (instructions: ReadonlyArray<Instruction>, name: string): string | undefined =>
  instructions.filter((instruction) => instruction.name === name).at(-1)?.text

/** The words of an instruction in exec form; that of a health check stands behind its own CMD. */
export const valueOf = (instructions: ReadonlyArray<Instruction>, name: string): ReadonlyArray<string> =>
  JSON.parse(textOf(instructions, name)!.replace(/^(?:--\S+\s+)*CMD\s+/, ""))

/** What the image sets for its processes. */
export const environmentIn = (instructions: ReadonlyArray<Instruction>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    instructions.filter(({ name }) => name === "ENV").flatMap(({ text }) =>
      [...text.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!] as const)
    )
  )

const isExecForm = (text: string): boolean => {
  try {
    return Array.isArray(JSON.parse(text))
  } catch {
    return false
  }
}

/** In words; none for a file that keeps the rules. */
export const faultsIn = (instructions: ReadonlyArray<Instruction>): ReadonlyArray<string> => {
  const faults = new Set<string>()
  const stages = new Set<string>()
  let user = "root"
  for (const { name, text } of instructions) {
    switch (name) {
      case "FROM": {
        const [, image, stage] = /^(\S+)(?:\s+AS\s+(\S+))?$/.exec(text)!
        if (!stages.has(image!) && !/:\d/.test(image!)) faults.add("an image without a version")
        if (stage !== undefined) stages.add(stage)
        user = "root"
        break
      }
      case "ADD":
        faults.add("ADD")
        break
      case "USER":
        user = text
        break
      case "WORKDIR":
        if (!text.startsWith("/")) faults.add("a relative WORKDIR")
        break
      case "COPY": {
        const from = /--from=(\S+)/.exec(text)?.[1]
        if (from !== undefined && !stages.has(from)) faults.add("a stage that is not there")
        break
      }
      case "RUN":
        if (/apt-get install/.test(text) && !/rm -rf \/var\/lib\/apt\/lists/.test(text)) {
          faults.add("apt-get without a clean up")
        }
        if (/\bsudo\b/.test(text)) faults.add("sudo")
        break
      case "CMD":
      case "ENTRYPOINT":
        if (!isExecForm(text)) faults.add(`a shell in ${name}`)
        break
      case "HEALTHCHECK":
        if (!isExecForm(text.replace(/^(?:--\S+\s+)*CMD\s+/, ""))) faults.add("a shell in HEALTHCHECK")
        break
      case "ENV":
        if (/\w*(?:TOKEN|SECRET|PASSWORD|PASSPHRASE)\w*=/.test(text)) faults.add("a secret in ENV")
        break
    }
  }
  if (/^(?:root|0)(?::|$)/.test(user)) faults.add("root")
  return [...faults]
}
