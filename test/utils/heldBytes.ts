/** How much memory this process holds once the garbage is gone: for tests whose file does nothing else meanwhile. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

setFlagsFromString("--expose-gc")
const collectGarbage = runInNewContext("gc") as () => void

/** Bytes in the heap, in buffers and, as far as the runtime counts them, in its libraries. */
export const heldBytes = (): number => {
  collectGarbage()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

/** Watches how much is held beyond what is held now. */
export class Growth {
  private readonly before = heldBytes()
  largest = 0

  look(): void {
    this.largest = Math.max(this.largest, heldBytes() - this.before)
  }
}
