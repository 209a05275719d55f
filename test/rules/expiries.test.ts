/** Checks warnings ahead of an expiry: when, of what, and once for each end. */
import { expect, test } from 'vitest'
import { migrate } from '../../src/organisation/schema.ts'
import { Bench, dayMs, startMs } from './watched.ts'

const warnings = (bench: Bench) => bench.events.filter(event => event.endsWith('.expiring'))

test('a session is warned of seven days ahead, once', async () => {
  const bench = new Bench()
  bench.setSession(startMs + 30 * dayMs)
  await bench.advance(23 * dayMs - 1)
  expect(warnings(bench)).toEqual([])
  await bench.advance(1)
  expect(warnings(bench)).toEqual(['session.expiring'])
  expect(JSON.parse(bench.on.tables.record(2) as string)).toMatchObject({
    time: new Date(startMs + 23 * dayMs).toISOString(),
    actor: { type: 'gateway' },
    session: { generation: 1, owner: 'Kim', expiresAt: new Date(startMs + 30 * dayMs).toISOString() },
  })
  bench.restart()
  await bench.advance(10 * dayMs)
  expect(warnings(bench).length).toBe(1)
  expect(bench.told.filter(([type]) => type === 'session.expiring')).toEqual([['session.expiring', 1]])
})

test('a token is warned of fourteen days ahead, once', async () => {
  const bench = new Bench()
  bench.createToken('t', startMs + 30 * dayMs)
  await bench.advance(16 * dayMs - 1)
  expect(warnings(bench)).toEqual([])
  await bench.advance(1)
  bench.restart()
  await bench.advance(20 * dayMs)
  expect(warnings(bench)).toEqual(['token.expiring'])
  expect(JSON.parse(bench.on.tables.record(2) as string)).toMatchObject({
    target: { organisationId: 'ORG1', tokenId: 't' },
    token: { id: 't', name: 't', expiresAt: new Date(startMs + 30 * dayMs).toISOString() },
  })
})

test('what ends sooner is warned of at once', async () => {
  const bench = new Bench()
  bench.setSession(startMs + 7 * dayMs)
  bench.createToken('t', startMs + 60_000)
  await bench.advance(0)
  expect(warnings(bench).sort()).toEqual(['session.expiring', 'token.expiring'])
})

test('nothing is said of what does not end, has ended, was revoked or deleted', async () => {
  const bench = new Bench()
  bench.setSession(startMs + 20 * dayMs)
  bench.createToken('never', null)
  bench.createToken('revoked', startMs + 20 * dayMs)
  bench.createToken('queued', startMs + 20 * dayMs)
  await bench.advance(dayMs)
  bench.revokeToken('revoked')
  bench.on.session.delete(bench.call, bench.now)
  await bench.advance(5 * dayMs - 1)
  bench.now += 1
  const run = bench.watch.expiries.run()
  bench.revokeToken('queued')
  await run
  await bench.advance(30 * dayMs)
  bench.setSession(startMs + 3 * dayMs)
  await bench.advance(dayMs)
  expect(warnings(bench)).toEqual([])
  expect(bench.on.agenda.fired(Number.MAX_SAFE_INTEGER)).not.toContain('expiries')
})

test('a session that the platform renews with the same end is not warned of again; one that is set is', async () => {
  const bench = new Bench()
  const end = startMs + 3 * dayMs
  bench.setSession(end)
  await bench.advance(0)
  const origin = { organisationId: 'ORG1', requestId: 'r', client: {} }
  const heard = {
    generation: 1,
    said: 'accepted' as const,
    status: 200,
    pass: undefined,
    setCookies: ['cookie=renewed'],
  }
  bench.on.session.hear(origin, heard, bench.now)
  await bench.advance(1_000)
  expect(bench.on.session.view().generation).toBe(2)
  bench.createToken('t', end)
  await bench.advance(0)
  expect(warnings(bench)).toEqual(['session.expiring', 'token.expiring'])
  bench.setSession(end)
  await bench.advance(0)
  expect(warnings(bench)).toEqual(['session.expiring', 'token.expiring', 'session.expiring'])
  bench.setSession(end + dayMs)
  await bench.advance(0)
  expect(warnings(bench).length).toBe(4)
})

test('a new end is warned of anew: a token that was rotated', async () => {
  const bench = new Bench()
  bench.createToken('t', startMs + 10 * dayMs)
  await bench.advance(dayMs)
  const row = bench.on.tokens.get('t')
  if (!row) throw new Error('no token')
  bench.on.tokens.change(bench.call, 'token.rotated', { ...row, expiresAt: startMs + 30 * dayMs }, bench.now)
  await bench.advance(10 * dayMs)
  expect(warnings(bench).length).toBe(1)
  await bench.advance(5 * dayMs)
  expect(warnings(bench).length).toBe(2)
})

test('an end that is set while the alarm runs is not overlooked', async () => {
  const bench = new Bench()
  bench.createToken('a', startMs + 15 * dayMs)
  await bench.on.queue.committed()
  bench.now += dayMs
  const run = bench.watch.expiries.run()
  bench.createToken('b', startMs + 18 * dayMs)
  await run
  await bench.advance(3 * dayMs)
  expect(warnings(bench)).toEqual(['token.expiring', 'token.expiring'])
})

test('more than a hundred at once are all warned of', async () => {
  const bench = new Bench()
  for (let i = 0; i < 250; i++) bench.createToken(`t${i}`, startMs + dayMs)
  await bench.advance(0)
  expect(warnings(bench).length).toBe(250)
})

test('tokens that were there before there were warnings are looked at with the first load', async () => {
  const bench = new Bench()
  bench.createToken('old', startMs + 10 * dayMs)
  await bench.on.queue.committed()
  // As the second version of the schema left it.
  bench.sql.exec(
    `drop table rates; drop table alerts; drop table warned; drop table hooks; drop table deliveries;
     drop table payloads; drop table deleted_hooks; drop table signing_key; drop table archive; delete from due; update schema set version = 2;
     alter table session drop column owner; alter table session drop column expires_at;
     alter table session drop column probe;`,
  )
  bench.alarmAt = undefined
  migrate(bench.sql)
  bench.restart()
  await bench.advance(0)
  expect(warnings(bench)).toEqual(['token.expiring'])
})
