/**
 * What cannot be written: the storage refuses a record, through a trigger in the object's own database. Nothing is sent
 * without its record, nothing is answered as done without one, and what follows has no gap.
 */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import { eventsOf, gatewayForTests, logOf, put, versionOf, versionPath } from './gateway.ts'

const gateway = await gatewayForTests({ UPSTREAM_TIMEOUT_MS: '1000', UPSTREAM_RETRY_MS: '10' })

/** Makes the storage refuse records of some events, until the returned function is called. */
async function refuse(organisation: string, events: string): Promise<() => Promise<void>> {
  const storage = await gateway.runtime.miniflare.unsafeGetDurableObjectStorage(
    'versori-gateway',
    'Organisation',
    {
      name: organisation,
    },
  )
  await storage.exec(
    `create trigger full before insert on records when new.event glob '${events}'
     begin select raise(abort, 'no'); end`,
  )
  return async () => {
    await storage.exec('drop trigger full')
  }
}

test('an update whose attempt cannot be recorded is not sent', async () => {
  const made = await gateway.organisation()
  const before = gateway.platform.received.length
  const mend = await refuse(made.id, 'update.attempted')
  const answer = await put(gateway, made, { changes: { description: 'unseen' } })
  expect([answer.status, answer.json.code, answer.json.outcome]).toEqual([
    503,
    'audit-unavailable',
    'not-sent',
  ])
  expect(answer.headers['audit-receipt']).toBeUndefined()
  expect(gateway.platform.received.length).toBe(before)
  await mend()
  expect((await put(gateway, made, { changes: { description: 'seen' } })).status).toBe(200)
  expect(await eventsOf(gateway, made.id)).toEqual(['update.attempted', 'update.succeeded'])
})

test('an update whose outcome cannot be recorded is not answered as done, and its effect is told', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, 'update.succeeded')
  const answer = await put(gateway, made, { changes: { description: 'applied' } })
  expect([answer.status, answer.json.code, answer.json.outcome]).toEqual([
    503,
    'audit-unavailable',
    'applied',
  ])
  expect(answer.headers['audit-receipt']).toBeUndefined()
  expect(versionOf(gateway, made.id).description).toBe('applied')
  await mend()
  // The alarm closes what is left open, and has it looked into.
  while (!(await eventsOf(gateway, made.id)).includes('update.reconciled')) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  expect(await eventsOf(gateway, made.id)).toEqual([
    'update.attempted',
    'update.unknown',
    'update.reconciled',
  ])
})

test('a successor does not pass an update whose outcome could not be written, and the look finds that one', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, 'update.succeeded')
  const first = await put(gateway, made, { changes: { description: 'first' } })
  expect(first.json).toMatchObject({ code: 'audit-unavailable', outcome: 'applied' })
  await mend()
  let second = await put(gateway, made, { changes: { description: 'second' } })
  while (second.json.code === 'upstream-timeout') {
    expect(second.json.outcome).toBe('not-sent')
    second = await put(gateway, made, { changes: { description: 'second' } })
  }
  expect(second.status).toBe(200)
  const log = (await logOf(gateway, made.id)).map(({ record }) => record)
  const [reconciled, attempted] = ['update.reconciled', 'update.attempted'].map(event =>
    log.findLast(each => each.event === event),
  )
  expect(reconciled.applied).toBe(true)
  expect(attempted.seq).toBeGreaterThan(reconciled.seq)
})

test('a successor does not pass an update of a revoked token either, whose refusal could not be written', async () => {
  const made = await gateway.organisation()
  const other = await gateway.admin('POST', `/organisations/${made.id}/tokens`, {
    name: 'other',
    connections: ['*'],
  })
  const second = { id: made.id, token: other.json.token }
  // All slots are taken, so that the update waits with its attempt on record.
  const gates = Array.from({ length: 5 }, (_, i) =>
    gateway.platform.hold({ method: 'PUT', connectionId: `HELD${i}` }),
  )
  const held = gates.map((_, i) => put(gateway, second, { connection: `HELD${i}` }))
  await Promise.all(gates.map(gate => gate.arrived))
  const waits = put(gateway, made, { changes: { description: 'the same' } })
  while ((await eventsOf(gateway, made.id)).filter(event => event === 'update.attempted').length < 6) {
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  await gateway.admin('DELETE', `/organisations/${made.id}/tokens/${made.tokenId}`)
  const mend = await refuse(made.id, 'update.failed')
  gates[0]?.release()
  expect(await waits).toMatchObject({ status: 401, json: { outcome: 'not-sent' } })
  await mend()
  for (const gate of gates) gate.release()
  await Promise.all(held)

  let next = await put(gateway, second, { changes: { description: 'the same' } })
  while (next.json.code === 'upstream-timeout') {
    next = await put(gateway, second, { changes: { description: 'the same' } })
  }
  expect(next.status).toBe(200)
  const log = (await logOf(gateway, made.id))
    .map(({ record }) => record)
    .filter(({ target }) => target.connectionId === 'CONN1')
  const reconciled = log.find(({ event }) => event === 'update.reconciled')
  expect(reconciled.applied).toBe(false)
  expect(log.findLast(({ event }) => event === 'update.attempted').seq).toBeGreaterThan(reconciled.seq)
})

test('an outcome that could not be written is found out while others are busy', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, 'update.succeeded')
  const key = { 'Content-Type': 'application/json', 'Idempotency-Key': 'busy' }
  expect((await put(gateway, made, { headers: key })).json.code).toBe('audit-unavailable')
  await mend()
  let busy = true
  const others = (async () => {
    while (busy) expect((await put(gateway, made, { connection: 'BUSY' })).status).toBe(200)
  })()
  while (!(await eventsOf(gateway, made.id)).includes('update.reconciled')) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  busy = false
  await others
})

test('a stranger whose refusal cannot be recorded gets the same 401', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, '*')
  const { token } = mintToken(bytes => randomBytes(bytes))
  const answer = await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token })
  expect([answer.status, answer.json.code]).toEqual([401, 'invalid-token'])
  await mend()
})

test('a read, a token and a session that cannot be recorded are refused, and nothing of them stays', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, '*')
  const path = versionPath(made.id, 'CONN1', '1.4.0')
  expect((await gateway.ask(path, { token: made.token })).json.code).toBe('audit-unavailable')
  const at = `/organisations/${made.id}`
  const token = await gateway.admin('POST', `${at}/tokens`, { name: 'never', connections: ['*'] })
  expect([token.status, token.json.code, token.json.token]).toEqual([503, 'audit-unavailable', undefined])
  const revoked = await gateway.admin('DELETE', `${at}/tokens/${made.tokenId}`)
  expect([revoked.status, revoked.json.code]).toEqual([503, 'audit-unavailable'])
  expect((await gateway.admin('DELETE', `${at}/session`)).status).toBe(503)
  await mend()
  const { tokens } = (await gateway.admin('GET', `${at}/tokens`)).json
  expect(tokens.map(({ name, status }: { name: string; status: string }) => [name, status])).toEqual([
    ['ci-deploy', 'active'],
  ])
  expect((await gateway.ask(path, { token: made.token })).status).toBe(200)
})

test('of concurrent requests in one commit, all are refused or none', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, 'update.attempted')
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => put(gateway, made, { connection: `CONN${i}` })),
  )
  expect(new Set(answers.map(({ json }) => `${json.code} ${json.outcome}`))).toEqual(
    new Set(['audit-unavailable not-sent']),
  )
  await mend()
  const again = await Promise.all(
    Array.from({ length: 20 }, (_, i) => put(gateway, made, { connection: `CONN${i}` })),
  )
  expect(again.every(({ status }) => status === 200)).toBe(true)
})

test('a look whose record cannot be written is taken again, and the turn is free afterwards', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, 'update.reconciled')
  gateway.platform.misbehave({ kind: 'drop-after' }, { method: 'PUT' })
  gateway.platform.misbehave({ kind: 'status', status: 503 }, { method: 'GET', times: 3 })
  expect((await put(gateway, made, { changes: { description: 'doubtful' } })).json.outcome).toBe('unknown')
  const sent = gateway.platform.received.length
  while (gateway.platform.received.length < sent + 1) await new Promise(resolve => setTimeout(resolve, 20))
  await mend()
  while (!(await eventsOf(gateway, made.id)).includes('update.reconciled')) {
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  expect((await put(gateway, made, { changes: { description: 'sure' } })).status).toBe(200)
})

test('an unknown outcome that cannot be written does not keep its connection for good', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, 'update.unknown')
  gateway.platform.misbehave({ kind: 'drop-before' }, { times: Number.POSITIVE_INFINITY })
  expect((await put(gateway, made)).json.code).toBe('audit-unavailable')
  gateway.platform.behave()
  await mend()
  while (!(await eventsOf(gateway, made.id)).includes('update.reconciled')) {
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  expect((await put(gateway, made)).status).toBe(200)
})

test('an idempotency key never gives out the receipt of a record that is not there', async () => {
  const made = await gateway.organisation()
  const mend = await refuse(made.id, 'update.succeeded')
  const body = { ...versionOf(gateway, made.id), description: 'keyed' }
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': 'k' }
  const ask = { method: 'PUT', token: made.token, headers, body }
  const path = versionPath(made.id, 'CONN1', '1.4.0')
  expect((await gateway.ask(path, ask)).json).toMatchObject({ code: 'audit-unavailable', outcome: 'applied' })
  await mend()
  expect((await gateway.ask(path, ask)).json.code).toBe('idempotency-in-flight')
  for (;;) {
    const again = await gateway.ask(path, ask)
    if (again.status === 409) continue
    // verifyLogs compares its receipt with the record.
    expect([again.status, again.headers['idempotency-replayed']]).toEqual([200, 'true'])
    break
  }
})
