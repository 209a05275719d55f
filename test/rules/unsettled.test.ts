/** Checks what looks at an unknown update amount to: which end it, as what, and when the next one is. */
import { expect, test } from 'vitest'
import type { Entry } from '../../src/organisation/record.ts'
import { newTurns } from '../../src/organisation/road.ts'
import { type Inquiry, Unsettled, type UnsettledRow } from '../../src/organisation/unsettled.ts'
import type { Sight } from '../../src/organisation/writer.ts'

const untilAt = 100_000
const applied: Sight = { effect: 'applied', body: '{"id":"1"}' }
const missed: Sight = { effect: 'not-applied', body: '{"id":"1"}' }
const unread: Sight = { effect: 'unknown' }

/** The record that ends a row after these looks, at these times; undefined while it goes on, with the row as it is. */
function take(...looks: [sight: Sight, at: number][]) {
  const put: UnsettledRow[] = []
  let record: Entry | undefined
  const nothing = { load: () => {}, noLaterThan: () => {} }
  const on = {
    tables: { putUnsettled: (row: UnsettledRow) => put.push(row), deleteUnsettled: () => {} },
    queue: { add: (write: () => void) => write(), committed: async () => {} },
    log: {
      append: (entry: Entry) => {
        record = entry
        return { seq: 2, receipt: '2:00' }
      },
    },
    agenda: nothing,
    idempotency: nothing,
  }
  const unsettled = new Unsettled(on as never, newTurns(), 250)
  const errand = {
    organisationId: 'o',
    requestId: 'r',
    client: {},
    trace: {},
    target: { connectionId: 'c', version: 'v' },
  }
  let row: UnsettledRow = { attempt: 1, connectionId: 'c', looks: 0, missed: 0, nextAt: 0, untilAt }
  for (const [sight, at] of looks) {
    unsettled.take({ row, errand, scope: undefined } as unknown as Inquiry, sight, at)
    row = put.at(-1) ?? row
  }
  return { record, row }
}

test.each<[string, [Sight, number][], boolean | null | undefined]>([
  ['seen as applied', [[applied, 1]], true],
  [
    'seen as applied in the end',
    [
      [unread, 1],
      [missed, 2],
      [applied, 3],
    ],
    true,
  ],
  ['not seen, once', [[missed, 1]], undefined],
  [
    'not seen, twice in a row',
    [
      [missed, 1],
      [missed, 2],
    ],
    false,
  ],
  [
    'not seen, twice, with a blind look between',
    [
      [missed, 1],
      [unread, 2],
      [missed, 3],
    ],
    undefined,
  ],
  ['never read', [[unread, untilAt - 1]], undefined],
  ['never read, at the end', [[unread, untilAt]], null],
  ['not seen, once, at the end', [[missed, untilAt]], undefined],
  [
    'not seen, twice, long after the end',
    [
      [missed, 9 * untilAt],
      [missed, 9 * untilAt + 2_000],
    ],
    false,
  ],
  [
    'not seen, once, long after the end, and then not read',
    [
      [missed, 9 * untilAt],
      [unread, 9 * untilAt + 2_000],
    ],
    null,
  ],
  [
    'not seen, before the end and at it',
    [
      [missed, untilAt - 1],
      [missed, untilAt],
    ],
    false,
  ],
])('%s', (_, looks, expected) => {
  expect(take(...looks).record?.applied).toBe(expected)
})

test('pauses grow, and the last look is at the very end', () => {
  expect(take([unread, 0]).row.nextAt).toBe(2_000)
  expect(take([unread, 0], [unread, 2_000]).row.nextAt).toBe(6_000)
  expect(take([unread, untilAt - 1]).row.nextAt).toBe(untilAt)
})
