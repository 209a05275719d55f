/** Checks the life of a stored token: what an admin may ask for, what row that makes, and what is shown of it when. */
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { type NewToken, newToken, rotation } from '../../src/organisation/new-token.ts'
import {
  createToken,
  instant,
  lastInstantMs,
  rotateToken,
  type TokenRow,
  viewToken,
} from '../../src/organisation/tokens.ts'
import { fieldErrors } from '../../src/update/connection-version.ts'

const now = Date.parse('2026-03-01T12:00:00Z')
const day = 86_400_000
const digest = new Uint8Array(32).fill(1)
const credential = { id: 'AAAAAAAAAAAAAAAA', digest }
const token = `vgw_${'0'.repeat(65)}`
const least = { name: 'ci-deploy', connections: ['CONN1'] }
const wanted: NewToken = z.parse(newToken(), least)
const row = createToken(wanted, credential, 'ops', now)

/** The fields that a schema complains of. */
function wrongFields(schema: z.ZodMiniType, value: unknown): string[] {
  const { error } = z.safeParse(schema, value)
  return error ? fieldErrors(error).map(({ field }) => field) : []
}

test('what is left out of a new token', () => {
  expect(wanted).toEqual({
    ...least,
    actions: ['read', 'update'],
    versions: ['*'],
    fields: ['name', 'description', 'isLatest', 'isDefault'],
    rateLimit: { requests: 60, windowSeconds: 60 },
  })
})

const of = (length: number, each: string) => Array.from({ length }, (_, i) => `${each}${i}`)
const long = 'x'.repeat(255)

test.each<[string, object]>([
  ['a name of 100 characters', { name: long.slice(0, 100) }],
  ['a name in any script', { name: 'Déploiement — 配備 🚀' }],
  ['every connection', { connections: ['*'] }],
  ['100 connections', { connections: of(100, 'C') }],
  ['an id of 64 characters', { connections: [long.slice(0, 64)] }],
  ['one action', { actions: ['read'] }],
  ['both actions, the other way round', { actions: ['update', 'read'] }],
  ['100 versions', { versions: of(100, '1.') }],
  ['patterns', { versions: ['1.*', 'latest', '*-rc*', 'v 2', long] }],
  ['no expiry', { expiresAt: null }],
  ['the last expiry that there is', { expiresAt: '9999-12-31T23:59:59.999Z' }],
  ['an expiry with an offset', { expiresAt: '2026-03-01T14:00:00.5+02:00' }],
  ['the highest rate', { rateLimit: { requests: 100_000, windowSeconds: 86_400 } }],
  ['the lowest rate', { rateLimit: { requests: 1, windowSeconds: 1 } }],
])('a new token may have %s', (_, change) => {
  expect(z.parse(newToken(), { ...least, ...change })).toEqual({ ...wanted, ...change })
})

test.each<[string, object, string]>([
  ['no name', { name: undefined }, 'name'],
  ['an empty name', { name: '' }, 'name'],
  ['a name of 101 characters', { name: long.slice(0, 101) }, 'name'],
  ['a line feed in its name', { name: 'a\nb' }, 'name'],
  ['an invisible character in its name', { name: 'a\u200bb' }, 'name'],
  ['a right-to-left override in its name', { name: 'a\u202eb' }, 'name'],
  ['a line separator in its name', { name: 'a\u2028b' }, 'name'],
  ['a lone surrogate in its name', { name: 'a\ud800' }, 'name'],
  ['a token in its name', { name: `of ${token}` }, 'name'],
  ['a number for a name', { name: 5 }, 'name'],
  ['no connections', { connections: undefined }, 'connections'],
  ['an empty list of connections', { connections: [] }, 'connections'],
  ['101 connections', { connections: of(101, 'C') }, 'connections'],
  ['a pattern of connections', { connections: ['C*'] }, 'connections[0]'],
  ['an id with a slash', { connections: ['A', 'A/B'] }, 'connections[1]'],
  ['an id of 65 characters', { connections: [long.slice(0, 65)] }, 'connections[0]'],
  ['an empty id', { connections: [''] }, 'connections[0]'],
  ['no action', { actions: [] }, 'actions'],
  ['an action that there is not', { actions: ['delete'] }, 'actions[0]'],
  ['an action twice', { actions: ['read', 'read'] }, 'actions'],
  ['three actions', { actions: ['read', 'update', 'read'] }, 'actions'],
  ['null for actions', { actions: null }, 'actions'],
  ['no versions', { versions: [] }, 'versions'],
  ['101 versions', { versions: of(101, '1.') }, 'versions'],
  ['an empty pattern', { versions: ['1', ''] }, 'versions[1]'],
  ['a pattern of 256 characters', { versions: [`${long}x`] }, 'versions[0]'],
  ['a pattern with a slash', { versions: ['1/2'] }, 'versions[0]'],
  ['a pattern with a question mark', { versions: ['1?'] }, 'versions[0]'],
  ['a pattern not in NFC', { versions: ['e\u0301'] }, 'versions[0]'],
  ['a pattern with a token', { versions: ['1.*', `${token}*`] }, 'versions[1]'],
  ['a pattern with NUL', { versions: ['a\0'] }, 'versions[0]'],
  ['an expiry without an offset', { expiresAt: '2026-03-01T12:00:00' }, 'expiresAt'],
  ['a date for an expiry', { expiresAt: '2026-03-01' }, 'expiresAt'],
  ['a day that there is not', { expiresAt: '2026-02-30T12:00:00Z' }, 'expiresAt'],
  ['a number for an expiry', { expiresAt: now }, 'expiresAt'],
  ['an expiry in the year 10000 in UTC', { expiresAt: '9999-12-31T23:59:59-00:01' }, 'expiresAt'],
  ['an empty expiry', { expiresAt: '' }, 'expiresAt'],
  ['a rate of nothing', { rateLimit: { requests: 0, windowSeconds: 1 } }, 'rateLimit.requests'],
  ['a rate of too much', { rateLimit: { requests: 100_001, windowSeconds: 1 } }, 'rateLimit.requests'],
  ['a rate of a half', { rateLimit: { requests: 0.5, windowSeconds: 1 } }, 'rateLimit.requests'],
  ['a window of nothing', { rateLimit: { requests: 1, windowSeconds: 0 } }, 'rateLimit.windowSeconds'],
  [
    'a window of over a day',
    { rateLimit: { requests: 1, windowSeconds: 86_401 } },
    'rateLimit.windowSeconds',
  ],
  ['half a rate', { rateLimit: { requests: 1 } }, 'rateLimit.windowSeconds'],
  ['null for a rate', { rateLimit: null }, 'rateLimit'],
  ['a field too many in its rate', { rateLimit: { requests: 1, windowSeconds: 1, x: 1 } }, 'rateLimit.x'],
  ['a field too many', { scope: '*' }, 'scope'],
])('a new token must not have %s', (_, change, field) => {
  expect(wrongFields(newToken(), { ...least, ...change })).toEqual([field])
})

test.each<[unknown, number | string]>([
  [{}, 0],
  [{ graceSeconds: 0 }, 0],
  [{ graceSeconds: 604_800 }, 604_800],
  [{ graceSeconds: 604_801 }, 'graceSeconds'],
  [{ graceSeconds: -1 }, 'graceSeconds'],
  [{ graceSeconds: 1.5 }, 'graceSeconds'],
  [{ graceSeconds: '60' }, 'graceSeconds'],
  [{ graceSeconds: null }, 'graceSeconds'],
  [{ grace: 60 }, 'grace'],
])('a rotation by %j: %s', (body, expected) => {
  const { data } = z.safeParse(rotation(), body)
  expect(data ? data.graceSeconds : wrongFields(rotation(), body)[0]).toBe(expected)
})

test('a new row', () => {
  expect(row).toEqual({
    id: credential.id,
    name: 'ci-deploy',
    digest,
    previousDigest: null,
    previousUntil: null,
    scope: {
      actions: ['read', 'update'],
      connections: ['CONN1'],
      versions: ['*'],
      fields: ['name', 'description', 'isLatest', 'isDefault'],
    },
    rateLimit: { requests: 60, windowSeconds: 60 },
    createdAt: now,
    createdBy: 'ops',
    lifetimeMs: 90 * day,
    expiresAt: now + 90 * day,
    revokedAt: null,
  })
})

test.each<[string, string | null | undefined, number | null, number | null]>([
  ['left out', undefined, now + 90 * day, 90 * day],
  ['null', null, null, null],
  ['in UTC', '2026-03-02T12:00:00Z', now + day, day],
  ['with an offset', '2026-03-01T14:00:00.5+02:00', now + 500, 500],
])('expiresAt %s', (_, expiresAt, at, lifetimeMs) => {
  expect(createToken({ ...wanted, expiresAt }, credential, 'ops', now)).toEqual({
    ...row,
    expiresAt: at,
    lifetimeMs,
  })
})

const later = now + 30 * day
const second = new Uint8Array(32).fill(2)
const third = new Uint8Array(32).fill(3)
const forever = { ...row, expiresAt: null, lifetimeMs: null }
const rotatedOnce = { ...row, digest: second, previousDigest: digest, previousUntil: later + 3_600_000 }

const longest = { ...row, lifetimeMs: lastInstantMs - now, expiresAt: lastInstantMs }

test.each<[string, TokenRow, Uint8Array, number, Partial<TokenRow>]>([
  ['a life that would end in the year 10000', longest, second, 0, { expiresAt: lastInstantMs }],
  ['no grace', row, second, 0, { expiresAt: later + 90 * day }],
  [
    'an hour of grace',
    row,
    second,
    3_600,
    { previousDigest: digest, previousUntil: later + 3_600_000, expiresAt: later + 90 * day },
  ],
  ['no expiry', forever, second, 0, {}],
  [
    'a second rotation, with grace for the second secret alone',
    rotatedOnce,
    third,
    60,
    { previousDigest: second, previousUntil: later + 60_000, expiresAt: later + 90 * day },
  ],
  [
    'a second rotation, which ends the grace of the first',
    rotatedOnce,
    third,
    0,
    { previousDigest: null, previousUntil: null, expiresAt: later + 90 * day },
  ],
])('rotating with %s', (_, before, next, graceSeconds, changes) => {
  expect(rotateToken(before, next, graceSeconds, later)).toEqual({ ...before, digest: next, ...changes })
})

const end = now + 90 * day
test.each<[string, Partial<TokenRow>, number, string]>([
  ['just made', {}, now, 'active'],
  ['a millisecond before it expires', {}, end - 1, 'active'],
  ['as it expires', {}, end, 'expired'],
  ['after it expired', {}, end + 1, 'expired'],
  ['that never expires', { expiresAt: null }, end + 10_000 * day, 'active'],
  ['that was revoked', { revokedAt: now }, now, 'revoked'],
  ['that was revoked and would have expired', { revokedAt: now }, end + 1, 'revoked'],
  ['that expired at time zero', { expiresAt: 0 }, now, 'expired'],
  ['that was revoked at time zero', { revokedAt: 0 }, now, 'revoked'],
])('the status of a token %s', (_, changes, at, status) => {
  expect(viewToken({ ...row, ...changes }, null, at).status).toBe(status)
})

test('an admin sees all of a token but its digests', () => {
  const secretive = { ...rotatedOnce, revokedAt: now + 1 }
  expect(viewToken(secretive, now + 2, now + 3)).toEqual({
    id: credential.id,
    name: 'ci-deploy',
    actions: ['read', 'update'],
    connections: ['CONN1'],
    versions: ['*'],
    fields: ['name', 'description', 'isLatest', 'isDefault'],
    rateLimit: { requests: 60, windowSeconds: 60 },
    createdAt: '2026-03-01T12:00:00.000Z',
    createdBy: 'ops',
    expiresAt: '2026-05-30T12:00:00.000Z',
    revokedAt: '2026-03-01T12:00:00.001Z',
    lastUsedAt: '2026-03-01T12:00:00.002Z',
    status: 'revoked',
  })
})

test('no time is null, and time zero is a time', () => {
  expect(instant(null)).toBeNull()
  expect(instant(0)).toBe('1970-01-01T00:00:00.000Z')
})
