/** What an admin does with hooks that are there: changes, tries, lists and deletes them, on record. From the real Worker. */
import { describe, expect, test } from 'vitest'
import { gatewayForTests, logOf } from './gateway.ts'
import {
  applied,
  became,
  definitionOf,
  descriptionsAt,
  gitHubHeaders,
  type Hook,
  makeHook,
  postSigned,
  rewrite,
} from './hooks.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '10' })

const at = ({ organisation, id }: Pick<Hook, 'organisation' | 'id'>, rest = '') =>
  `/organisations/${organisation}/hooks/${id}${rest}`
const get = async (hook: Hook) => (await gateway.admin('GET', at(hook))).json
const change = (hook: Hook, wanted: object) => gateway.admin('PATCH', at(hook), wanted)

/** The records of an organisation's hooks. */
const hookRecords = async (organisation: string) =>
  (await logOf(gateway, organisation))
    .map(({ record }) => record)
    .filter(({ event }) => event.startsWith('hook.'))

async function hooked(changes: object = {}): Promise<Hook> {
  const { id } = await gateway.organisation()
  return makeHook(gateway, id, changes)
}

describe('a change', () => {
  const full = { version: '${{ event.tag }}', versions: ['1.*'], when: 'has(event.text)' }

  test('is of the part that it names, and of the events to come', async () => {
    const hook = await hooked()
    await applied(gateway, hook.organisation, await postSigned(gateway, hook, { text: 'before' }))
    const changed = await change(hook, { name: 'renamed', change: { description: 'fixed' } })
    expect(changed.status).toBe(200)
    expect(changed.headers['audit-receipt']).toBeDefined()
    expect(changed.json).toEqual({ ...(await get(hook)), name: 'renamed', change: { description: 'fixed' } })
    expect(changed.json).toMatchObject({ version: '1.4.0', connectionId: 'CONN1', onFailure: 'block' })
    await applied(gateway, hook.organisation, await postSigned(gateway, hook, { text: 'after' }))
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['before', 'fixed'])
    expect((await hookRecords(hook.organisation)).at(-1)).toMatchObject({
      event: 'hook.changed',
      actor: { type: 'admin', id: 'alice' },
      target: { hookId: hook.id },
      hook: { name: 'renamed', change: { description: 'fixed' } },
    })
  })

  test('takes versions and when away by null, where nothing needs them', async () => {
    const hook = await hooked(full)
    const needed = await change(hook, { versions: null })
    expect([needed.status, needed.json.fields[0].field]).toEqual([400, 'versions'])
    expect((await change(hook, { when: null })).json).not.toHaveProperty('when')
    const fixed = await change(hook, { version: '1.4.0', versions: null })
    expect(fixed.json).not.toHaveProperty('versions')
    expect(await get(hook)).toEqual(fixed.json)
  })

  test.each<[string, object]>([
    ['nothing', {}],
    ['what is so already', { name: 'releases', onFailure: 'block' }],
    ['all that is so already', { ...full, ...definitionOf(full), verification: undefined }],
  ])('to %s leaves no record', async (_, wanted) => {
    const hook = await hooked(full)
    const before = await get(hook)
    const answer = await change(hook, wanted)
    expect([answer.status, answer.json]).toEqual([200, before])
    expect(answer.headers['audit-receipt']).toBeUndefined()
    expect(await hookRecords(hook.organisation)).toHaveLength(1)
  })

  test.each<[object, string]>([
    [{ verification: { type: 'github' } }, 'verification'],
    [{ secret: 'a-secret-of-its-own' }, 'secret'],
    [{ createdBy: 'mallory' }, 'createdBy'],
    [{ name: null }, 'name'],
    [{ change: null }, 'change'],
    [{ change: { updatedAt: 'x' } }, 'change.updatedAt'],
    [{ version: '2.0.0' }, 'version'],
    [{ when: 'event.a.matches("x")' }, 'when'],
    [{ connectionId: 'a/b' }, 'connectionId'],
  ])('of %j is refused, and changes nothing', async (wanted, field) => {
    const hook = await hooked(full)
    const before = await get(hook)
    const answer = await change(hook, wanted)
    expect([answer.status, answer.json.code, answer.json.fields[0].field]).toEqual([
      400,
      'invalid-body',
      field,
    ])
    expect(await get(hook)).toEqual(before)
    expect(await hookRecords(hook.organisation)).toHaveLength(1)
  })
})

test('a hook that is deleted is gone with what it still had to deliver', async () => {
  const { id } = await gateway.organisation()
  const [hook, other] = [await makeHook(gateway, id), await makeHook(gateway, id)]
  await gateway.admin('DELETE', `/organisations/${id}/session`)
  const sent = [
    await postSigned(gateway, hook, { text: 'a' }),
    await postSigned(gateway, hook, { text: 'b' }),
    await postSigned(gateway, hook, { other: 'dead' }),
  ]
  const kept = await postSigned(gateway, other, { text: 'kept' })
  expect(await get(hook)).toMatchObject({ pending: 2, dead: 1 })
  const deleted = await gateway.admin('DELETE', at(hook))
  expect([deleted.status, deleted.json]).toEqual([200, { id: hook.id, cancelled: 2 }])
  expect(deleted.headers['audit-receipt']).toBeDefined()
  for (const [method, rest, body] of [
    ['GET', '', undefined],
    ['PATCH', '', {}],
    ['DELETE', '', undefined],
    ['POST', '/rotate-secret', {}],
    ['POST', '/test', { event: {} }],
    ['GET', '/deliveries', undefined],
  ] as const) {
    const answer = await gateway.admin(method, at(hook, rest), body)
    expect([answer.status, answer.json.code]).toEqual([404, 'not-found'])
  }
  expect((await postSigned(gateway, hook, { text: 'late' })).status).toBe(404)
  for (const { json } of sent) {
    expect((await gateway.admin('GET', `/organisations/${id}/deliveries/${json.deliveryId}`)).status).toBe(
      404,
    )
  }
  const cookie = gateway.platform.cookie.replace(/^cookie=/, '')
  await gateway.admin('PUT', `/organisations/${id}/session`, { cookie })
  // Of the same connection, and later: whatever went before it would have gone.
  await became(gateway, id, kept.json.deliveryId, { state: 'done' })
  expect(descriptionsAt(gateway, id)).toEqual(['kept'])
  const { event, actor, hook: told } = (await hookRecords(id)).at(-1)
  expect([event, actor.type, told.id, told.cancelled]).toEqual(['hook.deleted', 'admin', hook.id, 2])
})

describe('a sample', () => {
  const trial = (hook: Hook, sample: object) => gateway.admin('POST', at(hook, '/test'), sample)
  const unsigned = { valid: false, reason: expect.any(String) }
  const target = { connectionId: 'CONN1', version: '1.4.0' }

  test('shows what would be sent, and nothing is stored or sent', async () => {
    const hook = await hooked({
      when: 'event.text != "no"',
      change: { description: '${{ event.text }}', isDefault: true },
    })
    const before = gateway.platform.received.length
    const change = { description: 'a', isDefault: true }
    const taken = await trial(hook, { event: { text: 'a' } })
    expect([taken.status, taken.json]).toEqual([
      200,
      { verification: unsigned, state: 'pending', target, change, problem: null },
    ])
    const body = '{"text": "a"}'
    const signed = await trial(hook, { body, headers: gitHubHeaders(hook.secret, body) })
    expect(signed.json).toEqual({ ...taken.json, verification: { valid: true } })
    const forged = await trial(hook, { body, headers: gitHubHeaders(`${hook.secret}x`, body) })
    expect(forged.json.verification).toEqual({ valid: false, reason: 'mismatch' })
    const ignored = await trial(hook, { event: { text: 'no' } })
    expect(ignored.json).toMatchObject({ state: 'ignored', change: null, problem: null })
    const failing = await trial(hook, { event: { other: 'value-of-the-event' } })
    expect(failing.json).toMatchObject({
      state: 'dead',
      target: { version: null },
      problem: { field: 'when' },
    })
    const wrong = await trial(hook, { event: { text: 17 } })
    expect(wrong.json).toMatchObject({ state: 'dead', problem: { field: 'change.description' } })
    expect(gateway.platform.received.length).toBe(before)
    expect(await get(hook)).toMatchObject({ pending: 0, dead: 0 })
    expect((await gateway.admin('GET', at(hook, '/deliveries'))).json.deliveries).toEqual([])
    expect(await logOf(gateway, hook.organisation)).toHaveLength(3)
    // What was tried was not received: it is new to its hook.
    await applied(gateway, hook.organisation, await postSigned(gateway, hook, { text: 'a' }))
  })

  test('has the headers that an event would have, and a ping is ignored', async () => {
    const hook = await hooked({ when: 'headers["x-kind"] == "a" && !("cf-ray" in headers)' })
    const headers = { 'X-Kind': 'a', 'CF-Ray': 'x' }
    const sample = { event: { text: 'a' }, headers }
    expect((await trial(hook, sample)).json.state).toBe('pending')
    await applied(gateway, hook.organisation, await postSigned(gateway, hook, { text: 'a' }, headers))
    const ping = { ...headers, 'X-GitHub-Event': 'ping' }
    const answer = await trial(hook, { ...sample, headers: ping })
    expect(answer.json).toMatchObject({ state: 'ignored', change: null, problem: null })
    const live = await postSigned(gateway, hook, { text: 'b' }, ping)
    expect([live.status, live.json.state]).toEqual([200, 'ignored'])
  })

  test.each<[object, string]>([
    [{}, 'body'],
    [{ event: {}, body: '{}' }, 'body'],
    [{ event: {}, headers: { a: 1 } }, 'headers.a'],
    [{ event: {}, secret: 'x' }, 'secret'],
    [{ body: 'text=a' }, ''],
  ])('%j is none', async (sample, field) => {
    const answer = await trial(await hooked(), sample)
    expect([answer.status, answer.json.fields?.[0].field ?? '']).toEqual([400, field])
  })

  test('of a hook that asks for tokens is mapped alone', async () => {
    const hook = await hooked({ verification: { type: 'token' } })
    const answer = await trial(hook, { event: { text: 'a' } })
    expect(answer.json).toMatchObject({
      verification: { valid: false, reason: 'not-tried' },
      state: 'pending',
    })
  })
})

test('deliveries are listed by state, in pages, newest first', async () => {
  const hook = await hooked({ change: { description: '${{ event.text }}' } })
  const other = await makeHook(gateway, hook.organisation)
  await applied(gateway, hook.organisation, await postSigned(gateway, other, { text: 'of another' }))
  const ids: string[] = []
  for (const event of [{ text: '1' }, { other: '2' }, { text: '3' }, { other: '4' }, { text: '5' }]) {
    const { json } = await postSigned(gateway, hook, event)
    ids.unshift(json.deliveryId)
    await became(gateway, hook.organisation, json.deliveryId, { state: 'text' in event ? 'done' : 'dead' })
  }
  const list = async (query: string) => (await gateway.admin('GET', at(hook, `/deliveries${query}`))).json
  const idsOf = async (query: string) =>
    (await list(query)).deliveries.map((each: { id: string }) => ids.indexOf(each.id))
  const all = await list('')
  expect(all.next).toBeNull()
  expect(all.deliveries.map((each: { id: string }) => each.id)).toEqual(ids)
  expect(all.deliveries[0]).toMatchObject({
    hookId: hook.id,
    state: 'done',
    tries: 1,
    change: { description: '5' },
  })
  expect(await idsOf('?state=done')).toEqual([0, 2, 4])
  expect(await idsOf('?state=dead')).toEqual([1, 3])
  expect(await idsOf('?state=pending')).toEqual([])
  const pages: number[][] = []
  for (let before = ''; ; ) {
    const page = await list(`?limit=2${before}`)
    pages.push(page.deliveries.map((each: { id: string }) => ids.indexOf(each.id)))
    if (page.next === null) break
    before = `&before=${page.next}`
  }
  expect(pages).toEqual([[0, 1], [2, 3], [4]])
  const dead = await list('?state=dead&limit=1')
  expect(await idsOf(`?state=dead&limit=1&before=${dead.next}`)).toEqual([3])
  for (const query of [
    'state=lost',
    'limit=0',
    'limit=1001',
    'before=0',
    'before=x',
    'page=1',
    'limit=1&limit=2',
  ]) {
    const answer = await gateway.admin('GET', at(hook, `/deliveries?${query}`))
    expect([query, answer.status, answer.json.code]).toEqual([query, 400, 'invalid-query'])
  }
})

test('a page of large deliveries ends before it is too large for one answer', async () => {
  const hook = await hooked()
  const sent = await postSigned(gateway, hook, { text: 'x'.repeat(60_000) })
  const { id } = await applied(gateway, hook.organisation, sent)
  const patch = JSON.stringify({ description: 'x'.repeat(60_000) })
  await rewrite(
    gateway,
    hook.organisation,
    `with recursive n(i) as (select 1 union all select i + 1 from n where i < 600)
     insert into deliveries select 'many' || i, hook, i, digest, seq + i, request_id, message_id, token, connection_id,
     version, '${patch}', 'dead', tries, failure, received_at, since, next_at, ended_at, closed_by
     from n, deliveries where id = '${id}'`,
  )
  const seen = new Set<string>()
  const lengths: number[] = []
  for (let before = ''; ; ) {
    const page = await gateway.admin('GET', at(hook, `/deliveries?state=dead&limit=1000${before}`))
    expect(page.status, page.text).toBe(200)
    for (const each of page.json.deliveries) seen.add(each.id)
    lengths.push(page.json.deliveries.length)
    if (page.json.next === null) break
    before = `&before=${page.json.next}`
  }
  expect(seen.size).toBe(600)
  expect(lengths.reduce((sum, length) => sum + length)).toBe(600)
})

describe('a path', () => {
  test.each([
    ['', ['GET', 'POST']],
    ['/HOOK', ['GET', 'PATCH', 'DELETE']],
    ['/HOOK/rotate-secret', ['POST']],
    ['/HOOK/test', ['POST']],
    ['/HOOK/deliveries', ['GET']],
  ])(
    'has its methods alone, its ids their form, and an unknown one is nowhere: hooks%s',
    async (rest, methods) => {
      const hook = await hooked()
      const path = (id: string) => `/organisations/${hook.organisation}/hooks${rest.replace('HOOK', id)}`
      for (const method of ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'].filter(
        each => !methods.includes(each),
      )) {
        const answer = await gateway.admin(method, path(hook.id))
        expect([answer.status, answer.json.code, answer.headers.allow]).toEqual([
          405,
          'method-not-allowed',
          methods.join(', '),
        ])
      }
      if (rest === '') return
      for (const method of methods) {
        const body = method === 'GET' || method === 'DELETE' ? undefined : { event: 1 }
        for (const id of ['a', 'a'.repeat(25), `${'a'.repeat(23)}-`]) {
          const answer = await gateway.admin(method, path(id), body)
          expect([answer.status, answer.json.code]).toEqual([400, 'invalid-path'])
          expect(answer.json.fields[0].field).toBe('hook_id')
        }
        const wanted = rest.endsWith('/test') ? body : body && {}
        const answer = await gateway.admin(method, path('a'.repeat(24)), wanted)
        expect([answer.status, answer.json.code]).toEqual([404, 'not-found'])
      }
      expect(await hookRecords(hook.organisation)).toHaveLength(1)
    },
  )

  test('is for admins alone', async () => {
    const { id, token } = await gateway.organisation()
    const hook = await makeHook(gateway, id)
    for (const credential of [token, hook.secret, undefined]) {
      const answer = await gateway.ask(`/admin${at(hook)}`, { method: 'DELETE', token: credential })
      expect(answer.status).toBe(401)
    }
    expect((await get(hook)).id).toBe(hook.id)
  })
})
