/** Checks at which share of its storage an organisation warns, and stops. */
import { expect, test } from 'vitest'
import { Capacity } from '../../src/organisation/capacity.ts'

test.each([
  [0, false, true, true],
  [799, false, true, true],
  [800, true, true, true],
  [899, true, true, true],
  [900, true, false, true],
  [949, true, false, true],
  [950, true, false, false],
  [2000, true, false, false],
])('at %i of 1000 bytes', (bytes, warns, updates, reads) => {
  const capacity = new Capacity(1000, () => bytes)
  expect(capacity.high).toEqual(warns ? { bytes, limitBytes: 1000 } : undefined)
  expect(capacity.objection('update')?.code).toBe(updates ? undefined : 'audit-unavailable')
  expect(capacity.objection('read')?.code).toBe(reads ? undefined : 'audit-unavailable')
})
