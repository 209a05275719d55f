/** Checks how many refusals get a record of their own, and that the others are counted, each once. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Denials } from '../../src/organisation/denials.ts'

const start = 5_000_000
const times = (count: number, at: number) => Array.from({ length: count }, () => start + at)

test.each([
  ['twenty are let through', times(20, 0), 20],
  ['the next is not', times(21, 0), 20],
  ['nor is one at the end of the minute', [...times(20, 0), start + 59_999], 20],
  ['the next minute starts anew', [...times(25, 0), ...times(25, 60_000)], 40],
  [
    'a minute starts with its first refusal',
    [...times(25, 0), ...times(25, 90_000), ...times(25, 149_999)],
    40,
  ],
])('%s', (_, when, expected) => {
  const denials = new Denials()
  expect(when.filter(now => denials.admit(now)).length).toBe(expected)
  expect(denials.drain()).toBe(when.length - expected)
  expect(denials.drain()).toBe(0)
})

test('the sum is due when the minute ends', () => {
  const denials = new Denials()
  for (const now of times(21, 0)) denials.admit(now)
  expect(denials.dueAt).toBe(start + 60_000)
})

test('each refusal has a record or is counted, and records come at a bounded rate', () => {
  const steps = fc.array(fc.record({ gap: fc.nat(8_000), drain: fc.boolean() }), {
    maxLength: 300,
    size: 'max',
  })
  fc.assert(
    fc.property(steps, list => {
      const denials = new Denials()
      const admitted: number[] = []
      let now = start
      let counted = 0
      for (const { gap, drain } of list) {
        now += gap
        if (denials.admit(now)) admitted.push(now)
        if (drain) counted += denials.drain()
      }
      expect(admitted.length + counted + denials.drain()).toBe(list.length)
      // A minute that lies across two windows can hold the records of both, and no more.
      const soonest = admitted.slice(40).map((at, index) => at - (admitted[index] ?? at))
      expect(Math.min(60_000, ...soonest)).toBe(60_000)
    }),
  )
})

test('a clock that is set back makes no minute last longer', () => {
  const denials = new Denials()
  for (let i = 0; i < 21; i++) denials.admit(10_000_000)
  expect(denials.admit(10_000_000)).toBe(false)
  expect(denials.admit(5_000_000)).toBe(true)
  expect(denials.dueAt).toBe(5_060_000)
})
