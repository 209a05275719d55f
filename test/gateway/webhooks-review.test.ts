/**
 * The webhook target where someone tries it: events that must not be kept, secrets that no longer count, and deliveries that
 * must go once.
 */
import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { eventsOf, gatewayForTests, logOf, put } from './gateway.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '10' })

const definition = {
  name: 'releases',
  verification: { type: 'github' },
  connectionId: 'CONN1',
  version: '1.4.0',
  change: { description: '${{ event.text }}' },
}

async function makeHook(organisation: string, changes: object = {}) {
  const made = await gateway.admin('POST', `/organisations/${organisation}/hooks`, {
    ...definition,
    ...changes,
  })
  expect(made.status, made.text).toBe(201)
  return { ...made.json, path: new URL(made.json.url).pathname } as {
    id: string
    secret: string
    path: string
  }
}

function send({ path, secret }: { path: string; secret: string }, event: object) {
  const body = JSON.stringify(event)
  const signature = createHmac('sha256', secret).update(body).digest('hex')
  const headers = { 'Content-Type': 'application/json', 'X-Hub-Signature-256': `sha256=${signature}` }
  return gateway.ask(path, { method: 'POST', headers, body })
}

function delivery(organisation: string, id: string) {
  return gateway.admin('GET', `/organisations/${organisation}/deliveries/${id}`)
}

test('a token that may not update the connection keeps no event, whatever comes of it', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(id, { verification: { type: 'token' } })
  for (const scope of [{ actions: ['read'] }, { connections: ['OTHER'] }]) {
    const made = await gateway.admin('POST', `/organisations/${id}/tokens`, {
      name: 'weak',
      connections: ['*'],
      ...scope,
    })
    const sent = await gateway.ask(hook.path, {
      method: 'POST',
      token: made.json.token,
      headers: { 'Content-Type': 'application/json' },
      body: { nothing: 'that fits' },
    })
    expect(sent.json.code).toBe('insufficient-scope')
  }
  expect(await eventsOf(gateway, id)).toEqual(['hook.created', 'webhook.denied', 'webhook.denied'])
})

test('an event that holds a token of the gateway is not kept', async () => {
  const { id, token } = await gateway.organisation()
  const hook = await makeHook(id)
  const sent = await send(hook, { text: 'fine', other: token })
  expect([sent.status, sent.json.code]).toEqual([400, 'invalid-body'])
  expect((await gateway.admin('GET', `/organisations/${id}/hooks/${hook.id}`)).json.pending).toBe(0)
})

test('secrets that no key opens believe nobody, and a genuine sender comes back later', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(id)
  const { SEALING_KEY } = gateway.bindings
  await gateway.restart({ SEALING_KEY: Buffer.alloc(32, 7).toString('base64') })
  const refused = await send(hook, { text: 'later' })
  expect([refused.status, refused.json.code]).toEqual([503, 'not-configured'])
  await gateway.restart({ SEALING_KEY })
  expect((await send(hook, { text: 'later' })).status).toBe(202)
})

test('a dead delivery whose redelivery is ignored keeps no event', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(id)
  const dead = await send(hook, { other: 1 })
  expect(dead.json.state).toBe('dead')
  await gateway.admin('PATCH', `/organisations/${id}/hooks/${hook.id}`, { when: 'has(event.text)' })
  expect((await send(hook, { other: 1 })).json).toEqual({
    deliveryId: dead.json.deliveryId,
    state: 'ignored',
  })
  expect((await delivery(id, dead.json.deliveryId)).json).toMatchObject({ state: 'ignored', event: null })
})

test('a hook that was deleted takes what it was sent with it', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(id, { connectionId: 'CONN9' })
  const dead = await send(hook, { other: 1 })
  await gateway.admin('DELETE', `/organisations/${id}/hooks/${hook.id}`)
  expect((await delivery(id, dead.json.deliveryId)).status).toBe(404)
  const replay = await gateway.admin('POST', `/organisations/${id}/deliveries/${dead.json.deliveryId}/replay`)
  expect(replay.status).toBe(404)
})

test('two replays at once replay once', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(id)
  const dead = await send(hook, { other: 1 })
  await gateway.admin('PATCH', `/organisations/${id}/hooks/${hook.id}`, { change: { isDefault: true } })
  const path = `/organisations/${id}/deliveries/${dead.json.deliveryId}/replay`
  const answers = await Promise.all([gateway.admin('POST', path), gateway.admin('POST', path)])
  expect(answers.map(({ status }) => status).sort()).toEqual([202, 409])
  await expect.poll(async () => (await delivery(id, dead.json.deliveryId)).json.state).toBe('done')
})

test('a new session that comes while the old one is refused is used at once', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(id)
  const { cookie } = gateway.platform
  const held = gateway.platform.hold({ method: 'GET' })
  gateway.platform.cookie = 'cookie=renewed'
  const sent = await send(hook, { text: 'renewed' })
  await held.arrived
  await gateway.admin('PUT', `/organisations/${id}/session`, { cookie: 'renewed' })
  held.release()
  await expect.poll(async () => (await delivery(id, sent.json.deliveryId)).json.state).toBe('done')
  gateway.platform.cookie = cookie
})

test('whom another update keeps waiting sends nothing twice', async () => {
  const organisation = await gateway.organisation()
  const { id } = organisation
  const hook = await makeHook(id)
  const held = gateway.platform.hold({ method: 'PUT' })
  const first = put(gateway, organisation)
  await held.arrived
  const sent = await send(hook, { text: 'after it' })
  held.release()
  await first
  await expect.poll(async () => (await delivery(id, sent.json.deliveryId)).json.state).toBe('done')
  const log = await logOf(gateway, id)
  expect(log.filter(({ record }) => record.event === 'update.attempted')).toHaveLength(2)
})

test('what a deleted hook was sent goes in portions, and nothing of another hook', async () => {
  const { id } = await gateway.organisation()
  const [hook, other] = [await makeHook(id), await makeHook(id)]
  await send(hook, { other: 1 })
  await send(other, { other: 1 })
  const storage = await gateway.runtime.miniflare.unsafeGetDurableObjectStorage(
    'versori-gateway',
    'Organisation',
    { name: id },
  )
  const columns = `digest, seq, request_id, message_id, token, connection_id, version, patch, state, tries, failure,
    received_at, since, next_at, ended_at, closed_by`
  await storage.exec(`with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500)
    insert into deliveries select 'many' || i, hook, i, ${columns} from n, deliveries where hook = '${hook.id}'`)
  await storage.exec(
    `insert into payloads select id, 'x', '{}' from deliveries where hook = '${hook.id}' and id like 'many%'`,
  )
  await gateway.admin('DELETE', `/organisations/${id}/hooks/${hook.id}`)
  const counts = `select (select count(*) from deliveries) as deliveries, (select count(*) from payloads) as payloads,
    (select count(*) from deleted_hooks) as hooks`
  await expect.poll(() => storage.exec(counts)).toEqual([{ deliveries: 1, payloads: 1, hooks: 0 }])
})

test('a hook that could never work is refused when it is saved', async () => {
  const { id } = await gateway.organisation()
  const refused = async (changes: object) =>
    (await gateway.admin('POST', `/organisations/${id}/hooks`, { ...definition, ...changes })).json.fields
  expect(await refused({ versions: ['2.*'] })).toEqual([
    { field: 'version', message: 'matches none of versions' },
  ])
  expect(await refused({ versions: ['1.*'], change: { name: '2.0' } })).toEqual([
    { field: 'change.name', message: 'matches none of versions' },
  ])
  expect(await refused({ verification: { type: 'hmac', header: 'Authorization' } })).toMatchObject([
    { field: 'verification.header' },
  ])
})
