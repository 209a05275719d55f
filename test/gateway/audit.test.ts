/** Reading the audit log over HTTP: pages, filters, exports, single records. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import { gatewayForTests, type Logged, logOf, put, versionPath } from './gateway.ts'

const gateway = await gatewayForTests()

type Made = { id: string; token: string; tokenId: string }
const ndjson = { Accept: 'application/x-ndjson' }
const page = (id: string, query = '') => gateway.admin('GET', `/organisations/${id}/audit${query}`)
const seqs = (records: { seq: number }[]) => records.map(({ seq }) => seq)

/** An organisation whose log has a record of most kinds, over two connections and several versions. */
async function busy(): Promise<Made & { log: Logged[] }> {
  const made = await gateway.organisation()
  const { id, token } = made
  for (const connection of ['CONN1', 'CONN2']) {
    for (const version of ['1.3.0', '1.4.0', '9.9.9']) {
      await gateway.ask(versionPath(id, connection, version), {
        token,
        headers: { 'X-Request-Id': `read-${connection}-${version}` },
      })
    }
    await put(gateway, made, { connection })
  }
  gateway.platform.misbehave({ kind: 'status', status: 500 })
  await put(gateway, made)
  await put(gateway, made, { body: '{}' })
  await put(gateway, { id, token: mintToken(randomBytes).token })
  const second = await gateway.admin('POST', `/organisations/${id}/tokens`, {
    name: 'x',
    connections: ['CONN1'],
  })
  await gateway.ask(versionPath(id, 'CONN2', '1.4.0'), { token: second.json.token })
  await gateway.admin('DELETE', `/organisations/${id}/tokens/${second.json.id}`)
  return { ...made, log: await logOf(gateway, id) }
}

describe('a page', () => {
  test('is newest first, and its next leads to the page after it, down to the first record', async () => {
    const { id, log } = await busy()
    const all = log.map(({ record }) => record.seq).reverse()
    const whole = await page(id)
    expect(whole.status).toBe(200)
    expect(whole.headers['content-type']).toBe('application/json')
    expect(seqs(whole.json.records)).toEqual(all)
    expect(whole.json.next).toBeNull()

    const found: number[] = []
    let next: number | null = null
    do {
      const { json } = await page(id, next === null ? '?limit=4' : `?limit=4&before=${next}`)
      expect(json.records.length).toBeLessThanOrEqual(4)
      found.push(...seqs(json.records))
      next = json.next
    } while (next !== null)
    expect(found).toEqual(all)
    const exact = await page(id, `?limit=${all.length}`)
    expect([exact.json.records.length, exact.json.next]).toEqual([all.length, null])
  })

  test('after and before are exclusive, and together a range', async () => {
    const { id, log } = await busy()
    expect(seqs((await page(id, '?after=3&before=7')).json.records)).toEqual([6, 5, 4])
    expect(seqs((await page(id, '?before=2')).json.records)).toEqual([1])
    expect(seqs((await page(id, `?after=${log.length - 1}`)).json.records)).toEqual([log.length])
    expect((await page(id, `?after=${log.length}`)).json).toEqual({ records: [], next: null })
    expect((await page(id, '?after=7&before=3')).json.records).toEqual([])
    const narrow = await page(id, '?after=3&before=7&limit=2')
    expect([seqs(narrow.json.records), narrow.json.next]).toEqual([[6, 5], 5])
  })

  test('holds 100 records where nothing else is said', async () => {
    const { id, token } = await gateway.organisation()
    await Promise.all(Array.from({ length: 110 }, () => gateway.ask(`/o/${id}/token`, { token })))
    const { json } = await page(id)
    expect([json.records.length, json.next]).toEqual([100, json.records.at(-1).seq])
  })

  test('each record is the one that is given out alone', async () => {
    const { id, log } = await busy()
    for (const { line, record } of log) {
      const one = await gateway.admin('GET', `/organisations/${id}/audit/${record.seq}`)
      expect(one.status).toBe(200)
      expect(one.headers['content-type']).toBe('application/json')
      expect(one.text).toBe(line)
    }
    const { text } = await page(id)
    expect(text).toBe(
      `{"records":[${log
        .map(({ line }) => line)
        .reverse()
        .join(',')}],"next":null}`,
    )
    expect((await gateway.admin('GET', `/organisations/${id}/audit/${log.length + 1}`)).json.code).toBe(
      'not-found',
    )
    for (const seq of ['0', '-1', '1.5', 'x', '01', '1e3', '9'.repeat(30)]) {
      const answer = await gateway.admin('GET', `/organisations/${id}/audit/${seq}`)
      expect([seq, answer.status]).toEqual([seq, 400])
    }
  })
})

describe('a filter', () => {
  // biome-ignore lint/suspicious/noExplicitAny: records of every shape.
  const filters: [query: string, matches: (record: any, made: Made) => boolean][] = [
    ['event=update.attempted', ({ event }) => event === 'update.attempted'],
    ['event=update.*', ({ event }) => event.startsWith('update.')],
    ['event=token.*', ({ event }) => event.startsWith('token.')],
    ['event=nothing.*', () => false],
    ['outcome=succeeded', ({ event }) => event.endsWith('.succeeded')],
    ['outcome=denied', ({ event }) => event.endsWith('.denied')],
    ['outcome=unknown', ({ event }) => event === 'update.unknown'],
    ['event=read.*&outcome=failed', ({ event }) => event === 'read.failed'],
    ['actor=TOKEN', ({ actor }, { tokenId }) => actor.id === tokenId],
    ['actor=alice', ({ actor }) => actor.id === 'alice'],
    ['actor=nobody', () => false],
    ['connectionId=CONN2', ({ target }) => target.connectionId === 'CONN2'],
    ['version=1.4.0', ({ target }) => target.version === '1.4.0'],
    ['requestId=read-CONN2-9.9.9', ({ requestId }) => requestId === 'read-CONN2-9.9.9'],
    [
      'connectionId=CONN1&version=1.4.0&event=update.*',
      ({ event, target }) =>
        target.connectionId === 'CONN1' && target.version === '1.4.0' && event.startsWith('update.'),
    ],
  ]
  test('each narrows a page and an export to what matches, and pages go on under it', async () => {
    const made = await busy()
    const { id, log, tokenId } = made
    for (const [template, matches] of filters) {
      const query = template.replace('TOKEN', tokenId)
      const expected = log.filter(({ record }) => matches(record, made))
      const found = await page(id, `?${query}`)
      expect([query, seqs(found.json.records)]).toEqual([
        query,
        expected.map(({ record }) => record.seq).reverse(),
      ])
      // By someone whom no filter names, as each export is a record.
      const token = gateway.bindings.AUDITOR_TOKEN?.split(':')[1]
      const exported = await gateway.ask(`/admin/organisations/${id}/audit?${query}`, {
        token,
        headers: ndjson,
      })
      expect(exported.text).toBe(expected.map(({ line }) => `${line}\n`).join(''))
      const walked: number[] = []
      let next: number | null = null
      do {
        const { json } = await page(id, `?${query}&limit=1${next === null ? '' : `&before=${next}`}`)
        walked.push(...seqs(json.records))
        next = json.next
      } while (next !== null)
      expect(walked).toEqual(seqs(found.json.records))
    }
  })

  test('since is inclusive, until exclusive, in any offset', async () => {
    const { id, log } = await busy()
    const times = [...new Set(log.map(({ record }) => record.time as string))]
    const since = times.at(2) as string
    const until = times.at(-2) as string
    expect(since < until).toBe(true)
    const expected = log.map(({ record }) => record).filter(({ time }) => time >= since && time < until)
    const found = await page(id, `?since=${since}&until=${until}`)
    expect(seqs(found.json.records)).toEqual(seqs(expected).reverse())
    const shifted = (time: string) =>
      encodeURIComponent(new Date(Date.parse(time) + 7_200_000).toISOString().replace('Z', '+02:00'))
    const same = await page(id, `?since=${shifted(since)}&until=${shifted(until)}`)
    expect(seqs(same.json.records)).toEqual(seqs(found.json.records))
    expect((await page(id, `?since=${times.at(-1)}`)).json.records.length).toBeGreaterThan(0)
    expect((await page(id, `?until=${times.at(0)}`)).json.records).toEqual([])
    expect((await page(id, '?since=2099-01-01T00:00:00Z')).json.records).toEqual([])
    expect((await page(id, '?until=1970-01-01T00:00:00Z')).json.records).toEqual([])
    expect((await page(id, '?since=1970-01-01T00:00:00Z')).json.records.length).toBe(log.length)
  })

  test.each([
    'since=2026-11-24',
    'since=yesterday',
    'until=2026-11-24T00:00:00',
    'event=update',
    'event=*',
    'event=update.%25',
    'outcome=a.b',
    'limit=0',
    'limit=1001',
    'limit=x',
    'limit=-1',
    'after=-1',
    'before=x',
    'after=1.5',
    'connectionId=',
    'unknown=1',
    '__proto__=1',
    'limit=1&limit=2',
  ])('%s is refused', async query => {
    const { id } = await gateway.organisation()
    const answer = await page(id, `?${query}`)
    expect([query, answer.status, answer.json?.code]).toEqual([query, 400, 'invalid-query'])
    expect(answer.json.fields[0].field).toBe(query.split('=')[0])
  })
})

describe('an export', () => {
  test('of more than a thousand records is whole while others are written', async () => {
    const { id, token } = await gateway.organisation()
    const self = () => gateway.ask(`/o/${id}/token`, { token })
    const many = async (count: number) => {
      for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, self))
    }
    await many(1150)
    const before = (await page(id, '?limit=1')).json.records[0].seq
    const writing = many(100)
    const log = await logOf(gateway, id)
    await writing
    expect(log.length).toBeGreaterThanOrEqual(before)
    expect(log.map(({ record }) => record.seq)).toEqual(Array.from(log, (_, i) => i + 1))
    const thousand = await page(id, '?limit=1000')
    expect(thousand.json.records.length).toBe(1000)
    for (const seq of [1, 500, 501, 1000, 1001, before]) {
      const one = await gateway.admin('GET', `/organisations/${id}/audit/${seq}`)
      expect(one.text).toBe(log[seq - 1]?.line)
    }
    const path = `/organisations/${id}/audit?after=499&before=1502`
    const part = await gateway.admin('GET', path, undefined, ndjson)
    expect(part.headers['content-type']).toBe('application/x-ndjson')
    const lines = part.text.split('\n').slice(0, -1)
    expect(JSON.parse(lines[0] ?? '').seq).toBe(500)
    expect(lines[0]).toBe(log[499]?.line)
  })

  test('of exactly as many records as are read at once ends', async () => {
    const { id, token } = await gateway.organisation()
    for (let i = 0; i < 10; i++) {
      await Promise.all(Array.from({ length: 50 }, () => gateway.ask(`/o/${id}/token`, { token })))
    }
    const exported = async (query: string) => {
      const path = `/organisations/${id}/audit?${query}`
      return (await gateway.admin('GET', path, undefined, ndjson)).text.split('\n').length - 1
    }
    expect(await exported('before=501')).toBe(500)
    expect(await exported('before=500')).toBe(499)
    expect(await exported('after=2&before=503')).toBe(500)
    expect(await exported('after=502&before=503')).toBe(0)
  })
})

test('a receipt names the record that closes the request, and its hash', async () => {
  const made = await gateway.organisation()
  const answers = [
    await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token }),
    await put(gateway, made),
    await put(gateway, made, { body: '{}' }),
    await gateway.ask(`/o/${made.id}/token`, { token: made.token }),
  ]
  const log = await logOf(gateway, made.id)
  const events = answers.map(({ headers }) => {
    const [seq] = String(headers['audit-receipt']).split(':')
    return log[Number(seq) - 1]?.record.event
  })
  expect(events).toEqual(['read.succeeded', 'update.succeeded', 'update.rejected', 'read.succeeded'])
  // verifyLogs compares the hashes, also of the session's and the token's own records.
  expect(gateway.unverified.get(made.id)?.length).toBe(6)
})

test('records are there after a restart, exactly, and their numbers go on', async () => {
  const made = await busy()
  const { id, log } = made
  await gateway.restart()
  const after = await logOf(gateway, id)
  expect(after.map(({ line }) => line)).toEqual(log.map(({ line }) => line))
  expect((await put(gateway, made)).status).toBe(200)
  const longer = await logOf(gateway, id)
  expect(longer.slice(0, log.length)).toEqual(log)
  expect(longer.slice(log.length).map(({ record }) => [record.seq, record.event])).toEqual([
    [log.length + 1, 'update.attempted'],
    [log.length + 2, 'update.succeeded'],
  ])
})

test('a record has its fields in their order, and its client', async () => {
  const made = await gateway.organisation()
  await put(gateway, made, {
    headers: { 'Content-Type': 'application/json', 'User-Agent': 'deploy/1.0', 'X-Request-Id': 'deploy-7' },
  })
  const [attempted, succeeded] = (await logOf(gateway, made.id)).slice(-2).map(({ record }) => record)
  expect(Object.keys(attempted)).toEqual([
    'seq',
    'time',
    'requestId',
    'event',
    'actor',
    'target',
    'client',
    'request',
  ])
  expect(attempted).toMatchObject({
    requestId: 'deploy-7',
    actor: { type: 'token', id: made.tokenId, name: 'ci-deploy' },
    target: { organisationId: made.id, connectionId: 'CONN1', version: '1.4.0' },
    client: { userAgent: 'deploy/1.0' },
  })
  expect(attempted.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  expect(succeeded.upstream).toMatchObject({ status: 200, attempts: 1, generation: 1 })
  expect(succeeded.upstream.durationMs).toBeGreaterThanOrEqual(0)
})
