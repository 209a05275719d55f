/** Checks what a log is held against before it is written to, over the real statements and a bucket in memory that fails on demand. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { SigningKey } from '../../src/crypto.ts'
import { Archive, type Bucket } from '../../src/organisation/archive.ts'
import { ArchiveTable } from '../../src/organisation/archive-table.ts'
import { checkpoint } from '../../src/organisation/checkpoint.ts'
import { Continuity } from '../../src/organisation/continuity.ts'
import { root, treeOf } from '../../src/organisation/tree.ts'
import { Bench, baseMs } from './watched.ts'

const key = new SigningKey(Buffer.from(`302e020100300506032b657004220420${'07'.repeat(32)}`, 'hex'))
const name = { organisationId: 'ORG1', host: 'gateway.example' }

const sha256Of = (text: string) => createHash('sha256').update(text).digest('hex')

/** What the archive holds as the newest, and how it behaves. */
class Shelf {
  text: string | undefined
  mood: 'well' | 'fails' | 'hangs' = 'well'
  /** Holds an answer back that was made already. */
  slowly: Promise<void> | undefined
  reads = 0

  get bucket(): Bucket {
    const get = async () => {
      this.reads++
      if (this.mood === 'fails') throw new Error('10001')
      if (this.mood === 'hangs') return new Promise(() => {})
      const { text } = this
      const answer = text === undefined ? null : { etag: sha256Of(text), text: async () => text }
      await this.slowly
      return answer
    }
    const put = async (_: string, text: string, { onlyIf }: { onlyIf: { etagMatches?: string } }) => {
      const { etagMatches } = onlyIf
      const there = this.text === undefined ? undefined : sha256Of(this.text)
      if (etagMatches !== there) return null
      this.text = text
      return { etag: sha256Of(text) }
    }
    return { get, put } as unknown as Bucket
  }
}

async function setUp(records: number) {
  const bench = new Bench()
  for (let i = 0; i < records; i++) bench.record({ event: 'read.succeeded' })
  await bench.on.queue.committed()
  const shelf = new Shelf()
  const { tables } = bench.on
  const told: string[] = []
  const late = Promise.withResolvers<void>()
  const sleep = () => ({ done: late.promise, cancel: () => {} })
  let confirmed = 0
  const table = new ArchiveTable(bench.sql)
  const archive = new Archive(shelf.bucket, sleep, 10)
  const make = () =>
    new Continuity(
      {
        tables,
        table,
        archive,
        key,
        world: { now: () => bench.now },
        retryMs: baseMs,
        name: 'ORG1',
        tell: async ({ id }) => {
          told.push(id)
          return { status: 204, retryAfterSeconds: undefined }
        },
      },
      () => confirmed++,
    )
  const checkpointAt = (size: number) =>
    checkpoint(name, size, root(treeOf((seq, level) => tables.nodeHash(seq, level), size)), key)
  return {
    bench,
    shelf,
    told,
    make,
    table,
    archive,
    checkpointAt,
    letIn: late.resolve,
    times: () => confirmed,
  }
}

/** The state after one attempt to confirm. */
const stateOf = async (one: Continuity) => {
  await one.confirm().catch(() => {})
  return one.view.state
}

describe('a log of five records', () => {
  test.each([0, 1, 4, 5])('begins with its own checkpoint of %i', async size => {
    const { make, shelf, checkpointAt, told } = await setUp(5)
    shelf.text = checkpointAt(size)
    expect(await stateOf(make())).toBe('confirmed')
    expect(told).toEqual([])
  })

  test('is forked from a checkpoint of another root, a larger size, or what is none', async () => {
    const { make, shelf, checkpointAt } = await setUp(5)
    const own = checkpointAt(5)
    for (const text of [
      own.replace('\n5\n', '\n6\n'),
      own.replace('\n5\n', '\n4\n'),
      own.replace(/\n5\n.{4}/, '\n5\nAAAA'),
      own.replace('\n5\n', '\n05\n'),
      own.replace('\n— ', '\n'),
      '',
      'nothing of the kind',
    ]) {
      shelf.text = text
      expect(await stateOf(make()), text).toBe('forked')
    }
  })
})

test('where nothing was ever archived, nothing is to be found there', async () => {
  const { make, bench } = await setUp(3)
  expect(await stateOf(make())).toBe('confirmed')
  new ArchiveTable(bench.sql).putCheckpointed(2)
  expect(await stateOf(make())).toBe('forked')
})

test('an archive that fails or hangs leaves the log shut; it is asked again after a second, once for all who wait', async () => {
  const { make, shelf, bench, checkpointAt, letIn, times } = await setUp(2)
  shelf.text = checkpointAt(2)
  shelf.mood = 'fails'
  const continuity = make()
  await expect(continuity.confirm()).rejects.toThrow(/cannot be read/)
  await expect(continuity.confirm()).rejects.toThrow(/cannot be read/)
  expect([continuity.view.state, shelf.reads]).toEqual(['unconfirmed', 1])
  bench.now += 4 * baseMs
  shelf.mood = 'hangs'
  const waiting = [continuity.confirm(), continuity.confirm()]
  letIn()
  for (const each of await Promise.allSettled(waiting)) expect(each.status).toBe('rejected')
  expect(shelf.reads).toBe(2)
  expect(times()).toBe(0)
})

test('once it can be read, whoever waits goes on, and what was under way is told', async () => {
  const { make, shelf, bench, checkpointAt, times } = await setUp(2)
  shelf.text = checkpointAt(2)
  shelf.mood = 'fails'
  const continuity = make()
  expect(await stateOf(continuity)).toBe('unconfirmed')
  shelf.mood = 'well'
  bench.now += 4 * baseMs
  expect(await stateOf(continuity)).toBe('confirmed')
  expect(times()).toBe(1)
  await continuity.confirm()
  expect(shelf.reads).toBe(2)
})

test('a fork is told of once, and looked into again only when asked to', async () => {
  const { make, shelf, checkpointAt, told, times } = await setUp(3)
  const own = checkpointAt(3)
  shelf.text = own.replace('\n3\n', '\n9\n')
  const continuity = make()
  expect(await stateOf(continuity)).toBe('forked')
  expect(await stateOf(continuity)).toBe('forked')
  expect(shelf.reads).toBe(1)
  expect(await continuity.again()).toBe(false)
  expect(told).toHaveLength(1)
  shelf.mood = 'fails'
  expect(await continuity.again()).toBe(false)
  expect(continuity.view.state).toBe('forked')
  shelf.mood = 'well'
  shelf.text = own
  expect(await continuity.again()).toBe(true)
  expect([continuity.view.archive, times()]).toEqual([null, 1])
})

test('what contradicts the log is never written over, also by a run that was under way', async () => {
  const { make, shelf, archive, checkpointAt } = await setUp(5)
  shelf.text = checkpointAt(3)
  const continuity = make()
  expect(await stateOf(continuity)).toBe('confirmed')
  const stranger = checkpointAt(5).replace('\n5\n', '\n900\n')
  shelf.text = stranger
  expect(await continuity.again()).toBe(false)
  expect(await continuity.advance(checkpointAt(5), archive)).toBe(false)
  expect(shelf.text).toBe(stranger)
  // Acknowledged, it gives way.
  continuity.accept()
  continuity.accepted()
  expect(await continuity.advance(checkpointAt(5), archive)).toBe(true)
})

test('a checkpoint that lands while the archive is being read makes no fork', async () => {
  const { make, shelf, archive, table, checkpointAt, told } = await setUp(5)
  const continuity = make()
  expect(await stateOf(continuity)).toBe('confirmed')
  const held = Promise.withResolvers<void>()
  shelf.slowly = held.promise
  const looking = continuity.again()
  expect(await continuity.advance(checkpointAt(5), archive)).toBe(true)
  table.putCheckpointed(5)
  held.resolve()
  expect([await looking, told]).toEqual([true, []])
})

test('a log that lacks a node is another log', async () => {
  const { make, shelf, bench, checkpointAt, told } = await setUp(8)
  shelf.text = checkpointAt(7)
  bench.sql.exec('delete from records where seq = 6')
  expect(await stateOf(make())).toBe('forked')
  expect(told).toHaveLength(1)
})

test('a storage that says that it is of another organisation is shut, with words of its own', async () => {
  const { make, shelf, bench, checkpointAt } = await setUp(8)
  shelf.text = checkpointAt(7)
  const continuity = make()
  expect(await stateOf(continuity)).toBe('confirmed')
  bench.sql.exec(`update organisation set id = 'VICTIM'`)
  expect(await continuity.again()).toBe(false)
  expect(continuity.objection).toMatch(/is of another one/)
})
