/**
 * Owns what is waited for in an object: pauses and deadlines, all of them on one timer, as one of the runtime's costs about as
 * much as inserting a record. Pure bookkeeping: the clock and that timer are passed in. A clock that is set forward ends waits
 * early, as it does every deadline that is compared with it.
 */

/** The time in milliseconds, and the runtime's timers. */
export interface Clock {
  now: () => number
  set: (run: () => void, ms: number) => number
  clear: (timer: number) => void
}

/** Something that is to happen unless it is cancelled. */
interface Pending {
  at: number
  run: () => void
}

export class Timers {
  readonly #clock: Clock
  readonly #pending = new Set<Pending>()
  #timer: number | undefined
  /** When the runtime's timer fires; never later than the first of what is pending. */
  #firesAt = Number.POSITIVE_INFINITY
  /** The latest time that was seen, and by how much the clock is behind it: one that is set back makes nobody wait longer. */
  #latest = 0
  #behind = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Runs something once `ms` have passed; what it returns cancels that. What runs must not throw. */
  after(ms: number, run: () => void): () => void {
    const pending = { at: this.#now() + ms, run }
    this.#pending.add(pending)
    if (pending.at < this.#firesAt) this.#fireAt(pending.at)
    return () => {
      this.#pending.delete(pending)
      // Nothing is left running in an object that waits for nothing. While others wait the timer stays, if too early.
      if (this.#pending.size === 0) this.#fireAt(Number.POSITIVE_INFINITY)
    }
  }

  /** Resolves once `ms` have passed; `cancel` where nobody waits any more. */
  sleep(ms: number): { done: Promise<void>; cancel: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>()
    return { done: promise, cancel: this.after(ms, resolve) }
  }

  #now(): number {
    this.#behind = Math.max(this.#behind, this.#latest - this.#clock.now())
    this.#latest = this.#clock.now() + this.#behind
    return this.#latest
  }

  #fireAt(at: number): void {
    if (this.#timer !== undefined) this.#clock.clear(this.#timer)
    this.#firesAt = at
    this.#timer =
      at === Number.POSITIVE_INFINITY
        ? undefined
        : this.#clock.set(() => this.#fire(at), Math.max(0, at - this.#now()))
  }

  #fire(at: number): void {
    this.#timer = undefined
    this.#latest = Math.max(this.#latest, at)
    const now = this.#now()
    const inOrder = [...this.#pending].sort((a, b) => a.at - b.at)
    this.#fireAt(inOrder.find(({ at }) => at > now)?.at ?? Number.POSITIVE_INFINITY)
    for (const each of inOrder) {
      // One that ran may have cancelled another.
      if (each.at <= now && this.#pending.delete(each)) each.run()
    }
  }
}
