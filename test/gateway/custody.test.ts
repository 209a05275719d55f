/** The session: kept exactly, sent to its platform alone, never shown, and noticed when it is refused. */
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Fault } from '../platform/platform.ts'
import {
  eventsOf,
  type Gateway,
  logOf,
  newId,
  put,
  sightings,
  startGateway,
  verifyLogs,
  versionOf,
  versionPath,
} from './gateway.ts'

let gateway: Gateway
/** Every session value that was ever set, given out or refused here. */
const values: string[] = []
beforeAll(async () => {
  // So long between looks that none of them takes a fault that is meant for another request.
  gateway = await startGateway({ UPSTREAM_RETRY_MS: '10000' })
  values.push(gateway.platform.cookie.slice('cookie='.length))
})
afterEach(async () => {
  gateway.platform.behave()
  await verifyLogs(gateway)
})
afterAll(() => gateway.stop())

function newValue(length = 32): string {
  const value = randomBytes(length).toString('hex')
  values.push(value)
  return value
}

/** An organisation with a session of its own, which the platform accepts. */
async function organisationWith(session: { cookie: string } | { cookieHeader: string }) {
  gateway.platform.cookie = `cookie=${newValue()}`
  const made = await gateway.organisation()
  gateway.platform.cookie = 'cookie' in session ? `cookie=${session.cookie}` : session.cookieHeader
  const set = await gateway.admin('PUT', `/organisations/${made.id}/session`, session)
  expect(set.status, 'the session is taken').toBe(200)
  return { ...made, set }
}

// biome-ignore lint/suspicious/noThenProperty: the stand-in's word for what comes after the gate.
const heldThen = (fault: Fault) => gateway.platform.hold({ then: fault })
const read = ({ id, token }: { id: string; token: string }) =>
  gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token })
const sessionOf = async (id: string) => (await gateway.admin('GET', `/organisations/${id}/session`)).json
const lastCookies = () =>
  gateway.platform.received.at(-1)?.headers.filter(([name]) => name.toLowerCase() === 'cookie') ?? []

describe('a session is kept exactly and never shown', () => {
  const kinds: [string, (value: string) => { cookie: string } | { cookieHeader: string }, string[]][] = [
    [
      'a padded base64 value',
      value => ({ cookie: `${Buffer.from(`${value}1`).toString('base64')}` }),
      ['cookie'],
    ],
    ['a value with =', value => ({ cookie: `a=${value}=b==` }), ['cookie']],
    ['a value in quotes, with percent signs', value => ({ cookie: `"${value}%3D%20+/"` }), ['cookie']],
    ['several cookies', value => ({ cookieHeader: `theme=dark; sid=${value}` }), ['theme', 'sid']],
    [
      'one cookie with = and no space',
      value => ({ cookieHeader: `a=1;sid=${value}==;b=2` }),
      ['a', 'sid', 'b'],
    ],
    ['a value of 4,000 characters', value => ({ cookie: value.repeat(62) }), ['cookie']],
  ]
  test.each(kinds)('%s', async (_, session, names) => {
    const body = session(newValue())
    const whole = 'cookie' in body ? `cookie=${body.cookie}` : body.cookieHeader
    values.push(whole.slice(whole.indexOf('=') + 1))
    const made = await organisationWith(body)
    expect(made.set.json).toMatchObject({ state: 'active', cookies: names, generation: 2 })
    expect((await read(made)).status).toBe(200)
    expect(lastCookies().length).toBe(1)
    expect(lastCookies()[0]?.[1] === whole).toBe(true)
    expect((await put(gateway, made)).status).toBe(200)
    expect(lastCookies()[0]?.[1] === whole).toBe(true)
    expect(await sessionOf(made.id)).toMatchObject({ state: 'active', cookies: names, generation: 2 })
    const record = (await logOf(gateway, made.id))
      .filter(({ record }) => record.event === 'session.set')
      .at(-1)
    expect(record?.record.session).toEqual({ generation: 2, cookies: names })
    expect(record?.line.includes(whole)).toBe(false)
  })

  const bad: [string, (value: string) => object][] = [
    ['a bare value with its name', value => ({ cookie: `cookie=${value}` })],
    ['a bare value with ;', value => ({ cookie: `${value}; a=b` })],
    ['a bare value with a space', value => ({ cookie: `${value} x` })],
    ['a bare value with CR LF', value => ({ cookie: `${value}\r\nX-Evil: 1` })],
    ['a bare value with NUL', value => ({ cookie: `${value}\0` })],
    ['a bare value beyond ASCII', value => ({ cookie: `${value}ü` })],
    ['an empty value', () => ({ cookie: '' })],
    ['a header without =', value => ({ cookieHeader: value })],
    ['a bare value with = at its end as a header', value => ({ cookieHeader: `${value}==` })],
    ['a bare value among pairs', value => ({ cookieHeader: `theme=dark; ${value}=` })],
    ['a header with CR LF', value => ({ cookieHeader: `sid=${value}\r\nX-Evil: 1` })],
    ['a header that begins with its name', value => ({ cookieHeader: `Cookie: sid=${value}` })],
    ['an empty pair', value => ({ cookieHeader: `sid=${value};;a=b` })],
    ['both', value => ({ cookie: value, cookieHeader: `sid=${value}` })],
    ['neither', () => ({})],
    ['a number', () => ({ cookie: 1 })],
    ['an unknown key', value => ({ cookie: value, domain: 'x' })],
    ['too much', value => ({ cookie: value.repeat(200) })],
  ]
  test.each(bad)('%s is refused, and not repeated', async (_, session) => {
    const id = newId()
    const value = newValue()
    const answer = await gateway.admin('PUT', `/organisations/${id}/session`, session(value))
    expect([answer.status, answer.json.code]).toEqual([400, 'invalid-body'])
    expect(answer.text.includes(value)).toBe(false)
    expect((await sessionOf(id)).state).toBe('missing')
  })
})

describe('the platform refuses the session', () => {
  const faults: [string, Fault, string][] = [
    ['a 401', { kind: 'status', status: 401 }, 'update.failed'],
    ['a 401 in HTML', { kind: 'html', status: 401 }, 'update.failed'],
    ['a 401 that echoes a challenge', { kind: 'status', status: 401, body: '{}' }, 'update.failed'],
    ['a redirect', { kind: 'redirect' }, 'update.unknown'],
    ['a 303', { kind: 'redirect', status: 303 }, 'update.unknown'],
    ['a 307, which would repeat the body', { kind: 'redirect', status: 307 }, 'update.unknown'],
    ['a 308', { kind: 'redirect', status: 308 }, 'update.unknown'],
    ['an HTML page', { kind: 'html' }, 'update.unknown'],
  ]
  test.each(faults)('%s', async (_, fault, closing) => {
    const made = await organisationWith({ cookie: newValue() })
    const sent = gateway.platform.received.length
    gateway.platform.misbehave(fault)
    const answer = await read(made)
    expect([answer.status, answer.json.code]).toEqual([503, 'session-rejected'])
    expect(answer.headers['www-authenticate']).toBeUndefined()
    const state = await sessionOf(made.id)
    expect(state.state).toBe('rejected')
    expect(state.lastRejectedAt).not.toBeNull()
    expect((await gateway.ask(`/o/${made.id}/token`, { token: made.token })).json.session.state).toBe(
      'rejected',
    )
    // Nothing was followed.
    expect(gateway.platform.received.length).toBe(sent + 1)
    // It rests now; another organisation's is still tried.
    expect((await put(gateway, made)).json).toMatchObject({ code: 'session-rejected', outcome: 'not-sent' })
    expect(gateway.platform.received.length).toBe(sent + 1)
    const other = await organisationWith({ cookie: newValue() })
    gateway.platform.misbehave(fault, { times: 2 })
    const update = await put(gateway, other)
    gateway.platform.behave()
    expect([update.status, update.json.code]).toEqual([503, 'session-rejected'])
    expect(update.json.outcome).toBe(closing === 'update.failed' ? 'not-applied' : 'unknown')
    // What may have been applied is looked for once, at the version itself.
    const looked = gateway.platform.received
      .slice(sent + 2)
      .map(({ method, url }) => [method, url.includes(other.id)])
    expect(looked).toEqual(closing === 'update.failed' ? [] : [['GET', true]])
    expect(await eventsOf(gateway, made.id)).toEqual([
      'session.rejected',
      'read.failed',
      'read.succeeded',
      'update.rejected',
    ])
    expect(await eventsOf(gateway, other.id)).toEqual(['update.attempted', 'session.rejected', closing])
  })

  test('an expired session, until a new one is set', async () => {
    const made = await organisationWith({ cookie: newValue() })
    gateway.platform.cookie = `cookie=${newValue()}`
    expect((await read(made)).json.code).toBe('session-rejected')
    expect((await put(gateway, made)).json).toMatchObject({
      code: 'session-rejected',
      outcome: 'not-sent',
    })
    // The alarm tells the directory, so the listing follows.
    let listed: string | undefined
    while (listed !== 'rejected') {
      const { organisations } = (await gateway.admin('GET', '/organisations')).json
      listed = organisations.find(({ id }: { id: string }) => id === made.id)?.session.state
    }
    await gateway.admin('PUT', `/organisations/${made.id}/session`, {
      cookieHeader: gateway.platform.cookie,
    })
    expect(await sessionOf(made.id)).toMatchObject({ state: 'active', generation: 3 })
    expect((await put(gateway, made)).status).toBe(200)
  })

  test('a 403 refuses that request alone', async () => {
    const made = await organisationWith({ cookie: newValue() })
    gateway.platform.misbehave({ kind: 'status', status: 403 })
    const answer = await put(gateway, made)
    expect([answer.status, answer.json.code]).toEqual([403, 'upstream-rejected'])
    expect(answer.headers['www-authenticate']).toBeUndefined()
    expect((await sessionOf(made.id)).state).toBe('active')
  })
})

describe('the platform rotates its cookie', () => {
  test('on a 2xx: the new value is sent from then on, and never returned', async () => {
    const made = await organisationWith({ cookie: newValue() })
    const next = newValue()
    gateway.platform.misbehave({ kind: 'set-cookie', cookies: [`cookie=${next}; Path=/; HttpOnly; Secure`] })
    const answer = await read(made)
    expect(answer.status).toBe(200)
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(await sessionOf(made.id)).toMatchObject({ state: 'active', cookies: ['cookie'], generation: 3 })
    gateway.platform.cookie = `cookie=${next}`
    expect((await put(gateway, made)).status).toBe(200)
    const log = (await logOf(gateway, made.id)).map(({ record }) => record)
    const rotated = log.find(({ event }) => event === 'session.rotated')
    expect(rotated).toMatchObject({
      actor: { type: 'gateway' },
      session: { generation: 3, cookies: ['cookie'] },
    })
    expect(log.at(-1).upstream.generation).toBe(3)
    await gateway.restart()
    expect((await read(made)).status).toBe(200)
    expect(lastCookies()[0]?.[1] === `cookie=${next}`).toBe(true)
  })

  test('one of several cookies, the others stay', async () => {
    const made = await organisationWith({ cookieHeader: `theme=dark; sid=${newValue()}; lang=de` })
    const next = `${newValue()}==`
    gateway.platform.misbehave({ kind: 'set-cookie', cookies: ['new=1; Path=/', `sid=${next}`] })
    expect((await put(gateway, made)).status).toBe(200)
    gateway.platform.cookie = `theme=dark; sid=${next}; lang=de`
    expect((await read(made)).status).toBe(200)
  })

  test.each([
    ['no cookie of the session', 'other=1'],
    ['a cookie that differs in case', 'Cookie=1'],
    ['an empty value', 'cookie='],
    ['a cookie that is over at once', 'cookie=deleted; Max-Age=0'],
    ['a cookie that is over since 1970', 'cookie=deleted; Expires=Thu, 01 Jan 1970 00:00:00 GMT'],
  ])('not by %s', async (_, cookie) => {
    const made = await organisationWith({ cookie: newValue() })
    gateway.platform.misbehave({ kind: 'set-cookie', cookies: [cookie] })
    expect((await read(made)).status).toBe(200)
    expect((await sessionOf(made.id)).generation).toBe(2)
    expect((await read(made)).status).toBe(200)
  })

  test('not by an answer that is an error', async () => {
    const made = await organisationWith({ cookie: newValue() })
    gateway.platform.misbehave({ kind: 'set-cookie', cookies: [`cookie=${newValue()}`] })
    const answer = await gateway.ask(versionPath(made.id, 'CONN1', '9.9.9'), { token: made.token })
    expect(answer.status).toBe(404)
    expect((await sessionOf(made.id)).generation).toBe(2)
    expect((await read(made)).status).toBe(200)
  })

  test('not by an answer to a request that carried an older session', async () => {
    const made = await organisationWith({ cookie: newValue() })
    const gate = heldThen({ kind: 'set-cookie', cookies: [`cookie=${newValue()}`] })
    const first = read(made)
    await gate.arrived
    const cookie = newValue()
    await gateway.admin('PUT', `/organisations/${made.id}/session`, { cookie })
    gate.release()
    expect((await first).status).toBe(200)
    gateway.platform.cookie = `cookie=${cookie}`
    expect((await read(made)).status).toBe(200)
    expect((await sessionOf(made.id)).generation).toBe(3)
  })

  test('a 401 for an older session does not reject the newer one', async () => {
    const made = await organisationWith({ cookie: newValue() })
    const gate = heldThen({ kind: 'status', status: 401 })
    const first = read(made)
    await gate.arrived
    await gateway.admin('PUT', `/organisations/${made.id}/session`, {
      cookieHeader: gateway.platform.cookie,
    })
    gate.release()
    expect((await first).json.code).toBe('session-rejected')
    expect((await sessionOf(made.id)).state).toBe('active')
  })
})

describe('an answer that holds the session is withheld', () => {
  const echoes: [string, Fault][] = [
    ['as it is', { kind: 'echo', encoding: 'raw' }],
    ['percent-encoded', { kind: 'echo', encoding: 'percent' }],
    ['with JSON escapes', { kind: 'echo', encoding: 'json' }],
    ['in base64', { kind: 'echo', encoding: 'base64', prefix: '' }],
    ['in base64, one byte in', { kind: 'echo', encoding: 'base64', prefix: 'x' }],
    ['in base64, two bytes in', { kind: 'echo', encoding: 'base64', prefix: 'xy' }],
    ['in base64, three bytes in', { kind: 'echo', encoding: 'base64', prefix: 'xyz' }],
  ]
  test.each(echoes)('%s', async (_, fault) => {
    for (const session of [
      { cookie: `${newValue()}/+"=` },
      { cookieHeader: `theme=dark; sid=${newValue()}==` },
      { cookieHeader: `sid=${newValue(8)}` },
    ]) {
      const made = await organisationWith(session)
      gateway.platform.misbehave(fault, { times: Number.POSITIVE_INFINITY })
      const answer = await read(made)
      expect([answer.status, answer.json.code]).toEqual([502, 'upstream-invalid-response'])
      const update = await put(gateway, made)
      gateway.platform.behave()
      expect([update.status, update.json.code]).toEqual([502, 'upstream-invalid-response'])
      expect(update.json.outcome).toBe('unknown')
      expect(await eventsOf(gateway, made.id)).toEqual(['read.failed', 'update.attempted', 'update.unknown'])
    }
  })

  test('also in an error of the platform', async () => {
    const value = newValue()
    const made = await organisationWith({ cookie: value })
    const body = JSON.stringify({ code: 'debug', message: `bad cookie ${value}` })
    gateway.platform.misbehave({ kind: 'status', status: 400, body }, { times: 2 })
    expect((await read(made)).json.code).toBe('upstream-invalid-response')
    expect((await put(gateway, made)).json).toMatchObject({
      code: 'upstream-invalid-response',
      outcome: 'not-applied',
    })
  })

  test('in whatever text an answer comes', async () => {
    const value = newValue()
    const made = await organisationWith({ cookie: value })
    for (const status of [200, 201, 400, 401, 403, 404, 409, 500, 503]) {
      for (const contentType of ['application/json', 'text/plain', 'text/html']) {
        const body = `"Cookie: cookie=${value}"`
        gateway.platform.misbehave(
          { kind: 'status', status, contentType, body },
          { times: Number.POSITIVE_INFINITY },
        )
        const answer = await read(made)
        gateway.platform.behave()
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(answer.text.includes(value)).toBe(false)
      }
    }
  })
})

test('a deleted session is gone, and its generation is not used again', async () => {
  const made = await organisationWith({ cookie: newValue() })
  const gone = await gateway.admin('DELETE', `/organisations/${made.id}/session`)
  expect([gone.status, gone.json.state, gone.json.cookies]).toEqual([200, 'missing', []])
  const sent = () => gateway.platform.received.filter(({ url }) => url.includes(made.id)).length
  const before = sent()
  expect((await read(made)).json.code).toBe('session-missing')
  expect(sent()).toBe(before)
  await gateway.admin('PUT', `/organisations/${made.id}/session`, { cookie: newValue() })
  expect((await sessionOf(made.id)).generation).toBe(3)
})

test('no token and no session value is stored, logged or answered anywhere', async () => {
  await gateway.restart()
  const made = await organisationWith({ cookie: newValue() })
  expect((await read(made)).status).toBe(200)
  expect(values.length).toBeGreaterThan(50)
  expect(gateway.tokens.length).toBeGreaterThan(20)
  expect(gateway.answers.length).toBeGreaterThan(100)
  const secrets = [...values, ...gateway.tokens.map(token => token.slice(20)), gateway.adminSecret]
  const encoded = secrets.map(secret => Buffer.from(secret).toString('base64'))
  expect(sightings(gateway, [...secrets, ...encoded])).toEqual([])
  // The search finds what is there.
  expect(sightings(gateway, made.tokenId).length).toBeGreaterThan(0)
})

test('a new value that the platform hands out and tells in the same answer is withheld', async () => {
  const made = await organisationWith({ cookie: newValue() })
  const next = newValue()
  const told = { ...versionOf(gateway, made.id), description: `your session is ${next}` }
  gateway.platform.seed(made.id, 'CONN1', [told])
  gateway.platform.misbehave({ kind: 'set-cookie', cookies: [`cookie=${next}; Path=/`] })
  const answer = await read(made)
  expect(answer.json.code).toBe('upstream-invalid-response')
  expect(answer.text.includes(next)).toBe(false)
})
