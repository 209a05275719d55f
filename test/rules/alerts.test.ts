/** Checks alerts: which records are told of and how, what is gathered, tried again and given up, and that nothing is lost. */
import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Secret } from '../../src/crypto.ts'
import { alertKey, alertMessage, quiet } from '../../src/organisation/alerts.ts'
import { type Entry, recordString } from '../../src/organisation/record.ts'
import { pauseMs } from '../../src/upstream/backoff.ts'
import { webhookSignature } from '../../src/upstream/post.ts'
import { Bench, baseMs, dayMs, startMs } from './watched.ts'

const target = { organisationId: 'ORG1' }
const actor = { type: 'gateway' as const }
const minuteMs = 60_000
const quietMs = quiet * baseMs
const accept = { status: 204, retryAfterSeconds: undefined }
const refuse = { status: 500, retryAfterSeconds: undefined }

describe('keys', () => {
  const entries: [string, Partial<Entry> & Pick<Entry, 'event'>][] = [
    ['session 1 rejected', { event: 'session.rejected', upstream: { status: 401, generation: 1 } }],
    ['session 2 rejected', { event: 'session.rejected', upstream: { status: 401, generation: 2 } }],
    ['session 1 set', { event: 'session.set', session: { generation: 1 } }],
    ['session 2 set', { event: 'session.set', session: { generation: 2 } }],
    ['session 2 expiring', { event: 'session.expiring', session: { generation: 2, expiresAt: 'a' } }],
    [
      'session 2 expiring otherwise',
      { event: 'session.expiring', session: { generation: 2, expiresAt: 'b' } },
    ],
    ['token created', { event: 'token.created', target: { ...target, tokenId: 't' } }],
    ['another token', { event: 'token.created', target: { ...target, tokenId: 'u' } }],
    [
      'token expiring',
      { event: 'token.expiring', target: { ...target, tokenId: 't' }, token: { expiresAt: 'a' } },
    ],
    [
      'rotated, expiring',
      { event: 'token.expiring', target: { ...target, tokenId: 't' }, token: { expiresAt: 'b' } },
    ],
    ['unknown', { event: 'update.unknown', target: { ...target, connectionId: 'c' } }],
    ['unknown elsewhere', { event: 'update.unknown', target: { ...target, connectionId: 'd' } }],
    ['applied', { event: 'update.reconciled', target: { ...target, connectionId: 'c' }, applied: true }],
    ['not applied', { event: 'update.reconciled', target: { ...target, connectionId: 'c' }, applied: false }],
    [
      'not to be told',
      { event: 'update.reconciled', target: { ...target, connectionId: 'c' }, applied: null },
    ],
    ['admin denied', { event: 'admin.denied' }],
    ['another signing key', { event: 'key.changed' }],
    ['storage high', { event: 'storage.high' }],
  ]
  const key = (entry: Partial<Entry> & Pick<Entry, 'event'>) => alertKey({ actor, target, ...entry })

  test('each of these is another matter', () => {
    const keys = entries.map(([, entry]) => key(entry))
    expect(keys).not.toContain(undefined)
    expect(new Set(keys).size).toBe(entries.length)
  })

  test.each(entries)('%s: the same matter whoever asked, in whatever attempt', (_, entry) => {
    const other: Partial<Entry> = {
      actor: { type: 'token', id: 'x', name: 'x' },
      requestId: 'r',
      client: { ip: '192.0.2.1' },
      attempt: 7,
      reason: 'interrupted',
    }
    expect(key({ ...entry, ...other })).toBe(key(entry))
  })

  test('an unknown update is the same matter with another session', () => {
    const of = (generation: number) => key({ event: 'update.unknown', upstream: { generation } })
    expect(of(1)).toBe(of(2))
  })

  test.each([
    'update.attempted',
    'update.succeeded',
    'update.failed',
    'update.denied',
    'read.failed',
    'token.rotated',
    'token.revoked',
    'session.rotated',
    'session.deleted',
    'denials.suppressed',
    'alert.abandoned',
  ] as const)('%s is not told of', event => {
    expect(key({ event })).toBeUndefined()
  })
})

test('a message says what a record says, but for what a request held and where it came from', () => {
  const record = recordString(12, startMs, {
    requestId: 'their-id',
    event: 'update.unknown',
    actor: { type: 'token', id: 't', name: 'ci' },
    target: { ...target, connectionId: 'c', version: '1.4.0' },
    client: { ip: '192.0.2.1', userAgent: 'curl' },
    attempt: 11,
    request: { sha256: 'ab', bytes: 2, idempotencyKey: 'k', body: { description: 'theirs' } },
    upstream: { durationMs: 5, attempts: 1, generation: 3 },
    outcome: 'unknown',
    reason: 'upstream-timeout',
    fields: ['x'],
  })
  const { id, body } = alertMessage({ key: 'k', sentFirst: 4, sentLast: 12, sentCount: 3 }, record)
  expect(id).toBe('ORG1:4-12:update-unknown')
  expect(JSON.parse(body)).toEqual({
    type: 'update.unknown',
    timestamp: '2026-11-24T09:30:00.000Z',
    data: {
      organisationId: 'ORG1',
      count: 3,
      firstSeq: 4,
      lastSeq: 12,
      record: {
        seq: 12,
        time: '2026-11-24T09:30:00.000Z',
        event: 'update.unknown',
        actor: { type: 'token', id: 't', name: 'ci' },
        target: { organisationId: 'ORG1', connectionId: 'c', version: '1.4.0' },
        attempt: 11,
        upstream: { durationMs: 5, attempts: 1, generation: 3 },
        outcome: 'unknown',
        reason: 'upstream-timeout',
      },
    },
  })
})

describe('signatures', () => {
  // From the reference libraries of Standard Webhooks and the tests of Svix.
  test.each([
    [
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1614265330,
      '{"test": 2432232314}',
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    ],
    [
      'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
      'msg_27UH4WbU6Z5A5EzD8u03UvzRbpk',
      1649367553,
      '{"email":"test@example.com","username":"test_user"}',
      'v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=',
    ],
  ])('%s', (secret, id, seconds, body, signature) => {
    expect(webhookSignature(new Secret(secret), id, seconds, body)).toBe(signature)
  })

  test('the body is signed as UTF-8', () => {
    const key = Buffer.alloc(32, 7)
    const expected = createHmac('sha256', key).update(Buffer.from('a.1.{"x":"ß…"}', 'utf8')).digest('base64')
    const secret = new Secret(`whsec_${key.toString('base64')}`)
    expect(webhookSignature(secret, 'a', 1, '{"x":"ß…"}')).toBe(`v1,${expected}`)
  })
})

describe('pauses', () => {
  test.each([
    [1, 250, 0, 2_500],
    [1, 250, 1, 5_000],
    [2, 250, 1, 20_000],
    [3, 250, 1, 80_000],
    [7, 250, 1, 20_480_000],
    [8, 250, 0, 6 * 3_600_000],
    [11, 250, 1, 6 * 3_600_000],
    [1, 1, 1, 20],
    [11, 10_000, 1, 6 * 3_600_000],
  ])('after try %i, base %i, dice %d: %i ms', (tries, base, random, ms) => {
    expect(pauseMs(tries, base, random)).toBe(ms)
  })

  test('eleven of them take less than three days, whatever the base', () => {
    for (const base of [1, 250, 10_000]) {
      const pauses = Array.from({ length: 11 }, (_, i) => pauseMs(i + 1, base, 1))
      expect(pauses.reduce((sum, ms) => sum + ms)).toBeLessThan(3 * dayMs)
    }
  })
})

describe('gathering', () => {
  test('the first is sent at once; what comes within the quiet time is one message after it; then the key is forgotten', async () => {
    const bench = new Bench()
    bench.record({ event: 'admin.denied' })
    await bench.advance(0)
    expect(bench.told).toEqual([['admin.denied', 1]])
    for (let i = 0; i < 5; i++) bench.record({ event: 'admin.denied' })
    await bench.advance(quietMs - 1)
    expect(bench.told.length).toBe(1)
    await bench.advance(1)
    expect(bench.told).toEqual([
      ['admin.denied', 1],
      ['admin.denied', 5],
    ])
    expect(bench.sent.map(({ id }) => id)).toEqual(['ORG1:1-1:admin-denied', 'ORG1:2-6:admin-denied'])
    await bench.advance(quietMs)
    expect(bench.rows('alerts')).toEqual([])
    expect(bench.alarmAt).toBeUndefined()
    bench.record({ event: 'admin.denied' })
    await bench.advance(0)
    expect(bench.told.length).toBe(3)
  })

  test('what comes together is one message', async () => {
    const bench = new Bench()
    for (let i = 0; i < 3; i++) bench.record({ event: 'admin.denied' })
    await bench.advance(0)
    expect(bench.told).toEqual([['admin.denied', 3]])
  })

  test('what comes while a message is on its way, or is tried again, is in the next one, and the first stays as it is', async () => {
    const bench = new Bench()
    let tries = 0
    bench.receive = () => (++tries < 3 ? refuse : accept)
    bench.meanwhile = () => void bench.record({ event: 'admin.denied' })
    bench.record({ event: 'admin.denied' })
    await bench.advance(minuteMs)
    bench.meanwhile = () => {}
    expect(bench.sent.map(({ id }) => id)).toEqual(Array(3).fill('ORG1:1-1:admin-denied'))
    await bench.advance(quietMs)
    expect(bench.told).toEqual([
      ['admin.denied', 1],
      ['admin.denied', 3],
    ])
    expect(bench.sent.at(-1)?.body.data).toMatchObject({ firstSeq: 2, lastSeq: 4 })
  })

  test('what comes while the end of a run goes to disk is told at once', async () => {
    const bench = new Bench()
    bench.meanwhile = () => {
      bench.duringSync = () => void bench.record({ event: 'storage.high' })
    }
    bench.receive = message => {
      if (message.id.includes('storage')) bench.meanwhile = () => {}
      return accept
    }
    bench.record({ event: 'admin.denied' })
    await bench.advance(1_000)
    expect(bench.told.map(([type]) => type)).toEqual(['admin.denied', 'storage.high'])
  })

  test('another matter does not wait for it', async () => {
    const bench = new Bench()
    bench.record({ event: 'admin.denied' })
    await bench.advance(0)
    bench.record({ event: 'storage.high' })
    await bench.advance(0)
    expect(bench.told.map(([type]) => type)).toEqual(['admin.denied', 'storage.high'])
  })

  test('past a thousand matters the rest is one', async () => {
    const bench = new Bench()
    bench.receive = () => refuse
    for (let i = 0; i < 1_005; i++) {
      bench.record({ event: 'update.unknown', target: { ...target, connectionId: `c${i}` } })
    }
    bench.record({ event: 'update.unknown', target: { ...target, connectionId: 'c3' } })
    await bench.on.queue.committed()
    expect(bench.rows('alerts').length).toBe(1_001)
    bench.receive = () => accept
    await bench.advance(minuteMs)
    expect(bench.told.filter(([type]) => type === 'alerts.merged')).toEqual([['alerts.merged', 5]])
    expect(bench.told.length).toBe(1_001)
    expect(bench.told.reduce((sum, [, count]) => sum + count, 0)).toBe(1_006)
  })

  test('a record that is not committed is not told of', async () => {
    const bench = new Bench()
    bench.record({ event: 'admin.denied' })
    bench.on.queue.add(() => {
      throw new Error('no')
    })
    await expect(bench.on.queue.committed()).rejects.toThrow()
    await bench.advance(minuteMs)
    expect([bench.sent, bench.rows('alerts'), bench.events]).toEqual([[], [], []])
  })

  test('without a receiver nothing is stored, and what an earlier one was owed is forgotten', async () => {
    const bench = new Bench()
    bench.receive = () => refuse
    bench.record({ event: 'admin.denied' })
    await bench.advance(0)
    bench.configured = false
    bench.restart()
    bench.record({ event: 'storage.high' })
    await bench.advance(minuteMs)
    expect([bench.sent.length, bench.rows('alerts'), bench.alarmAt]).toEqual([1, [], undefined])
    expect(bench.events).toEqual(['admin.denied', 'storage.high'])
  })
})

describe('trying again', () => {
  test('twelve times in less than three days; then a record says so, and what came meanwhile has its own tries', async () => {
    const bench = new Bench()
    bench.receive = () => refuse
    bench.record({ event: 'admin.denied' })
    await bench.advance(0)
    bench.record({ event: 'admin.denied' })
    await bench.advance(1.5 * dayMs)
    const first = bench.sent.filter(({ id }) => id === 'ORG1:1-1:admin-denied')
    expect(first.length).toBe(12)
    const abandoned = JSON.parse(bench.on.tables.record(3) as string)
    expect(abandoned).toMatchObject({
      event: 'alert.abandoned',
      actor: { type: 'gateway' },
      target,
      alert: { id: 'ORG1:1-1:admin-denied', firstSeq: 1, lastSeq: 1, status: 500 },
      count: 1,
    })
    bench.receive = () => accept
    await bench.advance(3 * dayMs)
    expect(bench.told).toEqual([['admin.denied', 1]])
    expect(bench.sent.at(-1)?.body.data.firstSeq).toBe(2)
    expect(bench.rows('alerts')).toEqual([])
  })

  test.each([199, 300, 302, 304, 400, 404, 410, 429, 500, 503, undefined])('after %s', async status => {
    const bench = new Bench()
    bench.receive = () => (status === undefined ? undefined : { status, retryAfterSeconds: undefined })
    bench.record({ event: 'admin.denied' })
    await bench.advance(5_000)
    expect(bench.sent.length).toBe(2)
  })

  test.each([200, 201, 202, 204, 299])('not after %i', async status => {
    const bench = new Bench()
    bench.receive = () => ({ status, retryAfterSeconds: undefined })
    bench.record({ event: 'admin.denied' })
    await bench.advance(dayMs)
    expect(bench.sent.length).toBe(1)
  })

  test('no earlier than the receiver asks, not for another matter either', async () => {
    const bench = new Bench()
    bench.receive = () => ({ status: 429, retryAfterSeconds: 600 })
    bench.record({ event: 'admin.denied' })
    await bench.advance(0)
    bench.record({ event: 'storage.high' })
    await bench.advance(599_999)
    expect(bench.sent.length).toBe(1)
    await bench.advance(1)
    expect(bench.sent.length).toBe(2)
  })

  test('after a failure the alarm does not go on to the next message at once', async () => {
    const bench = new Bench()
    bench.receive = () => undefined
    for (const connectionId of ['a', 'b', 'c'])
      bench.record({ event: 'update.unknown', target: { ...target, connectionId } })
    await bench.advance(4_999)
    expect(bench.sent.length).toBe(1)
  })

  test('a slow receiver gets one message a run', async () => {
    const bench = new Bench()
    bench.meanwhile = () => {
      bench.now += 9_000
    }
    for (const connectionId of ['a', 'b', 'c'])
      bench.record({ event: 'update.unknown', target: { ...target, connectionId } })
    await bench.on.queue.committed()
    await bench.watch.alerts.run()
    expect(bench.sent.length).toBe(1)
    await bench.advance(0)
    expect(bench.told.length).toBe(3)
  })
})

/** Any run of records, restarts, time and moods of the receiver. */
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('record' as const), of: fc.constantFrom('a', 'b', 'c') }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(0, 3_000, 60_000, quietMs, dayMs),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('receiver' as const), up: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
)

test('whatever happens: each record is in exactly one message that arrived or was given up, and a key keeps quiet', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async steps => {
      const bench = new Bench()
      const records = new Map<string, number[]>()
      for (const each of steps) {
        if (each.kind === 'record') {
          const seq = bench.record({ event: 'update.unknown', target: { ...target, connectionId: each.of } })
          records.set(each.of, [...(records.get(each.of) ?? []), seq])
        } else if (each.kind === 'wait') await bench.advance(each.ms)
        else if (each.kind === 'receiver') bench.receive = () => (each.up ? accept : refuse)
        else {
          await bench.on.queue.committed()
          bench.restart()
        }
      }
      bench.receive = () => accept
      await bench.advance(dayMs)
      expect(bench.rows('alerts')).toEqual([])

      const abandoned = bench.sql
        .exec<{ record: string }>("select record from records where event = 'alert.abandoned'")
        .toArray()
        .map(({ record }) => JSON.parse(record).alert.id)
      for (const [connectionId, seqs] of records) {
        const tries = bench.sent.filter(({ body }) => body.data.record.target.connectionId === connectionId)
        const ids = [...new Set(tries.map(({ id }) => id))]
        let told: number[] = []
        let quietUntil = 0
        for (const id of ids) {
          const own = tries.filter(each => each.id === id)
          const { firstSeq, lastSeq, count } = own[0]?.body.data ?? {}
          const covered = seqs.filter(seq => seq >= firstSeq && seq <= lastSeq)
          expect([covered.length, covered[0], covered.at(-1)]).toEqual([count, firstSeq, lastSeq])
          told = [...told, ...covered]
          expect(
            own.filter(({ delivered }) => delivered).length + abandoned.filter(each => each === id).length,
          ).toBe(1)
          expect(own[0]?.at).toBeGreaterThanOrEqual(quietUntil)
          expect(new Set(own.map(({ body }) => JSON.stringify(body))).size).toBe(1)
          quietUntil = (own.at(-1)?.at ?? 0) + quietMs
        }
        expect(told).toEqual(seqs)
      }
    }),
    { numRuns: 60 },
  )
})
