/**
 * What is sent to a hook: repeated, cut, oversized, in other codings, to other paths. Nothing that is not exactly a signed event
 * gets further than its refusal. From the real Worker.
 */
import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { mintHookId } from '../../src/auth/hook-id.ts'
import { mintToken } from '../../src/auth/token.ts'
import { randomBytes } from '../../src/crypto.ts'
import { eventsOf, filesUnder, gatewayForTests, logOf, newId, sendFramed } from './gateway.ts'
import {
  applied,
  became,
  descriptionsAt,
  gitHubHeaders,
  type Hook,
  json,
  makeHook,
  post,
  postSigned,
  senders,
  standardHeaders,
} from './hooks.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '10' })
const maxBytes = 1024 * 1024
const standard = { verification: { type: 'standard-webhooks' } }

/** A new organisation with one hook. */
async function hooked(changes: object = {}): Promise<Hook> {
  const { id } = await gateway.organisation()
  return makeHook(gateway, id, changes)
}

const denials = async ({ organisation }: Hook) =>
  (await logOf(gateway, organisation))
    .filter(({ record }) => /^webhook\.(denied|rejected)$/.test(record.event))
    .map(({ record }) => `${record.event} ${record.reason}`)

describe('what was sent before', () => {
  test('is answered as what became of it, and done once', async () => {
    const hook = await hooked(standard)
    const body = JSON.stringify({ text: 'once' })
    const headers = { ...json, ...standardHeaders(hook.secret, body, { id: 'msg_once' }) }
    const first = await post(gateway, hook, headers, body)
    const done = await applied(gateway, hook.organisation, first)
    const again = await post(gateway, hook, headers, body)
    const later = {
      ...json,
      ...standardHeaders(hook.secret, body, { id: 'msg_once', at: Date.now() + 60_000 }),
    }
    const resigned = await post(gateway, hook, later, body)
    for (const each of [again, resigned]) {
      expect([each.status, each.json]).toEqual([200, { deliveryId: done.id, state: 'done' }])
      expect(each.headers['audit-receipt']).toBeDefined()
    }
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['once'])
    const duplicates = (await logOf(gateway, hook.organisation)).filter(
      ({ record }) => record.event === 'webhook.duplicate',
    )
    expect(duplicates.map(({ record }) => record.delivery)).toEqual([done.id, done.id])
  })

  test('with another body is a conflict, and with another id another event', async () => {
    const hook = await hooked(standard)
    const send = (id: string, text: string) => {
      const body = JSON.stringify({ text })
      return post(gateway, hook, { ...json, ...standardHeaders(hook.secret, body, { id }) }, body)
    }
    await applied(gateway, hook.organisation, await send('a', 'first'))
    const other = await send('a', 'second')
    expect([other.status, other.json.code]).toEqual([409, 'delivery-conflict'])
    expect(await denials(hook)).toEqual(['webhook.rejected delivery-conflict'])
    await applied(gateway, hook.organisation, await send('b', 'second'))
    await applied(gateway, hook.organisation, await send('c', 'second'))
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['first', 'second'])
    expect((await eventsOf(gateway, hook.organisation)).at(-1)).toBe('update.unchanged')
  })

  test.each(['GitHub', 'Stripe', 'an HMAC in hex'])('%s signs no id: the body is what tells', async name => {
    const sender = senders[name] as (typeof senders)[string]
    const hook = await hooked({ verification: sender.verification })
    const send = async (body: string, more: object, at?: number) =>
      post(gateway, hook, { ...json, ...(await sender.sign(hook.secret, body, at)), ...more }, body)
    const first = await send('{"text":"a"}', { 'X-GitHub-Delivery': '1', 'webhook-id': '1' })
    await applied(gateway, hook.organisation, first)
    const again = await send(
      '{"text":"a"}',
      { 'X-GitHub-Delivery': '2', 'webhook-id': '2' },
      Date.now() + 9000,
    )
    expect([again.status, again.json]).toEqual([200, { ...first.json, state: 'done' }])
    await applied(gateway, hook.organisation, await send('{"text": "a"}', { 'X-GitHub-Delivery': '1' }))
  })

  test('Stripe’s own id tells, whatever else of the body is another', async () => {
    const { verification, sign } = senders.Stripe as (typeof senders)[string]
    const change = { description: '${{ event.type }}' }
    const hook = await hooked({ verification, change })
    const send = async (id: string, type: string, pending_webhooks: number) => {
      const body = JSON.stringify({ id, type, pending_webhooks })
      return post(gateway, hook, { ...json, ...(await sign(hook.secret, body)) }, body)
    }
    const first = await applied(gateway, hook.organisation, await send('evt_1', 'paid', 2))
    expect(first.messageId).toBe('evt_1')
    await applied(gateway, hook.organisation, await send('evt_2', 'refunded', 1))
    const again = await send('evt_1', 'paid', 1)
    expect([again.status, again.json]).toEqual([200, { deliveryId: first.id, state: 'done' }])
    // What is no id of Stripe's is told by its body.
    for (const pending of [1, 2])
      await applied(gateway, hook.organisation, await send('paid', `no id ${pending}`, 1))
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['paid', 'refunded', 'no id 1', 'no id 2'])
  })

  test('a dead one of Stripe’s is tried anew as it came last', async () => {
    const { verification, sign } = senders.Stripe as (typeof senders)[string]
    const hook = await hooked({ verification })
    const send = async (event: object) => {
      const body = JSON.stringify({ id: 'evt_1', ...event })
      return post(gateway, hook, { ...json, ...(await sign(hook.secret, body)) }, body)
    }
    const dead = await send({ pending_webhooks: 2 })
    expect([dead.status, dead.json.state]).toEqual([202, 'dead'])
    const again = await send({ pending_webhooks: 1, text: 'whole' })
    expect(again.json.deliveryId).toBe(dead.json.deliveryId)
    await applied(gateway, hook.organisation, again)
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['whole'])
  })

  test('is one event to each hook', async () => {
    const hook = await hooked({ verification: { type: 'github', secret: 'one-for-both-of-them' } })
    const twin = await makeHook(gateway, hook.organisation, {
      verification: { type: 'github', secret: 'one-for-both-of-them' },
      connectionId: 'CONN2',
    })
    const [one, two] = [
      await postSigned(gateway, hook, { text: 'x' }),
      await postSigned(gateway, twin, { text: 'x' }),
    ]
    expect(one.json.deliveryId).not.toBe(two.json.deliveryId)
    for (const sent of [one, two]) await applied(gateway, hook.organisation, sent)
  })

  test('two hundred times at once is one update', async () => {
    const hook = await hooked(standard)
    const body = JSON.stringify({ text: 'crowd' })
    const headers = { ...json, ...standardHeaders(hook.secret, body) }
    const answers = await Promise.all(Array.from({ length: 200 }, () => post(gateway, hook, headers, body)))
    expect(answers.filter(({ status }) => status !== 202 && status !== 200)).toEqual([])
    expect(new Set(answers.map(each => each.json.deliveryId)).size).toBe(1)
    await became(gateway, hook.organisation, answers[0]?.json.deliveryId, { state: 'done', tries: 1 })
    expect(descriptionsAt(gateway, hook.organisation)).toEqual(['crowd'])
    const events = await eventsOf(gateway, hook.organisation)
    const count = (event: string) => events.filter(each => each === event).length
    expect([count('webhook.received'), count('update.attempted')]).toEqual([1, 1])
    // Repetitions are recorded within the bound of refusals: 20 a minute.
    expect([20, 40]).toContain(count('webhook.duplicate'))
  })
})

test('a header with the name of what every object has is looked for like any other', async () => {
  const hook = await hooked({ verification: { type: 'hmac', header: 'Constructor' } })
  const body = '{"text":"a"}'
  const sent = await post(gateway, hook, json, body)
  expect([sent.status, sent.json.code]).toEqual([403, 'invalid-signature'])
  expect(await denials(hook)).toEqual(['webhook.denied missing'])
  const sample = { body, headers: json }
  const path = `/organisations/${hook.organisation}/hooks/${hook.id}/test`
  expect((await gateway.admin('POST', path, sample)).json.verification.reason).toBe('missing')
  const signature = createHmac('sha256', hook.secret).update(body).digest('hex')
  await applied(
    gateway,
    hook.organisation,
    await post(gateway, hook, { ...json, Constructor: signature }, body),
  )
})

describe('a body', () => {
  test.each<[string, Buffer, number, string]>([
    ['that is not UTF-8', Buffer.from('7b2274657874223a22ff227d', 'hex'), 400, 'malformed-json'],
    ['with a byte order mark', Buffer.from('\ufeff{"text":"a"}'), 400, 'malformed-json'],
    ['that is no JSON', Buffer.from('text=a'), 400, 'malformed-json'],
    ['that is empty', Buffer.alloc(0), 400, 'malformed-json'],
    [
      'that is too deep',
      Buffer.from(`${'['.repeat(5) + '{"a":'.repeat(70)}1${'}'.repeat(70)}${']'.repeat(5)}`),
      400,
      'invalid-body',
    ],
    ['of a million levels', Buffer.from('['.repeat(500_000) + ']'.repeat(500_000)), 400, 'invalid-body'],
  ])('%s is refused to who signed it, and on record', async (_, body, status, code) => {
    const hook = await hooked()
    const answer = await post(gateway, hook, { ...json, ...gitHubHeaders(hook.secret, body) }, body)
    expect([answer.status, answer.json.code]).toEqual([status, code])
    expect(answer.headers['audit-receipt']).toBeDefined()
    const forged = await post(gateway, hook, { ...json, ...gitHubHeaders('another', body) }, body)
    expect([forged.status, forged.json.code]).toEqual([403, 'invalid-signature'])
    expect(await denials(hook)).toEqual([`webhook.rejected ${code}`, 'webhook.denied mismatch'])
  })

  test('that breaks off is malformed, and on record: nobody can sign it', async () => {
    const hook = await hooked()
    const headers = ['Content-Type: application/json', 'Content-Length: 100']
    const answer = await sendFramed(gateway.runtime.url, 'POST', hook.path, headers, '{}')
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(answer).toContain('"code":"malformed-json"')
    expect(await denials(hook)).toEqual(['webhook.rejected malformed-json'])
  })

  const sized = (bytes: number) => {
    const wrap = JSON.stringify({ text: 'big', filler: '' })
    return Buffer.from(JSON.stringify({ text: 'big', filler: 'x'.repeat(bytes - wrap.length) }))
  }

  test('of exactly 1 MiB is taken, one byte more is not, chunked or not', async () => {
    const hook = await hooked()
    for (const chunked of [false, true]) {
      const body = sized(maxBytes)
      body.write(chunked ? 'b' : 'a', body.length - 3)
      expect(body.length).toBe(maxBytes)
      const headers = { ...json, ...gitHubHeaders(hook.secret, body) }
      const sent = await gateway.ask(hook.path, { method: 'POST', headers, body, chunked })
      await applied(gateway, hook.organisation, sent)
      const over = sized(maxBytes + 1)
      const signed = { ...json, ...gitHubHeaders(hook.secret, over) }
      const refused = await gateway.ask(hook.path, { method: 'POST', headers: signed, body: over, chunked })
      expect([refused.status, refused.json.code]).toEqual([413, 'body-too-large'])
    }
    expect(await denials(hook)).toEqual(Array(2).fill('webhook.rejected body-too-large'))
  })

  test.each<[string, Record<string, string>]>([
    ['another media type', { 'Content-Type': 'application/x-www-form-urlencoded' }],
    ['another charset', { 'Content-Type': 'application/json; charset=utf-16' }],
    ['no media type', { 'Content-Type': '' }],
    ['a content coding', { ...json, 'Content-Encoding': 'gzip' }],
    ['two content codings', { ...json, 'Content-Encoding': 'identity, br' }],
  ])('in %s is refused, but only to who signed it', async (_, headers) => {
    const hook = await hooked()
    const body = '{"text":"a"}'
    const signed = await post(gateway, hook, { ...headers, ...gitHubHeaders(hook.secret, body) }, body)
    expect([signed.status, signed.json.code]).toEqual([415, 'unsupported-media-type'])
    const forged = await post(gateway, hook, { ...headers, ...gitHubHeaders('another', body) }, body)
    expect([forged.status, forged.json.code]).toEqual([403, 'invalid-signature'])
    expect(await denials(hook)).toEqual([
      'webhook.rejected unsupported-media-type',
      'webhook.denied mismatch',
    ])
  })
})

describe('headers', () => {
  test.each(Object.keys(senders))('two signatures of %s in two headers are none', async name => {
    const { verification, sign } = senders[name] as (typeof senders)[string]
    const hook = await hooked({ verification })
    const body = '{"text":"twice"}'
    const signed = Object.entries(await sign(hook.secret, body))
    for (const twice of signed) {
      const answer = await post(
        gateway,
        hook,
        [...Object.entries(json), ...signed, twice] as [string, string][],
        body,
      )
      expect([answer.status, answer.json.code]).toEqual([403, 'invalid-signature'])
    }
    expect(await denials(hook)).toEqual(signed.map(() => 'webhook.denied malformed'))
    expect(await eventsOf(gateway, hook.organisation)).not.toContain('webhook.received')
  })

  test('an id that holds a token is refused, and never stands in the log', async () => {
    const hook = await hooked(standard)
    const { token } = mintToken(randomBytes)
    const body = '{"text":"a"}'
    const id = `msg_${token}`
    const answer = await post(gateway, hook, { ...json, ...standardHeaders(hook.secret, body, { id }) }, body)
    expect([answer.status, answer.json.code]).toEqual([403, 'invalid-signature'])
    expect(JSON.stringify(await logOf(gateway, hook.organisation))).not.toContain(token)
  })

  test('an event reads those that its sender set, and none that holds a credential or tells of the way', async () => {
    const names = "headers.map(h, h).join(' ')"
    const hook = await hooked({ change: { description: `\${{ ${names} }}` } })
    const { token } = mintToken(randomBytes)
    const sent = await postSigned(
      gateway,
      hook,
      { text: 'a' },
      {
        'X-Kind': `kind-${token}`,
        Cookie: 'cookie=theirs',
        Authorization: 'Basic dXNlcjpwYXNz',
        'X-Forwarded-For': '192.0.2.1',
        'CF-Connecting-IP': '192.0.2.1',
      },
    )
    await applied(gateway, hook.organisation, sent)
    const [seen = ''] = descriptionsAt(gateway, hook.organisation)
    expect(seen.split(' ')).toEqual(expect.arrayContaining(['content-type', 'x-hub-signature-256', 'x-kind']))
    expect(seen).not.toMatch(/cookie|authorization|forwarded|cf-|real-ip/)
    expect(JSON.stringify(await logOf(gateway, hook.organisation))).not.toContain(token)
  })
})

describe('a path', () => {
  test('with a query, or of another method', async () => {
    const hook = await hooked()
    const body = '{"text":"a"}'
    const headers = { ...json, ...gitHubHeaders(hook.secret, body) }
    for (const query of ['?a=1', '?']) {
      const answer = await gateway.ask(hook.path + query, { method: 'POST', headers, body })
      expect([answer.status, answer.json.code]).toEqual([400, 'invalid-query'])
    }
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await gateway.ask(hook.path, { method, headers })
      expect([answer.status, answer.json.code, answer.headers.allow]).toEqual([
        405,
        'method-not-allowed',
        'POST',
      ])
    }
    expect((await gateway.ask(hook.path, { method: 'HEAD', headers })).status).toBe(405)
    expect((await gateway.ask(`${hook.path}/`, { method: 'POST', headers, body })).status).toBe(404)
    expect(await eventsOf(gateway, hook.organisation)).toEqual(['hook.created'])
  })

  test('whose hook was guessed asks no object, and one of another organisation is not there', async () => {
    const hook = await hooked()
    const other = await hooked()
    const body = '{"text":"a"}'
    const headers = { ...json, ...gitHubHeaders(hook.secret, body) }
    const swapped = hook.id.slice(0, 23) + (hook.id[23] === 'a' ? 'b' : 'a')
    const guesses = [
      swapped,
      mintHookId(randomBytes(32), hook.organisation, randomBytes),
      'a'.repeat(24),
      'a',
      other.id,
    ]
    const nowhere = newId()
    await gateway.ask(`/webhooks/${nowhere}/${guesses[0]}`, { method: 'POST', headers, body })
    const objects = () => filesUnder(gateway.storage).filter(file => file.endsWith('.sqlite')).length
    const before = objects()
    for (const organisation of [hook.organisation, newId()]) {
      for (const guess of guesses) {
        const answer = await gateway.ask(`/webhooks/${organisation}/${guess}`, {
          method: 'POST',
          headers,
          body,
        })
        expect([answer.status, answer.json.code]).toEqual([404, 'not-found'])
      }
      const answer = await gateway.ask(`/webhooks/${organisation}x/${hook.id}`, {
        method: 'POST',
        headers,
        body,
      })
      expect(answer.status).toBe(404)
    }
    // An object that was asked has a file.
    expect(objects()).toBe(before)
    expect(await eventsOf(gateway, hook.organisation)).toEqual(['hook.created'])
    const bad = await gateway.ask(`/webhooks/a.b/${hook.id}`, { method: 'POST', headers, body })
    expect([bad.status, bad.json.code]).toEqual([400, 'invalid-path'])
  })
})
