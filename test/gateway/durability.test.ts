/**
 * What cannot be written: the storage refuses a record, through a trigger in the object's own database. Nothing is sent
 * without its record, nothing is answered as done without one, and what follows has no gap.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { eventsOf, type Gateway, put, startGateway, verifyLogs, versionOf, versionPath } from './gateway.ts'

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ UPSTREAM_TIMEOUT_MS: '1000', UPSTREAM_RETRY_MS: '5' })
})
afterEach(() => verifyLogs(gateway))
afterAll(() => gateway.stop())

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
