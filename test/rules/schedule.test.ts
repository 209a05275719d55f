/** Checks what is due when: the earliest, the order of what is overdue, and one time a kind. */
import { expect, test } from 'vitest'
import { type Due, Schedule } from '../../src/organisation/schedule.ts'

/** A schedule with these entries. */
function schedule(entries: Partial<Record<Due, number>>): Schedule {
  const made = new Schedule()
  for (const [kind, at] of Object.entries(entries)) made.set(kind as Due, at)
  return made
}

test.each<[string, Partial<Record<Due, number>>, number | undefined]>([
  ['nothing', {}, undefined],
  ['one thing', { denials: 5 }, 5],
  ['the first of several', { denials: 5, attempts: 3, directory: 9 }, 3],
  ['time zero is a time', { denials: 0, attempts: 3 }, 0],
])('the earliest of %s', (_, entries, expected) => {
  expect(schedule(entries).earliest).toBe(expected)
})

test.each<[number, Due[]]>([
  [2, []],
  [3, ['attempts']],
  [4, ['attempts']],
  [5, ['attempts', 'denials']],
  [100, ['attempts', 'denials', 'directory']],
])('due by %i, the longest overdue first', (now, expected) => {
  expect(schedule({ denials: 5, directory: 9, attempts: 3 }).dueBy(now)).toEqual(expected)
})

test('alerts come after everything else that is due', () => {
  expect(schedule({ alerts: 1, unsettled: 3, denials: 5 }).dueBy(10)).toEqual([
    'unsettled',
    'denials',
    'alerts',
  ])
})

test('a kind is due once, at the time it was set to last', () => {
  const made = schedule({ attempts: 3 })
  made.set('attempts', 8)
  expect(made.at('attempts')).toBe(8)
  expect(made.dueBy(7)).toEqual([])
  expect(made.earliest).toBe(8)
})

test('what is cleared is due no more, and clearing twice is nothing', () => {
  const made = schedule({ attempts: 3, denials: 5 })
  made.clear('attempts')
  made.clear('attempts')
  expect(made.at('attempts')).toBeUndefined()
  expect(made.earliest).toBe(5)
})

test('loading replaces everything', () => {
  const made = schedule({ attempts: 3 })
  made.load([{ kind: 'denials', at: 7 }])
  expect(made.at('attempts')).toBeUndefined()
  expect(made.dueBy(10)).toEqual(['denials'])
  made.load([])
  expect(made.earliest).toBeUndefined()
})
