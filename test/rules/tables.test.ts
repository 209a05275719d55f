/** Checks what is said of the storage's size between two readings of it: no less than what records have added. */
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { migrate } from '../../src/organisation/schema.ts'
import { type RecordRow, Tables } from '../../src/organisation/tables.ts'
import { sqlOf } from './watched.ts'

test('the size is read with the first question and every 16 records, and grows by their texts in between', () => {
  const sql = sqlOf(new DatabaseSync(':memory:'))
  migrate(sql)
  let databaseSize = 1_000
  Object.defineProperty(sql, 'databaseSize', { get: () => databaseSize })
  const tables = new Tables(sql)
  const insert = (seq: number) => tables.insertRecord({ ...record, seq })
  expect(tables.bytes).toBe(1_000)
  databaseSize = 50_000
  for (let seq = 1; seq <= 15; seq++) insert(seq)
  expect(tables.bytes).toBe(1_000 + 15 * record.record.length)
  insert(16)
  expect(tables.bytes).toBe(50_000)
  databaseSize = 60_000
  insert(17)
  expect(tables.bytes).toBe(50_000 + record.record.length)
})

const record: Omit<RecordRow, 'seq'> = {
  time: 1,
  event: 'read.succeeded',
  actor: null,
  connectionId: null,
  version: null,
  requestId: null,
  attempt: null,
  openFrom: 1,
  intent: null,
  record: 'x'.repeat(100),
  hashes: new Uint8Array(32),
}
