/**
 * Truth before retry: what the gateway does where the platform leaves an update open, each fault in a pair: nothing was
 * applied, and applied with the answer lost.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Fault } from '../platform/platform.ts'
import { type Answer, type Gateway, newId, startGateway, versionPath } from './gateway.ts'

let gateway: Gateway
let organisation: { id: string; token: string }
beforeAll(async () => {
  gateway = await startGateway({ UPSTREAM_TIMEOUT_MS: '1500', UPSTREAM_RETRY_MS: '10' })
  organisation = await gateway.organisation()
})
afterAll(() => gateway.stop())
beforeEach(() => gateway.platform.behave())

const json = { 'Content-Type': 'application/json' }

function put(connection: string, change: object): Promise<Answer> {
  const { id, token } = organisation
  const held = gateway.platform.get(id, connection, '1.4.0')
  const body = { ...held, ...change }
  return gateway.ask(versionPath(id, connection, '1.4.0'), { method: 'PUT', token, headers: json, body })
}

async function recordsOf(connection: string) {
  const log = await gateway.admin('GET', `/organisations/${organisation.id}/audit?connectionId=${connection}`)
  return log.json.records.toReversed()
}

const sentTo = (connection: string, method: string) =>
  gateway.platform.received.filter(each => each.method === method && each.url.includes(connection)).length
const appliedTo = (connection: string) =>
  gateway.platform.history.filter(each => each.connectionId === connection).length

/** Waits for a record of the alarm's, which nobody is told of. */
async function recorded(connection: string, event: string) {
  for (;;) {
    const found = (await recordsOf(connection)).find((each: { event: string }) => each.event === event)
    if (found) return found
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

const notApplied: [string, Fault][] = [
  ['dropped before', { kind: 'drop-before' }],
  ['500', { kind: 'status', status: 500 }],
  ['a redirect', { kind: 'redirect' }],
  ['a login page', { kind: 'html' }],
  ['a 200 that shows no version', { kind: 'status', status: 200, body: '[]' }],
  ['502', { kind: 'status', status: 502 }],
  ['520', { kind: 'status', status: 520 }],
  ['521, never connected', { kind: 'status', status: 521 }],
  ['429', { kind: 'status', status: 429, retryAfter: '1' }],
]
test.each(notApplied)('not applied (%s): it is sent again, after a record of it', async (_, fault) => {
  const connection = newId()
  gateway.platform.misbehave(fault, { method: 'PUT', connectionId: connection })
  const answer = await put(connection, { description: 'again' })
  expect(answer.status, answer.text).toBe(200)
  expect(appliedTo(connection)).toBe(1)
  const records = await recordsOf(connection)
  expect(records.map((each: { event: string }) => each.event)).toEqual([
    'update.attempted',
    'update.retried',
    'update.succeeded',
  ])
  expect(records[2].upstream.attempts).toBe(2)
})

const applied: [string, Fault][] = [
  ['dropped after', { kind: 'drop-after' }],
  ['half an answer', { kind: 'half' }],
  ['500 after applying', { kind: 'status', status: 500, apply: true }],
  ['504 after applying', { kind: 'status', status: 504, apply: true }],
  ['not JSON', { kind: 'not-json' }],
  ['a redirect after applying', { kind: 'status', status: 303, apply: true }],
  ['JSON that is no version', { kind: 'status', status: 200, body: '{"ok":true}', apply: true }],
  ['JSON with a BOM', { kind: 'status', status: 200, body: '\ufeff{}', apply: true }],
  ['oversized', { kind: 'oversized', bytes: 200_000 }],
]
test.each(applied)(
  'applied, the answer lost (%s): the caller gets what was read, nothing is sent twice',
  async (_, fault) => {
    const connection = newId()
    gateway.platform.misbehave(fault, { method: 'PUT', connectionId: connection })
    const answer = await put(connection, { description: 'once' })
    expect(answer.status, answer.text).toBe(200)
    expect(answer.json).toEqual(gateway.platform.get(organisation.id, connection, '1.4.0'))
    expect(sentTo(connection, 'PUT')).toBe(1)
    const records = await recordsOf(connection)
    expect(records.at(-1)).toMatchObject({ event: 'update.succeeded', outcome: 'applied' })
  },
)

test('a renamed version is found under its new name', async () => {
  const connection = newId()
  gateway.platform.misbehave({ kind: 'drop-after' }, { method: 'PUT', connectionId: connection })
  const answer = await put(connection, { name: '1.4.1' })
  expect(answer.status, answer.text).toBe(200)
  expect(answer.json.name).toBe('1.4.1')
})

test('what stays unapplied after three sends is failed, not unknown', async () => {
  const connection = newId()
  gateway.platform.misbehave(
    { kind: 'status', status: 503 },
    { method: 'PUT', connectionId: connection, times: 3 },
  )
  const answer = await put(connection, { description: 'never' })
  expect(answer.status).toBe(502)
  expect(answer.json).toMatchObject({ code: 'upstream-failed', outcome: 'not-applied' })
  expect(sentTo(connection, 'PUT')).toBe(3)
  expect(appliedTo(connection)).toBe(0)
})

test('a read is tried again', async () => {
  const connection = newId()
  const { id, token } = organisation
  gateway.platform.misbehave({ kind: 'drop-before' }, { method: 'GET', connectionId: connection, times: 2 })
  const answer = await gateway.ask(versionPath(id, connection, '1.4.0'), { token })
  expect(answer.status, answer.text).toBe(200)
  expect((await recordsOf(connection))[0].upstream.attempts).toBe(3)
})

test.each([true, false])(
  'unknown, then known: the alarm records applied %s, and keeps the turn until then',
  async wasApplied => {
    const connection = newId()
    const fault: Fault = { kind: wasApplied ? 'drop-after' : 'drop-before' }
    gateway.platform.misbehave(fault, { method: 'PUT', connectionId: connection })
    gateway.platform.misbehave(
      { kind: 'status', status: 503 },
      { method: 'GET', connectionId: connection, times: 3 },
    )
    const answer = await put(connection, { description: 'first' })
    expect(answer.json, answer.text).toMatchObject({ outcome: 'unknown' })

    const waiting = put(connection, { description: 'second' })
    const reconciled = await recorded(connection, 'update.reconciled')
    expect(reconciled).toMatchObject({ applied: wasApplied })
    expect([200, 504]).toContain((await waiting).status)
    const third = await put(connection, { description: 'third' })
    expect(third.status, third.text).toBe(200)
    const attempts = (await recordsOf(connection)).filter(
      (each: { event: string }) => each.event === 'update.attempted',
    )
    expect(attempts[0].seq).toBe(reconciled.attempt)
    for (const { seq } of attempts.slice(1)) expect(seq).toBeGreaterThan(reconciled.seq)
  },
)

test('not applied must be seen twice: what lands between two looks is found', async () => {
  const connection = newId()
  const late = gateway.platform.hold({ method: 'PUT', connectionId: connection })
  expect((await put(connection, { description: 'late' })).json.outcome).toBe('unknown')
  while (sentTo(connection, 'GET') === 0) await new Promise(resolve => setTimeout(resolve, 2))
  late.release()
  expect(await recorded(connection, 'update.reconciled')).toMatchObject({ applied: true })
  expect(appliedTo(connection)).toBe(1)
})

test('a 503 says when to come again', async () => {
  const connection = newId()
  gateway.platform.misbehave(
    { kind: 'status', status: 503, retryAfter: '1' },
    { method: 'PUT', connectionId: connection },
  )
  expect((await put(connection, { description: 'asked to wait' })).status).toBe(200)
  const [first, second] = gateway.platform.received.filter(
    each => each.method === 'PUT' && each.url.includes(connection),
  )
  expect((second?.time ?? 0) - (first?.time ?? 0)).toBeGreaterThanOrEqual(1_000)
})

test('a look waits as long as it is asked to', async () => {
  const connection = newId()
  gateway.platform.misbehave({ kind: 'drop-after' }, { method: 'PUT', connectionId: connection })
  gateway.platform.misbehave(
    { kind: 'status', status: 429, retryAfter: '1' },
    { method: 'GET', connectionId: connection },
  )
  expect((await put(connection, { description: 'looked at' })).status).toBe(200)
  const [first, second] = gateway.platform.received.filter(
    each => each.method === 'GET' && each.url.includes(connection),
  )
  expect((second?.time ?? 0) - (first?.time ?? 0)).toBeGreaterThanOrEqual(1_000)
})

test('a platform that cannot be read for the whole time ends in applied null', async () => {
  const connection = newId()
  gateway.platform.misbehave(
    { kind: 'drop-before' },
    { connectionId: connection, times: Number.POSITIVE_INFINITY },
  )
  const answer = await put(connection, { description: 'dark' })
  expect(answer.json).toMatchObject({ code: 'upstream-unreachable', outcome: 'unknown' })
  const waited = await put(connection, { description: 'waited' })
  expect([waited.status, waited.json.code, waited.json.outcome]).toEqual([
    504,
    'upstream-timeout',
    'not-sent',
  ])
  expect(await recorded(connection, 'update.reconciled')).toMatchObject({ applied: null })
  gateway.platform.behave()
  expect((await put(connection, { description: 'light' })).status).toBe(200)
})

test('a hanging platform: 504 and unknown at the deadline, reconciled afterwards', async () => {
  const connection = newId()
  gateway.platform.misbehave({ kind: 'hang' }, { method: 'PUT', connectionId: connection })
  const answer = await put(connection, { description: 'late' })
  expect(answer.status).toBe(504)
  expect(answer.json).toMatchObject({ code: 'upstream-timeout', outcome: 'unknown' })
  expect(await recorded(connection, 'update.reconciled')).toMatchObject({ applied: false })
})
