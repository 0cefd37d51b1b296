/** Whether processes of others are there. */
import * as fs from "node:fs"

/** Whether a process runs. What has ended and is waited for by nobody does not, though it is still listed. */
export const isAlive = (pid: number): boolean => {
  // 0 and negative numbers are groups.
  if (!(pid > 0)) throw new Error(`No process has the number ${pid}`)
  try {
    process.kill(pid, 0)
    return process.platform !== "linux" || !/^\d+ \(.*\) Z/s.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}
