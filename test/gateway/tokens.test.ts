/** Tokens: every way in which one is not believed, or not allowed something. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import {
  type Answer,
  contentOf,
  eventsOf,
  filesUnder,
  gatewayForTests,
  logOf,
  newId,
  put,
  sightings,
  versionOf,
  versionPath,
} from './gateway.ts'

const gateway = await gatewayForTests()

const json = { 'Content-Type': 'application/json' }
const read = (id: string, token?: string, version = '1.4.0') =>
  gateway.ask(versionPath(id, 'CONN1', version), { token })
const lastRecord = async (id: string) => (await logOf(gateway, id)).at(-1)?.record

/** The 401 for a token that is not believed, without what tells two requests apart. */
function expectInvalid(answer: Answer, outcome?: string): void {
  expect(answer.status).toBe(401)
  const { instance, ...body } = answer.json
  expect(typeof instance).toBe('string')
  expect(body).toEqual({
    type: '/problems/invalid-token',
    title: 'The token is not valid for this organisation',
    status: 401,
    detail: 'The token is not valid for this organisation.',
    code: 'invalid-token',
    message: 'The token is not valid for this organisation.',
    ...(outcome === undefined ? {} : { outcome }),
  })
  expect(answer.headers['www-authenticate']).toBe('Bearer error="invalid_token"')
  expect(answer.headers['audit-receipt']).toBeUndefined()
  expect(answer.headers.ratelimit).toBeUndefined()
}

describe('no token', () => {
  test.each<[string, Record<string, string>]>([
    ['no header', {}],
    ['another scheme', { Authorization: 'Basic dXNlcjpwYXNz' }],
    ['a scheme without a token', { Authorization: 'Bearer' }],
    ['an empty header', { Authorization: '' }],
    ['the token in another header', { 'X-Api-Key': 'vgw_' }],
  ])('%s', async (_, headers) => {
    const { id } = await gateway.organisation()
    const sent = gateway.platform.received.length
    const answer = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { headers })
    expect(answer.status).toBe(401)
    expect(answer.json.code).toBe('missing-token')
    expect(answer.json.outcome).toBeUndefined()
    expect(answer.headers['www-authenticate']).toBe('Bearer')
    expect(answer.headers['audit-receipt']).toBeUndefined()
    const update = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), {
      method: 'PUT',
      headers: { ...headers, ...json },
      body: versionOf(gateway, id),
    })
    expect(update.json.code).toBe('missing-token')
    expect(update.json.outcome).toBe('not-sent')
    expect(await eventsOf(gateway, id)).toEqual([])
    expect(gateway.platform.received.length).toBe(sent)
  })

  test('the token itself as another scheme, or in the query', async () => {
    const { id, token } = await gateway.organisation()
    const sent = gateway.platform.received.length
    const path = versionPath(id, 'CONN1', '1.4.0')
    for (const scheme of ['Token', 'Basic', 'BearerToken', 'Digest']) {
      const answer = await gateway.ask(path, { headers: { Authorization: `${scheme} ${token}` } })
      expect(answer.json.code).toBe('missing-token')
    }
    for (const name of ['access_token', 'token', 'Authorization']) {
      expect((await gateway.ask(`${path}?${name}=${token}`)).json.code).toBe('missing-token')
    }
    expect(gateway.platform.received.length).toBe(sent)
  })

  test('the scheme is taken in any case', async () => {
    const { id, token } = await gateway.organisation()
    for (const scheme of ['bearer', 'BEARER']) {
      const headers = { Authorization: `${scheme} ${token}` }
      expect((await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { headers })).status).toBe(200)
    }
  })
})

describe('a token without the form of one', () => {
  const swap = (token: string) => `${token.slice(0, 30)}${token[31]}${token[30]}${token.slice(32)}`
  const typos: [string, (token: string) => string][] = [
    [
      'one character is another',
      token => token.slice(0, 40) + (token[40] === 'a' ? 'b' : 'a') + token.slice(41),
    ],
    ['two neighbours are swapped', token => (token[30] === token[31] ? `${token}x` : swap(token))],
    ['its end is missing', token => token.slice(0, -1)],
    ['it has one character more', token => `${token}0`],
    ['its prefix is in capitals', token => token.replace('vgw_', 'VGW_')],
    ['it is in quotes', token => `"${token}"`],
    ['it stands twice', token => `${token}${token}`],
    ['it is followed by another word', token => `${token} x`],
    ['nothing but its prefix', () => 'vgw_'],
    ['it has 10,000 characters', () => `vgw_${'a'.repeat(10_000)}`],
  ]
  test.each(typos)('%s: a 401, and no object is called', async (_, change) => {
    const { id, token } = await gateway.organisation()
    const sent = gateway.platform.received.length
    expectInvalid(await read(id, change(token)))
    expectInvalid(await put(gateway, { id, token: change(token) }), 'not-sent')
    expect(await eventsOf(gateway, id)).toEqual([])
    const files = filesUnder(gateway.storage).length
    expectInvalid(await read(newId(), change(token)))
    expect(filesUnder(gateway.storage).length).toBe(files)
    expect(gateway.platform.received.length).toBe(sent)
  })

  test('two Authorization headers', async () => {
    const { id, token } = await gateway.organisation()
    const sent = gateway.platform.received.length
    const other = mintToken(randomBytes).token
    for (const pair of [
      [token, token],
      [other, token],
      [token, other],
    ]) {
      const headers = pair.map((each): [string, string] => ['Authorization', `Bearer ${each}`])
      expectInvalid(await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { headers }))
    }
    expect(await eventsOf(gateway, id)).toEqual([])
    expect(gateway.platform.received.length).toBe(sent)
  })
})

describe('a token that is not believed gets one and the same answer, and the log knows why', () => {
  const wrongSecret = (id: string) => mintToken(randomBytes, id).token
  const kinds: [string, string, () => Promise<{ id: string; token: string; actor: object }>][] = [
    [
      'an unknown id',
      'unknown',
      async () => {
        const { id } = await gateway.organisation()
        const { token, credential } = mintToken(randomBytes)
        return { id, token, actor: { type: 'anonymous', claimedId: credential.id } }
      },
    ],
    [
      'the right id with another secret and a right check',
      'wrong-secret',
      async () => {
        const { id, tokenId } = await gateway.organisation()
        return { id, token: wrongSecret(tokenId), actor: { type: 'anonymous', claimedId: tokenId } }
      },
    ],
    [
      "another organisation's",
      'unknown',
      async () => {
        const [{ id }, other] = [await gateway.organisation(), await gateway.organisation()]
        return { id, token: other.token, actor: { type: 'anonymous', claimedId: other.tokenId } }
      },
    ],
    [
      'expired',
      'expired',
      async () => {
        // The gateway takes no time in the past, so this one lives for as long as it takes to be refused.
        const made = await gateway.organisation({ expiresAt: new Date(Date.now() + 1_000).toISOString() })
        while ((await gateway.ask(`/o/${made.id}/token`, { token: made.token })).status === 200);
        return { ...made, actor: { type: 'token', id: made.tokenId, name: 'ci-deploy' } }
      },
    ],
    [
      'revoked',
      'revoked',
      async () => {
        const made = await gateway.organisation()
        await gateway.admin('DELETE', `/organisations/${made.id}/tokens/${made.tokenId}`)
        return { ...made, actor: { type: 'token', id: made.tokenId, name: 'ci-deploy' } }
      },
    ],
    [
      'a wrong secret for a revoked one',
      'wrong-secret',
      async () => {
        const { id, tokenId } = await gateway.organisation()
        await gateway.admin('DELETE', `/organisations/${id}/tokens/${tokenId}`)
        return { id, token: wrongSecret(tokenId), actor: { type: 'anonymous', claimedId: tokenId } }
      },
    ],
    [
      'rotated without grace',
      'wrong-secret',
      async () => {
        const made = await gateway.organisation()
        await gateway.admin('POST', `/organisations/${made.id}/tokens/${made.tokenId}/rotate`, {})
        return { ...made, actor: { type: 'anonymous', claimedId: made.tokenId } }
      },
    ],
  ]
  test.each(kinds)('%s', async (_, reason, make) => {
    const [{ id, token, actor }, other] = [await make(), await make()]
    const sent = gateway.platform.received.length
    expectInvalid(await read(id, token))
    expect(await lastRecord(id)).toMatchObject({ event: 'read.denied', reason, actor })
    expectInvalid(await put(gateway, other), 'not-sent')
    expect(await lastRecord(other.id)).toMatchObject({
      event: 'update.denied',
      reason,
      actor: other.actor,
      target: { organisationId: other.id, connectionId: 'CONN1', version: '1.4.0' },
    })
    expectInvalid(await gateway.ask(`/o/${id}/token`, { token }))
    expect(gateway.platform.received.length).toBe(sent)
  })
})

test('a rotated token works, its old secret for the grace alone, and its life starts anew', async () => {
  const { id, token, tokenId } = await gateway.organisation()
  const path = `/organisations/${id}/tokens/${tokenId}`
  const first = await gateway.admin('POST', `${path}/rotate`, { graceSeconds: 3600 })
  expect(first.status).toBe(201)
  expect(first.json.id).toBe(tokenId)
  expect((await read(id, token)).status).toBe(200)
  expect((await read(id, first.json.token)).status).toBe(200)
  // The next rotation ends the grace of the first secret: no more than two work at once.
  const second = await gateway.admin('POST', `${path}/rotate`, { graceSeconds: 3600 })
  expect((await read(id, token)).status).toBe(401)
  expect((await read(id, first.json.token)).status).toBe(200)
  expect((await read(id, second.json.token)).status).toBe(200)
  const third = await gateway.admin('POST', `${path}/rotate`)
  expect((await read(id, second.json.token)).status).toBe(401)
  expect((await read(id, third.json.token)).status).toBe(200)
  expect((await gateway.admin('GET', `/organisations/${id}/tokens`)).json.tokens.length).toBe(1)
  await gateway.admin('DELETE', path)
  expect((await read(id, third.json.token)).status).toBe(401)
})

test('a grace ends by itself', async () => {
  const { id, token, tokenId } = await gateway.organisation()
  await gateway.admin('POST', `/organisations/${id}/tokens/${tokenId}/rotate`, { graceSeconds: 1 })
  let answers = 0
  while ((await gateway.ask(`/o/${id}/token`, { token })).status === 200) answers++
  expect(answers).toBeGreaterThan(0)
  expect(await lastRecord(id)).toMatchObject({ event: 'read.denied', reason: 'wrong-secret' })
})

test('a token that is revoked while its update waits for its turn reaches nobody', async () => {
  const { id, token } = await gateway.organisation()
  const made = await gateway.admin('POST', `/organisations/${id}/tokens`, {
    name: 'second',
    connections: ['*'],
    rateLimit: { requests: 1000, windowSeconds: 3600 },
  })
  const second = made.json
  const gate = gateway.platform.hold({ method: 'PUT' })
  const first = put(gateway, { id, token }, { changes: { description: 'first' } })
  await gate.arrived
  const waiting = put(gateway, { id, token: second.token }, { changes: { description: 'second' } })
  // It has been admitted once its token's rate shows one request more than were asked here.
  for (let asked = 1; ; asked++) {
    const { json } = await gateway.ask(`/o/${id}/token`, { token: second.token })
    if (1000 - json.rateLimit.remaining > asked) break
  }
  const revoked = await gateway.admin('DELETE', `/organisations/${id}/tokens/${second.id}`)
  expect(revoked.status).toBe(200)
  gate.release()
  expect((await first).status).toBe(200)
  expectInvalid(await waiting, 'not-sent')
  expect(gateway.platform.history.filter(each => each.organisationId === id).length).toBe(1)
  expect(gateway.platform.get(id, 'CONN1', '1.4.0')?.description).toBe('first')
  expect(await lastRecord(id)).toMatchObject({
    event: 'update.denied',
    reason: 'revoked',
    actor: { type: 'token', id: second.id },
  })
})

test('a token that is revoked after its attempt is on record, right before the send, reaches nobody', async () => {
  const made = await gateway.organisation()
  const { id, tokenId } = made
  const other = await gateway.admin('POST', `/organisations/${id}/tokens`, {
    name: 'other',
    connections: ['*'],
  })
  // Five reads hold every outgoing connection.
  const gates = Array.from({ length: 5 }, () => gateway.platform.hold({ method: 'GET' }))
  const reads = gates.map(() => read(id, other.json.token))
  await Promise.all(gates.map(({ arrived }) => arrived))
  const waiting = put(gateway, made)
  while (!(await eventsOf(gateway, id)).includes('update.attempted'));
  expect((await gateway.admin('DELETE', `/organisations/${id}/tokens/${tokenId}`)).status).toBe(200)
  for (const { release } of gates) release()
  expectInvalid(await waiting, 'not-sent')
  for (const answer of await Promise.all(reads)) expect(answer.status).toBe(200)
  expect(gateway.platform.history.some(each => each.organisationId === id)).toBe(false)
  const closed = (await logOf(gateway, id)).find(({ record }) => record.event === 'update.failed')
  expect(closed?.record).toMatchObject({ outcome: 'not-sent', reason: 'revoked' })
})

describe('scopes', () => {
  const cases: [
    string,
    object,
    { method: 'GET' | 'PUT'; connection?: string; version?: string; name?: string },
    boolean,
  ][] = [
    ['everything', {}, { method: 'PUT' }, true],
    ['reading alone', { actions: ['read'] }, { method: 'GET' }, true],
    ['reading alone, an update', { actions: ['read'] }, { method: 'PUT' }, false],
    ['updating alone', { actions: ['update'] }, { method: 'PUT' }, true],
    ['updating alone, a read', { actions: ['update'] }, { method: 'GET' }, false],
    ['its connection', { connections: ['CONN1', 'CONN2'] }, { method: 'GET', connection: 'CONN2' }, true],
    ['another connection', { connections: ['CONN1'] }, { method: 'GET', connection: 'CONN2' }, false],
    ['a connection in another case', { connections: ['conn1'] }, { method: 'GET' }, false],
    ['a longer connection', { connections: ['CONN1'] }, { method: 'GET', connection: 'CONN10' }, false],
    ['a version pattern', { versions: ['1.*'] }, { method: 'GET' }, true],
    ['a pattern for others', { versions: ['2.*', '1.3.*'] }, { method: 'GET' }, false],
    ['a dot is a dot', { versions: ['1x4.0'] }, { method: 'GET' }, false],
    ['a dot in a pattern is no wildcard', { versions: ['....0'] }, { method: 'GET' }, false],
    ['a pattern covers all of a name', { versions: ['1.4'] }, { method: 'GET' }, false],
    ['the name in the body too', { versions: ['1.*'] }, { method: 'PUT', name: '1.4.1' }, true],
    ['not the name in the body', { versions: ['1.*'] }, { method: 'PUT', name: '2.0.0' }, false],
    ['the name in the body alone', { versions: ['2.*'] }, { method: 'PUT', name: '2.0.0' }, false],
    ['latest by its name', { versions: ['latest'] }, { method: 'GET', version: 'latest' }, true],
    ['latest by a star', { versions: ['*'] }, { method: 'GET', version: 'latest' }, true],
    [
      'latest by a pattern',
      { versions: ['l*', '**', '*t', '1.*'] },
      { method: 'GET', version: 'latest' },
      false,
    ],
    ['default by its name', { versions: ['default'] }, { method: 'GET', version: 'default' }, true],
    ['default by a pattern', { versions: ['d*', 'latest'] }, { method: 'GET', version: 'default' }, false],
    [
      'latest, but not the name it has',
      { versions: ['latest'] },
      { method: 'PUT', version: 'latest' },
      false,
    ],
    [
      'latest and the name it has',
      { versions: ['latest', '1.4.*'] },
      { method: 'PUT', version: 'latest' },
      true,
    ],
  ]
  test.each(cases)('%s', async (_, scope, ask, allowed) => {
    const { method, connection = 'CONN1', version = '1.4.0', name } = ask
    const { id, token } = await gateway.organisation(scope)
    const sent = gateway.platform.received.length
    const answer =
      method === 'GET'
        ? await gateway.ask(versionPath(id, connection, version), { token })
        : await put(gateway, { id, token }, { connection, version, changes: name ? { name } : {} })
    const action = method === 'GET' ? 'read' : 'update'
    if (allowed) {
      expect(answer.status, answer.text).toBe(200)
      expect(await lastRecord(id)).toMatchObject({ event: `${action}.succeeded` })
      return
    }
    expect(answer.status).toBe(403)
    const { instance, ...body } = answer.json
    expect(body).toEqual({
      type: '/problems/insufficient-scope',
      title: 'The token does not allow this',
      status: 403,
      detail: 'The token does not allow this.',
      code: 'insufficient-scope',
      message: 'The token does not allow this.',
      ...(method === 'PUT' ? { outcome: 'not-sent' } : {}),
    })
    expect(answer.headers['www-authenticate']).toBe('Bearer error="insufficient_scope"')
    expect(answer.headers['audit-receipt']).toBeDefined()
    const record = await lastRecord(id)
    expect(record).toMatchObject({ event: `${action}.denied`, reason: 'insufficient-scope' })
    expect(gateway.platform.received.length).toBe(sent)
  })

  test('whoever may do nothing here still sees what the token may do', async () => {
    const { id, token, tokenId } = await gateway.organisation({
      connections: ['CONN2'],
      actions: ['update'],
      versions: ['1.*', 'latest'],
      rateLimit: { requests: 7, windowSeconds: 3600 },
    })
    const { status, json } = await gateway.ask(`/o/${id}/token`, { token })
    expect(status).toBe(200)
    expect(json).toMatchObject({
      id: tokenId,
      name: 'ci-deploy',
      connections: ['CONN2'],
      actions: ['update'],
      versions: ['1.*', 'latest'],
      rateLimit: { requests: 7, windowSeconds: 3600, remaining: 6 },
      session: { state: 'active' },
    })
    expect(Date.parse(json.expiresAt)).toBeGreaterThan(Date.now() + 89 * 86_400_000)
  })
})

test('a token that has used up its rate is told when to come again', async () => {
  const { id, token } = await gateway.organisation({ rateLimit: { requests: 2, windowSeconds: 3600 } })
  expect((await read(id, token)).headers.ratelimit).toMatch(/^"token";r=1;t=\d+$/)
  expect((await read(id, token)).headers['ratelimit-policy']).toBe('"token";q=2;w=3600')
  const sent = gateway.platform.received.length
  const answer = await put(gateway, { id, token })
  expect(answer.status).toBe(429)
  expect(answer.json).toMatchObject({ code: 'rate-limited', outcome: 'not-sent' })
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(3000)
  // A bad path is no way round the rate, and 429 comes before 400.
  const bad = await gateway.ask(`/o/${id}/connections/CONN1/versions/a%2Fb`, { token })
  expect(bad.status).toBe(429)
  expect(await lastRecord(id)).toMatchObject({ event: 'read.denied', reason: 'rate-limited' })
  expect(gateway.platform.received.length).toBe(sent)
})

test('a burst of refusals leaves twenty records at most, and valid callers their way', async () => {
  const { id, token, tokenId } = await gateway.organisation()
  const asks = Array.from({ length: 100 }, (_, i) =>
    read(id, mintToken(randomBytes, i % 2 ? tokenId : undefined).token),
  )
  const answers = await Promise.all([...asks, put(gateway, { id, token })])
  expect(answers.filter(({ status }) => status === 401).length).toBe(100)
  expect(answers.at(-1)?.status).toBe(200)
  const events = await eventsOf(gateway, id)
  expect(events.filter(event => event === 'read.denied').length).toBe(20)
  // What a valid token gets refused counts too.
  expect((await gateway.ask(`/o/${id}/connections/CONN1/versions/a%2Fb`, { token })).status).toBe(400)
  expect((await eventsOf(gateway, id)).length).toBe(events.length)
})

test('a guessed organisation id stores none of the tables', async () => {
  const hold = (files: string[]) => files.filter(file => contentOf(file).includes('records_by_actor'))
  const before = filesUnder(gateway.storage)
  const ids = [newId(), newId(), 'a', '_'.repeat(64)]
  for (const id of ids) {
    expectInvalid(await read(id, mintToken(randomBytes).token))
    expectInvalid(await put(gateway, { id, token: mintToken(randomBytes).token }), 'not-sent')
    const bad = await gateway.ask(`/o/${id}/connections/CONN1/versions/a%2Fb`, {
      token: mintToken(randomBytes).token,
    })
    expectInvalid(bad)
    const admin = await gateway.ask(`/admin/organisations/${id}/session`, { token: 'x'.repeat(40) })
    expect(admin.status).toBe(401)
    expect((await gateway.admin('GET', `/organisations/${id}/audit`)).json).toEqual({
      records: [],
      next: null,
    })
  }
  const isNew = (file: string) => !before.includes(file)
  expect(hold(filesUnder(gateway.storage).filter(isNew))).toEqual([])
  // The same search finds the tables of an organisation that exists.
  await gateway.organisation()
  expect(hold(filesUnder(gateway.storage).filter(isNew)).length).toBeGreaterThan(0)
})

test('no token that was given out is stored, logged or answered again', async () => {
  expect(gateway.tokens.length).toBeGreaterThan(20)
  // The id is public; the secret begins behind it.
  expect(
    sightings(
      gateway,
      gateway.tokens.map(token => token.slice(20)),
    ),
  ).toEqual([])
})

test('a token in an odd place is not kept: not in the log, not at the platform', async () => {
  const made = await gateway.organisation()
  const { id, token } = made
  const path = versionPath(id, 'CONN1', '1.4.0')
  const headers = {
    'User-Agent': `ci ${token}`,
    'X-Request-Id': token,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: `ci=${token}`,
  }
  expect((await gateway.ask(path, { token, headers })).status).toBe(200)
  const json = { 'Content-Type': 'application/json' }
  const body = versionOf(gateway, id)
  const refused = await Promise.all([
    gateway.ask(versionPath(id, 'CONN1', token), { token }),
    gateway.ask(path, { method: 'PUT', token, headers: json, body: { ...body, [token]: 1 } }),
    gateway.ask(path, { method: 'PUT', token, headers: json, body: { ...body, description: `by ${token}` } }),
    gateway.ask(path, { method: 'PUT', token, headers: { ...json, 'Idempotency-Key': token }, body }),
  ])
  expect(refused.map(({ status }) => status)).toEqual([400, 400, 400, 400])
  const good = { name: 'x', connections: ['*'] }
  const probe = { connectionId: 'CONN1', version: token }
  const set = { cookieHeader: gateway.platform.cookie }
  const named = await Promise.all([
    gateway.admin('POST', `/organisations/${id}/tokens`, { ...good, name: `of ${token}` }),
    gateway.admin('POST', `/organisations/${id}/tokens`, { ...good, versions: [token] }),
    gateway.admin('PUT', `/organisations/${id}/session`, { ...set, owner: token }),
    gateway.admin('PUT', `/organisations/${id}/session`, { ...set, probe }),
  ])
  expect(named.map(({ json }) => json.fields?.[0])).toEqual(
    ['name', 'versions[0]', 'owner', 'probe.version'].map(field => ({
      field,
      message: 'must not hold a token of the gateway',
    })),
  )
  const log = await gateway.admin('GET', `/organisations/${id}/audit`)
  expect(log.text.includes(token)).toBe(false)
  expect(gateway.platform.received.some(each => JSON.stringify(each).includes(token))).toBe(false)
})
