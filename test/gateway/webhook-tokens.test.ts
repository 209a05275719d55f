/** Hooks whose senders show a token of the gateway: what it must allow, and what ends with it. From the real Worker. */
import { describe, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import { randomBytes } from '../../src/crypto.ts'
import { eventsOf, gatewayForTests, logOf, newId } from './gateway.ts'
import { applied, became, descriptionsAt, type Headers, type Hook, json, makeHook } from './hooks.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '10' })
const verification = { type: 'token' }

/** An organisation with a hook that asks for tokens, and a token with a scope. */
async function tokened({ scope = {}, hook = {} }: { scope?: object; hook?: object } = {}) {
  const made = await gateway.organisation(scope)
  return { ...made, hook: await makeHook(gateway, made.id, { verification, ...hook }) }
}

async function anotherToken(organisation: string, scope: object = {}) {
  const wanted = { name: 'another', connections: ['*'], ...scope }
  const { json } = await gateway.admin('POST', `/organisations/${organisation}/tokens`, wanted)
  return json as { id: string; token: string }
}

const send = ({ path }: Hook, token: string | undefined, event: object, headers: Headers = {}) =>
  gateway.ask(path, { method: 'POST', token, headers: { ...json, ...headers }, body: event })

const recordsOf = async (organisation: string, event: RegExp) =>
  (await logOf(gateway, organisation)).map(({ record }) => record).filter(each => event.test(each.event))

test('a token that allows it vouches for an event', async () => {
  const { id, token, tokenId, hook } = await tokened()
  const sent = await send(hook, token, { text: 'vouched for' })
  expect(sent.headers['audit-receipt']).toBeDefined()
  expect(sent.headers.ratelimit ?? sent.headers['ratelimit-policy']).toBeDefined()
  await applied(gateway, id, sent)
  expect(descriptionsAt(gateway, id)).toEqual(['vouched for'])
  const [received] = await recordsOf(id, /^webhook\.received$/)
  expect(received.actor).toEqual({ type: 'token', id: tokenId, name: 'ci-deploy' })
  const [update] = await recordsOf(id, /^update\.succeeded$/)
  expect(update.actor).toEqual({ type: 'webhook', id: hook.id, name: 'releases' })
})

describe('what the token does not allow is refused, on record, and not kept', () => {
  const template = { version: '${{ event.tag }}', versions: ['*'] }
  const named = { change: { name: '${{ event.name }}' }, versions: ['*'] }
  test.each<[string, object, object, object]>([
    ['another connection', { connections: ['CONN2'] }, {}, {}],
    ['no update', { actions: ['read'] }, {}, {}],
    ['the version of the hook', { versions: ['2.*'] }, {}, {}],
    ['the version that is mapped', { versions: ['1.3.*'] }, template, { tag: '1.4.0' }],
    ['default by its name', { versions: ['1.*', 'd*'] }, template, { tag: 'default' }],
    ['the name that it would get', { versions: ['1.*'] }, named, { name: '2.0.0' }],
    ['a field', { fields: ['name', 'isLatest', 'isDefault'] }, {}, {}],
    ['one of two fields', { fields: ['description'] }, { change: { description: 'a', isDefault: true } }, {}],
  ])('%s', async (_, scope, hook, event) => {
    const made = await tokened({ scope, hook })
    const sent = await send(made.hook, made.token, { text: 'a', ...event })
    expect([sent.status, sent.json.code]).toEqual([403, 'insufficient-scope'])
    expect(sent.headers['audit-receipt']).toBeDefined()
    const records = await recordsOf(made.id, /^(webhook|update)\./)
    expect(records.map(each => [each.event, each.reason, each.actor.id])).toEqual([
      ['webhook.denied', 'insufficient-scope', made.tokenId],
    ])
    const { deliveries } = (
      await gateway.admin('GET', `/organisations/${made.id}/hooks/${made.hook.id}/deliveries`)
    ).json
    expect(deliveries).toEqual([])
  })

  test('and what it does allow goes, by the same hook', async () => {
    const { id, token, hook } = await tokened({ scope: { versions: ['1.*'] }, hook: template })
    expect((await send(hook, token, { text: 'a', tag: '2.0.0' })).status).toBe(403)
    await applied(gateway, id, await send(hook, token, { text: 'a', tag: '1.4.0' }))
  })
})

describe('who shows no token that is believed is told nothing', () => {
  const revoked = async (id: string, tokenId: string) =>
    gateway.admin('DELETE', `/organisations/${id}/tokens/${tokenId}`)
  type Made = Awaited<ReturnType<typeof tokened>>
  test.each<[string, string, (made: Made) => Promise<string | undefined>]>([
    ['no token', 'missing-token', async () => undefined],
    ['one without the form', 'malformed', async ({ token }) => `${token}0`],
    ['a text', 'malformed', async () => 'secret'],
    ['one that is not known', 'unknown', async () => mintToken(randomBytes).token],
    ['a wrong secret', 'wrong-secret', async ({ tokenId }) => mintToken(randomBytes, tokenId).token],
    ['one of another organisation', 'unknown', async () => (await gateway.organisation()).token],
    [
      'one that was revoked',
      'revoked',
      async made => {
        await revoked(made.id, made.tokenId)
        return made.token
      },
    ],
    [
      'one that has expired',
      'expired',
      async ({ id }) => {
        // Asked for as often as that takes, which is no matter of its rate.
        const made = await anotherToken(id, {
          expiresAt: new Date(Date.now() + 150).toISOString(),
          rateLimit: { requests: 10_000, windowSeconds: 60 },
        })
        while ((await gateway.ask(`/o/${id}/token`, { token: made.token })).status === 200);
        return made.token
      },
    ],
  ])('%s', async (_, reason, prepare) => {
    const made = await tokened()
    const token = await prepare(made)
    const sent = await send(made.hook, token, { text: 'a' })
    const code = token === undefined ? 'missing-token' : 'invalid-token'
    expect([sent.status, sent.json.code]).toEqual([401, code])
    expect(sent.headers['www-authenticate']).toBe(
      token === undefined ? 'Bearer' : 'Bearer error="invalid_token"',
    )
    expect(sent.headers['audit-receipt']).toBeUndefined()
    expect(JSON.stringify(sent.headers)).not.toMatch(/ratelimit/i)
    const records = await recordsOf(made.id, /^webhook\./)
    expect(records.map(each => [each.event, each.reason])).toEqual([['webhook.denied', reason]])
    if (token) expect(JSON.stringify(records)).not.toContain(token)
    expect(descriptionsAt(gateway, made.id)).toEqual([])
  })

  test('and a token is none where a signature is asked for', async () => {
    const { id, token } = await gateway.organisation()
    const sent = await send(await makeHook(gateway, id), token, { text: 'a' })
    expect([sent.status, sent.json.code]).toEqual([403, 'invalid-signature'])
  })
})

describe('what waits ends with the token that vouched for it', () => {
  const cookie = () => gateway.platform.cookie.replace(/^cookie=/, '')
  const pause = (id: string) => gateway.admin('DELETE', `/organisations/${id}/session`)
  const resume = (id: string) => gateway.admin('PUT', `/organisations/${id}/session`, { cookie: cookie() })

  test.each([false, true])('revoked: never sent, and dead (restarted meanwhile: %s)', async restarted => {
    const { id, token, tokenId, hook } = await tokened()
    const other = await anotherToken(id)
    await pause(id)
    const gone = await send(hook, token, { text: 'of the revoked one' })
    const kept = await send(hook, other.token, { text: 'of the other one' })
    expect([gone.status, kept.status]).toEqual([202, 202])
    await gateway.admin('DELETE', `/organisations/${id}/tokens/${tokenId}`)
    if (restarted) await gateway.restart()
    await resume(id)
    await became(gateway, id, kept.json.deliveryId, { state: 'done' })
    await became(gateway, id, gone.json.deliveryId, { state: 'dead', lastFailure: 'revoked' })
    expect(descriptionsAt(gateway, id)).toEqual(['of the other one'])
    const [dead, ...others] = await recordsOf(id, /^webhook\.dead$/)
    expect([dead.delivery, dead.reason, others]).toEqual([gone.json.deliveryId, 'revoked', []])
    // An admin who replays it vouches for it no more than before.
    await gateway.admin('POST', `/organisations/${id}/deliveries/${gone.json.deliveryId}/replay`)
    await became(gateway, id, gone.json.deliveryId, { state: 'dead', lastFailure: 'revoked' })
    expect(descriptionsAt(gateway, id)).toEqual(['of the other one'])
  })

  test('rotated: it is the same token, and what waits goes', async () => {
    const { id, token, tokenId, hook } = await tokened()
    await pause(id)
    const sent = await send(hook, token, { text: 'before the rotation' })
    await gateway.admin('POST', `/organisations/${id}/tokens/${tokenId}/rotate`, { graceSeconds: 0 })
    await resume(id)
    await became(gateway, id, sent.json.deliveryId, { state: 'done' })
    expect((await send(hook, token, { text: 'after it' })).status).toBe(401)
  })
})

test("requests count against the token's rate, also those that come to nothing", async () => {
  const { id, hook } = await tokened({ hook: { when: 'event.text != "ignored"' } })
  const { token } = await anotherToken(id, { rateLimit: { requests: 3, windowSeconds: 3_600 } })
  await applied(gateway, id, await send(hook, token, { text: 'a' }))
  expect((await send(hook, token, { text: 'a' })).status).toBe(200)
  expect((await send(hook, token, { text: 'ignored' })).json.state).toBe('ignored')
  const refused = await send(hook, token, { text: 'b' })
  expect([refused.status, refused.json.code]).toEqual([429, 'rate-limited'])
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  expect((await gateway.ask(`/o/${id}/token`, { token })).status).toBe(429)
  expect((await recordsOf(id, /^webhook\.denied$/)).map(({ reason }) => reason)).toEqual(['rate-limited'])
  expect(descriptionsAt(gateway, id)).toEqual(['a'])
})

describe('a repetition', () => {
  test.each(['webhook-id', 'Idempotency-Key'])(
    'is told by %s, and with another body a conflict',
    async name => {
      const { id, token, hook } = await tokened()
      const first = await send(hook, token, { text: 'a' }, { [name]: 'one' })
      const done = await applied(gateway, id, first)
      expect(done.messageId).toBe('one')
      const again = await send(hook, token, { text: 'a' }, { [name]: 'one' })
      expect([again.status, again.json]).toEqual([200, { deliveryId: done.id, state: 'done' }])
      const other = await send(hook, token, { text: 'b' }, { [name]: 'one' })
      expect([other.status, other.json.code]).toEqual([409, 'delivery-conflict'])
      const next = await send(hook, token, { text: 'a' }, { [name]: 'two' })
      expect(next.json.deliveryId).not.toBe(done.id)
      await applied(gateway, id, next)
    },
  )

  test('is told by the body where no header names it', async () => {
    const { id, token, hook } = await tokened()
    const first = await send(hook, token, { text: 'a' })
    const done = await applied(gateway, id, first)
    expect(done.messageId).toBeNull()
    expect((await send(hook, token, { text: 'a' })).json).toEqual({ deliveryId: done.id, state: 'done' })
    await applied(gateway, id, await send(hook, token, { text: 'b' }))
    expect(descriptionsAt(gateway, id)).toEqual(['a', 'b'])
  })

  test('is of one token: another may use the same id, or send the same body', async () => {
    const { id, token, hook } = await tokened()
    const other = await anotherToken(id)
    const ids: string[] = []
    for (const headers of [{ 'webhook-id': 'one' }, {}] as Headers[]) {
      for (const [index, each] of [token, other.token].entries()) {
        const text = headers['webhook-id'] ? `by ${index}` : 'the same'
        const sent = await send(hook, each, { text }, headers)
        await applied(gateway, id, sent)
        ids.push(sent.json.deliveryId)
      }
    }
    expect(new Set(ids).size).toBe(4)
    expect(descriptionsAt(gateway, id)).toEqual(['by 0', 'by 1', 'the same'])
    expect((await eventsOf(gateway, id)).at(-1)).toBe('update.unchanged')
  })

  test.each([
    ['nothing', ''],
    ['257 characters', 'x'.repeat(257)],
  ])('is not told by an id of %s', async (_, name) => {
    const { id, token, hook } = await tokened()
    const sent = await send(hook, token, { text: 'a' }, { 'webhook-id': name })
    expect([sent.status, sent.json.fields]).toMatchObject([400, [{ field: 'webhook-id' }]])
    expect(descriptionsAt(gateway, id)).toEqual([])
  })
})

test('an organisation that nobody made has no hook to show a token to', async () => {
  const { token, hook } = await tokened()
  const sent = await gateway.ask(`/webhooks/${newId()}/${hook.id}`, {
    method: 'POST',
    token,
    headers: json,
    body: {},
  })
  expect([sent.status, sent.json.code]).toEqual([404, 'not-found'])
})
