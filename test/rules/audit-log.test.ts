/** Checks the sequence of records over tables kept in an array: numbers, time, hashes, open attempts, and after a failure. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toHex } from '../../src/crypto.ts'
import { AuditLog, type Written } from '../../src/organisation/audit-log.ts'
import type { CommitQueue } from '../../src/organisation/commit-queue.ts'
import { type Entry, recordString } from '../../src/organisation/record.ts'
import type { RecordRow, Tables } from '../../src/organisation/tables.ts'
import { append, emptyTree, leafHash } from '../../src/organisation/tree.ts'

/** The part of the tables that a log needs, as its SQL says it. */
class Rows {
  rows: RecordRow[] = []

  insertRecord(row: RecordRow): void {
    if (this.rows.some(({ seq }) => seq === row.seq)) throw new Error(`record ${row.seq} is there already`)
    this.rows.push(row)
  }

  lastRecord(): RecordRow | undefined {
    return this.rows.at(-1)
  }

  openAttempts(openFrom: number): number[] {
    const open = new Set<number>()
    for (const { seq, event, attempt } of this.rows.filter(row => row.seq >= openFrom)) {
      if (event === 'update.attempted') open.add(seq)
      else if (attempt !== null) open.delete(attempt)
    }
    return [...open]
  }

  nodeHash(seq: number, level: number): Uint8Array {
    const row = this.rows.find(each => each.seq === seq) as RecordRow
    return row.hashes.slice(level * 32, level * 32 + 32)
  }
}

/** A log over such rows. What is queued is written by `commit` and thrown away by `fail`. */
function setUp(stored: RecordRow[] = []) {
  const tables = new Rows()
  tables.rows = [...stored]
  let queued: (() => void)[] = []
  const queue = { add: (write: () => void) => queued.push(write) }
  const log = new AuditLog(tables as unknown as Tables, queue as unknown as CommitQueue)
  log.load()
  return {
    log,
    tables,
    commit: () => {
      for (const write of queued) write()
      queued = []
    },
    fail: () => {
      queued = []
      log.load()
    },
  }
}

const target = { organisationId: 'ORG1', connectionId: 'CONN1', version: '1.4.0' }
const actor = { type: 'token' as const, id: 'AAAAAAAAAAAAAAAA', name: 'ci-deploy' }
const read: Entry = { requestId: 'req-1', event: 'read.succeeded', actor, target }
const attempted: Entry = { ...read, event: 'update.attempted' }
const closing = (attempt: number, event: Entry['event'] = 'update.succeeded'): Entry => ({
  ...read,
  event,
  attempt,
})

const sha256 = (...parts: (string | Uint8Array)[]) =>
  createHash('sha256')
    .update(Buffer.concat(parts.map(part => Buffer.from(part as string))))
    .digest('hex')

test('a record is numbered, hashed and stored with what it is found by', () => {
  const { log, tables, commit } = setUp()
  const written = log.append({ ...read, attempt: 7 }, 1_000)
  const record = recordString(1, 1_000, { ...read, attempt: 7 })
  expect(written).toEqual({ seq: 1, receipt: `1:${sha256(new Uint8Array([0]), record)}` })
  expect(log.size).toBe(1)
  expect(tables.rows).toEqual([])
  commit()
  expect(tables.rows).toMatchObject([
    {
      seq: 1,
      time: 1_000,
      event: 'read.succeeded',
      actor: 'AAAAAAAAAAAAAAAA',
      connectionId: 'CONN1',
      version: '1.4.0',
      requestId: 'req-1',
      attempt: 7,
      openFrom: 2,
      intent: null,
      record,
      hashes: leafHash(record),
    },
  ])
})

test('what a record does not say is null', () => {
  const { log, tables, commit } = setUp()
  log.append({ event: 'admin.denied', actor: { type: 'anonymous' }, target: { organisationId: 'ORG1' } }, 1)
  commit()
  const nothing = { actor: null, connectionId: null, version: null, requestId: null, attempt: null }
  expect(tables.rows[0]).toMatchObject(nothing)
})

test('the id that an unproven credential named is not the actor that a record is found by', () => {
  const { log, tables, commit } = setUp()
  log.append({ ...read, actor: { type: 'anonymous', claimedId: 'AAAAAAAAAAAAAAAA' } }, 1)
  commit()
  expect(tables.rows[0]?.actor).toBeNull()
})

test('time never runs backwards, after a restart neither', () => {
  const { log, tables, commit } = setUp()
  for (const now of [1_000, 900, 1_000, 1_500, 0]) log.append(read, now)
  commit()
  const again = setUp(tables.rows)
  again.log.append(read, 1_200)
  again.commit()
  expect(again.tables.rows.map(({ time }) => time)).toEqual([1_000, 1_000, 1_000, 1_500, 1_500, 1_500])
  expect(again.tables.rows.map(({ record }) => Date.parse(JSON.parse(record).time))).toEqual(
    again.tables.rows.map(({ time }) => time),
  )
})

test.each<[string, Entry[], number[], number[]]>([
  ['nothing attempted', [read, read], [2, 3], []],
  ['an attempt', [attempted], [1], [1]],
  ['an attempt with others behind it', [attempted, read, read], [1, 1, 1], [1]],
  ['an attempt that is closed', [attempted, closing(1)], [1, 3], []],
  ['a second one that is closed first', [attempted, attempted, closing(2)], [1, 1, 1], [1]],
  ['the first one closed first', [attempted, attempted, closing(1)], [1, 1, 2], [2]],
  [
    'closed as unknown, then reconciled',
    [attempted, closing(1, 'update.unknown'), closing(1)],
    [1, 3, 4],
    [],
  ],
])('%s', (_, entries, openFrom, open) => {
  const { log, tables, commit } = setUp()
  for (const entry of entries) log.append(entry, 1)
  commit()
  expect(tables.rows.map(row => row.openFrom)).toEqual(openFrom)
  expect(log.openAttempts).toEqual(open)
  expect(setUp(tables.rows).log.openAttempts).toEqual(open)
})

test('a log over nothing', () => {
  const { log } = setUp()
  expect(log.size).toBe(0)
  expect(log.openAttempts).toEqual([])
})

const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.constant('read' as const) },
    { weight: 3, arbitrary: fc.constant('attempt' as const) },
    { weight: 3, arbitrary: fc.record({ close: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.constant('commit' as const) },
    { weight: 1, arbitrary: fc.constant('fail' as const) },
    { weight: 1, arbitrary: fc.constant('restart' as const) },
  ),
  { maxLength: 80, size: 'max' },
)

test('through commits, failures and restarts: numbers without a gap, the tree of what is stored, what is open', () => {
  fc.assert(
    fc.property(steps, list => {
      let on = setUp()
      let receipts: Written[] = []
      let durable: Written[] = []
      for (const [index, step] of list.entries()) {
        if (step === 'commit') {
          on.commit()
          durable = [...receipts]
        } else if (step === 'fail') {
          on.fail()
          receipts = [...durable]
        } else if (step === 'restart') {
          on = setUp(on.tables.rows)
          receipts = [...durable]
        } else if (step === 'read') receipts.push(on.log.append(read, index))
        else if (step === 'attempt') receipts.push(on.log.append(attempted, index))
        else {
          const attempt = on.log.openAttempts[step.close]
          if (attempt !== undefined) receipts.push(on.log.append(closing(attempt), index))
        }
        expect(on.log.size).toBe(receipts.length)
      }
      on.commit()
      const { rows } = on.tables
      expect(rows.map(({ seq }) => seq)).toEqual(receipts.map((_, index) => index + 1))
      expect(rows.map(({ seq, record }) => `${seq}:${toHex(leafHash(record))}`)).toEqual(
        receipts.map(({ receipt }) => receipt),
      )
      const open = new Set<number>()
      let tree = emptyTree
      for (const row of rows) {
        const step = append(tree, leafHash(row.record))
        tree = step.tree
        expect(toHex(row.hashes)).toBe(step.completed.map(toHex).join(''))
        if (row.event === 'update.attempted') open.add(row.seq)
        else if (row.attempt !== null) open.delete(row.attempt)
        expect(row.openFrom).toBe([...open][0] ?? row.seq + 1)
      }
      expect(on.log.openAttempts).toEqual([...open])
      // The next record continues the very tree that the stored records make.
      const reloaded = setUp(rows)
      reloaded.log.append(read, 1_000)
      reloaded.commit()
      const last = reloaded.tables.rows.at(-1) as RecordRow
      const whole = append(tree, leafHash(last.record))
      expect(toHex(last.hashes)).toBe(whole.completed.map(toHex).join(''))
      expect(whole.tree.size).toBe(last.seq)
    }),
  )
})
