/**
 * Who is believed: each sender's own library signs, and what it signed is taken; with one bit of it changed, nothing is. From
 * the real Worker.
 */
import { describe, expect, test } from 'vitest'
import { eventsOf, gatewayForTests, logOf, sightings } from './gateway.ts'
import { applied, gitHubExamples, gitHubHeaders, type Hook, json, makeHook, post, senders } from './hooks.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '10' })

const body = JSON.stringify({ text: 'déjà vu ✓', nested: { n: 1500 } })

/** Changes one bit of what stands in the middle of a signature, within its alphabet, be it hex or base64. */
function withOtherBit(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  const [run = ''] = /[A-Za-z0-9+/]{40,}/.exec(text) ?? []
  const at = text.indexOf(run) + 20
  const other = alphabet[alphabet.indexOf(text[at] as string) ^ 1]
  return text.slice(0, at) + other + text.slice(at + 1)
}

/** Expects an event to be refused like every one that is not believed, and the log alone to know why. */
async function refused(hook: Hook, headers: Record<string, string>, sent: string, reason: string) {
  const before = (await logOf(gateway, hook.organisation)).length
  const answer = await post(gateway, hook, { ...json, ...headers }, sent)
  expect([answer.status, answer.json.code]).toEqual([403, 'invalid-signature'])
  expect(answer.text).not.toContain(reason)
  expect(answer.headers['audit-receipt']).toBeUndefined()
  const records = (await logOf(gateway, hook.organisation)).slice(before).map(({ record }) => record)
  expect(records).toMatchObject([
    {
      event: 'webhook.denied',
      actor: { type: 'anonymous' },
      reason,
      target: { organisationId: hook.organisation, connectionId: 'CONN1', hookId: hook.id },
    },
  ])
}

describe.each(Object.entries(senders))('%s', (name, { verification, header, sign }) => {
  test('what it signed is taken', async () => {
    const { id } = await gateway.organisation()
    const hook = await makeHook(gateway, id, { verification })
    const sent = await post(gateway, hook, { ...json, ...(await sign(hook.secret, body)) }, body)
    await applied(gateway, id, sent)
    expect(gateway.platform.get(id, 'CONN1', '1.4.0')?.description).toBe('déjà vu ✓')
    expect(
      (await logOf(gateway, id)).find(({ record }) => record.event === 'webhook.received'),
    ).toMatchObject({
      record: { actor: { type: 'webhook', id: hook.id, name: 'releases' }, delivery: sent.json.deliveryId },
    })
    expect(sightings(gateway, hook.secret.replace(/^wh(sec|pk)_/, ''))).toEqual([])
  })

  test('with one bit changed, it is not', async () => {
    const { id } = await gateway.organisation()
    const hook = await makeHook(gateway, id, { verification })
    const signed = await sign(hook.secret, body)
    await refused(hook, signed, body.replace('1500', '1501'), 'mismatch')
    await refused(hook, signed, `${body} `, 'mismatch')
    await refused(hook, { ...signed, [header]: withOtherBit(signed[header] as string) }, body, 'mismatch')
    for (const each of Object.keys(signed).filter(each => /-(id|timestamp)$/.test(each))) {
      const changed = (signed[each] as string).replace(/.$/, last => (last === '1' ? '2' : '1'))
      await refused(hook, { ...signed, [each]: changed }, body, 'mismatch')
    }
    await refused(hook, {}, body, 'missing')
    await refused(hook, { ...signed, [header]: '' }, body, 'malformed')
    if (!('secret' in verification)) {
      const other = await makeHook(gateway, id, { verification })
      await refused(hook, await sign(other.secret, body), body, 'mismatch')
    }
    expect(gateway.platform.history.some(({ organisationId }) => organisationId === id)).toBe(false)
  })

  // Neither signs a time.
  if (name === 'GitHub' || name.startsWith('an HMAC')) return
  test('a time of more than five minutes ago or ahead is too far', async () => {
    const { id } = await gateway.organisation()
    const hook = await makeHook(gateway, id, { verification })
    const at = async (seconds: number) => sign(hook.secret, body, Date.now() + seconds * 1000)
    await refused(hook, await at(-320), body, 'stale')
    await refused(hook, await at(320), body, 'stale')
    const early = await post(gateway, hook, { ...json, ...(await at(-280)) }, body)
    await applied(gateway, id, early)
    const text = JSON.stringify({ text: 'ahead' })
    const ahead = { ...json, ...(await sign(hook.secret, text, Date.now() + 280_000)) }
    await applied(gateway, id, await post(gateway, hook, ahead, text))
  })
})

describe('a GitHub release', () => {
  const definition = {
    version: '${{ event.release.tag_name }}',
    versions: ['0.*'],
    when: "headers['x-github-event'] == 'release' && event.action == 'published'",
    change: { isDefault: true },
  }

  test('makes its version the default, as GitHub’s own example has it', async () => {
    const { id } = await gateway.organisation()
    const event = gitHubExamples('release').find(({ action }) => action === 'published')
    const tag = event?.release.tag_name as string
    const held = gateway.platform.get(id, 'CONN1', '1.4.0')
    const another = {
      ...held,
      id: '01RELEASED0000000000000000',
      name: tag,
      isLatest: false,
      isDefault: false,
    }
    gateway.platform.seed(id, 'CONN1', [{ ...held, isDefault: true }, another] as never)
    const hook = await makeHook(gateway, id, definition)
    const text = JSON.stringify(event)
    const signed = await senders.GitHub?.sign(hook.secret, text)
    const headers = {
      ...json,
      ...signed,
      'User-Agent': 'GitHub-Hookshot/044aadd',
      'X-GitHub-Event': 'release',
      'X-GitHub-Delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
    }
    const sent = await post(gateway, hook, headers, text)
    const done = await applied(gateway, id, sent)
    expect(done).toMatchObject({ version: tag, change: { isDefault: true }, tries: 1, event: null })
    expect(gateway.platform.get(id, 'CONN1', tag)?.isDefault).toBe(true)
    expect(gateway.platform.get(id, 'CONN1', '1.4.0')?.isDefault).toBe(false)
    expect(await eventsOf(gateway, id)).toEqual([
      'hook.created',
      'webhook.received',
      'update.attempted',
      'update.succeeded',
    ])
    const log = await logOf(gateway, id)
    expect(log[done.closedSeq - 1]?.record).toMatchObject({
      event: 'update.succeeded',
      actor: { type: 'webhook', id: hook.id },
      target: { organisationId: id, connectionId: 'CONN1', version: tag, hookId: hook.id },
      delivery: sent.json.deliveryId,
      change: { isDefault: { from: false, to: true } },
    })
  })

  test('other actions are ignored, and a ping is answered', async () => {
    const { id } = await gateway.organisation()
    const hook = await makeHook(gateway, id, definition)
    const others = gitHubExamples('release').filter(({ action }) => action !== 'published')
    expect(others.length).toBeGreaterThan(0)
    for (const event of others) {
      const text = JSON.stringify(event)
      const headers = { ...json, ...gitHubHeaders(hook.secret, text), 'X-GitHub-Event': 'release' }
      const answer = await post(gateway, hook, headers, text)
      expect([answer.status, answer.json]).toEqual([202, { deliveryId: null, state: 'ignored' }])
    }
    const [ping] = gitHubExamples('ping')
    const text = JSON.stringify(ping)
    const headers = { ...json, ...gitHubHeaders(hook.secret, text), 'X-GitHub-Event': 'ping' }
    const pinged = await post(gateway, hook, headers, text)
    expect([pinged.status, pinged.json]).toEqual([200, { deliveryId: null, state: 'ignored' }])
    expect(pinged.headers['audit-receipt']).toBeDefined()
    await refused(hook, { 'X-GitHub-Event': 'ping' }, text, 'missing')
    const events = await eventsOf(gateway, id)
    expect(events).toEqual([
      'hook.created',
      ...others.map(() => 'webhook.ignored'),
      'webhook.ignored',
      'webhook.denied',
    ])
  })
})
