/** Hooks as an admin defines them: their secrets, told once, and each wrong definition by its field. From the real Worker. */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { gatewayForTests, logOf, newId, sightings } from './gateway.ts'
import { definitionOf, inTheClear, makeHook } from './hooks.ts'

const gateway = await gatewayForTests()

const create = (organisation: string, definition: object) =>
  gateway.admin('POST', `/organisations/${organisation}/hooks`, definition)
const listOf = async (organisation: string) =>
  (await gateway.admin('GET', `/organisations/${organisation}/hooks`)).json

/** The records of an organisation's hooks. */
const hookRecords = async (organisation: string) =>
  (await logOf(gateway, organisation))
    .map(({ record }) => record)
    .filter(({ event }) => event.startsWith('hook.'))

const made: [string, object, RegExp][] = [
  ['Standard Webhooks', { type: 'standard-webhooks' }, /^whsec_[A-Za-z0-9+/]{43}=$/],
  ['GitHub', { type: 'github' }, /^[\w-]{43}$/],
  ['Stripe', { type: 'stripe' }, /^[\w-]{43}$/],
  ['an HMAC', { type: 'hmac', header: 'X-Signature' }, /^[\w-]{43}$/],
]
test.each(made)(
  'a hook of %s is told with a secret once, and never shown again',
  async (_, verification, form) => {
    const id = newId()
    const answer = await create(id, definitionOf({ verification }))
    expect(answer.status).toBe(201)
    expect(answer.headers['audit-receipt']).toBeDefined()
    expect(answer.headers['cache-control']).toBe('no-store')
    const { secret, url, ...shown } = answer.json
    expect(secret).toMatch(form)
    expect(shown.id).toMatch(/^[0-9A-Za-z]{24}$/)
    expect(url).toBe(`${new URL(gateway.runtime.url).origin}/webhooks/${id}/${shown.id}`)
    const one = await gateway.admin('GET', `/organisations/${id}/hooks/${shown.id}`)
    expect(one.json).toEqual({ ...shown, url })
    expect(await listOf(id)).toEqual({ hooks: [one.json] })
    expect(one.json).toMatchObject({
      ...definitionOf({ verification }),
      onFailure: 'block',
      createdBy: 'alice',
      previousSecretsUntil: [],
      pending: 0,
      dead: 0,
    })
    expect(sightings(gateway, inTheClear(secret))).toEqual([])
    const [record, ...others] = await hookRecords(id)
    expect(others).toEqual([])
    expect(record).toMatchObject({
      event: 'hook.created',
      actor: { type: 'admin', id: 'alice', name: 'alice' },
      target: { organisationId: id, connectionId: 'CONN1', hookId: shown.id },
      hook: { id: shown.id, name: 'releases', verification: one.json.verification },
    })
  },
)

test.each<[string, object]>([
  ['Standard Webhooks', { type: 'standard-webhooks', secret: `whsec_${randomBytes(24).toString('base64')}` }],
  ['GitHub', { type: 'github', secret: `a secret, ${randomBytes(24).toString('hex')}` }],
  ['Stripe', { type: 'stripe', secret: `whsec_${randomBytes(24).toString('hex')}` }],
  ['an HMAC', { type: 'hmac', header: 'X-Signature', secret: randomBytes(8).toString('hex') }],
])('a hook of %s takes the secret that its sender has', async (_, verification) => {
  const { secret } = verification as { secret: string }
  const id = newId()
  expect((await makeHook(gateway, id, { verification })).secret).toBe(secret)
  expect((await listOf(id)).hooks[0]).not.toHaveProperty('verification.secret')
  expect(sightings(gateway, inTheClear(secret))).toEqual([])
})

test('a hook that asks for tokens has no secret, neither now nor later', async () => {
  const id = newId()
  const hook = await makeHook(gateway, id, { verification: { type: 'token' } })
  expect(hook.secret).toBeUndefined()
  const rotated = await gateway.admin('POST', `/organisations/${id}/hooks/${hook.id}/rotate-secret`)
  expect([rotated.status, rotated.json.code]).toEqual([400, 'invalid-body'])
  expect(rotated.json.fields[0].field).toBe('verification')
})

const bytes = (count: number) => randomBytes(count).toString('base64')
test.each<[string, object]>([
  ['16 bytes', { type: 'standard-webhooks', secret: `whsec_${bytes(16)}` }],
  ['65 bytes', { type: 'standard-webhooks', secret: `whsec_${bytes(65)}` }],
  ['no prefix', { type: 'standard-webhooks', secret: bytes(32) }],
  ['no base64', { type: 'standard-webhooks', secret: `whsec_${'*'.repeat(44)}` }],
  ['a public key of 31 bytes', { type: 'standard-webhooks', secret: `whpk_${bytes(31)}` }],
  ['a private key', { type: 'standard-webhooks', secret: `whsk_${bytes(32)}` }],
  ['15 characters', { type: 'github', secret: randomBytes(8).toString('hex').slice(1) }],
  ['513 characters', { type: 'stripe', secret: randomBytes(257).toString('hex').slice(1) }],
  ['a line break', { type: 'hmac', header: 'X-S', secret: `${randomBytes(8).toString('hex')}\n` }],
  ['letters beyond ASCII', { type: 'github', secret: `${randomBytes(8).toString('hex')}ü` }],
  ['no text', { type: 'github', secret: 1_234_567_890_123_456 }],
  ['a token to ask for', { type: 'token', secret: bytes(32) }],
])('a secret of another form is refused, and not repeated: %s', async (_, verification) => {
  const id = newId()
  const answer = await create(id, definitionOf({ verification }))
  expect([answer.status, answer.json.code]).toEqual([400, 'invalid-body'])
  expect(answer.json.fields.map(({ field }: { field: string }) => field)).toEqual(['verification.secret'])
  expect(answer.text).not.toContain(String((verification as { secret: unknown }).secret))
  expect(await listOf(id)).toEqual({ hooks: [] })
})

const template = { version: '${{ event.tag }}', versions: ['1.*'] }
const verification = (more: object) => ({ verification: { type: 'hmac', header: 'X-S', ...more } })
test.each<[string, object, string[]]>([
  ['an unknown field', { url: 'https://example.com' }, ['url']],
  ['an id', { id: 'a'.repeat(24) }, ['id']],
  ['no name', { name: undefined }, ['name']],
  ['an empty name', { name: '' }, ['name']],
  ['no connection', { connectionId: undefined }, ['connectionId']],
  ['no such connection', { connectionId: '../x' }, ['connectionId']],
  ['no version', { version: undefined }, ['version']],
  ['no such version', { version: '' }, ['version']],
  ['a template without versions', { version: template.version }, ['versions']],
  ['a template, and no patterns', { ...template, versions: [] }, ['versions']],
  ['a name that is a template without versions', { change: { name: '${{ event.tag }}' } }, ['versions']],
  ['a template that does not end', { ...template, version: '${{ event.tag' }, ['version']],
  ['a condition with matches()', { when: 'event.tag.matches("a+")' }, ['when']],
  [
    'a change with matches()',
    { change: { isDefault: '${{ event.a.matches("a+") }}' } },
    ['change.isDefault'],
  ],
  ['nested comprehensions', { when: 'event.a.all(x, event.b.all(y, x == y))' }, ['when']],
  ['a condition that is none', { when: '1 + 1' }, ['when']],
  ['a condition that is no CEL', { when: 'event.' }, ['when']],
  ['a condition over something else', { when: 'secrets.a == "b"' }, ['when']],
  ['no change', { change: undefined }, ['change']],
  ['an empty change', { change: {} }, ['change']],
  ['a text for isDefault', { change: { isDefault: 'yes' } }, ['change.isDefault']],
  ['a number for isDefault', { change: { isDefault: 1 } }, ['change.isDefault']],
  ['null for isLatest', { change: { isLatest: null } }, ['change.isLatest']],
  ['an expression of another type', { change: { isDefault: '${{ size("a") }}' } }, ['change.isDefault']],
  ['a boolean for the description', { change: { description: true } }, ['change.description']],
  ['read-only fields', { change: { id: 'x', publishedAt: null } }, ['change.id', 'change.publishedAt']],
  ['a field that is not known', { change: { status: 'x' } }, ['change.status']],
  ['a way to fail', { onFailure: 'retry' }, ['onFailure']],
  ['no verification', { verification: undefined }, ['verification']],
  ['an unknown verification', { verification: { type: 'none' } }, ['verification.type']],
  ['an HMAC without a header', { verification: { type: 'hmac' } }, ['verification.header']],
  ['an HMAC in a header of the way', verification({ header: 'X-Forwarded-For' }), ['verification.header']],
  ['a hash that is broken', verification({ hash: 'SHA-1' }), ['verification.hash']],
  ['an encoding', verification({ encoding: 'base32' }), ['verification.encoding']],
  ['a prefix with a space', verification({ prefix: 'sha256 ' }), ['verification.prefix']],
  ['what another type takes', { verification: { type: 'github', header: 'X' } }, ['verification.header']],
  ['several', { name: '', connectionId: '', when: 1 }, ['name', 'connectionId', 'when']],
])('a definition is refused with the field that is wrong: %s', async (_, changes, fields) => {
  const id = newId()
  const answer = await create(id, definitionOf(changes))
  expect([answer.status, answer.json.code], answer.text).toEqual([400, 'invalid-body'])
  const named = answer.json.fields.map(({ field }: { field: string }) => field)
  expect([...new Set(named)].sort()).toEqual([...fields].sort())
  expect(await listOf(id)).toEqual({ hooks: [] })
})

test('a definition that holds a token of the gateway is not kept', async () => {
  const { id, token } = await gateway.organisation()
  const answer = await create(id, definitionOf({ name: `for ${token}` }))
  expect([answer.status, answer.json.code]).toEqual([400, 'invalid-body'])
  expect(answer.text).not.toContain(token)
  expect(await hookRecords(id)).toEqual([])
})

test('an organisation has a hundred hooks at most, however many come at once', async () => {
  const { id } = await gateway.organisation()
  const first = await makeHook(gateway, id)
  const crowd = await Promise.all(Array.from({ length: 104 }, () => create(id, definitionOf())))
  expect(crowd.filter(({ status }) => status === 201)).toHaveLength(99)
  const refused = crowd.filter(({ status }) => status !== 201).map(each => each.json)
  expect(refused.map(each => [each.status, each.fields[0].field])).toEqual(Array(5).fill([400, 'hooks']))
  expect((await listOf(id)).hooks).toHaveLength(100)
  await gateway.admin('DELETE', `/organisations/${id}/hooks/${first.id}`)
  expect((await create(id, definitionOf())).status).toBe(201)
})
