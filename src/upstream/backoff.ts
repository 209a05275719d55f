/** Owns how long to wait before trying again. Pure: the dice come in. */

/**
 * Milliseconds before try number `tries` + 1: exponential from `baseMs`, with full jitter over its upper half, so that
 * callers who failed together do not come back together. `random` is in [0, 1).
 */
export function backoffMs(tries: number, baseMs: number, random: number): number {
  const full = baseMs * 2 ** (tries - 1)
  return Math.round(full / 2 + (full / 2) * random)
}
