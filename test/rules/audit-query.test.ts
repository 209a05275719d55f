/** Checks what may be asked of the audit log, field by field, and what a query string becomes. */
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { auditQuery } from '../../src/organisation/audit-parameters.ts'
import { filterShown, parseAuditQuery } from '../../src/organisation/audit-query.ts'
import { fieldErrors } from '../../src/update/connection-version.ts'

test.each<[object, object]>([
  [{}, {}],
  [{ since: '2026-03-01T12:00:00Z' }, { since: 1_772_366_400_000 }],
  [{ until: '2026-03-01T14:00:00.5+02:00' }, { until: 1_772_366_400_500 }],
  [{ event: 'update.failed' }, { event: 'update.failed' }],
  [{ event: 'update.*' }, { event: 'update.*' }],
  [{ outcome: 'unknown' }, { outcome: 'unknown' }],
  [{ actor: 'AAAAAAAAAAAAAAAA' }, { actor: 'AAAAAAAAAAAAAAAA' }],
  [{ actor: 'ops.team' }, { actor: 'ops.team' }],
  [{ connectionId: 'CONN1' }, { connectionId: 'CONN1' }],
  [{ version: '1.4.0 β' }, { version: '1.4.0 β' }],
  [{ requestId: 'a-b_c.1' }, { requestId: 'a-b_c.1' }],
  [{ limit: '1' }, { limit: 1 }],
  [{ limit: '1000' }, { limit: 1000 }],
  [{ after: '0' }, { after: 0 }],
  [{ before: '999999999999999' }, { before: 999_999_999_999_999 }],
  [
    { event: 'read.*', outcome: 'denied', limit: '5', after: '1', before: '9' },
    { event: 'read.*', outcome: 'denied', limit: 5, after: 1, before: 9 },
  ],
])('%j is taken', (query, expected) => {
  expect(parseAuditQuery(z.parse(auditQuery(), query))).toEqual(expected)
})

test.each<[string, object]>([
  ['since', { since: '' }],
  ['since', { since: '2026-03-01' }],
  ['since', { since: '2026-03-01T12:00:00' }],
  ['since', { since: '2026-03-01T12:00:00 02:00' }],
  ['since', { since: '1772366400' }],
  ['until', { until: 'yesterday' }],
  ['until', { until: '2026-02-29T12:00:00Z' }],
  ['event', { event: '' }],
  ['event', { event: 'update' }],
  ['event', { event: '*' }],
  ['event', { event: '*.failed' }],
  ['event', { event: 'update.f*' }],
  ['event', { event: 'Update.failed' }],
  ['event', { event: 'update.failed.twice' }],
  ['event', { event: 'update.failed\n' }],
  ['outcome', { outcome: '' }],
  ['outcome', { outcome: 'not-sent' }],
  ['outcome', { outcome: 'update.failed' }],
  ['outcome', { outcome: '%' }],
  ['actor', { actor: '' }],
  ['actor', { actor: 'x'.repeat(256) }],
  ['connectionId', { connectionId: '' }],
  ['version', { version: '' }],
  ['requestId', { requestId: '' }],
  ['limit', { limit: '' }],
  ['limit', { limit: '0' }],
  ['limit', { limit: '1001' }],
  ['limit', { limit: '-1' }],
  ['limit', { limit: '1.5' }],
  ['limit', { limit: '1e2' }],
  ['limit', { limit: ' 5' }],
  ['limit', { limit: '00100' }],
  ['limit', { limit: ['5', '6'] }],
  ['after', { after: '' }],
  ['after', { after: '-1' }],
  ['after', { after: 'last' }],
  ['before', { before: '1000000000000000' }],
  ['before', { before: '0x10' }],
  ['order', { order: 'asc' }],
])('%s is named for %j', (field, query) => {
  const { error } = z.safeParse(auditQuery(), query)
  expect(error && [...new Set(fieldErrors(error).map(each => each.field))]).toEqual([field])
})

test('what a record says of an export: times as such, and no token', () => {
  const token = `vgw_${'a'.repeat(65)}`
  const shown = filterShown({ since: 0, until: 1_000, actor: 'alice', requestId: `x${token}`, after: 3 })
  expect(shown).toMatchObject({
    since: '1970-01-01T00:00:00.000Z',
    until: '1970-01-01T00:00:01.000Z',
    actor: 'alice',
    after: 3,
  })
  expect(JSON.stringify(shown)).not.toContain('aaaa')
})
