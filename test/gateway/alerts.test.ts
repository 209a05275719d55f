/**
 * Alerts from the real Worker to a receiver: what is told, that it is signed, gathered, tried again and never holds
 * anybody up, and that no secret is in it.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  contentOf,
  eventsOf,
  filesUnder,
  type Gateway,
  logOf,
  newId,
  put,
  sightings,
  startGateway,
  verifyLogs,
  versionPath,
} from './gateway.ts'
import { type Alert, type Receiver, startReceiver, verified } from './receiver.ts'

const dayMs = 86_400_000
const inDays = (days: number) => new Date(Date.now() + days * dayMs).toISOString()
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

let receiver: Receiver
let gateway: Gateway
const everything: Alert[] = []
beforeAll(async () => {
  receiver = await startReceiver({ apart: 'audit.checkpoint' })
  gateway = await startGateway({
    UPSTREAM_TIMEOUT_MS: '1000',
    UPSTREAM_RETRY_MS: '5',
    ALERT_WEBHOOK_URL: receiver.url,
    ALERT_WEBHOOK_SECRET: receiver.secret,
  })
})
beforeEach(() => {
  receiver.mood = { status: 204 }
  receiver.moods = []
})
afterEach(async () => {
  everything.push(...receiver.received.splice(0))
  gateway.platform.behave()
  await verifyLogs(gateway)
})
afterAll(async () => {
  await gateway.stop()
  await receiver.stop()
})

/** The messages about an organisation so far. */
const of = (id: string) => receiver.received.filter(({ body }) => body?.data.organisationId === id)
const typesOf = (id: string) => of(id).map(({ body }) => body.type)
/** Waits for a message of a type about an organisation. */
const told = (id: string, type: string) =>
  receiver.until(({ body }) => body?.type === type && body.data.organisationId === id)

function storageOf(id: string) {
  return gateway.runtime.miniflare.unsafeGetDurableObjectStorage('versori-gateway', 'Organisation', {
    name: id,
  })
}

const denied = (id: string) =>
  gateway.ask(`/admin/organisations/${id}/session`, {
    token: 'x'.repeat(40),
    headers: { 'User-Agent': 'their-agent' },
  })

describe('each event', () => {
  test('a session set and a token created, in the form that Standard Webhooks has', async () => {
    const { id, tokenId } = await gateway.organisation()
    const set = await told(id, 'session.set')
    const created = await told(id, 'token.created')
    expect(of(id).length).toBe(2)
    const log = await logOf(gateway, id)
    for (const [alert, seq] of [
      [set, 1],
      [created, 2],
    ] as const) {
      const record = log[seq - 1]?.record
      expect(verified(alert, receiver.secret)).toBe(true)
      expect(alert.path).toBe(`POST ${new URL(receiver.url).pathname}?key=query-as-well`)
      expect(alert.headers['content-type']).toBe('application/json')
      expect(alert.headers['user-agent']).toBe('versori-gateway')
      expect(alert.headers['webhook-id']).toBe(`${id}:${seq}-${seq}:${record.event.replace('.', '-')}`)
      const { client: _, requestId: __, ...shown } = record
      expect(alert.body).toEqual({
        type: record.event,
        timestamp: record.time,
        data: { organisationId: id, count: 1, firstSeq: seq, lastSeq: seq, record: shown },
      })
    }
    expect(created.body.data.record.target.tokenId).toBe(tokenId)
  })

  test('a session that the platform refuses', async () => {
    const made = await gateway.organisation()
    await gateway.admin('PUT', `/organisations/${made.id}/session`, { cookie: 'no-longer-valid' })
    for (let i = 0; i < 3; i++)
      await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
    const alert = await told(made.id, 'session.rejected')
    expect(alert.body.data).toMatchObject({ count: 1, record: { upstream: { status: 401, generation: 2 } } })
    expect(typesOf(made.id).sort()).toEqual([
      'session.rejected',
      'session.set',
      'session.set',
      'token.created',
    ])
  })

  test('what is about to expire, once, also across a restart', async () => {
    const { id } = await gateway.organisation({ expiresAt: inDays(10) })
    const cookie = gateway.platform.cookie.replace(/^cookie=/, '')
    await gateway.admin('PUT', `/organisations/${id}/session`, { cookie, owner: 'Kim', expiresAt: inDays(3) })
    const [session, token] = await Promise.all([told(id, 'session.expiring'), told(id, 'token.expiring')])
    expect(session.body.data.record.session).toMatchObject({ generation: 2, owner: 'Kim' })
    expect(token.body.data.record.token).toMatchObject({ name: 'ci-deploy' })
    await gateway.restart()
    await gateway.admin('GET', `/organisations/${id}/tokens`)
    await sleep(200)
    expect(await eventsOf(gateway, id)).toEqual(['token.expiring', 'session.expiring'])
    // One whose delivery was not on record yet when the gateway went down comes again, as the same message.
    const warnings = of(id).filter(({ body }) => body.type.endsWith('.expiring'))
    expect(new Set(warnings.map(({ headers }) => headers['webhook-id'])).size).toBe(2)
  })

  test.each([true, false])('an unknown update, and what a later look shows: applied %s', async applied => {
    const made = await gateway.organisation()
    gateway.platform.misbehave({ kind: applied ? 'drop-after' : 'drop-before' }, { method: 'PUT' })
    gateway.platform.misbehave({ kind: 'status', status: 503 }, { method: 'GET', times: 3 })
    const answer = await put(gateway, made, { changes: { description: 'confidential-description' } })
    expect(answer.json.outcome).toBe('unknown')
    const unknown = await told(made.id, 'update.unknown')
    const reconciled = await told(made.id, 'update.reconciled')
    const attempt = unknown.body.data.record.attempt
    expect(reconciled.body.data.record).toMatchObject({ attempt, applied, target: { connectionId: 'CONN1' } })
    expect(unknown.text + reconciled.text).not.toContain('confidential-description')
  })

  test('an admin who was refused', async () => {
    const { id } = await gateway.organisation()
    expect((await denied(id)).status).toBe(401)
    const { body, text } = await told(id, 'admin.denied')
    expect(body.data.record).toMatchObject({ reason: 'invalid-token', actor: { type: 'anonymous' } })
    expect(text).not.toContain('their-agent')
  })

  test('a log that takes no record, from the edge, once', async () => {
    const made = await gateway.organisation()
    await told(made.id, 'token.created')
    const storage = await storageOf(made.id)
    await storage.exec(`create trigger full before insert on records begin select raise(abort, 'no'); end`)
    for (let i = 0; i < 3; i++) expect((await put(gateway, made)).json.code).toBe('audit-unavailable')
    const alert = await told(made.id, 'audit.unavailable')
    expect(verified(alert, receiver.secret)).toBe(true)
    expect(alert.body).toEqual({
      type: 'audit.unavailable',
      timestamp: expect.any(String),
      data: { organisationId: made.id, count: 1 },
    })
    const admin = await gateway.admin('DELETE', `/organisations/${made.id}/session`)
    expect(admin.json.code).toBe('audit-unavailable')
    await sleep(200)
    expect(typesOf(made.id).filter(type => type === 'audit.unavailable').length).toBe(1)
    await storage.exec('drop trigger full')
    expect((await put(gateway, made)).status).toBe(200)
  })

  test('nothing of what goes well', async () => {
    const made = await gateway.organisation()
    await told(made.id, 'token.created')
    await put(gateway, made)
    await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
    await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), {
      token: made.token.replace(/.{9}$/, 'x'.repeat(9)),
    })
    await sleep(200)
    expect(of(made.id).length).toBe(2)
  })
})

describe('a receiver that does not take it', () => {
  test.each<[string, Receiver['mood']]>([
    ['500', { status: 500, body: 'x'.repeat(1_000_000) }],
    ['404', { status: 404 }],
    ['a dropped connection', 'drop'],
    ['no answer', 'hang'],
    ['a redirect', { status: 307, headers: { Location: '/elsewhere' } }],
  ])('%s: tried again, the same message with a fresh signature', async (_, mood) => {
    receiver.moods = [mood, mood]
    const id = newId()
    await gateway.admin('PUT', `/organisations/${id}/session`, { cookie: 'sesame' })
    while (of(id).length < 3) await sleep(10)
    await sleep(300)
    expect(of(id).length).toBe(3)
    expect(new Set(of(id).map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(new Set(of(id).map(({ text }) => text)).size).toBe(1)
    for (const alert of of(id)) expect(verified(alert, receiver.secret)).toBe(true)
    const [first, second, third] = of(id).map(({ at }) => at) as [number, number, number]
    expect(second - first).toBeGreaterThanOrEqual(45)
    expect(third - second).toBeGreaterThanOrEqual(195)
    expect(receiver.received.filter(({ path }) => path.includes('elsewhere'))).toEqual([])
  })

  test('it may say when', async () => {
    receiver.moods = [{ status: 429, headers: { 'Retry-After': '1' } }]
    const id = newId()
    await gateway.admin('PUT', `/organisations/${id}/session`, { cookie: 'sesame' })
    while (of(id).length < 2) await sleep(10)
    const [first, second] = of(id).map(({ at }) => at) as [number, number]
    expect(second - first).toBeGreaterThanOrEqual(950)
  })

  test('what was not delivered is after a restart, under the same id', async () => {
    receiver.mood = { status: 500 }
    const id = newId()
    await gateway.admin('PUT', `/organisations/${id}/session`, { cookie: 'sesame' })
    const first = await told(id, 'session.set')
    await gateway.restart()
    const tried = of(id).length
    receiver.mood = { status: 204 }
    while (of(id).length === tried) await sleep(10)
    await sleep(100)
    expect(of(id).length).toBe(tried + 1)
    expect(of(id).at(-1)?.headers['webhook-id']).toBe(first.headers['webhook-id'])
  })

  test('after twelve tries it is given up, which is a record and no alert', async () => {
    receiver.mood = { status: 500 }
    const id = newId()
    await gateway.admin('PUT', `/organisations/${id}/session`, { cookie: 'sesame' })
    await told(id, 'session.set')
    const storage = await storageOf(id)
    while ((await eventsOf(gateway, id)).length === 0) {
      await storage.exec('update alerts set tries = 11 where tries < 11')
      await sleep(20)
    }
    const { record } = (await logOf(gateway, id))[1] ?? {}
    expect(record).toMatchObject({
      event: 'alert.abandoned',
      actor: { type: 'gateway' },
      target: { organisationId: id },
      alert: { id: `${id}:1-1:session-set`, firstSeq: 1, lastSeq: 1, status: 500 },
      count: 1,
    })
    const tries = of(id).length
    await sleep(300)
    expect(of(id).length).toBe(tries)
  })

  test('it holds up neither callers nor the look into an unknown update', async () => {
    receiver.mood = 'hang'
    const made = await gateway.organisation()
    await told(made.id, 'session.set')
    const startedAt = Date.now()
    expect((await put(gateway, made)).status).toBe(200)
    expect(Date.now() - startedAt).toBeLessThan(500)
    gateway.platform.misbehave({ kind: 'drop-after' }, { method: 'PUT' })
    gateway.platform.misbehave({ kind: 'status', status: 503 }, { method: 'GET', times: 3 })
    expect((await put(gateway, made, { changes: { description: 'doubtful' } })).json.outcome).toBe('unknown')
    while (!(await eventsOf(gateway, made.id)).includes('update.reconciled')) await sleep(20)
    // One try may be under way when the look becomes due, and it lasts as long as the platform may take.
    expect(Date.now() - startedAt).toBeLessThan(3_000)
  })
})

describe('what repeats', () => {
  test('is one message at once and one after the quiet time, and no record is left out', async () => {
    await gateway.restart({ UPSTREAM_RETRY_MS: '1' })
    const { id } = await gateway.organisation()
    await denied(id)
    const first = await told(id, 'admin.denied')
    for (let i = 0; i < 4; i++) await denied(id)
    const second = await receiver.until(alert => alert.body.type === 'admin.denied' && alert !== first)
    expect(first.body.data).toMatchObject({ count: 1, firstSeq: 3, lastSeq: 3 })
    expect(second.body.data).toMatchObject({ count: 4, firstSeq: 4, lastSeq: 7 })
    expect(second.at - first.at).toBeGreaterThanOrEqual(2_350)
    const storage = await storageOf(id)
    const rows = async () => (await storage.exec('select key from alerts')) as unknown
    while (JSON.stringify(await rows()).includes('admin.denied')) await sleep(50)
    await gateway.restart({ UPSTREAM_RETRY_MS: '5' })
  })
})

describe('no secret', () => {
  test('is in any message, and the receiver is in no log line, answer or stored file', () => {
    const bindings = ['ADMIN_TOKEN', 'SEALING_KEY', 'AUDIT_SIGNING_KEY', 'ALERT_WEBHOOK_SECRET'] as const
    const cookie = gateway.platform.cookie.replace(/^cookie=/, '')
    const secrets = [
      ...bindings.map(name => gateway.bindings[name] as string),
      gateway.adminSecret,
      receiver.secret.slice(6),
      cookie,
      ...gateway.tokens,
    ]
    expect(everything.length).toBeGreaterThan(30)
    expect(gateway.tokens.length).toBeGreaterThan(5)
    for (const { headers, text } of everything) {
      const whole = JSON.stringify(headers) + text
      expect(secrets.filter(secret => whole.includes(secret))).toEqual([])
      expect(whole).not.toMatch(/userAgent|"ip"|idempotencyKey/)
    }
    expect(sightings(gateway, ['as-good-as-a-password', 'query-as-well', receiver.secret.slice(6)])).toEqual(
      [],
    )
  })
})

describe('without a receiver', () => {
  const rows = async (of: string) =>
    JSON.stringify(await (await storageOf(of)).exec('select key from alerts'))

  test('nothing is sent or stored, but warnings are on record; what was owed to an earlier one is forgotten', async () => {
    receiver.mood = { status: 500 }
    const old = await gateway.organisation()
    await told(old.id, 'session.set')
    expect(await rows(old.id)).toContain('session')
    await gateway.restart({ ALERT_WEBHOOK_URL: undefined, ALERT_WEBHOOK_SECRET: '' })
    expect((await gateway.ask('/health')).json).toEqual({ status: 'ok' })
    await sleep(100)
    const before = receiver.received.length
    const { id } = await gateway.organisation({ expiresAt: inDays(1) })
    await denied(id)
    while (!(await eventsOf(gateway, id)).includes('token.expiring')) await sleep(20)
    expect(await rows(id)).not.toContain('token')
    while ((await rows(old.id)).includes('session')) await sleep(20)
    await sleep(200)
    expect(receiver.received.length).toBe(before)
  })

  const url = 'https://alerts.example/hook-sesame'
  const secret = `whsec_${Buffer.alloc(24, 1).toString('base64')}`
  test.each([
    ['half of it', { ALERT_WEBHOOK_URL: url }, 'ALERT_WEBHOOK_SECRET'],
    ['the other half', { ALERT_WEBHOOK_SECRET: secret }, 'ALERT_WEBHOOK_URL'],
    [
      'http',
      { ALERT_WEBHOOK_URL: 'http://alerts.example/hook-sesame', ALERT_WEBHOOK_SECRET: secret },
      'ALERT_WEBHOOK_URL',
    ],
    [
      'a bare secret',
      { ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_SECRET: secret.slice(6) },
      'ALERT_WEBHOOK_SECRET',
    ],
  ])('%s is no configuration', async (_, changes, name) => {
    await gateway.restart({ ALERT_WEBHOOK_URL: undefined, ALERT_WEBHOOK_SECRET: undefined, ...changes })
    const health = await gateway.ask('/health')
    expect([health.status, health.json.code, health.json.failing.length]).toEqual([503, 'not-configured', 1])
    expect(health.json.failing[0].startsWith(`${name} `)).toBe(true)
    expect(health.text).not.toMatch(/sesame|AQEB/)
    expect((await gateway.admin('GET', '/organisations')).json.code).toBe('not-configured')
  })
})

test('the files were searched at all', () => {
  expect(filesUnder(gateway.storage).some(file => contentOf(file).includes('session.set'))).toBe(true)
})
