/**
 * Webhooks where the storage takes no record, through a trigger in the object's own database: nothing is acknowledged that is not
 * on disk, nothing of it is sent, and nothing is sent before the record that says so.
 */
import { expect, test } from 'vitest'
import { eventsOf, gatewayForTests } from './gateway.ts'
import { applied, became, deliveryOf, descriptionsAt, makeHook, postSigned, storageOf } from './hooks.ts'

const gateway = await gatewayForTests({ UPSTREAM_TIMEOUT_MS: '1000', UPSTREAM_RETRY_MS: '10' })

/** Makes the storage refuse what a table is to take, until the returned function is called. */
async function refuse(organisation: string, table: string, when = '1'): Promise<() => Promise<void>> {
  const storage = await storageOf(gateway, organisation)
  await storage.exec(
    `create trigger full before insert on ${table} when ${when} begin select raise(abort, 'no'); end`,
  )
  return async () => {
    await storage.exec('drop trigger full')
  }
}

test.each([
  ['record', 'records', "new.event = 'webhook.received'"],
  ['delivery', 'deliveries', '1'],
  ['payload', 'payloads', '1'],
])(
  'an event whose %s cannot be written is not acknowledged, and nothing of it is kept or sent',
  async (_, table, when) => {
    const { id } = await gateway.organisation()
    const hook = await makeHook(gateway, id)
    const before = gateway.platform.received.length
    const mend = await refuse(id, table, when)
    const answer = await postSigned(gateway, hook, { text: 'lost' })
    expect([answer.status, answer.json.code]).toEqual([503, 'audit-unavailable'])
    expect(answer.headers['audit-receipt']).toBeUndefined()
    await mend()
    expect(await eventsOf(gateway, id)).toEqual(['hook.created'])
    expect(
      (await gateway.admin('GET', `/organisations/${id}/hooks/${hook.id}/deliveries`)).json.deliveries,
    ).toEqual([])
    expect(gateway.platform.received.length).toBe(before)
    // Its sender comes again, and finds nothing of it in the way.
    await applied(gateway, id, await postSigned(gateway, hook, { text: 'lost' }))
    expect(descriptionsAt(gateway, id)).toEqual(['lost'])
  },
)

test('of events in one commit all are acknowledged or none', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(gateway, id)
  const mend = await refuse(id, 'records', "new.event = 'webhook.received'")
  const texts = Array.from({ length: 10 }, (_, i) => `event ${i}`)
  const answers = await Promise.all(texts.map(text => postSigned(gateway, hook, { text })))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]))
  await mend()
  const again = await Promise.all(texts.map(text => postSigned(gateway, hook, { text })))
  for (const each of again) await applied(gateway, id, each)
  expect(descriptionsAt(gateway, id).toSorted()).toEqual(texts)
})

test('a delivery is not sent whose attempt cannot be recorded, and costs it no try', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(gateway, id)
  const mend = await refuse(id, 'records', "new.event = 'update.attempted'")
  const sent = await postSigned(gateway, hook, { text: 'waits' })
  expect(sent.status).toBe(202)
  await became(gateway, id, sent.json.deliveryId, {
    state: 'pending',
    lastFailure: 'audit-unavailable',
    tries: 0,
  })
  expect(descriptionsAt(gateway, id)).toEqual([])
  await mend()
  const cookie = gateway.platform.cookie.replace(/^cookie=/, '')
  await gateway.admin('PUT', `/organisations/${id}/session`, { cookie })
  await became(gateway, id, sent.json.deliveryId, { state: 'done', tries: 1 })
})

test('the attempt of a delivery is on disk when the platform has it', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(gateway, id)
  const held = gateway.platform.hold({ method: 'PUT' })
  const sent = await postSigned(gateway, hook, { text: 'on record' })
  await held.arrived
  const storage = await storageOf(gateway, id)
  const rows = JSON.stringify(await storage.exec('select event, record from records order by seq'))
  expect(rows).toContain('update.attempted')
  expect(rows).toContain(sent.json.deliveryId)
  expect((await deliveryOf(gateway, id, sent.json.deliveryId)).tries).toBe(1)
  held.release()
  await became(gateway, id, sent.json.deliveryId, { state: 'done', tries: 1 })
})

test('a delivery whose outcome cannot be recorded is looked into, and not sent again', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(gateway, id)
  const mend = await refuse(id, 'records', "new.event = 'update.succeeded'")
  const sent = await postSigned(gateway, hook, { text: 'applied once' })
  await expect.poll(() => descriptionsAt(gateway, id)).toEqual(['applied once'])
  await became(gateway, id, sent.json.deliveryId, { state: 'done' })
  await mend()
  expect(descriptionsAt(gateway, id)).toEqual(['applied once'])
  expect(await eventsOf(gateway, id)).toEqual([
    'hook.created',
    'webhook.received',
    'update.attempted',
    'update.unknown',
    'update.reconciled',
  ])
})
