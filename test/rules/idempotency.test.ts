/** Checks the form of idempotency keys, and, against a model, what becomes of a key over the life of its request. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Agenda } from '../../src/organisation/agenda.ts'
import { CommitQueue } from '../../src/organisation/commit-queue.ts'
import { Idempotency, type IdempotencyRow } from '../../src/organisation/idempotency.ts'
import type { Tables } from '../../src/organisation/tables.ts'
import { idempotencyScope, parseIdempotencyKey } from '../../src/update/idempotency-key.ts'

test.each([
  ['deploy-42', 'deploy-42'],
  ['"deploy-42"', 'deploy-42'],
  ['"a b, c"', 'a b, c'],
  ['"say \\"so\\" \\\\"', 'say "so" \\'],
  ['k'.repeat(255), 'k'.repeat(255)],
  ['', undefined],
  ['""', undefined],
  ['a b', undefined],
  ['one, two', undefined],
  ['"open', undefined],
  ['"a\\b"', undefined],
  ['k'.repeat(256), undefined],
  ['tab\there', undefined],
  ['ä', undefined],
])('%j', (header, key) => {
  expect(parseIdempotencyKey(header)).toBe(key)
})

test('a scope is of one token, method, connection, version and key', () => {
  const scopes = [
    idempotencyScope('t', 'PUT', 'c', 'v', 'k'),
    idempotencyScope('t', 'PATCH', 'c', 'v', 'k'),
    idempotencyScope('t2', 'PUT', 'c', 'v', 'k'),
    idempotencyScope('t', 'PUT', 'c2', 'v', 'k'),
    idempotencyScope('t', 'PUT', 'c', 'v2', 'k'),
    idempotencyScope('t', 'PUT', 'c', 'v', 'k2'),
    idempotencyScope('t', 'PUT', 'cv', '', 'k'),
  ]
  expect(new Set(scopes).size).toBe(scopes.length)
})

/** Keys over a table in memory whose commits happen when a test says so. */
function keys() {
  const table = new Map<string, IdempotencyRow>()
  const tables = {
    idempotency: (scope: string) => table.get(scope),
    putIdempotency: (row: IdempotencyRow) => void table.set(row.scope, row),
    deleteIdempotency: (scope: string) => void table.delete(scope),
  } as unknown as Tables
  const deferred: (() => void)[] = []
  const storage = { transactionSync: <T>(run: () => T) => run(), sync: async () => {} }
  const queue = new CommitQueue(
    storage,
    run => deferred.push(run),
    () => {},
  )
  const agenda = { noLaterThan: () => {} } as unknown as Agenda
  const commit = () => {
    for (const run of deferred.splice(0)) run()
  }
  return { idempotency: new Idempotency({ tables, queue, agenda }), table, commit }
}

const answer = {
  result: { ok: true as const, status: 200, body: '{}' },
  effect: 'applied' as const,
  receipt: '2:ab',
}

test('an answer over 64 KiB is kept by its digest', () => {
  const { idempotency } = keys()
  idempotency.claim('s', 'f', 0)
  idempotency.settle('s', { ...answer, result: { ...answer.result, body: 'x'.repeat(65_537) } })
  const again = idempotency.claim('s', 'f', 1)
  expect(again.kind === 'done' && again.answer.result.ok && again.answer.result.body).toMatch(
    /^\{"sha256":"[0-9a-f]{64}"\}$/,
  )
})

test('a key is new again after 24 hours, and not before', () => {
  const { idempotency, commit } = keys()
  idempotency.claim('s', 'f', 0)
  idempotency.reserve('s', 0)
  idempotency.settle('s', answer)
  commit()
  expect(idempotency.claim('s', 'f', 86_399_999).kind).toBe('done')
  expect(idempotency.claim('s', 'other', 86_400_000).kind).toBe('new')
})

test('giving up a claim leaves that of who came after the release', () => {
  const { idempotency, commit } = keys()
  const first = idempotency.claim('s', 'f', 0)
  idempotency.reserve('s', 0)
  commit()
  idempotency.release('s')
  const second = idempotency.claim('s', 'f', 1)
  expect([first.kind, second.kind]).toEqual(['new', 'new'])
  commit()
  if (first.kind === 'new') idempotency.abandon(first.row)
  expect(idempotency.claim('s', 'f', 2).kind).toBe('in-flight')
  if (second.kind === 'new') idempotency.abandon(second.row)
  expect(idempotency.claim('s', 'f', 3).kind).toBe('new')
})

test('whatever happens, whenever it is committed: one runs at a time, and what is done stays done', () => {
  const step = fc.constantFrom('claim', 'other', 'reserve', 'settle', 'release', 'commit')
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), steps => {
      const { idempotency, table, commit } = keys()
      let state: 'free' | 'claimed' | 'reserved' | 'done' = 'free'
      for (const each of steps) {
        if (each === 'claim') {
          const expected = { free: 'new', claimed: 'in-flight', reserved: 'in-flight', done: 'done' }[state]
          expect(idempotency.claim('s', 'f', 1).kind).toBe(expected)
          if (state === 'free') state = 'claimed'
        } else if (each === 'other' && state !== 'free') {
          expect(idempotency.claim('s', 'another', 1).kind).toBe('mismatch')
        } else if (each === 'reserve' && state === 'claimed') {
          idempotency.reserve('s', 1)
          state = 'reserved'
        } else if (each === 'settle' && state === 'reserved') {
          idempotency.settle('s', answer)
          state = 'done'
        } else if (each === 'release' && (state === 'claimed' || state === 'reserved')) {
          idempotency.release('s')
          state = 'free'
        } else if (each === 'commit') {
          commit()
          expect(table.has('s')).toBe(state === 'reserved' || state === 'done')
        }
      }
    }),
    { numRuns: 1_000 },
  )
})
