/** Idempotency keys: the same request is done once, whatever happens on the way to its answer. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Ask, type Gateway, newId, startGateway, versionPath } from './gateway.ts'

let gateway: Gateway
let organisation: { id: string; token: string }
beforeAll(async () => {
  gateway = await startGateway({ UPSTREAM_TIMEOUT_MS: '1000', UPSTREAM_RETRY_MS: '10' })
  organisation = await gateway.organisation()
})
afterAll(() => gateway.stop())
beforeEach(() => gateway.platform.behave())

/** One update under a key, to be sent as often as a test wants. */
function update(key: string, change: object = { description: 'once' }, connection = newId()) {
  const { id, token } = organisation
  const body = { ...gateway.platform.get(id, connection, '1.4.0'), ...change }
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key }
  const ask: Ask = { method: 'PUT', token, headers, body }
  const path = versionPath(id, connection, '1.4.0')
  const applied = () => gateway.platform.history.filter(each => each.connectionId === connection).length
  return { connection, path, ask, applied, send: (more: Ask = {}) => gateway.ask(path, { ...ask, ...more }) }
}

test.each([
  ['bare', 'deploy-42', 'deploy-42'],
  ['quoted', '"deploy 43, again"', '"deploy 43, again"'],
  ['quoted and bare are one key', 'deploy-44', '"deploy-44"'],
])(
  'a repeated request gets the first answer and its receipt, and is not sent again (%s)',
  async (_, key, again) => {
    const { send, applied, ask } = update(key)
    const first = await send()
    expect(first.status, first.text).toBe(200)
    const second = await send({ headers: { ...(ask.headers as object), 'Idempotency-Key': again } })
    expect(second.text).toBe(first.text)
    expect(second.headers['idempotency-replayed']).toBe('true')
    expect(second.headers['audit-receipt']).toBe(first.headers['audit-receipt'])
    expect(first.headers['idempotency-replayed']).toBeUndefined()
    expect(applied()).toBe(1)
  },
)

test('another payload under the key is 422; another token, version or connection has keys of its own', async () => {
  const { send, ask, connection } = update('mine')
  await send()
  const other = await send({ body: { ...(ask.body as object), description: 'another' } })
  expect(other.status).toBe(422)
  expect(other.json).toMatchObject({ code: 'idempotency-mismatch', outcome: 'not-sent' })
  expect((await update('mine').send()).status).toBe(200)
  const stranger = await gateway.admin('POST', `/organisations/${organisation.id}/tokens`, {
    name: 'b',
    connections: ['*'],
  })
  const theirs = update('mine', { description: 'theirs' }, connection)
  expect((await theirs.send({ token: stranger.json.token })).status).toBe(200)
})

test('while the first runs, the second is told to wait; twenty at once are one update', async () => {
  const { send, applied, connection } = update('race')
  const gate = gateway.platform.hold({ method: 'PUT', connectionId: connection })
  const first = send()
  await gate.arrived
  const meanwhile = await Promise.all(Array.from({ length: 19 }, () => send()))
  for (const answer of meanwhile) {
    expect(answer.status).toBe(409)
    expect(answer.json.code).toBe('idempotency-in-flight')
    expect(answer.headers['retry-after']).toBe('1')
  }
  gate.release()
  expect((await first).status).toBe(200)
  expect((await send()).headers['idempotency-replayed']).toBe('true')
  expect(applied()).toBe(1)
})

test('what the platform refused, and what was never sent, leaves the key free', async () => {
  const { send, applied, connection } = update('second-chance')
  gateway.platform.misbehave({ kind: 'status', status: 400 }, { connectionId: connection })
  expect((await send()).json.outcome).toBe('not-applied')
  gateway.platform.misbehave({ kind: 'status', status: 521 }, { connectionId: connection, times: 3 })
  expect((await send()).json.outcome).toBe('not-sent')
  expect((await send()).status).toBe(200)
  expect(applied()).toBe(1)
})

test('an unknown outcome keeps the key until it is reconciled, and then answers with what was read', async () => {
  const { send, applied, connection } = update('in-doubt')
  gateway.platform.misbehave({ kind: 'drop-after' }, { method: 'PUT', connectionId: connection })
  gateway.platform.misbehave(
    { kind: 'status', status: 503 },
    { method: 'GET', connectionId: connection, times: 3 },
  )
  expect((await send()).json.outcome).toBe('unknown')
  expect((await send()).status).toBe(409)
  for (;;) {
    const again = await send()
    if (again.status === 409) continue
    expect(again.status, again.text).toBe(200)
    expect(again.headers['idempotency-replayed']).toBe('true')
    expect(again.json).toEqual(gateway.platform.get(organisation.id, connection, '1.4.0'))
    break
  }
  expect(applied()).toBe(1)
})

test('what has expired is swept, by the alarm alone', async () => {
  const { send } = update('swept')
  expect((await send()).status).toBe(200)
  const storage = () =>
    gateway.runtime.miniflare.unsafeGetDurableObjectStorage('versori-gateway', 'Organisation', {
      name: organisation.id,
    })
  const before = await storage()
  await before.exec('update idempotency set expires_at = 1')
  await before.exec(`update due set at = 1 where kind = 'idempotency'`)
  await gateway.restart()
  // Whatever constructs the object sets its alarm.
  await gateway.admin('GET', `/organisations/${organisation.id}/session`)
  const left = async () => (await (await storage()).exec('select scope from idempotency')).length
  while ((await left()) > 0) await new Promise(resolve => setTimeout(resolve, 20))
  const due = await (await storage()).exec(`select at from due where kind = 'idempotency'`)
  expect(due).toEqual([])
})

test('a key outlives the object that stored it', async () => {
  const { send, applied } = update('outlives')
  const first = await send()
  await gateway.restart()
  const second = await send()
  expect(second.text).toBe(first.text)
  expect(second.headers['audit-receipt']).toBe(first.headers['audit-receipt'])
  expect(applied()).toBe(1)
})

test.each([
  ['', 'empty'],
  ['a b', 'a space'],
  ['"open', 'no closing quote'],
  ['k'.repeat(256), '256 characters'],
  ['ä', 'not ASCII'],
])('a key that is none (%j: %s) is refused, and nothing is sent', async key => {
  const { send, applied } = update(Buffer.from(key).toString('latin1'))
  const answer = await send()
  expect(answer.status).toBe(400)
  expect(answer.json.fields[0].field).toBe('Idempotency-Key')
  expect(applied()).toBe(0)
})
