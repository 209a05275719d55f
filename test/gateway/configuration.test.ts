/** A gateway that lacks a valid setting does nothing and says which; keys and platforms that change. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Platform, startPlatform } from '../platform/platform.ts'
import { makeSecrets } from '../platform/secrets.ts'
import { type Gateway, logOf, newId, put, startGateway, verifyLogs, versionPath } from './gateway.ts'
import type { Bindings } from './runtime.ts'

let gateway: Gateway
let second: Platform
let sound: Bindings
beforeAll(async () => {
  gateway = await startGateway()
  second = await startPlatform()
  sound = { ...gateway.bindings }
})
afterEach(async () => {
  await verifyLogs(gateway)
  gateway.platform.reset()
})
afterAll(async () => {
  await gateway.stop()
  await second.stop()
})

const a = 'a'.repeat(32)
const b = 'b'.repeat(32)
const short = (bytes: number) => randomBytes(bytes).toString('base64')
/** RSA's prefix in front of what would be an Ed25519 key. */
const otherAlgorithm = Buffer.concat([
  Buffer.from('302e020100300506032b656f04220420', 'hex'),
  randomBytes(32),
])

describe('nothing runs on half a configuration', () => {
  const broken: [name: string, what: string, value: string | undefined][] = [
    ['UPSTREAM_BASE_URL', 'no URL', 'platform'],
    ['UPSTREAM_BASE_URL', 'http to another host', 'http://platform.example/api'],
    ['UPSTREAM_BASE_URL', 'http to a host that begins like loopback', 'http://127.0.0.1.example.com/api'],
    ['UPSTREAM_BASE_URL', 'a user and a password', 'https://someone:sesame@platform.example/api'],
    ['UPSTREAM_BASE_URL', 'a query', 'https://platform.example/api?key=sesame'],
    ['UPSTREAM_TIMEOUT_MS', 'no number', 'soon'],
    ['UPSTREAM_TIMEOUT_MS', 'zero', '0'],
    ['ADMIN_TOKEN', 'missing', undefined],
    ['ADMIN_TOKEN', 'too short', 'alice:sesame-open'],
    ['ADMIN_TOKEN', 'too short in its second entry', `alice:${a},bob:sesame-open`],
    ['ADMIN_TOKEN', 'one secret under two names', `alice:${a},bob:${a}`],
    ['ADMIN_TOKEN', 'an empty entry', `alice:${a},,bob:${b}`],
    ['ADMIN_TOKEN', 'white space in a secret', `alice:${a} ${b}`],
    ['SEALING_KEY', 'missing', undefined],
    ['SEALING_KEY', '31 bytes', short(31)],
    ['SEALING_KEY', 'no base64', `${short(32).slice(0, -2)}!=`],
    ['SEALING_KEY_PREVIOUS', '16 bytes', short(16)],
    ['AUDIT_SIGNING_KEY', 'missing', undefined],
    ['AUDIT_SIGNING_KEY', 'the bare key', short(32)],
    ['AUDIT_SIGNING_KEY', 'a key of another algorithm', otherAlgorithm.toString('base64')],
    ['ORGANISATION_JURISDICTION', 'unknown', 'mars'],
    ['ORGANISATION_LOCATION_HINT', 'unknown', 'moon'],
    ['ORGANISATION', 'not bound', 'unbound'],
    ['DIRECTORY', 'not bound', 'unbound'],
  ]
  test.each(broken)('%s: %s', async (name, _, value) => {
    await gateway.restart({ [name]: value })
    try {
      const id = newId()
      const token = `vgw_${'0'.repeat(65)}`
      const read = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token })
      expect([read.status, read.json?.code, read.json?.failing]).toEqual([503, 'not-configured', undefined])
      const update = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), {
        method: 'PUT',
        token,
        body: '{}',
      })
      expect([update.status, update.json.code]).toEqual([503, 'not-configured'])
      const admin = await gateway.admin('GET', `/organisations/${id}/session`)
      expect([admin.status, admin.json.code]).toEqual([503, 'not-configured'])
      expect((await gateway.admin('GET', '/organisations')).status).toBe(503)
      expect((await gateway.ask('/admin/organisations')).status).toBe(503)
      const health = await gateway.ask('/health')
      expect(health.status).toBe(503)
      expect(health.json.failing.length).toBe(1)
      expect(health.json.failing[0].startsWith(`${name} `)).toBe(true)
      if (value && value.length > 4 && value !== 'unbound') expect(health.text.includes(value)).toBe(false)
      // A request's id may hold a few of these in a row, but not so many.
      expect(/sesame|a{13}|b{13}/.test(health.text + read.text)).toBe(false)
      expect(gateway.platform.received.length).toBe(0)
    } finally {
      gateway.unverified.clear()
      Object.assign(gateway.bindings, { [name]: sound[name] })
    }
  })

  test('a refused update says that it was not sent', async () => {
    await gateway.restart({ SEALING_KEY: undefined })
    const { json } = await gateway.ask(versionPath('ORG1', 'CONN1', '1.4.0'), { method: 'PUT', body: '{}' })
    gateway.unverified.clear()
    Object.assign(gateway.bindings, sound)
    expect(json.outcome).toBe('not-sent')
  })

  test('everything that is wrong is named at once', async () => {
    await gateway.restart({
      ADMIN_TOKEN: undefined,
      SEALING_KEY: 'x',
      AUDIT_SIGNING_KEY: '',
      DIRECTORY: 'unbound',
    })
    const { json } = await gateway.ask('/health')
    Object.assign(gateway.bindings, sound, { DIRECTORY: undefined })
    expect(json.failing.map((each: string) => each.split(' ')[0]).sort()).toEqual([
      'ADMIN_TOKEN',
      'AUDIT_SIGNING_KEY',
      'DIRECTORY',
      'SEALING_KEY',
    ])
  })
})

describe('a sound configuration', () => {
  test('values that may be left out, and those in another spelling', async () => {
    await gateway.restart({
      UPSTREAM_BASE_URL: `${gateway.platform.baseUrl}/`,
      UPSTREAM_TIMEOUT_MS: undefined,
      SEALING_KEY_PREVIOUS: '',
      ORGANISATION_LOCATION_HINT: 'weur',
      ADMIN_TOKEN: ` alice:${gateway.adminSecret} , ${b}`,
    })
    const health = await gateway.ask('/health')
    expect([health.status, health.json]).toEqual([200, { status: 'ok' }])
    const made = await gateway.organisation()
    expect((await put(gateway, made)).status).toBe(200)
    await gateway.restart({
      ...sound,
      SEALING_KEY_PREVIOUS: undefined,
      ORGANISATION_LOCATION_HINT: undefined,
    })
  })

  test('no session is said to be missing, and nothing is sent', async () => {
    const made = await gateway.organisation()
    await gateway.admin('DELETE', `/organisations/${made.id}/session`)
    const read = await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
    expect([read.status, read.json.code]).toEqual([503, 'session-missing'])
    const update = await put(gateway, made)
    expect([update.status, update.json.code, update.json.outcome]).toEqual([
      503,
      'session-missing',
      'not-sent',
    ])
    expect((await gateway.ask(`/o/${made.id}/token`, { token: made.token })).json.session.state).toBe(
      'missing',
    )
    expect(gateway.platform.received.length).toBe(0)
    const log = (await logOf(gateway, made.id)).map(({ record }) => [record.event, record.reason])
    expect(log).toContainEqual(['read.rejected', 'session-missing'])
    expect(log).toContainEqual(['update.rejected', 'session-missing'])
  })

  test('a session goes to no other platform than the one it was set for', async () => {
    const made = await gateway.organisation()
    second.cookie = gateway.platform.cookie
    await gateway.restart({ UPSTREAM_BASE_URL: second.baseUrl })
    const read = await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
    expect([read.status, read.json.code]).toEqual([503, 'session-missing'])
    expect((await put(gateway, made)).json.outcome).toBe('not-sent')
    const session = await gateway.admin('GET', `/organisations/${made.id}/session`)
    expect(session.json).toMatchObject({ state: 'missing', cookies: [] })
    const list = await gateway.admin('POST', '/reseal')
    expect(list.json.failed).toEqual([])
    expect(second.received.length).toBe(0)
    await gateway.restart({ UPSTREAM_BASE_URL: gateway.platform.baseUrl })
    expect((await put(gateway, made)).status).toBe(200)
  })
})

describe('the sealing key changes', () => {
  test('with the previous one the session works, is sealed anew, and the previous one can go', async () => {
    const made = await gateway.organisation()
    const old = gateway.bindings.SEALING_KEY
    const next = makeSecrets().SEALING_KEY
    await gateway.restart({ SEALING_KEY: next })
    const refused = await put(gateway, made)
    expect([refused.status, refused.json.outcome]).toEqual([503, 'not-sent'])
    expect(gateway.platform.received.length).toBe(0)
    const shown = await gateway.admin('GET', `/organisations/${made.id}/session`)
    expect(shown.json).toMatchObject({ state: 'missing', generation: 1 })
    await gateway.restart({ SEALING_KEY_PREVIOUS: old })
    expect((await put(gateway, made)).status).toBe(200)
    await gateway.restart({ SEALING_KEY_PREVIOUS: undefined })
    expect((await put(gateway, made)).status).toBe(200)
  })

  test('POST /admin/reseal does so for every organisation', async () => {
    const all = [await gateway.organisation(), await gateway.organisation(), await gateway.organisation()]
    const deleted = all[2] as (typeof all)[0]
    await gateway.admin('DELETE', `/organisations/${deleted.id}/session`)
    const old = gateway.bindings.SEALING_KEY
    await gateway.restart({ SEALING_KEY: makeSecrets().SEALING_KEY })
    const without = await gateway.admin('POST', '/reseal')
    expect(without.status).toBe(200)
    expect(without.json.resealed).toBe(0)
    expect(without.json.failed).toEqual(expect.arrayContaining([all[0]?.id, all[1]?.id]))
    expect(without.json.failed).not.toContain(deleted.id)
    await gateway.restart({ SEALING_KEY_PREVIOUS: old })
    const resealed = await gateway.admin('POST', '/reseal')
    // Those of other tests were sealed with keys that are gone.
    const lost = resealed.json.failed
    for (const { id } of all) expect(lost).not.toContain(id)
    expect(resealed.json.resealed).toBe(without.json.failed.length - lost.length)
    expect(resealed.json.next).toBeNull()
    const again = await gateway.admin('POST', '/reseal')
    expect(again.json).toMatchObject({ resealed: 0, failed: lost })
    await gateway.restart({ SEALING_KEY_PREVIOUS: undefined })
    for (const made of all.slice(0, 2)) {
      expect((await put(gateway, made)).status).toBe(200)
      const record = (await logOf(gateway, made.id)).find(({ record }) => record.event === 'session.resealed')
      expect(record?.record.actor).toEqual({ type: 'admin', id: 'alice', name: 'alice' })
    }
    expect((await gateway.ask('/admin/reseal', { method: 'POST' })).status).toBe(401)
    expect((await gateway.admin('GET', '/reseal')).status).toBe(405)
  })
})

test('every variable can be set by .dev.vars: with secrets declared as required, wrangler dev would take those alone', () => {
  const text = readFileSync(join(import.meta.dirname, '../../wrangler.toml'), 'utf8')
  expect(text).not.toMatch(/^\[secrets\]/m)
})
