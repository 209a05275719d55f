/** Checks how long one run of the alarm looks into unknown updates: what is left waits for the next. */
import { expect, test } from 'vitest'
import { Chores, type Household } from '../../src/organisation/chores.ts'

test.each([
  ['looks that take their time', 4_000, ['a']],
  ['looks that take half of it', 2_000, ['a', 'b']],
  ['looks that take none', 0, ['a', 'b', 'c']],
])('%s', async (_, takesMs, expected) => {
  let now = 1_000_000
  const looked: string[] = []
  const due: [kind: string, at: number][] = []
  const household = {
    now: () => now,
    timeoutMs: 10_000,
    retryMs: 250,
    agenda: { set: (kind: string, at: number) => due.push([kind, at]), done: () => {} },
    unsettled: {
      due: () => ['a', 'b', 'c'].map(errand => ({ errand })),
      take: ({ errand }: { errand: string }) => looked.push(errand),
      nextAt: 999_999,
    },
    inspector: {
      look: async () => {
        now += takesMs
      },
    },
  }
  await new Chores(household as unknown as Household).run('unsettled')
  expect(looked).toEqual(expected)
  expect(due).toEqual([['unsettled', 999_999]])
})
