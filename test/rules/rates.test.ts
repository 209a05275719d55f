/** Checks how requests are counted against a token's rate, to the millisecond at which a window ends. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Rates } from '../../src/organisation/rates.ts'

const limit = { requests: 2, windowSeconds: 10 }
const start = 1_000_000
const forgetful = { recall: () => undefined, remember: () => {} }

test.each([
  ['the first opens the window', [0], { allowed: true, remaining: 1, resetSeconds: 10 }],
  ['the last that is allowed', [0, 1], { allowed: true, remaining: 0, resetSeconds: 10 }],
  ['one too many', [0, 1, 2], { allowed: false, remaining: 0, resetSeconds: 10 }],
  ['many too many', [0, 1, 2, 3, 4, 5], { allowed: false, remaining: 0, resetSeconds: 10 }],
  ['a part of a second left counts whole', [0, 1, 8_999], { allowed: false, remaining: 0, resetSeconds: 2 }],
  ['whole seconds', [0, 1, 9_000], { allowed: false, remaining: 0, resetSeconds: 1 }],
  ['a millisecond before the end', [0, 1, 9_999], { allowed: false, remaining: 0, resetSeconds: 1 }],
  ['the end itself opens the next', [0, 1, 10_000], { allowed: true, remaining: 1, resetSeconds: 10 }],
  ['a window opens with a request', [0, 1, 25_000], { allowed: true, remaining: 1, resetSeconds: 10 }],
])('%s', (_, times, { allowed, ...state }) => {
  const rates = new Rates(forgetful)
  const last = times.map(at => rates.take('t', limit, start + at)).at(-1)
  expect(last).toEqual({ allowed, state: { ...limit, ...state } })
})

test('each token has a window of its own', () => {
  const rates = new Rates(forgetful)
  for (let i = 0; i < 3; i++) rates.take('a', limit, start)
  expect(rates.take('a', limit, start).allowed).toBe(false)
  expect(rates.take('b', limit, start).allowed).toBe(true)
})

test('within any window no more than the limit is allowed', () => {
  const gaps = fc.array(fc.nat(4_000), { maxLength: 100, size: 'max' })
  fc.assert(
    fc.property(gaps, list => {
      const rates = new Rates(forgetful)
      let now = start
      let endsAt = 0
      let used = 0
      for (const gap of list) {
        now += gap
        if (now >= endsAt) {
          endsAt = now + 10_000
          used = 0
        }
        const { allowed, state } = rates.take('t', limit, now)
        expect(allowed).toBe(used < 2)
        if (allowed) used++
        expect(state.remaining).toBe(2 - used)
        // Who waits as long as told is let in again.
        expect(now + state.resetSeconds * 1000).toBeGreaterThanOrEqual(endsAt)
      }
    }),
  )
})

test('what an object forgot is counted from what it stored, in the same window', () => {
  const opened: [string, number][] = []
  const stored = {
    recall: () => ({ startedAt: start, used: 1 }),
    remember: (...of: [string, number]) => void opened.push(of),
  }
  const rates = new Rates(stored)
  expect(rates.take('t', limit, start + 5_000)).toEqual({
    allowed: true,
    state: { ...limit, remaining: 0, resetSeconds: 5 },
  })
  expect(rates.take('t', limit, start + 9_999).allowed).toBe(false)
  expect(opened).toEqual([])
  expect(rates.take('t', limit, start + 10_000).allowed).toBe(true)
  expect(opened).toEqual([['t', start + 10_000]])
})

test('a clock that is set back opens a new window, and makes none last longer', () => {
  const rates = new Rates(forgetful)
  for (let i = 0; i < 3; i++) rates.take('t', limit, start)
  expect(rates.take('t', limit, start - 3_600_000)).toEqual({
    allowed: true,
    state: { ...limit, remaining: 1, resetSeconds: 10 },
  })
})
