/** Checks which bytes go, over the real statements: nothing that is under way, looked into or still to be told of. */
import { expect, test } from 'vitest'
import type { Archive } from '../../src/organisation/archive.ts'
import { ArchiveTable } from '../../src/organisation/archive-table.ts'
import { Retention } from '../../src/organisation/retention.ts'
import { Bench, baseMs, dayMs } from './watched.ts'

const target = { organisationId: 'ORG1', connectionId: 'C', version: '1' }

/** A log of one whole segment and more, archived, whose first record is an attempt; three days later. */
async function setUp() {
  const bench = new Bench()
  const attempt = bench.record({ event: 'update.attempted', target })
  for (let i = 0; i < 260; i++) bench.record({ event: 'read.succeeded' })
  await bench.on.queue.committed()
  const table = new ArchiveTable(bench.sql)
  table.putSegments(1)
  bench.now += 3 * dayMs
  const shelf = { holds: true, meanwhile: () => {} }
  const archive = {
    holdsSegment: async () => {
      shelf.meanwhile()
      return shelf.holds
    },
    keepSegment: async () => {},
  } as unknown as Archive
  const make = (retentionDays: number | undefined) =>
    new Retention({
      ...bench.on,
      table,
      archive,
      retentionDays,
      retryMs: baseMs,
      now: () => bench.now,
      segment: () => ({ first: 1, node: new Uint8Array(), ndjson: '' }),
    })
  const close = () => bench.record({ event: 'update.succeeded', attempt, target })
  const dropped = () => table.get().dropped
  return { bench, attempt, shelf, make, close, dropped }
}

test('a segment goes once it is old enough and nothing in it is open', async () => {
  const { bench, make, close, dropped } = await setUp()
  await make(1).run()
  expect(dropped()).toBe(0)
  close()
  await make(4).run()
  await make(undefined).run()
  expect(dropped()).toBe(0)
  await make(1).run()
  await bench.on.queue.committed()
  expect(dropped()).toBe(256)
})

test('what the archive is not seen to hold stays', async () => {
  const { make, shelf, close, dropped } = await setUp()
  close()
  shelf.holds = false
  await make(1).run()
  expect(dropped()).toBe(0)
})

test.each(['before', 'meanwhile'])(
  'an attempt that is closed as unknown %s is still looked into, and stays',
  async when => {
    const { bench, attempt, make, shelf, close, dropped } = await setUp()
    const closeAsUnknown = () => {
      bench.record({ event: 'update.unknown', attempt, target })
      const row = { attempt, connectionId: 'C', looks: 0, missed: 0, nextAt: 1, untilAt: 2 }
      bench.on.queue.add(() => bench.on.tables.putUnsettled(row))
    }
    if (when === 'before') closeAsUnknown()
    else {
      close()
      shelf.meanwhile = () => {
        shelf.meanwhile = () => {}
        bench.sql.exec(`insert into unsettled values (${attempt}, 'C', 0, 0, 1, 2)`)
      }
    }
    await make(1).run()
    await bench.on.queue.committed()
    expect([dropped(), bench.on.tables.record(attempt)]).toEqual([
      0,
      expect.stringContaining('update.attempted'),
    ])
  },
)
