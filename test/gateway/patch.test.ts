/** PATCH, entity tags, conditions, and tokens that may change some fields alone. */
import { describe, expect, test } from 'vitest'
import { type Answer, eventsOf, gatewayForTests, logOf, put, versionOf, versionPath } from './gateway.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '20' })

interface Made {
  id: string
  token: string
}

function patch(
  made: Made,
  body: unknown,
  headers: Record<string, string> = {},
  version = '1.4.0',
): Promise<Answer> {
  return gateway.ask(versionPath(made.id, 'CONN1', version), {
    method: 'PATCH',
    token: made.token,
    headers: { 'Content-Type': 'application/merge-patch+json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}
const read = (made: Made) => gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
const puts = (id: string) =>
  gateway.platform.received.filter(({ method, url }) => method === 'PUT' && url.includes(id))
const held = (id: string) => gateway.platform.get(id, 'CONN1', '1.4.0')

test('one field is changed, the rest is sent as the platform holds it, and the record says what changed', async () => {
  const made = await gateway.organisation()
  const before = versionOf(gateway, made.id)
  const answer = await patch(made, { isDefault: true })
  expect(answer.status).toBe(200)
  expect(answer.json).toMatchObject({ id: before.id, isDefault: true, description: before.description })
  expect(JSON.parse(puts(made.id)[0]?.body ?? '')).toEqual({ ...before, isDefault: true })
  expect(held(made.id)).toMatchObject({ isDefault: true })
  const log = (await logOf(gateway, made.id)).map(({ record }) => record)
  expect(log.at(-2)).toMatchObject({
    event: 'update.attempted',
    request: { patchSha256: expect.any(String) },
  })
  expect(log.at(-1)).toMatchObject({
    event: 'update.succeeded',
    change: { isDefault: { from: false, to: true } },
  })
  expect(Object.keys(log.at(-1).change)).toEqual(['isDefault'])
})

test('null takes the description away, and a name is changed', async () => {
  const made = await gateway.organisation()
  expect((await patch(made, { description: null, name: '1.4.1' })).status).toBe(200)
  const sent = JSON.parse(puts(made.id)[0]?.body ?? '')
  expect([Object.hasOwn(sent, 'description'), sent.name]).toEqual([false, '1.4.1'])
})

test.each([
  ['an empty patch', () => ({})],
  ['what is so already', ({ description }: { description?: string }) => ({ description, isDefault: false })],
  [
    'the read-only fields as they are',
    ({ id, createdAt }: { id: string; createdAt: string }) => ({ id, createdAt }),
  ],
])('%s changes nothing, sends nothing, and says so', async (_, of) => {
  const made = await gateway.organisation()
  const answer = await patch(made, of(versionOf(gateway, made.id)))
  expect([answer.status, answer.json]).toEqual([200, versionOf(gateway, made.id)])
  expect(answer.headers['audit-receipt']).toBeDefined()
  expect(puts(made.id)).toEqual([])
  expect(await eventsOf(gateway, made.id)).toEqual(['update.unchanged'])
})

describe('is refused', () => {
  test.each([
    ['a read-only field', { createdAt: '2020-01-01T00:00:00Z' }, ['createdAt']],
    ['another id', { id: 'x' }, ['id']],
    [
      'all read-only fields',
      {
        id: 'x',
        createdAt: '2020-01-01T00:00:00Z',
        updatedAt: '2020-01-01T00:00:00Z',
        publishedAt: '2020-01-01T00:00:00Z',
      },
      ['id', 'createdAt', 'updatedAt', 'publishedAt'],
    ],
    ['a needed field taken away', { isLatest: null }, ['isLatest']],
    ['an unknown field', { isdefault: true }, ['isdefault']],
    ['a reserved name', { name: 'latest' }, ['name']],
    ['a wrong type', { isDefault: 'yes' }, ['isDefault']],
    ['a patch that is no object', ['isDefault'], ['body']],
    ['a nested value', { description: { a: 1 }, name: ['x'] }, ['description', 'name']],
    ['a value nested nine thousand times', `${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}`, ['a']],
    ['a patch of the prototype', '{"__proto__":{"isDefault":true}}', ['__proto__']],
    ['a token in it', { description: `vgw_${'x'.repeat(65)}` }, ['body']],
  ])('%s', async (_, body, fields) => {
    const made = await gateway.organisation()
    const answer = await patch(made, body)
    expect([answer.status, answer.json.code, answer.json.outcome]).toEqual([400, 'invalid-body', 'not-sent'])
    expect(answer.json.fields.map((each: { field: string }) => each.field)).toEqual(fields)
    expect(puts(made.id)).toEqual([])
    expect(await eventsOf(gateway, made.id)).toEqual(['update.rejected'])
  })

  test.each([
    ['application/json', 415],
    ['application/merge-patch+json; charset=latin1', 415],
    ['application/json-patch+json', 415],
    ['Application/Merge-Patch+JSON; charset=utf-8', 200],
  ])('or not, as %s', async (type, status) => {
    const made = await gateway.organisation()
    const answer = await patch(made, { isDefault: true }, { 'Content-Type': type })
    expect(answer.status).toBe(status)
    if (status === 415) expect(answer.json.detail).toContain('application/merge-patch+json')
  })

  test('a version that is not there', async () => {
    const made = await gateway.organisation()
    const answer = await patch(made, { isDefault: true }, {}, '9.9.9')
    expect([answer.status, answer.json.code, answer.json.outcome]).toEqual([
      404,
      'upstream-rejected',
      'not-sent',
    ])
  })

  test('a name that the token may not give', async () => {
    const made = await gateway.organisation({ versions: ['1.4.*'] })
    expect((await patch(made, { name: '2.0.0' })).json.code).toBe('insufficient-scope')
    // Before anything else that is wrong.
    expect((await patch(made, { name: '2.0.0' }, { 'If-Match': '"x"' })).json.code).toBe('insufficient-scope')
    expect((await patch(made, { name: '2.0.0' }, { 'If-Match': 'x' })).json.code).toBe('insufficient-scope')
    expect((await patch(made, { name: '1.4.9' })).status).toBe(200)
    await gateway.admin('DELETE', `/organisations/${made.id}/session`)
    expect((await patch(made, { name: '2.0.0' }, {}, '1.4.9')).json.code).toBe('insufficient-scope')
  })

  test('an answer of the platform that is no version', async () => {
    const made = await gateway.organisation()
    gateway.platform.misbehave({ kind: 'status', status: 200, body: '{"id":"1"}' }, { method: 'GET' })
    const answer = await patch(made, { isDefault: true })
    expect([answer.status, answer.json.code, answer.json.outcome]).toEqual([
      502,
      'upstream-invalid-response',
      'not-sent',
    ])
  })

  test('a token in what the platform holds, which would stand in the log', async () => {
    const made = await gateway.organisation()
    const version = { ...versionOf(gateway, made.id), description: `vgw_${'y'.repeat(65)}` }
    gateway.platform.seed(made.id, 'CONN1', [version])
    expect((await patch(made, { isDefault: true })).json.code).toBe('invalid-body')
  })
})

test('forty patches at once, each over what the last one left', async () => {
  const made = await gateway.organisation()
  const names = Array.from({ length: 30 }, (_, i) => `change ${i}`)
  const answers = await Promise.all(names.map(description => patch(made, { description })))
  expect(answers.map(({ status }) => status)).toEqual(names.map(() => 200))
  const sent = puts(made.id).map(({ body }) => JSON.parse(body))
  expect(sent.map(({ description }) => description).sort()).toEqual(names.sort())
  // Each carries the updatedAt that the one before it left behind.
  expect(new Set(sent.map(({ updatedAt }) => updatedAt)).size).toBe(names.length)
})

test('an answer that was lost is looked for, as for any update', async () => {
  const made = await gateway.organisation()
  gateway.platform.misbehave({ kind: 'drop-after' }, { method: 'PUT' })
  const answer = await patch(made, { isDefault: true })
  expect([answer.status, answer.json.isDefault]).toEqual([200, true])
  expect(puts(made.id).length).toBe(1)
})

test.each([
  ['a patch', {}],
  ['an If-Match', { 'If-Match': '*' }],
])('%s is not sent again over what somebody else changed meanwhile', async (_, headers) => {
  const made = await gateway.organisation({ fields: ['description'] })
  await read(made)
  // biome-ignore lint/suspicious/noThenProperty: the stand-in's word for what comes after the gate.
  const gate = gateway.platform.hold({ method: 'PUT', then: { kind: 'drop-before' } })
  const going = patch(made, { description: 'mine' }, headers, '1.3.0')
  await gate.arrived
  // A person, at the platform itself: 1.3.0 is the default no more, and nothing else of it changes.
  const sibling = gateway.platform.get(made.id, 'CONN1', '1.4.0')
  const person = await fetch(`${gateway.platform.baseUrl}/o/${made.id}/connections/CONN1/versions/1.4.0`, {
    method: 'PUT',
    headers: { Cookie: gateway.platform.cookie, 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...sibling, isDefault: true }),
  })
  expect(person.status).toBe(200)
  gate.release()
  const answer = await going
  expect(answer.json).toMatchObject({ status: 412, code: 'precondition-failed', outcome: 'not-applied' })
  expect(gateway.platform.get(made.id, 'CONN1', 'default')?.name).toBe('1.4.0')
  expect((await eventsOf(gateway, made.id)).slice(-2)).toEqual(['update.attempted', 'update.failed'])
})

test('what the platform refuses is not sent again, though an earlier send was lost', async () => {
  const made = await gateway.organisation()
  await read(made)
  gateway.platform.misbehave({ kind: 'drop-before' }, { method: 'PUT', connectionId: 'CONN1' })
  gateway.platform.misbehave({ kind: 'status', status: 403 }, { method: 'PUT', connectionId: 'CONN1' })
  const answer = await patch(made, { description: 'mine' })
  expect(answer.json).toMatchObject({ status: 403, code: 'upstream-rejected', outcome: 'not-applied' })
  expect(puts(made.id).length).toBe(2)
})

test('what changed is bounded on record, and holds no token that the platform held', async () => {
  const made = await gateway.organisation()
  const token = `vgw_${'z'.repeat(65)}`
  const version = { ...versionOf(gateway, made.id), description: `${token} was here` }
  gateway.platform.seed(made.id, 'CONN1', [version])
  expect((await patch(made, { description: 'x'.repeat(50_000) })).status).toBe(200)
  expect((await patch(made, { description: 'short' })).status).toBe(200)
  const log = await logOf(gateway, made.id)
  expect(log.filter(({ line }) => line.includes(token))).toEqual([])
  const changes = log.flatMap(({ record }) => (record.change ? [record.change.description] : []))
  const long = { sha256: expect.any(String), bytes: 50_000 }
  expect(changes).toEqual([
    { from: 'vgw_… was here', to: long },
    { from: long, to: 'short' },
  ])
})

describe('an idempotency key', () => {
  test('of a patch that changed nothing is kept too: repeated, it does not undo what came since', async () => {
    const made = await gateway.organisation()
    const key = { 'Idempotency-Key': 'same' }
    const { description } = versionOf(gateway, made.id)
    const first = await patch(made, { description }, key)
    expect(first.status).toBe(200)
    expect((await patch(made, { description: 'since' })).status).toBe(200)
    const again = await patch(made, { description }, key)
    expect([again.status, again.headers['idempotency-replayed'], again.text]).toEqual([
      200,
      'true',
      first.text,
    ])
    expect(held(made.id)?.description).toBe('since')
  })

  test('answers a patch again, and is another one for a PUT', async () => {
    const made = await gateway.organisation()
    const key = { 'Idempotency-Key': 'k1' }
    const first = await patch(made, { description: 'one' }, key)
    await patch(made, { description: 'two' })
    const again = await patch(made, ' { "description" : "one" } ', key)
    expect(again.text).toBe(first.text)
    expect(again.headers['idempotency-replayed']).toBe('true')
    expect(again.headers['audit-receipt']).toBe(first.headers['audit-receipt'])
    expect((await patch(made, { description: 'three' }, key)).json.code).toBe('idempotency-mismatch')
    expect(
      (await put(gateway, made, { headers: { ...key, 'Content-Type': 'application/json' } })).status,
    ).toBe(200)
    expect(puts(made.id).length).toBe(3)
  })

  test('of an unknown patch is settled by what is seen later', async () => {
    const made = await gateway.organisation()
    const key = { 'Idempotency-Key': 'k2' }
    gateway.platform.misbehave({ kind: 'hang' }, { method: 'PUT' })
    expect((await patch(made, { description: 'open' }, key)).json.outcome).toBe('unknown')
    let again = await patch(made, { description: 'open' }, key)
    while (again.json.code === 'idempotency-in-flight')
      again = await patch(made, { description: 'open' }, key)
    // Seen as not applied, the key is free again.
    while (again.status !== 200) again = await patch(made, { description: 'open' }, key)
    expect(held(made.id)?.description).toBe('open')
  })
})

describe('an entity tag', () => {
  test('comes with reads and updates, and holds until the version changes', async () => {
    const made = await gateway.organisation()
    const first = String((await read(made)).headers.etag)
    expect(first).toMatch(/^"[0-9a-f]{64}"$/)
    expect((await read(made)).headers.etag).toBe(first)
    const patched = await patch(made, { description: 'new' }, { 'If-Match': first })
    expect(patched.status).toBe(200)
    expect(patched.headers.etag).not.toBe(first)
    expect((await read(made)).headers.etag).toBe(patched.headers.etag)
    const late = await patch(made, { description: 'late' }, { 'If-Match': first })
    expect([late.status, late.json.code, late.json.outcome]).toEqual([412, 'precondition-failed', 'not-sent'])
    expect(held(made.id)?.description).toBe('new')
    expect((await eventsOf(gateway, made.id)).at(-1)).toBe('update.rejected')
  })

  test('is asked of a PUT too, and of one that waited its turn', async () => {
    const made = await gateway.organisation()
    const etag = String((await read(made)).headers.etag)
    const conditional = { 'Content-Type': 'application/json', 'If-Match': etag }
    const [one, other] = await Promise.all([
      put(gateway, made, { headers: conditional, changes: { description: 'one' } }),
      put(gateway, made, { headers: conditional, changes: { description: 'other' } }),
    ])
    expect([one.status, other.status].sort()).toEqual([200, 412])
    expect(puts(made.id).length).toBe(1)
    const log = (await logOf(gateway, made.id)).map(({ record }) => record)
    const succeeded = log.find(({ event }) => event === 'update.succeeded')
    expect(succeeded.change).toEqual({ description: { from: expect.any(String), to: expect.any(String) } })
  })

  test('* needs the version to exist', async () => {
    const made = await gateway.organisation()
    expect((await patch(made, { isDefault: true }, { 'If-Match': '*' })).status).toBe(200)
    expect((await patch(made, { isDefault: true }, { 'If-Match': '*' }, '9.9.9')).json.code).toBe(
      'precondition-failed',
    )
    expect((await patch(made, {}, { 'If-Match': 'abc' })).json.fields[0].field).toBe('If-Match')
  })
})

describe('a token for some fields', () => {
  test('can describe a version, and cannot dethrone the default', async () => {
    const made = await gateway.organisation({ fields: ['description'] })
    expect((await gateway.ask(`/o/${made.id}/token`, { token: made.token })).json.fields).toEqual([
      'description',
    ])
    expect((await patch(made, { description: 'new' })).status).toBe(200)
    expect((await put(gateway, made, { changes: { description: 'newer' } })).status).toBe(200)
    for (const changes of [
      { isDefault: true },
      { isLatest: false },
      { name: '1.4.1' },
      { description: 'x', isDefault: true },
    ]) {
      const update = await put(gateway, made, { changes })
      expect([update.status, update.json.code, update.json.outcome]).toEqual([
        403,
        'insufficient-scope',
        'not-sent',
      ])
      expect((await patch(made, changes)).json.code).toBe('insufficient-scope')
    }
    expect(puts(made.id).length).toBe(2)
    expect((await eventsOf(gateway, made.id)).filter(event => event === 'update.denied').length).toBe(8)
  })

  test.each([
    ['a field that is none', ['id']],
    ['none at all', []],
    ['one twice', ['name', 'name']],
  ])('%s is refused', async (_, fields) => {
    const { id } = await gateway.organisation()
    const made = await gateway.admin('POST', `/organisations/${id}/tokens`, {
      name: 'x',
      connections: ['*'],
      fields,
    })
    expect([made.status, made.json.code]).toEqual([400, 'invalid-body'])
  })
})
