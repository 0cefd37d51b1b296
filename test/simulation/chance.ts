/** Chance that repeats itself: the same seed gives the same numbers, on every machine. */
export class Chance {
  private state: number

  constructor(seed: number) {
    this.state = (seed * 0x9e3779b9) >>> 0
  }

  /** From 0 up to, and never, 1. A 32 bit counter, mixed until its bits look unrelated. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = this.state
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 0x100000000
  }

  /** An integer from `from` to `to`, both possible. */
  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  /** True with the given probability. */
  happens(probability: number): boolean {
    return this.next() < probability
  }

  pick<A>(choices: ReadonlyArray<A>): A {
    return choices[this.int(0, choices.length - 1)]!
  }
}
