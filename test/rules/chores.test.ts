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
      due: () => ['a', 'b', 'c'].map(errand => ({ errand, row: { looks: 0, missed: 0, untilAt: 0 } })),
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

test.each([
  ['looked at in vain, and late for its last look', { looks: 1, missed: 0, untilAt: 990_000 }, false],
  ['not so late', { looks: 1, missed: 0, untilAt: 997_000 }, true],
  ['never looked at', { looks: 0, missed: 0, untilAt: 0 }, true],
  ['seen once as not applied', { looks: 1, missed: 1, untilAt: 0 }, true],
])('an update that was %s', async (_, row, looksAgain) => {
  let looks = 0
  const taken: unknown[] = []
  const household = {
    now: () => 1_000_000,
    timeoutMs: 10_000,
    retryMs: 250,
    agenda: { set: () => {}, done: () => {} },
    unsettled: {
      due: () => [{ errand: 'a', row }],
      take: (_: unknown, sight: unknown) => taken.push(sight),
      nextAt: undefined,
    },
    inspector: {
      look: async () => {
        looks++
        return { effect: 'applied', body: '{}' }
      },
    },
  }
  await new Chores(household as unknown as Household).run('unsettled')
  expect(looks).toBe(looksAgain ? 1 : 0)
  expect(taken).toEqual([looksAgain ? { effect: 'applied', body: '{}' } : { effect: 'unknown' }])
})

test('what changes while the directory is told is told as well', async () => {
  let state = 'active'
  const told: unknown[] = []
  const due: [kind: string, at?: number][] = []
  const household = {
    now: () => 1_000_000,
    tables: { organisation: () => ({ id: 'o', createdAt: 1 }), activeTokens: () => 1 },
    session: { view: () => ({ state }) },
    capacity: { bytes: 1 },
    agenda: {
      set: (kind: string, at: number) => due.push([kind, at]),
      done: (kind: string) => due.push([kind]),
    },
    publish: async ({ sessionState }: { sessionState: string }) => {
      told.push(sessionState)
      state = 'rejected'
    },
  }
  const chores = new Chores(household as unknown as Household)
  await chores.run('directory')
  await chores.run('directory')
  expect(told).toEqual(['active', 'rejected'])
  expect(due).toEqual([['directory', 1_000_000], ['directory']])
})
