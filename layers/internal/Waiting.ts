/**
 * What a connection waits for its peer to do, and since when. Owns no timer: whoever sweeps asks, and a wait is timed from
 * the sweep that first saw it.
 */
export type Wait = "head" | "idle" | "body" | "closing" | "discarding"

export class Waiting {
  private wait: Wait | "none" = "none"
  private sinceMillis = -1

  /** Nothing is waited for, or what was waited for has moved. */
  reset(): void {
    this.wait = "none"
  }

  /** Whether this wait has reached its limit; 0 is none. `now` is monotonic. */
  isOver(wait: Wait, limitMillis: number, now: number): boolean {
    if (this.wait === wait) return limitMillis > 0 && now - this.sinceMillis >= limitMillis
    this.wait = wait
    this.sinceMillis = now
    return false
  }
}
