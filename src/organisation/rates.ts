/**
 * Owns how much of its rate each token has used: a fixed window that opens with the first request. Counted in memory; what
 * an evicted object forgot is counted anew from its log. Pure: the time comes in.
 */

export interface RateLimit {
  requests: number
  windowSeconds: number
}

/** How a token stands after a request: `remaining` requests until `resetSeconds` from now. */
export interface RateState extends RateLimit {
  remaining: number
  resetSeconds: number
}

/** A window as it was left: when it opened, in milliseconds since 1970, and what was used of it. */
export interface RateWindow {
  startedAt: number
  used: number
}

/** What outlives the memory: the opening of each token's window is stored, its use is in the log. */
export interface RateStore {
  recall(id: string): RateWindow | undefined
  remember(id: string, startedAt: number): void
}

export class Rates {
  readonly #store: RateStore
  readonly #windows = new Map<string, RateWindow>()

  constructor(store: RateStore) {
    this.#store = store
  }

  /** Counts one request of a token. `allowed` is false where the window was already used up. */
  take(id: string, limit: RateLimit, nowMs: number): { allowed: boolean; state: RateState } {
    const windowMs = limit.windowSeconds * 1000
    let window = this.#windows.get(id) ?? this.#store.recall(id)
    // A clock that was set back must not make a window last longer.
    if (!window || nowMs >= window.startedAt + windowMs || nowMs < window.startedAt) {
      window = { startedAt: nowMs, used: 0 }
      this.#store.remember(id, nowMs)
    }
    this.#windows.set(id, window)
    const allowed = window.used < limit.requests
    if (allowed) window.used++
    return {
      allowed,
      state: {
        ...limit,
        remaining: Math.max(0, limit.requests - window.used),
        resetSeconds: Math.max(1, Math.ceil((window.startedAt + windowMs - nowMs) / 1000)),
      },
    }
  }
}
