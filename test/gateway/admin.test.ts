/** Administration over HTTP: tokens, the session, the list of organisations, and who may call. */
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  filesUnder,
  type Gateway,
  logOf,
  newId,
  put,
  startGateway,
  verifyLogs,
  versionPath,
} from './gateway.ts'

let gateway: Gateway
const bob = randomBytes(33).toString('base64url')
const bare = randomBytes(33).toString('base64url')
beforeAll(async () => {
  gateway = await startGateway()
  await gateway.restart({ ADMIN_TOKEN: `alice:${gateway.adminSecret},bob:${bob},${bare}` })
})
afterEach(() => verifyLogs(gateway))
afterAll(() => gateway.stop())

const dayMs = 86_400_000
const json = { 'Content-Type': 'application/json' }
const lastRecord = async (id: string) => (await logOf(gateway, id)).at(-1)?.record

describe('tokens', () => {
  test('one with nothing but what is needed gets the defaults, and its secret is shown once', async () => {
    const id = newId()
    const before = Date.now()
    const made = await gateway.admin('POST', `/organisations/${id}/tokens`, {
      name: 'ci-deploy',
      connections: ['CONN1'],
    })
    expect(made.status).toBe(201)
    const { token, ...view } = made.json
    expect(/^vgw_[0-9A-Za-z]{65}$/.test(token)).toBe(true)
    expect(token.slice(4, 20) === view.id).toBe(true)
    expect(view).toEqual({
      id: expect.stringMatching(/^[0-9A-Za-z]{16}$/),
      name: 'ci-deploy',
      actions: ['read', 'update'],
      connections: ['CONN1'],
      versions: ['*'],
      fields: ['name', 'description', 'isLatest', 'isDefault'],
      rateLimit: { requests: 60, windowSeconds: 60 },
      createdAt: expect.any(String),
      createdBy: 'alice',
      expiresAt: expect.any(String),
      revokedAt: null,
      lastUsedAt: null,
      status: 'active',
    })
    const createdMs = Date.parse(view.createdAt)
    expect(createdMs).toBeGreaterThanOrEqual(before - 1)
    expect(Date.parse(view.expiresAt) - createdMs).toBe(90 * dayMs)

    const list = await gateway.admin('GET', `/organisations/${id}/tokens`)
    expect([list.status, list.json]).toEqual([200, { tokens: [view] }])
    const one = await gateway.admin('GET', `/organisations/${id}/tokens/${view.id}`)
    expect([one.status, one.json]).toEqual([200, view])
    expect((list.text + one.text).includes(token.slice(20))).toBe(false)
    expect(await lastRecord(id)).toMatchObject({
      event: 'token.created',
      actor: { type: 'admin', id: 'alice', name: 'alice' },
      target: { organisationId: id, tokenId: view.id },
    })
  })

  test('one with everything gets what was asked for', async () => {
    const id = newId()
    const wanted = {
      name: 'Team Ä · deploy',
      connections: ['CONN1', 'CONN2'],
      actions: ['update'],
      versions: ['1.*', 'latest'],
      expiresAt: new Date(Date.now() + 5 * dayMs).toISOString(),
      rateLimit: { requests: 5, windowSeconds: 1 },
    }
    const made = await gateway.admin('POST', `/organisations/${id}/tokens`, wanted)
    expect(made.status).toBe(201)
    expect(made.json).toMatchObject(wanted)
    const forever = await gateway.admin('POST', `/organisations/${id}/tokens`, {
      ...wanted,
      expiresAt: null,
    })
    expect(forever.json.expiresAt).toBeNull()
    const offset = await gateway.admin('POST', `/organisations/${id}/tokens`, {
      ...wanted,
      expiresAt: '2099-01-01T02:00:00+02:00',
    })
    expect(offset.json.expiresAt).toBe('2099-01-01T00:00:00.000Z')
  })

  const good = { name: 'x', connections: ['*'] }
  test.each<[string, object, string]>([
    ['no name', { name: undefined }, 'name'],
    ['an empty name', { name: '' }, 'name'],
    ['a name with a control character', { name: 'a\nb' }, 'name'],
    ['a name of 101 characters', { name: 'x'.repeat(101) }, 'name'],
    ['no connections', { connections: undefined }, 'connections'],
    ['an empty list of connections', { connections: [] }, 'connections'],
    ['a connection that is no id', { connections: ['a/b'] }, 'connections[0]'],
    ['a pattern of connections', { connections: ['CONN*'] }, 'connections[0]'],
    ['connections as a string', { connections: '*' }, 'connections'],
    ['no action', { actions: [] }, 'actions'],
    ['an unknown action', { actions: ['read', 'delete'] }, 'actions[1]'],
    ['an action twice', { actions: ['read', 'read'] }, 'actions'],
    ['no version', { versions: [] }, 'versions'],
    ['an empty version', { versions: ['1.*', ''] }, 'versions[1]'],
    ['a version that no path can hold', { versions: ['a/b'] }, 'versions[0]'],
    ['a day instead of a time', { expiresAt: '2099-01-01' }, 'expiresAt'],
    ['a time without an offset', { expiresAt: '2099-01-01T00:00:00' }, 'expiresAt'],
    ['a time in the past', { expiresAt: '2020-01-01T00:00:00Z' }, 'expiresAt'],
    ['a number as time', { expiresAt: 4_000_000_000 }, 'expiresAt'],
    ['a rate of nothing', { rateLimit: { requests: 0, windowSeconds: 60 } }, 'rateLimit.requests'],
    ['a broken rate', { rateLimit: { requests: 1.5, windowSeconds: 60 } }, 'rateLimit.requests'],
    ['a rate without a window', { rateLimit: { requests: 1 } }, 'rateLimit.windowSeconds'],
    [
      'a window of more than a day',
      { rateLimit: { requests: 1, windowSeconds: 86_401 } },
      'rateLimit.windowSeconds',
    ],
    ['an unknown key', { admin: true }, 'admin'],
    ['an id of its own', { id: 'a'.repeat(16) }, 'id'],
  ])('%s is refused', async (_, change, field) => {
    const id = newId()
    const answer = await gateway.admin('POST', `/organisations/${id}/tokens`, { ...good, ...change })
    expect([answer.status, answer.json.code]).toEqual([400, 'invalid-body'])
    expect(answer.json.fields.map((each: { field: string }) => each.field)).toEqual([field])
    expect(answer.json.token).toBeUndefined()
    expect((await gateway.admin('GET', `/organisations/${id}/tokens`)).json.tokens).toEqual([])
  })

  test('rotating gives the same token a new secret and a new life', async () => {
    const { id, token, tokenId } = await gateway.organisation({ name: 'to rotate' })
    const path = `/organisations/${id}/tokens/${tokenId}`
    const before = (await gateway.admin('GET', path)).json
    const rotated = await gateway.admin('POST', `${path}/rotate`)
    expect(rotated.status).toBe(201)
    expect(rotated.json.token === token).toBe(false)
    expect(/^vgw_[0-9A-Za-z]{65}$/.test(rotated.json.token)).toBe(true)
    const { token: _, ...view } = rotated.json
    expect(view).toEqual({ ...before, expiresAt: expect.any(String) })
    expect(Date.parse(view.expiresAt)).toBeGreaterThanOrEqual(Date.parse(before.expiresAt))
    expect(await lastRecord(id)).toMatchObject({ event: 'token.rotated', target: { tokenId } })
    for (const body of [{ graceSeconds: -1 }, { graceSeconds: 1.5 }, { graceSeconds: '60' }, { grace: 60 }]) {
      expect((await gateway.admin('POST', `${path}/rotate`, body)).json.code).toBe('invalid-body')
    }
    await gateway.admin('DELETE', path)
    const revoked = await gateway.admin('POST', `${path}/rotate`)
    expect(revoked.status).toBe(404)
    expect((await gateway.admin('GET', path)).json.status).toBe('revoked')
  })

  test('revoking tells the last accepted use, and a second time changes nothing', async () => {
    const made = await gateway.organisation()
    const { id, token, tokenId } = made
    const path = `/organisations/${id}/tokens/${tokenId}`
    const unused = await gateway.admin('POST', `/organisations/${id}/tokens`, good)
    const never = await gateway.admin('DELETE', `/organisations/${id}/tokens/${unused.json.id}`)
    expect([never.status, never.json.lastAccepted]).toEqual([200, null])

    expect((await put(gateway, made)).status).toBe(200)
    const last = await lastRecord(id)
    // What is refused is no accepted use.
    await gateway.ask(`/o/${id}/connections/CONN1/versions/a%2Fb`, { token })
    const first = await gateway.admin('DELETE', path)
    expect(first.status).toBe(200)
    expect(first.json).toMatchObject({
      id: tokenId,
      status: 'revoked',
      lastUsedAt: last.time,
      lastAccepted: { time: last.time, seq: last.seq },
    })
    expect(Date.parse(first.json.revokedAt)).not.toBeNaN()
    const size = (await logOf(gateway, id)).length
    expect((await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token })).status).toBe(401)
    const second = await gateway.admin('DELETE', path)
    expect([second.status, second.json]).toEqual([200, first.json])
    const events = (await logOf(gateway, id)).map(({ record }) => record.event)
    expect(events.filter(event => event === 'token.revoked').length).toBe(2)
    expect(events.length).toBe(size + 1)
  })

  test('an id that is none, and one that nobody has', async () => {
    const { id } = await gateway.organisation()
    const other = await gateway.organisation()
    for (const [method, tail] of [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/rotate'],
    ] as const) {
      const path = (token: string) => `/organisations/${id}/tokens/${token}${tail}`
      expect((await gateway.admin(method, path('x'))).json.code).toBe('invalid-path')
      expect((await gateway.admin(method, path('a'.repeat(16)))).json.code).toBe('not-found')
      expect((await gateway.admin(method, path(other.tokenId))).json.code).toBe('not-found')
    }
  })
})

describe('the session', () => {
  test('is set, shown and deleted', async () => {
    const id = newId()
    const cookie = randomBytes(24).toString('hex')
    const path = `/organisations/${id}/session`
    const set = await gateway.admin('PUT', path, { cookie })
    expect(set.status).toBe(200)
    const view = {
      state: 'active',
      cookies: ['cookie'],
      generation: 1,
      owner: null,
      expiresAt: null,
      setAt: expect.any(String),
      lastUsedAt: null,
      lastRejectedAt: null,
    }
    expect(set.json).toEqual(view)
    expect((await gateway.admin('GET', path)).json).toEqual(view)
    expect(await lastRecord(id)).toMatchObject({
      event: 'session.set',
      actor: { type: 'admin', id: 'alice' },
      session: { generation: 1, cookies: ['cookie'] },
    })
    const missing = { ...view, state: 'missing', cookies: [], setAt: null }
    expect((await gateway.admin('DELETE', path)).json).toEqual(missing)
    expect(await lastRecord(id)).toMatchObject({ event: 'session.deleted' })
    const size = (await logOf(gateway, id)).length
    expect((await gateway.admin('DELETE', path)).json).toEqual(missing)
    expect((await gateway.admin('GET', path)).json).toEqual(missing)
    expect((await logOf(gateway, id)).length).toBe(size)
  })

  test('shows when it was last used and last rejected', async () => {
    const made = await gateway.organisation()
    await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
    const path = `/organisations/${made.id}/session`
    expect(Date.parse((await gateway.admin('GET', path)).json.lastUsedAt)).not.toBeNaN()
    gateway.platform.misbehave({ kind: 'status', status: 401 })
    await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
    const { state, lastRejectedAt } = (await gateway.admin('GET', path)).json
    expect(state).toBe('rejected')
    expect(Date.parse(lastRejectedAt)).not.toBeNaN()
  })
})

describe('bodies', () => {
  test.each([
    ['POST', 'tokens'],
    ['PUT', 'session'],
  ])('%s %s takes JSON alone, of 64 KiB at most', async (method, tail) => {
    const path = `/admin/organisations/${newId()}/${tail}`
    const ask = async (body: string | undefined, headers: Record<string, string> = json) => {
      const given = body === undefined ? {} : { body }
      return (await gateway.ask(path, { method, token: gateway.adminSecret, headers, ...given })).json.code
    }
    expect(await ask('{')).toBe('malformed-json')
    expect(await ask('')).toBe('malformed-json')
    expect(await ask(undefined)).toBe('malformed-json')
    expect(await ask('[]')).toBe('invalid-body')
    expect(await ask('null')).toBe('invalid-body')
    expect(await ask('{}', { 'Content-Type': 'text/plain' })).toBe('unsupported-media-type')
    expect(await ask(`{"name":"${'x'.repeat(64 * 1024)}"}`)).toBe('body-too-large')
  })
})

describe('who may call', () => {
  const routes: [method: string, path: string][] = [
    ['GET', '/organisations'],
    ['POST', '/reseal'],
    ['GET', '/organisations/ORG1/tokens'],
    ['POST', '/organisations/ORG1/tokens'],
    ['GET', '/organisations/ORG1/tokens/aaaaaaaaaaaaaaaa'],
    ['DELETE', '/organisations/ORG1/tokens/aaaaaaaaaaaaaaaa'],
    ['POST', '/organisations/ORG1/tokens/aaaaaaaaaaaaaaaa/rotate'],
    ['GET', '/organisations/ORG1/session'],
    ['PUT', '/organisations/ORG1/session'],
    ['DELETE', '/organisations/ORG1/session'],
    ['GET', '/organisations/ORG1/audit'],
    ['GET', '/organisations/ORG1/audit/1'],
    ['GET', '/organisations/a%2Fb/session'],
    ['PATCH', '/organisations/ORG1/session'],
    ['GET', '/nowhere'],
    ['GET', ''],
    ['OPTIONS', '/organisations'],
  ]
  test.each(routes)('%s /admin%s needs a secret', async (method, path) => {
    const { token } = await gateway.organisation()
    const url = `/admin${path}`
    const body = ['POST', 'PUT', 'PATCH'].includes(method) ? { headers: json, body: '{}' } : {}
    const none = await gateway.ask(url, { method, ...body })
    expect([none.status, none.json.code]).toEqual([401, 'missing-token'])
    expect(none.headers['www-authenticate']).toBe('Bearer')
    for (const wrong of [token, 'x', 'x'.repeat(44), `alice:${gateway.adminSecret}`, bob.slice(0, -1)]) {
      const answer = await gateway.ask(url, { method, token: wrong, ...body })
      expect([answer.status, answer.json.code]).toEqual([401, 'invalid-token'])
      expect(answer.headers['audit-receipt']).toBeUndefined()
    }
    const list = `${gateway.adminSecret},${bob}`
    expect((await gateway.ask(url, { method, token: list, ...body })).status).toBe(401)
  })

  test('a wrong secret leaves a record, within the bounds of all refusals', async () => {
    const { id } = await gateway.organisation()
    const path = `/admin/organisations/${id}/session`
    const wrong = randomBytes(33).toString('base64url')
    expect((await gateway.ask(path, { token: wrong })).status).toBe(401)
    const record = await lastRecord(id)
    expect(record).toMatchObject({
      event: 'admin.denied',
      actor: { type: 'anonymous' },
      target: { organisationId: id },
    })
    expect(JSON.stringify(record).includes(wrong)).toBe(false)
    await Promise.all(Array.from({ length: 40 }, () => gateway.ask(path, { token: wrong })))
    const events = (await logOf(gateway, id)).map(({ record }) => record.event)
    expect(events.filter(event => event === 'admin.denied').length).toBe(20)
  })

  test('each admin acts under the name of the secret', async () => {
    const id = newId()
    const created = async (token: string) => {
      const body = { name: 'x', connections: ['*'] }
      const path = `/admin/organisations/${id}/tokens`
      const made = await gateway.ask(path, { method: 'POST', token, headers: json, body })
      expect(made.status).toBe(201)
      return [made.json.createdBy, (await lastRecord(id)).actor.id]
    }
    expect(await created(gateway.adminSecret)).toEqual(['alice', 'alice'])
    expect(await created(bob)).toEqual(['bob', 'bob'])
    expect(await created(bare)).toEqual(['admin', 'admin'])
  })

  test('an admin secret is no token', async () => {
    const { id } = await gateway.organisation()
    const answer = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token: gateway.adminSecret })
    expect(answer.status).toBe(401)
  })
})

describe('organisations', () => {
  test('are listed with their session and their tokens', async () => {
    const [one, two] = [await gateway.organisation(), await gateway.organisation()]
    await gateway.admin('POST', `/organisations/${one.id}/tokens`, { name: 'x', connections: ['*'] })
    await gateway.admin('DELETE', `/organisations/${two.id}/session`)
    await gateway.admin('DELETE', `/organisations/${two.id}/tokens/${two.tokenId}`)
    const list = await gateway.admin('GET', '/organisations')
    expect(list.status).toBe(200)
    const ids = list.json.organisations.map(({ id }: { id: string }) => id)
    expect(ids).toEqual([...ids].sort())
    const find = (wanted: string) => list.json.organisations.find(({ id }: { id: string }) => id === wanted)
    expect(find(one.id)).toEqual({
      id: one.id,
      createdAt: expect.any(String),
      session: { state: 'active' },
      tokens: 2,
      storage: { bytes: expect.any(Number) },
    })
    expect(find(one.id).storage.bytes).toBeGreaterThan(4096)
    expect(find(two.id)).toMatchObject({ session: { state: 'missing' }, tokens: 0 })
    const after = await gateway.admin('GET', `/organisations?after=${one.id}`)
    expect(after.json.organisations.map(({ id }: { id: string }) => id)).toEqual(
      ids.filter((id: string) => id > one.id),
    )
    for (const query of ['after=a%2Fb', 'limit=1', 'x']) {
      expect((await gateway.admin('GET', `/organisations?${query}`)).json.code).toBe('invalid-query')
    }
  })

  test('one that was never configured is empty, and asking leaves nothing', async () => {
    const id = newId()
    const path = `/organisations/${id}`
    expect((await gateway.admin('GET', `${path}/session`)).json).toEqual({
      state: 'missing',
      cookies: [],
      generation: 0,
      owner: null,
      expiresAt: null,
      setAt: null,
      lastUsedAt: null,
      lastRejectedAt: null,
    })
    expect((await gateway.admin('GET', `${path}/tokens`)).json).toEqual({ tokens: [] })
    expect((await gateway.admin('GET', `${path}/audit`)).json).toEqual({ records: [], next: null })
    expect(await logOf(gateway, id)).toEqual([])
    expect((await gateway.admin('GET', `${path}/audit/1`)).status).toBe(404)
    expect((await gateway.admin('GET', `${path}/tokens/${'a'.repeat(16)}`)).status).toBe(404)
    expect((await gateway.admin('DELETE', `${path}/tokens/${'a'.repeat(16)}`)).status).toBe(404)
    expect((await gateway.admin('POST', `${path}/tokens/${'a'.repeat(16)}/rotate`)).status).toBe(404)
    expect((await gateway.admin('DELETE', `${path}/session`)).json.state).toBe('missing')
    expect((await gateway.admin('PUT', `${path}/session`, { cookie: '' })).status).toBe(400)
    expect((await gateway.admin('POST', `${path}/tokens`, {})).status).toBe(400)
    expect((await gateway.admin('GET', `${path}/audit`)).json.records).toEqual([])
    const { organisations } = (await gateway.admin('GET', '/organisations')).json
    expect(organisations.some((each: { id: string }) => each.id === id)).toBe(false)
  })

  test.each(['a%2Fb', 'a.b', 'x'.repeat(65), '%00'])('the id %s is refused', async id => {
    const files = filesUnder(gateway.storage).length
    for (const tail of ['session', 'tokens', 'audit', 'audit/1']) {
      const answer = await gateway.admin('GET', `/organisations/${id}/${tail}`)
      expect([answer.status, answer.json.code]).toEqual([400, 'invalid-path'])
      expect(answer.json.fields[0].field).toBe('organisation_id')
    }
    expect(filesUnder(gateway.storage).length).toBe(files)
  })
})

test.each([
  ['/organisations', 'GET'],
  ['/reseal', 'POST'],
  ['/organisations/ORG1/tokens', 'GET, POST'],
  ['/organisations/ORG1/tokens/aaaaaaaaaaaaaaaa', 'GET, DELETE'],
  ['/organisations/ORG1/tokens/aaaaaaaaaaaaaaaa/rotate', 'POST'],
  ['/organisations/ORG1/session', 'GET, PUT, DELETE'],
  ['/organisations/ORG1/audit', 'GET'],
  ['/organisations/ORG1/audit/1', 'GET'],
])('another method for %s is answered with those it takes', async (path, allow) => {
  for (const method of ['PATCH', 'HEAD', 'OPTIONS']) {
    const answer = await gateway.admin(method, path)
    expect([answer.status, answer.headers.allow]).toEqual([405, allow])
  }
})

test('a path under /admin that leads nowhere, and one with a trailing slash', async () => {
  for (const path of ['/nowhere', '/organisations/', '/organisations/ORG1', '/organisations/ORG1/session/']) {
    const answer = await gateway.admin('GET', path)
    expect([path, answer.status, answer.json.code]).toEqual([path, 404, 'not-found'])
  }
})

test('the gateway explains its problems, and tells how it is', async () => {
  const { id, token } = await gateway.organisation()
  const problem = await gateway.ask(`${versionPath(id, 'CONN1', '1.4.0')}?x`, { token })
  const page = await gateway.ask(problem.json.type)
  expect(page.status).toBe(200)
  expect(page.text).toContain('invalid-query')
  for (const code of ['nothing', 'constructor', '__proto__', 'toString']) {
    expect((await gateway.ask(`/problems/${code}`)).status).toBe(404)
  }
  const health = await gateway.ask('/health')
  expect([health.status, health.json]).toEqual([200, { status: 'ok' }])
})
