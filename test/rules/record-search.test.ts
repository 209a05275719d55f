/** Checks what is found in a log by its indexes and without, against a plain filter over the whole of it, by the real statements. */
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AuditLog } from '../../src/organisation/audit-log.ts'
import type { AuditFilter, AuditQuery } from '../../src/organisation/audit-query.ts'
import { auditExport, pageRows } from '../../src/organisation/audit-reader.ts'
import type { CommitQueue } from '../../src/organisation/commit-queue.ts'
import type { Entry, Event } from '../../src/organisation/record.ts'
import { RecordBytes } from '../../src/organisation/record-bytes.ts'
import { migrate } from '../../src/organisation/schema.ts'
import { Tables } from '../../src/organisation/tables.ts'
import { sqlOf } from './watched.ts'

const startMs = Date.parse('2026-11-24T09:30:00Z')
const organisationId = 'ORG1'
const tokens = ['T1', 'T2', 'T3']
const names = ['A', 'B']

/** What happens in a log: a record of its own, an attempt, or something about one that is open. */
type Step =
  | { kind: 'alone'; event: Event; token: string; connection: string; version: string; request: string }
  | { kind: 'attempt'; token: string; connection: string; version: string; request: string }
  | { kind: 'retry' | 'close'; which: number; event: Event }

const said = {
  token: fc.constantFrom(...tokens),
  connection: fc.constantFrom(...names),
  version: fc.constantFrom(...names),
  request: fc.constantFrom('r1', 'r2', 'r3'),
}
const alone = fc.constantFrom<Event>('read.succeeded', 'read.denied', 'update.rejected', 'update.denied')
const closing = fc.constantFrom<Event>('update.succeeded', 'update.failed', 'update.unknown')
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('alone' as const), event: alone, ...said }),
    { arbitrary: fc.record({ kind: fc.constant('attempt' as const), ...said }), weight: 3 },
    {
      arbitrary: fc.record({
        kind: fc.constantFrom('close' as const, 'close' as const, 'retry' as const),
        which: fc.nat(20),
        event: closing,
      }),
      weight: 3,
    },
  ),
  { maxLength: 60, size: 'max' },
)

interface Line extends Entry {
  seq: number
  time: string
}

/** A log in which all of it has happened, a second each, and its records as they were written. */
function logOf(happened: Step[]) {
  const sql = sqlOf(new DatabaseSync(':memory:'))
  migrate(sql)
  const tables = new Tables(sql)
  const queue = { add: (write: () => void) => write() } as unknown as CommitQueue
  const log = new AuditLog(tables, queue)
  log.load()
  const open: { attempt: number; entry: Entry }[] = []
  for (const [i, step] of happened.entries()) {
    const now = startMs + i * 1000
    if (step.kind === 'alone' || step.kind === 'attempt') {
      const entry: Entry = {
        requestId: step.request,
        event: step.kind === 'attempt' ? 'update.attempted' : step.event,
        actor: { type: 'token', id: step.token, name: 'ci' },
        target: { organisationId, connectionId: step.connection, version: step.version },
        ...(step.kind === 'alone' && step.event.endsWith('.denied') ? { reason: 'insufficient-scope' } : {}),
      }
      const { seq } = log.append(entry, now)
      if (step.kind === 'attempt') open.push({ attempt: seq, entry })
      continue
    }
    const at = step.which % (open.length || 1)
    const of = open[at]
    if (!of) continue
    const event = step.kind === 'retry' ? 'update.retried' : step.event
    log.append({ ...of.entry, event, attempt: of.attempt }, now)
    if (step.kind === 'close') open.splice(at, 1)
  }
  const lines: string[] = []
  for (let seq = 1; seq <= log.size; seq++) lines.push(tables.record(seq) as string)
  return { tables, lines, all: lines.map(line => JSON.parse(line) as Line), size: log.size }
}

function matches({ since, until, event, outcome, actor, connectionId, version, requestId }: AuditFilter) {
  return (record: Line) =>
    (since === undefined || Date.parse(record.time) >= since) &&
    (until === undefined || Date.parse(record.time) < until) &&
    (event === undefined ||
      (event.endsWith('.*') ? record.event.startsWith(event.slice(0, -1)) : record.event === event)) &&
    (outcome === undefined || record.event.split('.')[1] === outcome) &&
    (actor === undefined || ('id' in record.actor && record.actor.id === actor)) &&
    (connectionId === undefined || record.target.connectionId === connectionId) &&
    (version === undefined || record.target.version === version) &&
    (requestId === undefined || record.requestId === requestId)
}

const asked = {
  since: fc.nat(30).map(i => startMs + i * 1000),
  until: fc.integer({ min: 15, max: 60 }).map(i => startMs + i * 1000 + 1),
  event: fc.constantFrom('update.attempted', 'update.failed', 'update.*', 'read.*', 'token.created'),
  outcome: fc.constantFrom('attempted', 'succeeded', 'denied'),
  actor: fc.constantFrom(...tokens, 'nobody'),
  connectionId: fc.constantFrom(...names, 'none'),
  version: fc.constantFrom(...names),
  requestId: fc.constantFrom('r1', 'r2', 'r9'),
  after: fc.nat(20),
  before: fc.integer({ min: 20, max: 70 }),
  limit: fc.integer({ min: 1, max: 5 }),
}
/** At most three of them: more seldom find anything. */
const queries: fc.Arbitrary<AuditQuery> = fc
  .subarray(Object.keys(asked) as (keyof typeof asked)[], { maxLength: 3 })
  .chain(names => fc.record<AuditQuery>(Object.fromEntries(names.map(name => [name, asked[name]]))))

/** Every page of a query, one after the other. */
function* pagesOf(tables: Tables, query: AuditQuery): Generator<string[]> {
  for (let before = query.before; ; ) {
    const { rows, next } = pageRows(tables, before === undefined ? query : { ...query, before })
    yield rows.map(({ record }) => record)
    if (next === null) return
    if (before !== undefined && next >= before) throw new Error(`${next} is no step on from ${before}`)
    before = next
  }
}

test('pages and exports hold exactly what matches, whatever is open and in whichever order it was closed', async () => {
  await fc.assert(
    fc.asyncProperty(steps, queries, async (happened, query) => {
      const { tables, lines, all, size } = logOf(happened)
      const { limit = 100, after = 0, before = Number.POSITIVE_INFINITY, ...filter } = query
      const expected = all
        .filter(matches(filter))
        .filter(({ seq }) => seq > after && seq < before)
        .map(({ seq }) => lines[seq - 1] as string)
      const pages = [...pagesOf(tables, query)]
      expect(pages.flat()).toEqual(expected.toReversed())
      // So short a log is looked through at once: every page but the last is full.
      expect(pages.slice(0, -1).every(page => page.length === limit)).toBe(true)
      const bytes = new RecordBytes(tables, undefined)
      const exported = await new Response(auditExport(tables, bytes, query, size, async () => {})).text()
      expect(exported).toBe(expected.map(line => `${line}\n`).join(''))
      const walked: string[] = []
      let rest = tables.search.narrow(filter, { after, before: Math.min(before, size + 1) })
      while (rest) {
        const stretch = tables.search.next(filter, rest, 'asc', { size: limit % 7, most: 1_000 })
        walked.push(...stretch.found.map(({ record }) => record))
        rest = stretch.rest
      }
      expect(walked).toEqual(expected)
    }),
    { numRuns: 300 },
  )
})

test('when a token was last let in, and how often since, is what the whole log says', () => {
  const admitted = (all: Line[], token: string) =>
    all.filter(({ actor }) => 'id' in actor && actor.id === token)
  fc.assert(
    fc.property(steps, fc.constantFrom(...tokens), fc.nat(60), (happened, token, since) => {
      const { tables, all } = logOf(happened)
      const own = admitted(all, token)
      const last = own.findLast(({ event }) => !/\.(denied|rejected)$/.test(event))
      expect(tables.search.lastAccepted(token)).toEqual(
        last ? { seq: last.seq, time: Date.parse(last.time) } : null,
      )
      const sinceMs = startMs + since * 1000
      const used = own.filter(({ event, time, reason }) => {
        const own = event === 'update.attempted' || event === 'update.rejected' || event === 'read.succeeded'
        return Date.parse(time) >= sinceMs && (own || reason === 'insufficient-scope')
      })
      tables.putRate(token, sinceMs)
      expect(tables.rateWindow(token)).toEqual({ startedAt: sinceMs, used: used.length })
    }),
    { numRuns: 200 },
  )
})

test('a page looks at a bounded part of a long log, and says where to go on', () => {
  const happened: Step[] = Array.from({ length: 10_000 }, (_, i) => ({
    kind: 'alone',
    event: i === 0 ? 'update.rejected' : 'read.succeeded',
    token: 'T1',
    connection: 'A',
    version: 'A',
    request: `r${i}`,
  }))
  const { tables, all, lines } = logOf(happened)
  for (const filter of [{ event: 'update.rejected' }, { event: 'update.rejected', actor: 'T1' }]) {
    const pages = [...pagesOf(tables, { ...filter, limit: 10 })]
    expect(pages.length).toBeGreaterThan(1)
    expect(pages.slice(0, -1).flat()).toEqual([])
    expect(pages.at(-1)).toEqual([lines[0]])
    expect(pages.length).toBe(Math.ceil(all.length / 2_000))
  }
  // What an index names alone is found at once, however far down it is.
  const found = pageRows(tables, { requestId: 'r0', limit: 10 })
  expect(found).toEqual({ rows: [{ seq: 1, record: lines[0] }], next: null })
})
