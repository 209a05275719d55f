/**
 * What becomes of an event after its 202: delivered in order, tried again while there is hope, given up on record, replayed,
 * and never sent once it is applied or nobody wants it any more. From the real Worker.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { eventsOf, gatewayForTests, logOf, put, versionOf } from './gateway.ts'
import {
  applied,
  became,
  deliveryOf,
  descriptionsAt,
  type Hook,
  makeHook,
  postSigned,
  rewrite,
  skipPause,
  storageOf,
} from './hooks.ts'
import { startReceiver, verified } from './receiver.ts'

const receiver = await startReceiver()
afterAll(() => receiver.stop())
const gateway = await gatewayForTests({
  UPSTREAM_TIMEOUT_MS: '400',
  UPSTREAM_RETRY_MS: '5',
  ALERT_WEBHOOK_URL: receiver.url,
  ALERT_WEBHOOK_SECRET: receiver.secret,
})
const { platform } = gateway
const dayMs = 86_400_000
const always = Number.POSITIVE_INFINITY
/** So long that no pause is over before a test has it over. */
const busy = { kind: 'status', status: 503, retryAfter: '3600' } as const

/** A new organisation with one hook. */
async function hooked(changes: object = {}): Promise<Hook> {
  const { id } = await gateway.organisation()
  return makeHook(gateway, id, changes)
}

/** Sends events, one after the other; the ids of their deliveries. */
async function take(hook: Hook, ...texts: string[]): Promise<string[]> {
  const ids: string[] = []
  for (const text of texts) {
    const sent = await postSigned(gateway, hook, { text })
    expect([sent.status, sent.json?.state], sent.text).toEqual([202, 'pending'])
    ids.push(sent.json.deliveryId)
  }
  return ids
}

/** Waits until so many tries of a delivery have failed, and the next is planned. */
async function failed({ organisation }: Hook, id: string, tries: number) {
  const plannedAgain = async () => {
    const delivery = await deliveryOf(gateway, organisation, id)
    return [delivery.state, delivery.tries, delivery.nextAt > delivery.receivedAt]
  }
  await expect.poll(plannedAgain, { timeout: 15_000, interval: 10 }).toEqual(['pending', tries, true])
  return deliveryOf(gateway, organisation, id)
}

const done = ({ organisation }: Hook, id: string) => became(gateway, organisation, id, { state: 'done' })
const replay = ({ organisation }: Hook, id: string) =>
  gateway.admin('POST', `/organisations/${organisation}/deliveries/${id}/replay`)
const change = ({ id, organisation }: Hook, changes: object) =>
  gateway.admin('PATCH', `/organisations/${organisation}/hooks/${id}`, changes)
const sentTo = ({ organisation }: Hook, method: string) =>
  platform.received.filter(each => each.url.includes(organisation) && each.method === method).length
const setSession = ({ organisation }: Hook) =>
  gateway.admin('PUT', `/organisations/${organisation}/session`, { cookieHeader: platform.cookie })
const recordsOf = async ({ organisation }: Hook, event: string) =>
  (await logOf(gateway, organisation)).map(({ record }) => record).filter(each => each.event === event)

describe('order', () => {
  test('later ones of a connection wait for a first that fails, other connections do not', async () => {
    const hook = await hooked()
    const same = await makeHook(gateway, hook.organisation, { onFailure: 'skip' })
    const other = await makeHook(gateway, hook.organisation, { connectionId: 'CONN2' })
    platform.misbehave(busy, { method: 'GET', connectionId: 'CONN1' })
    const [first = '', ...later] = await take(hook, 'a', 'b')
    await failed(hook, first, 1)
    later.push(...(await take(same, 'c')))
    await applied(gateway, hook.organisation, await postSigned(gateway, other, { text: 'elsewhere' }))
    for (const id of later) {
      expect(await deliveryOf(gateway, hook.organisation, id)).toMatchObject({ state: 'pending', tries: 0 })
    }
    expect(descriptionsAt(gateway, hook.organisation)).toEqual([])
    // The second failure is one of its PUT: the third try is the one that goes.
    platform.misbehave(busy, { method: 'PUT', connectionId: 'CONN1' })
    await skipPause(gateway, hook.organisation)
    await failed(hook, first, 2)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual([])
    await skipPause(gateway, hook.organisation)
    for (const id of [first, ...later]) await done(hook, id)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['a', 'b', 'c'])
  })

  test('with skip they pass it, in order among themselves, and it goes when its pause is over', async () => {
    const hook = await hooked({ onFailure: 'skip' })
    platform.misbehave(busy, { method: 'GET', connectionId: 'CONN1' })
    const [first = '', ...later] = await take(hook, 'a', 'b', 'c')
    for (const id of later) await done(hook, id)
    await failed(hook, first, 1)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['b', 'c'])
    await skipPause(gateway, hook.organisation)
    await done(hook, first)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['b', 'c', 'a'])
  })

  test('one that is given up lets the next one go', async () => {
    const hook = await hooked()
    platform.misbehave({ kind: 'status', status: 400 }, { method: 'PUT' })
    const [first = '', second = ''] = await take(hook, 'refused', 'fine')
    await done(hook, second)
    expect(await deliveryOf(gateway, hook.organisation, first)).toMatchObject({ state: 'dead', tries: 1 })
  })
})

describe('tried again', () => {
  test('until the version exists: an event may come before it', async () => {
    const hook = await hooked({ version: '${{ event.text }}', versions: ['*'] })
    const [id = ''] = await take(hook, '9.0.0')
    const refused = { state: 'pending', version: '9.0.0', lastFailure: 'upstream-rejected' }
    await became(gateway, hook.organisation, id, refused)
    const held = versionOf(gateway, hook.organisation)
    platform.seed(hook.organisation, 'CONN1', [{ ...held, id: 'V9', name: '9.0.0' }])
    await done(hook, id)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['9.0.0'])
  })

  test('twelve times while the platform is down, then dead, on record and alerted; replayed as its hook is then', async () => {
    const hook = await hooked()
    platform.misbehave(busy, { times: always })
    const [id = ''] = await take(hook, 'a')
    for (let tries = 1; tries < 12; tries++) {
      await failed(hook, id, tries)
      await skipPause(gateway, hook.organisation)
    }
    const reason = 'upstream-failed'
    const dead = await became(gateway, hook.organisation, id, {
      state: 'dead',
      tries: 12,
      lastFailure: reason,
    })
    const [record] = await recordsOf(hook, 'webhook.dead')
    expect(record).toMatchObject({
      seq: dead.closedSeq,
      actor: { type: 'webhook', id: hook.id, name: 'releases' },
      target: { connectionId: 'CONN1', version: '1.4.0', hookId: hook.id },
      delivery: id,
      upstream: { attempts: 12 },
      reason,
    })
    const alert = await receiver.until(({ body }) => body?.data?.record?.delivery === id)
    expect(verified(alert, receiver.secret)).toBe(true)
    expect(alert.body).toMatchObject({ type: 'webhook.dead', data: { record: { reason, seq: record.seq } } })

    platform.behave()
    await change(hook, { change: { description: 'mended ${{ event.text }}' } })
    const again = await replay(hook, id)
    expect([again.status, again.json.state, again.json.tries]).toEqual([202, 'pending', 0])
    expect(await done(hook, id)).toMatchObject({ tries: 1, receivedSeq: dead.receivedSeq })
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['mended a'])
    expect(await recordsOf(hook, 'webhook.replayed')).toMatchObject([
      { actor: { type: 'admin' }, delivery: id },
    ])
    expect((await replay(hook, id)).json).toMatchObject({ status: 409, code: 'delivery-conflict' })
  })

  test('not where the platform says 400: dead at once, and a redelivery has it tried anew', async () => {
    const hook = await hooked()
    platform.misbehave({ kind: 'status', status: 400 }, { method: 'PUT' })
    const [id = ''] = await take(hook, 'a')
    const refused = { state: 'dead', tries: 1, lastFailure: 'upstream-rejected' }
    await became(gateway, hook.organisation, id, refused)
    expect(await take(hook, 'a')).toEqual([id])
    expect(await done(hook, id)).toMatchObject({ tries: 1 })
    expect(await eventsOf(gateway, hook.organisation)).toEqual([
      'hook.created',
      'webhook.received',
      'update.attempted',
      'update.failed',
      'webhook.dead',
      'webhook.replayed',
      'update.attempted',
      'update.succeeded',
    ])
  })

  test('no more once three days have passed: the next failure is the last', async () => {
    const hook = await hooked()
    platform.misbehave(busy, { method: 'GET', times: always })
    const [id = ''] = await take(hook, 'a')
    await failed(hook, id, 1)
    await skipPause(gateway, hook.organisation, `update deliveries set since = since - ${3 * dayMs - 60_000}`)
    await failed(hook, id, 2)
    await skipPause(gateway, hook.organisation, 'update deliveries set since = since - 60000')
    await became(gateway, hook.organisation, id, { state: 'dead', tries: 3, lastFailure: 'upstream-failed' })
  })
})

describe('a session', () => {
  test('that is missing costs no try, and one that is set lets all go at once', async () => {
    const hook = await hooked()
    await gateway.admin('DELETE', `/organisations/${hook.organisation}/session`)
    const ids = await take(hook, 'a', 'b')
    // An object that is idle goes, and its rest with it: the next one must not wait for the end of that.
    const far = `update due set at = 9000000000000 where kind = 'deliveries'`
    await rewrite(gateway, hook.organisation, far)
    for (const id of ids) {
      expect(await deliveryOf(gateway, hook.organisation, id)).toMatchObject({ state: 'pending', tries: 0 })
    }
    expect(sentTo(hook, 'GET')).toBe(0)
    await setSession(hook)
    for (const id of ids) expect(await done(hook, id)).toMatchObject({ tries: 1 })
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['a', 'b'])
  })

  test('that is missing for four days leaves what waited more than one try', async () => {
    const hook = await hooked()
    await gateway.admin('DELETE', `/organisations/${hook.organisation}/session`)
    const [id = ''] = await take(hook, 'a')
    await rewrite(gateway, hook.organisation, `update deliveries set since = since - ${4 * dayMs}`)
    platform.misbehave(busy, { method: 'GET', times: always })
    await setSession(hook)
    await failed(hook, id, 1)
    platform.behave()
    await skipPause(gateway, hook.organisation)
    expect(await done(hook, id)).toMatchObject({ tries: 2 })
  })

  test.each(['GET', 'PUT'])(
    'that a %s is refused with costs no try either, and is not tried again and again',
    async method => {
      const hook = await hooked()
      platform.misbehave({ kind: 'status', status: 401 }, { method })
      const ids = await take(hook, 'a', 'b')
      const [first = ''] = ids
      await became(gateway, hook.organisation, first, { state: 'pending', lastFailure: 'session-rejected' })
      expect(await deliveryOf(gateway, hook.organisation, first)).toMatchObject({
        state: 'pending',
        tries: 0,
      })
      ids.push(...(await take(hook, 'c')))
      expect(sentTo(hook, method)).toBe(1)
      await setSession(hook)
      for (const id of ids) expect(await done(hook, id)).toMatchObject({ tries: 1 })
      expect(descriptionsAt(gateway, hook.organisation)).toEqual(['a', 'b', 'c'])
    },
  )
})

describe('what an event does not become', () => {
  test('an update, where its expression fails: dead with the field, and replayed once the hook is mended', async () => {
    const hook = await hooked()
    const sent = await postSigned(gateway, hook, { other: 1 })
    expect([sent.status, sent.json.state]).toEqual([202, 'dead'])
    const id = sent.json.deliveryId
    const dead = await deliveryOf(gateway, hook.organisation, id)
    expect(dead).toMatchObject({ state: 'dead', tries: 0, version: null, change: null, event: '{"other":1}' })
    expect(dead.lastFailure).toMatch(/^change\.description: /)
    const failure = { delivery: id, reason: 'mapping-failed', fields: ['change.description'] }
    expect(await recordsOf(hook, 'webhook.dead')).toMatchObject([failure])
    expect((await replay(hook, id)).json).toMatchObject({
      code: 'invalid-body',
      fields: [{ field: 'change.description' }],
    })
    await change(hook, { change: { description: 'other ${{ event.other }}' } })
    expect((await replay(hook, id)).status).toBe(202)
    await done(hook, id)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['other 1'])
  })

  test('anything, where its hook’s condition is false: recorded, not kept, not sent', async () => {
    const hook = await hooked({ when: 'event.text == "wanted"' })
    const sent = await postSigned(gateway, hook, { text: 'unwanted' })
    expect([sent.status, sent.json]).toEqual([202, { deliveryId: null, state: 'ignored' }])
    expect(await recordsOf(hook, 'webhook.ignored')).toMatchObject([{ target: { hookId: hook.id } }])
    await done(hook, (await take(hook, 'wanted'))[0] as string)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['wanted'])
  })
})

describe('bounds', () => {
  test('a thousand of a hook may wait, and none of them is sent once the hook is deleted', async () => {
    const hook = await hooked()
    const other = await makeHook(gateway, hook.organisation)
    await gateway.admin('DELETE', `/organisations/${hook.organisation}/session`)
    const [first] = await take(hook, 'first')
    const columns = `digest, seq, request_id, message_id, token, connection_id, version, patch, state, tries, failure,
      received_at, since, next_at, ended_at, closed_by`
    await rewrite(
      gateway,
      hook.organisation,
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < 998)
       insert into deliveries select 'many' || i, hook, i, ${columns} from n, deliveries`,
    )
    await take(hook, 'the thousandth')
    const full = await postSigned(gateway, hook, { text: 'one more' })
    expect([full.status, full.json.code, full.headers['retry-after']]).toEqual([429, 'rate-limited', '60'])
    // What was taken is still answered as such, and other hooks have their own thousand.
    expect(await take(hook, 'first')).toEqual([first])
    const [elsewhere = ''] = await take(other, 'another hook')
    const deleted = await gateway.admin('DELETE', `/organisations/${hook.organisation}/hooks/${hook.id}`)
    expect([deleted.status, deleted.json.cancelled]).toEqual([200, 1_000])
    await setSession(hook)
    await done(other, elsewhere)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['another hook'])
    expect(sentTo(hook, 'PUT')).toBe(1)
  })

  test('a dead one that is sent again and again is tried, and recorded, sixty times a minute at most', async () => {
    const hook = await hooked()
    const answers = []
    for (let i = 0; i < 100; i++) answers.push(await postSigned(gateway, hook, { other: 1 }))
    expect(new Set(answers.slice(0, 61).map(each => each.json.state))).toEqual(new Set(['dead']))
    const last = answers.at(-1)
    expect([last?.status, last?.json.code]).toEqual([429, 'rate-limited'])
    expect(Number(last?.headers['retry-after'])).toBeGreaterThan(0)
    expect(await recordsOf(hook, 'webhook.replayed')).toHaveLength(60)
    await done(hook, (await take(hook, 'another event'))[0] as string)
  })

  test('of events that do not fit six hundred a minute are kept', async () => {
    const hook = await hooked()
    const statuses: number[] = []
    for (let n = 0; n < 640; n += 40) {
      const some = Array.from({ length: 40 }, (_, i) => postSigned(gateway, hook, { other: n + i }))
      statuses.push(...(await Promise.all(some)).map(({ status }) => status))
    }
    expect(statuses.filter(status => status === 202).length).toBe(600)
    expect(statuses.filter(status => status === 429).length).toBe(40)
    await done(hook, (await take(hook, 'one that fits'))[0] as string)
  })

  test('a hook that is deleted while its delivery reads sends no PUT', async () => {
    const hook = await hooked()
    const other = await makeHook(gateway, hook.organisation)
    const held = platform.hold({ method: 'GET' })
    await take(hook, 'never')
    await held.arrived
    await gateway.admin('DELETE', `/organisations/${hook.organisation}/hooks/${hook.id}`)
    held.release()
    await done(other, (await take(other, 'another hook'))[0] as string)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['another hook'])
  })

  test('the newest thousand dead of a hook have their events, 64 MiB at most, whatever another hook is sent', async () => {
    const quiet = await hooked()
    const [noisy, large] = [
      await makeHook(gateway, quiet.organisation),
      await makeHook(gateway, quiet.organisation),
    ]
    const first = (await postSigned(gateway, quiet, { other: 1 })).json.deliveryId
    const more = (hook: Hook, count: number, body: string) => [
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count})
       insert into deliveries select '${hook.id} ' || i, '${hook.id}', i, digest, seq + i, request_id, message_id, token,
       connection_id, version, patch, state, tries, failure, received_at, since, next_at, ended_at + i, closed_by
       from n, deliveries where id = '${first}'`,
      `insert into payloads select id, ${body}, '{}' from deliveries where hook = '${hook.id}'`,
    ]
    await skipPause(
      gateway,
      quiet.organisation,
      ...more(noisy, 1_100, `'{}'`),
      ...more(large, 66, 'zeroblob(1048576)'),
    )
    const storage = await storageOf(gateway, quiet.organisation)
    const kept = () =>
      storage.exec(
        `select hook, count(*) as n, min(seq - (select seq from deliveries where id = '${first}')) as oldest
         from payloads join deliveries on id = delivery group by hook`,
      )
    const expected = [
      { hook: quiet.id, n: 1, oldest: 0 },
      { hook: noisy.id, n: 1_000, oldest: 101 },
      { hook: large.id, n: 64, oldest: 3 },
    ]
    await expect.poll(kept).toEqual(expect.arrayContaining(expected))
  })

  test('a dead one has its event for thirty days, and can then not be replayed', async () => {
    const hook = await hooked()
    const { deliveryId: id } = (await postSigned(gateway, hook, { other: 1 })).json
    await change(hook, { change: { isDefault: true } })
    const age = (ms: number) =>
      skipPause(gateway, hook.organisation, `update deliveries set ended_at = ended_at - ${ms}`)
    await age(30 * dayMs - 60_000)
    // The sweep that keeps it has run: it says when it is due again.
    const storage = await storageOf(gateway, hook.organisation)
    const due = `select at > 0 as later from due where kind = 'deliveries'`
    await expect.poll(() => storage.exec(due)).toEqual([{ later: 1 }])
    expect((await deliveryOf(gateway, hook.organisation, id)).event).toBe('{"other":1}')
    await age(60_000)
    await became(gateway, hook.organisation, id, { state: 'dead', event: null })
    expect((await replay(hook, id)).json).toMatchObject({ status: 409, code: 'delivery-conflict' })
    expect(sentTo(hook, 'PUT')).toBe(0)
  })
})

describe('an unknown outcome', () => {
  test.each([
    [true, 1],
    [false, 2],
  ])('is looked into: applied %s makes %i PUT in all', async (apply, puts) => {
    const hook = await hooked()
    platform.misbehave({ kind: 'hang', apply }, { method: 'PUT' })
    const [first = '', second = ''] = await take(hook, 'doubtful', 'after it')
    expect(await done(hook, first)).toMatchObject({ tries: puts })
    await done(hook, second)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['doubtful', 'after it'])
    expect(sentTo(hook, 'PUT')).toBe(puts + 1)
    expect(await recordsOf(hook, 'update.reconciled')).toMatchObject([{ delivery: first, applied: apply }])
  })

  test('that no look can tell is no reason to send again what is there', async () => {
    const hook = await hooked()
    platform.misbehave({ kind: 'hang', apply: true }, { method: 'PUT' })
    const [id = ''] = await take(hook, 'doubtful')
    await expect.poll(() => sentTo(hook, 'PUT')).toBe(1)
    platform.misbehave({ kind: 'drop-before' }, { times: always })
    await became(gateway, hook.organisation, id, { state: 'pending', lastFailure: 'interrupted' })
    platform.behave()
    await skipPause(gateway, hook.organisation)
    await done(hook, id)
    expect(sentTo(hook, 'PUT')).toBe(1)
    const told = (await eventsOf(gateway, hook.organisation)).filter(event => event !== 'update.rejected')
    expect(told.slice(-2)).toEqual(['update.reconciled', 'update.unchanged'])
  })

  test('is not overwritten by a caller meanwhile, nor the caller by it', async () => {
    const organisation = await gateway.organisation()
    const hook = await makeHook(gateway, organisation.id)
    platform.misbehave({ kind: 'hang', apply: true }, { method: 'PUT' })
    const [id = ''] = await take(hook, 'doubtful')
    await expect.poll(() => sentTo(hook, 'PUT')).toBe(1)
    let caller = await put(gateway, organisation, { changes: { description: 'a caller' } })
    // Its turn has not come; on a slow machine it may come so late that its own answer is lost.
    while (caller.json.outcome === 'not-sent')
      caller = await put(gateway, organisation, { changes: { description: 'a caller' } })
    expect(await done(hook, id)).toMatchObject({ tries: 1 })
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['doubtful', 'a caller'])
  })
})
