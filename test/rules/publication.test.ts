/** Checks when a checkpoint is to leave: hourly where anything changed, at once where a restored older copy would undo it. */
import { expect, test } from 'vitest'
import { type Press, Publication } from '../../src/organisation/publication.ts'
import type { Event } from '../../src/organisation/record.ts'

const retryMs = 250
const minuteMs = 60_000

function setUp() {
  let due: number | undefined
  const agenda = {
    noLaterThan: (_: string, at: number) => {
      due = Math.min(due ?? at, at)
    },
  }
  const publication = new Publication({ archive: {}, agenda, retryMs } as unknown as Press)
  /** When one is due after a record, where nothing was due before. */
  return (event: Event, timeMs: number) => {
    due = undefined
    publication.heed({ event }, 1, timeMs)
    return (due as unknown as number) - timeMs
  }
}

test.each<Event>(['token.revoked', 'token.rotated', 'session.set', 'session.deleted', 'hook.deleted'])(
  '%s: at once',
  event => {
    expect(setUp()(event, minuteMs)).toBe(0)
  },
)

test.each<Event>(['update.succeeded', 'read.succeeded', 'token.created', 'audit.exported'])(
  '%s: within the hour',
  event => {
    expect(setUp()(event, minuteMs)).toBe(60 * minuteMs)
  },
)

test('a platform that gives a new cookie with each answer makes one leave every ten minutes', () => {
  const heed = setUp()
  expect(heed('session.rotated', 0)).toBe(0)
  expect(heed('session.rotated', minuteMs)).toBe(9 * minuteMs)
  expect(heed('session.rotated', 2 * minuteMs)).toBe(8 * minuteMs)
  expect(heed('session.rotated', 11 * minuteMs)).toBe(0)
  expect(heed('session.deleted', 12 * minuteMs)).toBe(0)
})

test('where there is neither an archive nor a receiver, nothing is ever due', () => {
  const agenda = { noLaterThan: () => expect.unreachable() }
  new Publication({ agenda, retryMs } as unknown as Press).heed({ event: 'session.set' }, 1, 0)
})
