/**
 * Auditors and the console, as far as no browser is needed: who is let in and where, what is recorded of reading, and what
 * each answer's headers forbid.
 */
import { createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, type Gateway, logOf, newId, put, startGateway, verifyLogs } from './gateway.ts'

const olga = randomBytes(33).toString('base64url')
let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ AUDITOR_TOKEN: `olga:${olga}` })
})
afterEach(() => verifyLogs(gateway))
afterAll(() => gateway.stop())

const ndjson = { Accept: 'application/x-ndjson' }
const site = { 'Sec-Fetch-Site': 'same-origin' }
const lastRecord = async (id: string) => (await logOf(gateway, id)).at(-1)?.record
const asAuditor = (method: string, path: string, headers: Record<string, string> = {}) =>
  gateway.ask(path, { method, token: olga, headers })

let address = 0
/** Sends the login form, from an address of its own unless told otherwise: wrong secrets are counted by address. */
function logIn(secret: string, { next = '', ...headers }: Record<string, string> = {}): Promise<Answer> {
  return gateway.ask('/console/login', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      'CF-Connecting-IP': `192.0.2.${++address}`,
      ...site,
      ...headers,
    },
    body: new URLSearchParams({ secret, ...(next ? { next } : {}) }).toString(),
  })
}
const cookieOf = (answer: Answer) => String(answer.headers['set-cookie']).split(';')[0] as string
const show = (path: string, cookie: string, headers: Record<string, string> = {}) =>
  gateway.ask(path, { headers: { Cookie: cookie, ...headers } })
const pageOf = (id: string, tail = '') => `/console/organisations/${id}${tail}`

describe('an auditor', () => {
  test('is refused whatever is no GET, everywhere, and nothing changes by it', async () => {
    const { id, tokenId } = await gateway.organisation()
    const { json } = await gateway.ask('/openapi.json')
    const state = async () => [
      (await gateway.admin('GET', `/organisations/${id}/tokens`)).json.tokens,
      (await gateway.admin('GET', `/organisations/${id}/session`)).json,
    ]
    const before = await state()
    const tried: string[] = []
    for (const [path, methods] of Object.entries(json.paths as Record<string, object>)) {
      if (!path.startsWith('/admin')) continue
      const real = path
        .replace('{organisation_id}', id)
        .replace('{token_id}', tokenId)
        .replace(/\{\w+\}/g, '1')
      for (const method of [...Object.keys(methods).map(each => each.toUpperCase()), 'POST', 'TRACE']) {
        if (method === 'GET' || tried.includes(`${method} ${path}`)) continue
        tried.push(`${method} ${path}`)
        const answer = await asAuditor(method, real, { 'Content-Type': 'application/json' })
        expect([answer.status, answer.json?.code], `${method} ${path}`).toEqual([403, 'insufficient-scope'])
      }
    }
    expect(tried).toEqual(
      expect.arrayContaining([
        'PUT /admin/organisations/{organisation_id}/session',
        'DELETE /admin/organisations/{organisation_id}/tokens/{token_id}',
        'POST /admin/reseal',
      ]),
    )
    expect(await state()).toEqual(before)
    expect(
      (await logOf(gateway, id)).find(({ record }) => record.event === 'admin.denied')?.record,
    ).toMatchObject({
      actor: { type: 'auditor', id: 'olga', name: 'olga' },
      reason: 'insufficient-scope',
    })
  })

  test('reads what an admin reads', async () => {
    const { id, tokenId } = await gateway.organisation()
    const organisation = `/organisations/${id}`
    for (const path of [
      `/organisations`,
      `${organisation}/tokens`,
      `${organisation}/tokens/${tokenId}`,
      `${organisation}/session`,
      `${organisation}/audit`,
      `${organisation}/audit/1`,
    ]) {
      const answer = await asAuditor('GET', `/admin${path}`)
      expect(answer.status, path).toBe(200)
      expect(answer.text, path).toBe((await gateway.admin('GET', path)).text)
    }
  })

  test('is nobody to a caller’s path, and a token is nobody to /admin', async () => {
    const { id, token } = await gateway.organisation()
    expect((await asAuditor('GET', `/o/${id}/token`)).json.code).toBe('invalid-token')
    const answer = await gateway.ask(`/admin/organisations/${id}/audit`, { token })
    expect(answer.json.code).toBe('invalid-token')
  })
})

describe('an export', () => {
  test('is on record with its filter and who asked, and ends in that record where the filter has it', async () => {
    const { id, token } = await gateway.organisation()
    await put(gateway, { id, token })
    const size = (await logOf(gateway, id)).length
    const path = `/admin/organisations/${id}/audit?event=update.*&since=2026-01-01T02:00:00%2B02:00&after=1`
    const answer = await asAuditor('GET', path, ndjson)
    const events = answer.text.split('\n').map(line => line && JSON.parse(line).event)
    expect(events).toEqual(['update.attempted', 'update.succeeded', ''])
    const record = await lastRecord(id)
    expect(record).toMatchObject({
      seq: size + 1,
      event: 'audit.exported',
      actor: { type: 'auditor', id: 'olga', name: 'olga' },
      target: { organisationId: id },
      filter: { event: 'update.*', since: '2026-01-01T00:00:00.000Z', after: 1 },
    })
    expect(String(answer.headers['audit-receipt'])).toMatch(new RegExp(`^${size + 1}:[0-9a-f]{64}$`))

    const whole = await gateway.admin('GET', `/organisations/${id}/audit`, undefined, ndjson)
    const lines = whole.text.split('\n').slice(0, -1)
    expect(lines.length).toBe(size + 2)
    const last = await lastRecord(id)
    expect(last).toMatchObject({ actor: { type: 'admin', id: 'alice' }, filter: {} })
    expect(JSON.parse(lines.at(-1) ?? '')).toEqual(last)
  })

  test('with a token in its filter leaves none in the log', async () => {
    const { id, token } = await gateway.organisation()
    const path = `/admin/organisations/${id}/audit?requestId=${token}`
    expect((await asAuditor('GET', path, ndjson)).status).toBe(200)
    expect(JSON.stringify(await lastRecord(id)).includes(token.slice(20))).toBe(false)
  })

  test('of an organisation that is none stores nothing', async () => {
    const id = newId()
    const answer = await asAuditor('GET', `/admin/organisations/${id}/audit`, ndjson)
    expect([answer.status, answer.text]).toEqual([200, ''])
    expect(await logOf(gateway, id)).toEqual([])
  })

  test('and a page of the console are refused where they cannot be recorded', async () => {
    const { id } = await gateway.organisation()
    const cookie = cookieOf(await logIn(gateway.adminSecret))
    const object = ['versori-gateway', 'Organisation', { name: id }] as const
    const sql = await gateway.runtime.miniflare.unsafeGetDurableObjectStorage(...object)
    await sql.exec(`create trigger full before insert on records begin select raise(abort, 'full'); end`)
    const exported = await asAuditor('GET', `/admin/organisations/${id}/audit`, ndjson)
    expect([exported.status, exported.json.code]).toEqual([503, 'audit-unavailable'])
    for (const tail of ['', '/tokens', '/records/1', '/records/1/receipt']) {
      const page = await show(pageOf(id, tail), cookie)
      expect(page.status, tail).toBe(503)
      expect(page.text, tail).not.toContain('session.set')
      expect(page.text, tail).not.toContain('ci-deploy')
    }
    await sql.exec('drop trigger full')
    expect((await show(pageOf(id), cookie)).status).toBe(200)
    expect((await lastRecord(id)).event).toBe('console.opened')
  })
})

describe('the cookie of a login', () => {
  test('has every attribute that keeps it in, and leads to the list', async () => {
    const answer = await logIn(olga)
    expect([answer.status, answer.headers.location]).toEqual([303, '/console'])
    const [cookie = '', ...attributes] = String(answer.headers['set-cookie']).split('; ')
    expect(/^__Host-console=auditor:olga:\d{13}:[A-Za-z0-9+/]{43}=$/.test(cookie)).toBe(true)
    expect(attributes.toSorted()).toEqual([
      'HttpOnly',
      'Max-Age=28800',
      'Path=/',
      'SameSite=Strict',
      'Secure',
    ])
    const page = await show('/console', cookie)
    expect(page.status).toBe(200)
    expect(page.text).toContain('olga (auditor)')
  })

  test('is nothing to /admin and /o, and a bearer is nothing to the console', async () => {
    const { id } = await gateway.organisation()
    const cookie = cookieOf(await logIn(gateway.adminSecret))
    for (const path of ['/admin/organisations', `/admin/organisations/${id}/session`, `/o/${id}/token`]) {
      const answer = await show(path, cookie)
      expect([answer.status, answer.json.code], path).toEqual([401, 'missing-token'])
    }
    const bearer = await gateway.ask(pageOf(id), { token: gateway.adminSecret })
    expect([bearer.status, bearer.headers.location]).toEqual([
      303,
      `/console/login?next=${encodeURIComponent(pageOf(id))}`,
    ])
  })

  /** A cookie as the gateway makes it, written apart from it. */
  function forge(role: string, name: string, expiresAt: number, secret: string): string {
    const digest = createHash('sha256').update(secret).digest()
    const key = Buffer.from(hkdfSync('sha256', digest, Buffer.alloc(0), 'versori-gateway/console', 32))
    const claim = `${role}:${name}:${expiresAt}`
    return `__Host-console=${claim}:${createHmac('sha256', key).update(claim).digest('base64')}`
  }

  test('is refused where it is forged, expired, or of another secret', async () => {
    const soon = Date.now() + 3_600_000
    const other = randomBytes(33).toString('base64url')
    expect((await show('/console', forge('auditor', 'olga', soon, olga))).status).toBe(200)
    for (const [what, cookie] of [
      ['expired', forge('auditor', 'olga', Date.now() - 1, olga)],
      ['too far ahead', forge('auditor', 'olga', Date.now() + 9 * 3_600_000, olga)],
      ['of another secret', forge('auditor', 'olga', soon, other)],
      ['of another role', forge('admin', 'olga', soon, olga)],
      ["in another's name", forge('admin', 'alice', soon, olga)],
      ['changed', forge('auditor', 'olga', soon, olga).replace('auditor', 'admin')],
      ['twice', [1, 2].map(() => forge('auditor', 'olga', soon, olga)).join('; ')],
    ] as const) {
      const answer = await show('/console', cookie)
      expect([answer.status, answer.headers.location], what).toEqual([303, '/console/login'])
    }
  })

  test('ends with its secret, and with no other', async () => {
    const [admin, auditor] = [cookieOf(await logIn(gateway.adminSecret)), cookieOf(await logIn(olga))]
    await gateway.restart({ AUDITOR_TOKEN: `olga:${randomBytes(33).toString('base64url')}` })
    expect((await show('/console', auditor)).status).toBe(303)
    expect((await show('/console', admin)).status).toBe(200)
    await gateway.restart({ AUDITOR_TOKEN: undefined as never })
    expect((await show('/console', auditor)).status).toBe(303)
    await gateway.restart({ AUDITOR_TOKEN: `olga:${olga}` })
    expect((await show('/console', auditor)).status).toBe(200)
  })

  test('is taken away by logging out', async () => {
    const answer = await gateway.ask('/console/logout', { method: 'POST', headers: site })
    expect([answer.status, answer.headers.location]).toEqual([303, '/console/login'])
    expect(String(answer.headers['set-cookie'])).toBe(
      '__Host-console=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict',
    )
  })
})

describe('the login', () => {
  test.each([
    ['nothing', ''],
    ['a name before it', 'olga:'],
    ['half of it', 'half'],
  ])('with %s says no more than that it is not one', async (_, what) => {
    const secret = what === 'half' ? olga.slice(0, 20) : what && what + olga
    const answer = await logIn(secret)
    expect([answer.status, answer.headers['set-cookie']]).toEqual([403, undefined])
    expect(answer.text).toContain('This is not the secret of an admin or auditor.')
    expect(secret && answer.text.includes(secret)).toBeFalsy()
  })

  test('from elsewhere is not looked at', async () => {
    for (const headers of [
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
      { 'Sec-Fetch-Site': 'none' },
      { 'Sec-Fetch-Site': '', Origin: 'https://elsewhere.example' },
    ] as Record<string, string>[]) {
      const answer = await logIn(olga, headers)
      expect([answer.status, answer.headers['set-cookie']], JSON.stringify(headers)).toEqual([403, undefined])
    }
    const plain = { 'Content-Type': 'application/x-www-form-urlencoded' }
    const send = (headers: Record<string, string>) =>
      gateway.ask('/console/login', {
        method: 'POST',
        headers: { ...plain, ...headers },
        body: `secret=${olga}`,
      })
    expect((await send({})).status).toBe(403)
    expect((await send({ Origin: 'null' })).status).toBe(403)
    expect((await send({ Origin: gateway.runtime.url })).status).toBe(303)
  })

  test('of a form too large, or of another type, is not looked at', async () => {
    const large = await logIn(olga, { next: `/console?${'x'.repeat(9_000)}` })
    expect(large.status).toBe(403)
    const typed = await logIn(olga, { 'Content-Type': 'text/plain' })
    expect(typed.status).toBe(403)
  })

  test.each([
    'https://elsewhere.example/console',
    '//elsewhere.example/console',
    '/\\elsewhere.example/console',
    '/admin/organisations',
    '/console/login',
    '/console/../admin',
    'javascript:alert(1)',
    `/console?${'x'.repeat(2_000)}`,
  ])('does not lead to %s', async next => {
    expect((await logIn(olga, { next })).headers.location).toBe('/console')
  })

  test('leads to a page of the console, its filter included', async () => {
    const next = '/console/organisations/A/records/12'
    expect((await logIn(olga, { next })).headers.location).toBe(next)
    const filtered = '/console/organisations/A?outcome=failed'
    expect((await logIn(olga, { next: filtered })).headers.location).toBe(filtered)
  })

  test('after ten wrong secrets a minute is closed to their address, for the right one too, and to no other', async () => {
    const from = { 'CF-Connecting-IP': '198.51.100.7' }
    for (let i = 0; i < 10; i++) expect((await logIn(`wrong ${i}`, from)).status).toBe(403)
    const blocked = await logIn(olga, from)
    expect([blocked.status, blocked.headers['set-cookie']]).toEqual([429, undefined])
    expect(Number(blocked.headers['retry-after'])).toBeGreaterThan(0)
    expect((await logIn(olga)).status).toBe(303)
    // Whoever is logged in stays so, wherever they are.
    const cookie = cookieOf(await logIn(olga))
    expect((await show('/console', cookie, from)).status).toBe(200)
  })

  test('a wrong secret is told to the organisation whose page was wanted', async () => {
    const { id } = await gateway.organisation()
    await logIn('wrong', { next: pageOf(id, '/tokens') })
    expect(await lastRecord(id)).toMatchObject({
      event: 'admin.denied',
      actor: { type: 'anonymous' },
      reason: 'invalid-token',
    })
  })
})

describe('the console', () => {
  test('says in each log, once a login, who opened it, before anything is shown', async () => {
    const { id } = await gateway.organisation()
    const cookie = cookieOf(await logIn(olga))
    const openings = async () =>
      (await logOf(gateway, id)).filter(({ record }) => record.event === 'console.opened')
    await show('/console', cookie)
    expect(await openings()).toEqual([])
    for (const tail of ['/tokens', '', '/records/1']) await show(pageOf(id, tail), cookie)
    const [opened, ...more] = await openings()
    expect(more).toEqual([])
    expect(opened?.record).toMatchObject({
      actor: { type: 'auditor', id: 'olga', name: 'olga' },
      target: { organisationId: id },
      loggedInAt: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    // Also where the object has forgotten it.
    await gateway.restart()
    await show(pageOf(id), cookie)
    expect((await openings()).length).toBe(1)
    await show(pageOf(id), cookieOf(await logIn(olga)))
    expect((await openings()).length).toBe(2)
  })

  test('stores nothing under an id that has nothing', async () => {
    const id = newId()
    const page = await show(pageOf(id), cookieOf(await logIn(olga)))
    expect(page.status).toBe(200)
    expect(page.text).toContain('Nothing is stored under this id')
    expect(await logOf(gateway, id)).toEqual([])
  })

  test('has headers on every answer that keep script and frames out and referrers in', async () => {
    const { id } = await gateway.organisation()
    const cookie = cookieOf(await logIn(olga))
    const stylesheet = /href="(\/console\/style\.[0-9a-f]+\.css)"/.exec(
      (await show('/console', cookie)).text,
    )?.[1]
    const paths = [
      '/console',
      '/console/login',
      pageOf(id),
      pageOf(id, '/records/1/receipt'),
      '/console/none',
    ]
    for (const path of [...paths, String(stylesheet)]) {
      for (const cookies of [cookie, '']) {
        const { headers } = await show(path, cookies)
        expect(headers, path).toMatchObject({
          'content-security-policy':
            "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
          'referrer-policy': 'same-origin',
          'x-content-type-options': 'nosniff',
          'x-frame-options': 'DENY',
          'cross-origin-opener-policy': 'same-origin',
          'cross-origin-resource-policy': 'same-origin',
          'x-request-id': expect.any(String),
          'cache-control': path === stylesheet ? 'public, max-age=31536000, immutable' : 'no-store',
        })
      }
    }
  })

  test('takes no other method, on any path', async () => {
    const { id } = await gateway.organisation()
    const headers = { Cookie: cookieOf(await logIn(gateway.adminSecret)), ...site }
    for (const path of [
      '/console',
      pageOf(id),
      pageOf(id, '/tokens'),
      pageOf(id, '/records/1'),
      '/console/x',
    ]) {
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD']) {
        expect((await gateway.ask(path, { method, headers })).status, `${method} ${path}`).toBe(405)
      }
    }
    expect((await gateway.ask('/console/logout', { headers })).status).toBe(405)
    expect((await gateway.ask('/console/login', { method: 'PUT', headers })).status).toBe(405)
  })

  test('counts by the hour how requests ended, and no more than the last 24', async () => {
    const { id, token } = await gateway.organisation()
    for (let i = 0; i < 4; i++) await gateway.ask(`/o/${id}/token`, { token })
    await put(gateway, { id, token }, { body: '{}' })
    const object = ['versori-gateway', 'Organisation', { name: id }] as const
    const sql = await gateway.runtime.miniflare.unsafeGetDurableObjectStorage(...object)
    const hour = 3_600_000
    const [now, first] = [Date.now(), 2]
    // Records 3 to 7, at these many hours ago.
    for (const [index, ago] of [30, 25, 5, 5, 1].entries()) {
      await sql.exec(`update records set time = ${now - ago * hour} where seq = ${first + 1 + index}`)
    }
    await sql.exec(`update records set time = ${now - 31 * hour} where seq <= ${first}`)
    const page = await show(pageOf(id), cookieOf(await logIn(olga)))
    expect(page.text).toContain('2 succeeded')
    expect(page.text).toContain('1 refused')
    expect(page.text).toContain('most in an hour: 2')
    const row = (ago: number) => {
      const at = new Date(Math.floor((now - ago * hour) / hour) * hour).toISOString()
      const found = new RegExp(`<th scope="row">(?:<a[^>]*>)?<time[^>]*datetime="${at}".*?</tr>`, 's').exec(
        page.text,
      )
      return [...(found?.[0] ?? '').matchAll(/data-label="(\w+)">(\d+)</g)].map(
        ([, what, n]) => `${n} ${what}`,
      )
    }
    expect(row(5)).toEqual(['2 succeeded', '0 refused', '0 unknown', '0 failed'])
    expect(row(1)).toEqual(['0 succeeded', '1 refused', '0 unknown', '0 failed'])
  })

  test('shows nothing of a session or a token but what may be seen', async () => {
    const { id, token, tokenId } = await gateway.organisation()
    await put(gateway, { id, token })
    const cookie = cookieOf(await logIn(gateway.adminSecret))
    const session = gateway.platform.cookie.replace(/^cookie=/, '')
    for (const tail of ['', '/tokens', '/records/1', '/records/4', '/records/4/receipt']) {
      const { status, text } = await show(pageOf(id, tail), cookie)
      expect(status, tail).toBe(200)
      for (const secret of [session, token.slice(20), gateway.adminSecret]) {
        expect(text.includes(secret), tail).toBe(false)
      }
    }
    expect((await show(pageOf(id, '/tokens'), cookie)).text).toContain(tokenId)
  })

  test('escapes what callers and admins chose', async () => {
    const hostile = `"'><script>alert(1)</script>`
    const { id, token } = await gateway.organisation({ name: hostile })
    await gateway.ask(`/o/${id}/token`, { token, headers: { 'User-Agent': hostile } })
    const cookie = cookieOf(await logIn(gateway.adminSecret))
    const query = `?actor=${encodeURIComponent(hostile)}&since=${encodeURIComponent(hostile)}`
    for (const [path, shown] of [
      [pageOf(id), true],
      [pageOf(id, '/tokens'), true],
      [pageOf(id, '/records/3'), true],
      [pageOf(id, query), true],
      [`/console/login?next=${encodeURIComponent(pageOf(id, `?actor=${hostile}`))}`, false],
    ] as const) {
      const { text } = await show(path, cookie)
      expect(text, path).not.toContain('<script')
      expect(text.includes('&lt;script&gt;'), path).toBe(shown)
    }
  })
})
