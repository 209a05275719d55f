/** Owns how long to wait before trying again. Pure: the dice come in. */

/** The pause after a first try of what may take days, in times the backoff's base: 5 s at the default of 250 ms. */
export const firstPause = 20
const maxPauseMs = 6 * 3_600_000

/**
 * Milliseconds before try number `tries` + 1: exponential from `baseMs`, with full jitter over its upper half, so that
 * callers who failed together do not come back together. `random` is in [0, 1).
 */
export function backoffMs(tries: number, baseMs: number, random: number): number {
  const full = baseMs * 2 ** (tries - 1)
  return Math.round(full / 2 + (full / 2) * random)
}

/** Milliseconds between tries of what may take days: four times as long each time, six hours at most. */
export function pauseMs(tries: number, baseMs: number, random: number): number {
  return Math.min(maxPauseMs, backoffMs(2 * tries - 1, firstPause * baseMs, random))
}
