/** Checks how long is waited before another try. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { backoffMs } from '../../src/upstream/backoff.ts'

test.each([
  [1, 0, 50],
  [1, 0.5, 75],
  [2, 0, 100],
  [3, 0.999_999, 400],
])('after try %i with the dice at %f: %i ms of a base of 100', (tries, random, ms) => {
  expect(backoffMs(tries, 100, random)).toBe(ms)
})

test('never less than half of the full pause, never more than all of it', () => {
  const dice = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: 1, max: 10_000 }),
      dice,
      (tries, base, random) => {
        const full = base * 2 ** (tries - 1)
        const ms = backoffMs(tries, base, random)
        expect(ms).toBeGreaterThanOrEqual(Math.floor(full / 2))
        expect(ms).toBeLessThanOrEqual(full)
      },
    ),
  )
})
