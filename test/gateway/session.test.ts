/** The life of a session: probed before it is set and by the hour, resting once it is refused, with an owner and an end. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Fault } from '../platform/platform.ts'
import { eventsOf, gatewayForTests, logOf, newId, passHour, put, sightings, versionPath } from './gateway.ts'

/** A rejected session rests for 120 times this. */
const retryMs = 10
const probe = { connectionId: 'PROBE', version: '1.4.0' }

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: String(retryMs) })

const path = (id: string) => `/organisations/${id}/session`
const sessionOf = async (id: string) => (await gateway.admin('GET', path(id))).json
const read = ({ id, token }: { id: string; token: string }, connection = 'CONN1') =>
  gateway.ask(versionPath(id, connection, '1.4.0'), { token })
const sent = (id: string) => gateway.platform.received.filter(({ url }) => url.includes(id))

describe('setting one with a probe', () => {
  test('reads it with the candidate, and keeps what was said', async () => {
    const id = newId()
    const expiresAt = new Date(Date.now() + 30 * 86_400_000).toISOString()
    const wanted = { cookieHeader: gateway.platform.cookie, probe, owner: 'ops@example.com', expiresAt }
    const set = await gateway.admin('PUT', path(id), wanted)
    expect([set.status, set.json.state, set.json.generation]).toEqual([200, 'active', 1])
    expect(set.json).toMatchObject({ probe, owner: 'ops@example.com', expiresAt })
    expect(sent(id).map(({ method, url }) => [method, url.split('/').at(-3)])).toEqual([['GET', 'PROBE']])
    await gateway.restart()
    expect(await sessionOf(id)).toMatchObject({ probe, owner: 'ops@example.com', expiresAt })
    await gateway.admin('DELETE', path(id))
    expect(await sessionOf(id)).toMatchObject({ state: 'missing', owner: null, expiresAt: null })
    expect((await sessionOf(id)).probe).toBeUndefined()
  })

  test.each([
    ['that the platform refuses', { kind: 'status', status: 401 } as const, 503, 'session-rejected'],
    ['that leads to a login page', { kind: 'html' } as const, 503, 'session-rejected'],
    ['that may not see the probe', { kind: 'status', status: 403 } as const, 403, 'upstream-rejected'],
    ['while the platform is down', { kind: 'drop-before' } as const, 502, 'upstream-unreachable'],
  ])('one %s is refused, and the old one stays', async (_, fault, status, code) => {
    const made = await gateway.organisation()
    const candidate = randomBytes(24).toString('hex')
    gateway.platform.misbehave(fault, { connectionId: 'PROBE', times: 3 })
    const refused = await gateway.admin('PUT', path(made.id), { cookie: candidate, probe })
    gateway.platform.behave()
    expect([refused.status, refused.json.code]).toEqual([status, code])
    expect(refused.json.detail).toMatch(/probe|platform|told to answer/)
    expect(await sessionOf(made.id)).toMatchObject({ state: 'active', generation: 1 })
    expect((await read(made)).status).toBe(200)
    const log = (await logOf(gateway, made.id)).map(({ record }) => record)
    expect(log.find(({ event }) => event === 'session.refused')).toMatchObject({
      actor: { type: 'admin', name: 'alice' },
      reason: code,
    })
    expect(sightings(gateway, candidate)).toEqual([])
  })

  test('that names a version that is not there is refused, and the organisation does not come into being', async () => {
    const id = newId()
    const wanted = { cookieHeader: gateway.platform.cookie, probe: { ...probe, version: '9.9.9' } }
    const refused = await gateway.admin('PUT', path(id), wanted)
    expect([refused.status, refused.json.code]).toEqual([404, 'upstream-rejected'])
    expect(await logOf(gateway, id)).toEqual([])
    const { organisations } = (await gateway.admin('GET', '/organisations')).json
    expect(organisations.map((each: { id: string }) => each.id)).not.toContain(id)
  })

  test('takes over the cookie that the platform made of it meanwhile', async () => {
    const id = newId()
    const [old, next] = [gateway.platform.cookie, `cookie=${randomBytes(24).toString('hex')}`]
    gateway.platform.misbehave({ kind: 'set-cookie', cookies: [next] }, { connectionId: 'PROBE' })
    expect((await gateway.admin('PUT', path(id), { cookieHeader: old, probe })).status).toBe(200)
    const { json } = await gateway.admin('POST', `/organisations/${id}/tokens`, {
      name: 'x',
      connections: ['*'],
    })
    gateway.platform.cookie = next
    expect((await read({ id, token: json.token })).status).toBe(200)
    gateway.platform.cookie = old
  })

  test.each([
    ['a probe without a version', { probe: { connectionId: 'C' } }, 'probe.version'],
    [
      'a probe that leaves its place',
      { probe: { connectionId: '../x', version: '1' } },
      'probe.connectionId',
    ],
    ['an owner that hides something', { owner: 'a\u202eb' }, 'owner'],
    ['an end that is past', { expiresAt: '2020-01-01T00:00:00Z' }, 'expiresAt'],
    ['an end that is no time', { expiresAt: 'tomorrow' }, 'expiresAt'],
    ['a key that is not known', { note: 'x' }, 'note'],
  ])('%s is refused', async (_, more, field) => {
    const refused = await gateway.admin('PUT', path(newId()), { cookie: 'x', ...more })
    expect([refused.status, refused.json.fields.map((each: { field: string }) => each.field)]).toEqual([
      400,
      [field],
    ])
  })
})

describe('by the hour', () => {
  test('the probe is read and recorded, so a dead session is known without a request', async () => {
    const { id } = await gateway.organisation()
    await gateway.admin('PUT', path(id), { cookieHeader: gateway.platform.cookie, probe })
    await passHour(gateway)
    expect(await eventsOf(gateway, id)).toEqual(['read.succeeded'])
    const { record } = (await logOf(gateway, id)).at(-1) ?? {}
    expect(record).toMatchObject({
      actor: { type: 'gateway' },
      target: { ...probe },
      upstream: { status: 200 },
    })

    gateway.platform.misbehave(
      { kind: 'status', status: 401 },
      { connectionId: 'PROBE', times: Number.POSITIVE_INFINITY },
    )
    await passHour(gateway)
    expect((await sessionOf(id)).state).toBe('rejected')
    expect((await eventsOf(gateway, id)).slice(1)).toEqual(['session.rejected', 'read.failed'])
    const { organisations } = (await gateway.admin('GET', '/organisations')).json
    const listed = organisations.find((each: { id: string }) => each.id === id)
    expect(listed.session.state).toBe('rejected')
  })

  test('one without a probe, and one without a session, are left alone', async () => {
    const { id } = await gateway.organisation()
    await passHour(gateway)
    await gateway.admin('DELETE', path(id))
    await passHour(gateway)
    expect(sent(id)).toEqual([])
    expect(await eventsOf(gateway, id)).toEqual(['session.deleted'])
  })
})

describe('one that was refused', () => {
  test('rests: everyone is refused at once, then one tries while the others are still refused', async () => {
    const made = await gateway.organisation()
    gateway.platform.misbehave({ kind: 'status', status: 401 }, { connectionId: 'CONN1' })
    expect((await read(made)).json.code).toBe('session-rejected')
    const before = sent(made.id).length
    const resting = [read(made), read(made, 'CONN2'), put(gateway, made)]
    for (const { json } of await Promise.all(resting)) expect(json.code).toBe('session-rejected')
    expect((await put(gateway, made)).json.outcome).toBe('not-sent')
    expect(sent(made.id).length).toBe(before)

    // Held at the platform, the one that tries has no answer while the others are asked.
    const gate = gateway.platform.hold({ connectionId: 'CONN3' })
    const tried = (async () => {
      for (;;) {
        const answer = await read(made, 'CONN3')
        if (answer.json.code !== 'session-rejected') return answer
      }
    })()
    await gate.arrived
    expect((await read(made)).json.code).toBe('session-rejected')
    expect((await put(gateway, made)).json.code).toBe('session-rejected')
    expect(sent(made.id).length).toBe(before + 1)
    gate.release()
    expect((await tried).status).toBe(200)
    expect((await sessionOf(made.id)).state).toBe('active')
    expect((await put(gateway, made)).status).toBe(200)
  })

  test('one try that is refused too makes it rest again, over a restart as well', async () => {
    const made = await gateway.organisation()
    gateway.platform.misbehave({ kind: 'status', status: 401 }, { connectionId: 'CONN1', times: 2 })
    expect((await read(made)).json.code).toBe('session-rejected')
    await gateway.restart({ UPSTREAM_RETRY_MS: '1000' })
    expect((await read(made)).json.code).toBe('session-rejected')
    expect(sent(made.id).length).toBe(1)
    await gateway.restart({ UPSTREAM_RETRY_MS: String(retryMs) })
    while (sent(made.id).length === 1) expect((await read(made)).json.code).toBe('session-rejected')
    expect((await read(made)).json.code).toBe('session-rejected')
    expect(sent(made.id).length).toBe(2)
    expect((await eventsOf(gateway, made.id)).filter(event => event === 'session.rejected').length).toBe(1)
  })

  // biome-ignore lint/suspicious/noThenProperty: the stand-in's word for what comes after the gate.
  const heldThen = (fault: Fault) => gateway.platform.hold({ method: 'PUT', then: fault })

  test('who waits for a turn is told so, and not that time was up', async () => {
    const made = await gateway.organisation()
    const gate = heldThen({ kind: 'status', status: 401 })
    const first = put(gateway, made)
    await gate.arrived
    const second = put(gateway, made)
    gate.release()
    expect((await first).json).toMatchObject({ code: 'session-rejected', outcome: 'not-applied' })
    expect((await second).json).toMatchObject({ code: 'session-rejected', outcome: 'not-sent' })
  })

  /** Until the session may be tried again, without trying it. */
  async function rested(made: { id: string; token: string }): Promise<void> {
    gateway.platform.misbehave({ kind: 'status', status: 401 }, { connectionId: 'CONN1' })
    expect((await read(made)).json.code).toBe('session-rejected')
    await new Promise(resolve => setTimeout(resolve, 120 * retryMs))
  }

  test('the one that tries may look and send again', async () => {
    const made = await gateway.organisation()
    await rested(made)
    gateway.platform.misbehave({ kind: 'drop-before' }, { method: 'PUT' })
    expect((await put(gateway, made)).status).toBe(200)
    expect(sent(made.id).map(({ method }) => method)).toEqual(['GET', 'PUT', 'GET', 'PUT'])
  })

  test('a refusal in the platform’s own words ends the rest', async () => {
    const made = await gateway.organisation()
    await rested(made)
    const missing = await gateway.ask(versionPath(made.id, 'CONN1', '9.9.9'), { token: made.token })
    expect(missing.json.code).toBe('upstream-rejected')
    expect((await read(made)).status).toBe(200)
  })

  test('a new one is used at once', async () => {
    const made = await gateway.organisation()
    gateway.platform.misbehave({ kind: 'status', status: 401 }, { connectionId: 'CONN1' })
    expect((await read(made)).json.code).toBe('session-rejected')
    await gateway.admin('PUT', path(made.id), { cookieHeader: gateway.platform.cookie })
    expect((await read(made)).status).toBe(200)
  })
})
