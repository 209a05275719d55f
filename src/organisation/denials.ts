/**
 * Owns how many refusals get a record of their own: 20 a minute, the rest are counted and summed up in one. Keeps
 * strangers from filling the log. Pure: the time comes in.
 */
const perMinute = 20
const minuteMs = 60_000

export class Denials {
  #windowEndsAt = 0
  #used = 0
  #suppressed = 0

  /** True where this refusal may have a record of its own; else it is counted. */
  admit(nowMs: number): boolean {
    // A clock that was set back must not make a minute last longer.
    if (nowMs >= this.#windowEndsAt || nowMs < this.#windowEndsAt - minuteMs) {
      this.#windowEndsAt = nowMs + minuteMs
      this.#used = 0
    }
    if (this.#used >= perMinute) {
      this.#suppressed++
      return false
    }
    this.#used++
    return true
  }

  /** When the sum of what was suppressed is due. */
  get dueAt(): number {
    return this.#windowEndsAt
  }

  /** How many were suppressed since this was last asked. */
  drain(): number {
    const count = this.#suppressed
    this.#suppressed = 0
    return count
  }
}
