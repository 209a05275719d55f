// Checks the console's cookie: who it lets in, until when, and which changes end it.
import { expect, test } from 'vitest'
import { loginCookie, logoutCookie, visitorOf } from '../../src/auth/console-cookie.ts'
import { deriveKey, hmacSha256, sha256 } from '../../src/crypto.ts'

const now = Date.parse('2026-11-24T09:30:00Z')
const hour = 3_600_000
const holder = (name: string, secret: string) => ({ name, digest: sha256(secret) })
const alice = holder('alice', 'a'.repeat(32))
const carol = holder('carol', 'c'.repeat(32))
const holders = { admins: [alice], auditors: [carol] }
const headerOf = (role: 'admin' | 'auditor', who: typeof alice) =>
  loginCookie({ role, ...who }, now).split(';')[0] as string

test('its attributes keep it from scripts, other sites, other hosts and plain text', () => {
  const [, ...attributes] = loginCookie({ role: 'admin', ...alice }, now).split('; ')
  expect(attributes.toSorted()).toEqual(['HttpOnly', 'Max-Age=28800', 'Path=/', 'SameSite=Strict', 'Secure'])
  expect(logoutCookie).toBe('__Host-console=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict')
})

test('it holds neither the secret nor its digest', () => {
  const cookie = loginCookie({ role: 'admin', ...alice }, now)
  const { digest } = alice
  for (const text of ['aaaa', Buffer.from(digest).toString('hex'), Buffer.from(digest).toString('base64')]) {
    expect(cookie).not.toContain(text)
  }
})

test.each<['admin' | 'auditor', typeof alice]>([
  ['admin', alice],
  ['auditor', carol],
])('an %s is let in for eight hours', (role, who) => {
  const visitor = { role, name: who.name, loggedInAt: now }
  expect(visitorOf(headerOf(role, who), holders, now)).toEqual(visitor)
  expect(visitorOf(`theme=dark; ${headerOf(role, who)}`, holders, now + 8 * hour - 1)).toEqual(visitor)
  expect(visitorOf(headerOf(role, who), holders, now + 8 * hour)).toBeUndefined()
})

const good = headerOf('admin', alice)
const mac = good.slice(-44)
const signed = (claim: string, { digest } = alice) =>
  `__Host-console=${claim}:${hmacSha256(deriveKey(digest, 'console'), claim)}`

test.each<[string, string | undefined]>([
  ['no cookie', undefined],
  ['an empty one', '__Host-console='],
  ['another name', good.replace('__Host-', '')],
  ['another role', good.replace('admin:', 'auditor:')],
  ['another person', good.replace('alice', 'carol')],
  ['a later end', good.replace(/:\d+:/, `:${now + 9 * hour}:`)],
  ['no MAC', good.replace(mac, '')],
  ['a changed MAC', good.replace(mac, `${mac[0] === 'A' ? 'B' : 'A'}${mac.slice(1)}`)],
  ['a MAC without its end', good.slice(0, -1)],
  ['something behind it', `${good}x`],
  ['two of them', `${good}; ${good}`],
  ['a signed end beyond eight hours', signed(`admin:alice:${now + 8 * hour + 1}`)],
  ['a signed role that its secret has not', signed(`auditor:alice:${now + hour}`)],
  ["a name signed with another's secret", signed(`auditor:carol:${now + hour}`)],
  ['a signed role that there is not', signed(`owner:alice:${now + hour}`)],
])('%s is nobody', (_, header) => {
  expect(visitorOf(header, holders, now)).toBeUndefined()
})

test('an end within eight hours, signed, is taken: the cases above fail for what they say', () => {
  expect(visitorOf(signed(`admin:alice:${now + hour}`), holders, now)).toBeDefined()
})

test('a changed secret logs out whoever used it, and nobody else', () => {
  const changed = { admins: [holder('alice', 'b'.repeat(32))], auditors: [carol] }
  expect(visitorOf(good, changed, now)).toBeUndefined()
  expect(visitorOf(headerOf('auditor', carol), changed, now)).toBeDefined()
  expect(visitorOf(good, { admins: [...changed.admins, alice], auditors: [] }, now)).toBeDefined()
  expect(visitorOf(good, { admins: [], auditors: [alice] }, now)).toBeUndefined()
  expect(visitorOf(good, { admins: [{ ...alice, name: 'bob' }], auditors: [] }, now)).toBeUndefined()
})
