/** Secrets of hooks: rotated, sealed, sealed anew, and never stored, logged or shown in the clear. From the real Worker. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { gatewayForTests, logOf, newId, sightings } from './gateway.ts'
import { type Hook, inTheClear, makeHook, post, postSigned, rewrite, type Sender, senders } from './hooks.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '10' })
const newKey = () => randomBytes(32).toString('base64')

const at = ({ organisation, id }: Hook, rest = '') => `/organisations/${organisation}/hooks/${id}${rest}`
const rotate = (hook: Hook, wanted?: object) => gateway.admin('POST', at(hook, '/rotate-secret'), wanted)

/** Of an organisation without a session: what it is sent waits. */
const hooked = (changes: object = {}): Promise<Hook> => makeHook(gateway, newId(), changes)

let counter = 0

/** What comes of an event that is signed with a secret. */
async function signedWith(hook: Hook, secret: string): Promise<string> {
  const { status, json } = await postSigned(gateway, { ...hook, secret }, { text: `event ${++counter}` })
  return status === 202 ? 'taken' : `${status} ${json.code}`
}

/** The events of an organisation's log that begin so, with the hooks that they are about. */
async function recordsOf(organisation: string, event: string) {
  const records = (await logOf(gateway, organisation)).map(({ record }) => record)
  return records.filter(each => each.event === event)
}

describe('a secret that is rotated', () => {
  test('works for a day beside the new one, told once and on record', async () => {
    const hook = await hooked()
    const asked = Date.now()
    const answer = await rotate(hook)
    expect(answer.status).toBe(201)
    expect(answer.headers['audit-receipt']).toBeDefined()
    const { secret, ...shown } = answer.json
    expect(secret).toMatch(/^[\w-]{43}$/)
    expect(secret).not.toBe(hook.secret)
    const until = shown.previousSecretsUntil.map((each: string) => Date.parse(each) - asked)
    expect(until).toEqual([expect.closeTo(86_400_000, -5)])
    expect((await gateway.admin('GET', at(hook))).json).toEqual(shown)
    expect(await signedWith(hook, hook.secret)).toBe('taken')
    expect(await signedWith(hook, secret)).toBe('taken')
    const [record, ...others] = await recordsOf(hook.organisation, 'hook.rotated')
    expect(others).toEqual([])
    expect(record).toMatchObject({ actor: { type: 'admin', id: 'alice' }, target: { hookId: hook.id } })
    expect(sightings(gateway, inTheClear(hook.secret, secret))).toEqual([])
  })

  test('without grace is refused at once, also where it had a grace before', async () => {
    const hook = await hooked()
    const second = (await rotate(hook)).json.secret
    const answer = await rotate(hook, { graceSeconds: 0 })
    expect(answer.json.previousSecretsUntil).toEqual([])
    expect(await signedWith(hook, hook.secret)).toBe('403 invalid-signature')
    expect(await signedWith(hook, second)).toBe('403 invalid-signature')
    expect(await signedWith(hook, answer.json.secret)).toBe('taken')
    await gateway.restart()
    expect(await signedWith(hook, second)).toBe('403 invalid-signature')
    expect(await signedWith(hook, answer.json.secret)).toBe('taken')
  })

  test('is refused when its grace is over', async () => {
    const hook = await hooked()
    const { secret } = (await rotate(hook, { graceSeconds: 1 })).json
    expect(await signedWith(hook, secret)).toBe('taken')
    await expect
      .poll(() => signedWith(hook, hook.secret), { timeout: 5_000, interval: 100 })
      .toBe('403 invalid-signature')
    expect((await gateway.admin('GET', at(hook))).json.previousSecretsUntil).toEqual([])
  })

  test('is one of three that work at most, and a shorter grace shortens that of older ones', async () => {
    const hook = await hooked()
    const secrets = [hook.secret]
    for (const graceSeconds of [604_800, 604_800, 3_600]) {
      secrets.push((await rotate(hook, { graceSeconds })).json.secret)
    }
    const outcomes = await Promise.all(secrets.map(each => signedWith(hook, each)))
    expect(outcomes).toEqual(['403 invalid-signature', 'taken', 'taken', 'taken'])
    const { previousSecretsUntil } = (await gateway.admin('GET', at(hook))).json
    const left = previousSecretsUntil.map((each: string) => Date.parse(each) - Date.now())
    expect(left).toHaveLength(2)
    expect(Math.max(...left)).toBeLessThanOrEqual(3_600_000)
  })

  test('may be brought, in the form that the hook takes', async () => {
    const [gitHub, standard] = [await hooked(), await hooked({ verification: { type: 'standard-webhooks' } })]
    const secret = `brought by its sender ${randomBytes(16).toString('hex')}`
    expect((await rotate(gitHub, { secret })).json.secret).toBe(secret)
    expect(await signedWith(gitHub, secret)).toBe('taken')
    const wrong: [Hook, object, string][] = [
      [standard, { secret }, 'secret'],
      [gitHub, { secret: 'too short' }, 'secret'],
      [gitHub, { graceSeconds: -1 }, 'graceSeconds'],
      [gitHub, { graceSeconds: 604_801 }, 'graceSeconds'],
      [gitHub, { graceSeconds: '60' }, 'graceSeconds'],
      [gitHub, { until: 'tomorrow' }, 'until'],
    ]
    for (const [hook, wanted, field] of wrong) {
      const answer = await rotate(hook, wanted)
      expect([answer.status, answer.json.code, answer.json.fields[0].field]).toEqual([
        400,
        'invalid-body',
        field,
      ])
      expect(answer.text).not.toContain(secret)
    }
    expect(await recordsOf(standard.organisation, 'hook.rotated')).toEqual([])
    expect(sightings(gateway, inTheClear(secret))).toEqual([])
  })

  test('of which the gateway has the public half needs a new one from its sender', async () => {
    const { verification, sign } = senders['Standard Webhooks with Ed25519'] as Sender
    const hook = await hooked({ verification })
    const send = async () => {
      const body = JSON.stringify({ text: `event ${++counter}` })
      return post(gateway, hook, { 'Content-Type': 'application/json', ...(await sign('', body)) }, body)
    }
    expect((await send()).status).toBe(202)
    const none = await rotate(hook)
    expect([none.status, none.json.code, none.json.fields[0].field]).toEqual([400, 'invalid-body', 'secret'])
    const other = `whpk_${randomBytes(32).toString('base64')}`
    expect((await rotate(hook, { secret: other })).status).toBe(201)
    expect((await send()).status).toBe(202)
    expect((await rotate(hook, { secret: other, graceSeconds: 0 })).status).toBe(201)
    expect((await send()).json.code).toBe('invalid-signature')
  })
})

describe('a new sealing key', () => {
  const reseal = async () => (await gateway.admin('POST', '/reseal')).json

  test('opens nothing by itself; beside the previous one hooks verify, and are sealed anew', async () => {
    const id = newId()
    const [met, unmet] = [await makeHook(gateway, id), await makeHook(gateway, id)]
    const { secret } = (await rotate(unmet)).json
    const untokened = await makeHook(gateway, id, { verification: { type: 'token' } })
    const [old, next] = [gateway.bindings.SEALING_KEY as string, newKey()]

    await gateway.restart({ SEALING_KEY: next, SEALING_KEY_PREVIOUS: newKey() })
    for (const each of [met.secret, 'another secret of its']) {
      expect(await signedWith(met, each)).toBe('503 not-configured')
    }
    expect((await reseal()).failed).toContain(id)
    expect(await recordsOf(id, 'webhook.received')).toEqual([])

    await gateway.restart({ SEALING_KEY: next, SEALING_KEY_PREVIOUS: old })
    expect(await signedWith(met, met.secret)).toBe('taken')
    expect(await signedWith(met, 'another secret of its')).toBe('403 invalid-signature')
    const outcome = await reseal()
    expect(outcome.failed).toEqual([])
    expect(outcome.resealed).toBeGreaterThan(0)
    // The first was sealed anew as it was opened, and the third has none.
    const records = await recordsOf(id, 'hook.resealed')
    expect(records.map(({ target }) => target.hookId)).toEqual([unmet.id])
    expect(records[0].actor).toMatchObject({ type: 'admin', id: 'alice' })
    expect(await reseal()).toMatchObject({ resealed: 0, failed: [] })
    expect((await recordsOf(id, 'hook.resealed')).length).toBe(1)

    await gateway.restart({ SEALING_KEY_PREVIOUS: undefined })
    expect(await signedWith(met, met.secret)).toBe('taken')
    expect(await signedWith(unmet, unmet.secret)).toBe('taken')
    expect(await signedWith(unmet, secret)).toBe('taken')
    expect(await signedWith(unmet, met.secret)).toBe('403 invalid-signature')
    expect((await gateway.admin('GET', at(untokened))).status).toBe(200)
    expect(sightings(gateway, inTheClear(met.secret, unmet.secret, secret, old, next))).toEqual([])
  })

  test('that lost the previous one is mended by a new secret', async () => {
    const hook = await hooked()
    await gateway.restart({ SEALING_KEY: newKey() })
    expect(await signedWith(hook, hook.secret)).toBe('503 not-configured')
    const { secret } = (await rotate(hook, { graceSeconds: 1 })).json
    expect(await signedWith(hook, secret)).toBe('taken')
    expect(await signedWith(hook, hook.secret)).toBe('403 invalid-signature')
    // What does not work any more holds up no change of keys.
    await expect
      .poll(async () => (await reseal()).failed, { timeout: 5_000 })
      .not.toContain(hook.organisation)
  })
})

test('a sealed secret opens for its own hook alone', async () => {
  const id = newId()
  const [hook, other] = [await makeHook(gateway, id), await makeHook(gateway, id)]
  expect(await signedWith(hook, hook.secret)).toBe('taken')
  await rewrite(
    gateway,
    id,
    `update hooks set secrets = (select secrets from hooks where id = '${hook.id}') where id = '${other.id}'`,
  )
  expect(await signedWith(other, hook.secret)).toBe('503 not-configured')
  expect(await signedWith(other, other.secret)).toBe('503 not-configured')
  expect(await signedWith(hook, hook.secret)).toBe('taken')
})
