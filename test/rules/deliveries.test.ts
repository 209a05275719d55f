/** Checks the life of a delivery: which may go, what a failure means, and when it is given up. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Refusal } from '../../src/errors.ts'
import {
  afterFailure,
  type DeliveryRow,
  ended,
  isSpent,
  maxTries,
  meaningOf,
  rearmed,
  received,
  runnable,
  viewDelivery,
} from '../../src/organisation/deliveries.ts'

const now = Date.parse('2026-11-24T09:30:00Z')
const dayMs = 86_400_000
const event = {
  id: 'D1',
  hook: 'H1',
  key: 'id:msg',
  digest: 'ab',
  requestId: 'R1',
  messageId: 'msg',
  token: null,
}
const fresh = received(event, 'CONN1', 7, now)

describe('which may go', () => {
  const row = fc
    .record({
      connectionId: fc.constantFrom('C1', 'C2', 'C3'),
      hook: fc.constantFrom('block', 'skip'),
      failure: fc.constantFrom(null, 'upstream-failed', 'unknown'),
      nextAt: fc.integer({ min: now - 3, max: now + 3 }),
    })
    .map(changes => ({ ...fresh, ...changes }))
  const pending = fc.array(row, { maxLength: 12 }).map(rows => rows.map((each, seq) => ({ ...each, seq })))
  const blocks = (hook: string) => hook === 'block'
  const waits = (each: DeliveryRow) => each.nextAt > now
  /** Keeps those behind it waiting: its hook wants it so, or nobody knows yet what it did. */
  const holds = (each: DeliveryRow) => each.hook === 'block' || each.failure === 'unknown'

  test('never two of a connection, each due, and none past an earlier one that is due or holds it up', () => {
    fc.assert(
      fc.property(pending, rows => {
        const { ready } = runnable(rows, blocks, now)
        expect(new Set(ready.map(each => each.connectionId)).size).toBe(ready.length)
        for (const each of ready) {
          expect(waits(each)).toBe(false)
          const earlier = rows.filter(
            other => other.connectionId === each.connectionId && other.seq < each.seq,
          )
          expect(earlier.every(other => waits(other) && !holds(other))).toBe(true)
        }
      }),
    )
  })

  test('of each connection whatever can go does, the longest due first', () => {
    fc.assert(
      fc.property(pending, rows => {
        const { ready } = runnable(rows, blocks, now)
        for (const connection of ['C1', 'C2', 'C3']) {
          const own = rows.filter(each => each.connectionId === connection)
          const first = own.find(each => !waits(each) || holds(each))
          const expected = first && !waits(first) ? [first] : []
          expect(ready.filter(each => each.connectionId === connection)).toEqual(expected)
        }
        const dues = ready.map(each => each.nextAt)
        expect(dues).toEqual(dues.toSorted((a, b) => a - b))
      }),
    )
  })

  test('where nothing can go, the time is told at which something can', () => {
    fc.assert(
      fc.property(pending, rows => {
        const { ready, nextAt } = runnable(rows, blocks, now)
        if (ready.length > 0) return
        expect(nextAt === undefined).toBe(rows.length === 0)
        if (nextAt === undefined) return
        expect(nextAt).toBeGreaterThan(now)
        expect(runnable(rows, blocks, nextAt - 1).ready).toEqual([])
        expect(runnable(rows, blocks, nextAt).ready).not.toEqual([])
      }),
    )
  })
})

describe('what a failure means', () => {
  const upstream = (status: number): Refusal => ({ code: 'upstream-rejected', status, upstream: {} })
  test.each<[string, Refusal, ReturnType<typeof meaningOf>]>([
    ['no session', { code: 'session-missing', detail: '' }, 'pause'],
    ['a refused session', { code: 'session-rejected' }, 'pause'],
    ['a log that takes no record', { code: 'audit-unavailable' }, 'pause'],
    ['a restart', { code: 'interrupted' }, 'retry'],
    ['half a configuration', { code: 'not-configured', failing: [] }, 'retry'],
    ['a bug', { code: 'internal' }, 'retry'],
    ['a token that was revoked', { code: 'invalid-token', reason: 'revoked' }, 'hopeless'],
    ['a scope that is too small', { code: 'insufficient-scope' }, 'hopeless'],
    ['a version that it would spoil', { code: 'invalid-body', fields: [] }, 'hopeless'],
    ["the platform's 400", upstream(400), 'hopeless'],
    ["the platform's 422", upstream(422), 'hopeless'],
    ['no such version yet', upstream(404), 'retry'],
    ['a name that is taken', upstream(409), 'retry'],
    ["the platform's 403", upstream(403), 'retry'],
    ['no connection', { code: 'upstream-unreachable' }, 'retry'],
    ['a server error', { code: 'upstream-failed', retryAfterSeconds: undefined }, 'retry'],
    ['an answer that is no version', { code: 'upstream-invalid-response', detail: '' }, 'retry'],
    ['a deadline', { code: 'upstream-timeout' }, 'retry'],
    ['a platform that is busy', { code: 'overloaded', retryAfterSeconds: 1 }, 'retry'],
  ])('%s', (_, refusal, meaning) => {
    expect(meaningOf(refusal)).toBe(meaning)
  })
})

describe('when it is given up', () => {
  test.each<[string, Partial<DeliveryRow>, boolean]>([
    ['just come', {}, false],
    ['after eleven tries', { tries: 11 }, false],
    ['after twelve tries', { tries: maxTries }, true],
    ['a moment before three days are over', { tries: 3, since: now - 3 * dayMs + 1 }, false],
    ['after three days', { tries: 3, since: now - 3 * dayMs }, true],
    ['after four days of which a session was missing', { tries: 2, since: now - 4 * dayMs }, false],
    ['received long ago, replayed today', { receivedAt: now - 20 * dayMs }, false],
  ])('%s', (_, changes, spent) => {
    expect(isSpent({ ...fresh, ...changes }, now)).toBe(spent)
  })

  test('pauses grow from 5 s to 6 h, and twelve tries take more than a day and less than three', () => {
    for (const random of [0, 0.999]) {
      let at = now
      for (let tries = 1; tries < maxTries; tries++) {
        const { nextAt } = afterFailure({ ...fresh, tries }, 0, 250, at, random)
        const ms = nextAt - at
        expect(ms).toBeGreaterThanOrEqual(Math.min(6 * 3_600_000, 2_500 * 4 ** (tries - 1)))
        expect(ms).toBeLessThanOrEqual(Math.min(6 * 3_600_000, 5_000 * 4 ** (tries - 1)))
        at = nextAt
      }
      expect(at - now).toBeGreaterThan(dayMs)
      expect(at - now).toBeLessThan(3 * dayMs)
    }
  })

  test('who is told to wait longer does, and not shorter', () => {
    expect(afterFailure({ ...fresh, tries: 1 }, 60_000, 250, now, 0).nextAt).toBe(now + 60_000)
    expect(afterFailure({ ...fresh, tries: 8 }, 1, 250, now, 0).nextAt).toBe(now + 6 * 3_600_000)
    // One that has not been sent yet waits as after a first try.
    expect(afterFailure(fresh, 0, 250, now, 0).nextAt).toBe(now + 2_500)
  })
})

test('a dead one that is tried anew has all its tries and days, in its old place', () => {
  const later = now + 10 * dayMs
  const dead = ended({ ...fresh, tries: 12, failure: 'upstream-failed' }, 'dead', 9, now)
  expect(dead).toMatchObject({ state: 'dead', endedAt: now, closedBy: 9 })
  const again = rearmed(dead, { connectionId: 'CONN2', version: '1.5.0', patch: '{}' }, later)
  expect(again).toEqual({
    ...fresh,
    failure: 'upstream-failed',
    connectionId: 'CONN2',
    version: '1.5.0',
    patch: '{}',
    since: later,
    nextAt: later,
  })
  expect(isSpent(again, later)).toBe(false)
})

test('an admin sees a delivery without its digest, and the next time only where there is one', () => {
  const pending = viewDelivery({ ...fresh, version: '1.4.0', patch: '{"isDefault":true}' })
  expect(pending).toEqual({
    id: 'D1',
    hookId: 'H1',
    state: 'pending',
    messageId: 'msg',
    requestId: 'R1',
    connectionId: 'CONN1',
    version: '1.4.0',
    change: { isDefault: true },
    tries: 0,
    lastFailure: null,
    receivedAt: '2026-11-24T09:30:00.000Z',
    nextAt: '2026-11-24T09:30:00.000Z',
    endedAt: null,
    receivedSeq: 7,
    closedSeq: null,
  })
  expect(viewDelivery(ended(fresh, 'done', 9, now))).toMatchObject({
    nextAt: null,
    endedAt: '2026-11-24T09:30:00.000Z',
    closedSeq: 9,
  })
})
