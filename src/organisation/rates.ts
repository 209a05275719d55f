/**
 * Owns how much of its rate each token has used: a fixed window that opens with the first request. Exact within the
 * object, in memory: an evicted object starts its windows anew. Pure: the time comes in.
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

export class Rates {
  readonly #windows = new Map<string, { endsAt: number; used: number }>()

  /** Counts one request of a token. `allowed` is false where the window was already used up. */
  take(id: string, limit: RateLimit, nowMs: number): { allowed: boolean; state: RateState } {
    let window = this.#windows.get(id)
    if (!window || nowMs >= window.endsAt) {
      window = { endsAt: nowMs + limit.windowSeconds * 1000, used: 0 }
      this.#windows.set(id, window)
    }
    const allowed = window.used < limit.requests
    if (allowed) window.used++
    return {
      allowed,
      state: {
        ...limit,
        remaining: limit.requests - window.used,
        resetSeconds: Math.max(1, Math.ceil((window.endsAt - nowMs) / 1000)),
      },
    }
  }
}
