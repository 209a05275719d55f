// Checks which credentials are believed and what a scope allows.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Action, allows, matchesVersion, reasonAgainst, type TokenState } from '../../src/auth/caller.ts'
import { sha256 } from '../../src/crypto.ts'

const now = Date.parse('2026-11-24T09:30:00.000Z')
const [current, previous, other] = ['current', 'previous', 'other'].map(text => sha256(text)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const good: TokenState = {
  digest: current,
  previousDigest: null,
  previousUntil: null,
  expiresAt: null,
  revokedAt: null,
}
const rotated = { previousDigest: previous, previousUntil: now + 1 }

describe('reasonAgainst', () => {
  test.each<[string, Uint8Array, Partial<TokenState>, string | undefined]>([
    ['the right secret', current, {}, undefined],
    ['a wrong secret', other, {}, 'wrong-secret'],
    ['no digest at all', new Uint8Array(0), {}, 'wrong-secret'],
    ['a digest of zeros', new Uint8Array(32), {}, 'wrong-secret'],
    ['the beginning of the digest', current.subarray(0, 31), {}, 'wrong-secret'],
    ['before it expires', current, { expiresAt: now + 1 }, undefined],
    ['when it expires', current, { expiresAt: now }, 'expired'],
    ['after it expired', current, { expiresAt: now - 1 }, 'expired'],
    ['expired in 1970', current, { expiresAt: 0 }, 'expired'],
    ['revoked now', current, { revokedAt: now }, 'revoked'],
    ['revoked in 1970', current, { revokedAt: 0 }, 'revoked'],
    ['revoked by a clock that runs ahead', current, { revokedAt: now + 60_000 }, 'revoked'],
    ['revoked and expired', current, { revokedAt: now - 1, expiresAt: now - 2 }, 'revoked'],
    ['a wrong secret of a revoked token', other, { revokedAt: now - 1 }, 'wrong-secret'],
    ['a wrong secret of an expired token', other, { expiresAt: now - 1 }, 'wrong-secret'],
    ['the new secret in grace', current, rotated, undefined],
    ['the old secret in grace', previous, rotated, undefined],
    ['a third secret in grace', other, rotated, 'wrong-secret'],
    ['the old secret when its grace ends', previous, { ...rotated, previousUntil: now }, 'wrong-secret'],
    ['the old secret after its grace', previous, { ...rotated, previousUntil: now - 1 }, 'wrong-secret'],
    ['the new secret after the grace', current, { ...rotated, previousUntil: now - 1 }, undefined],
    ['the old secret without a grace', previous, { ...rotated, previousUntil: null }, 'wrong-secret'],
    ['the old secret, forgotten', previous, { ...rotated, previousDigest: null }, 'wrong-secret'],
    ['the old secret of a revoked token', previous, { ...rotated, revokedAt: now }, 'revoked'],
    ['the old secret of an expired token', previous, { ...rotated, expiresAt: now }, 'expired'],
  ])('%s', (_, digest, changes, reason) => {
    expect(reasonAgainst({ id: 'x', digest }, { ...good, ...changes }, now)).toBe(reason)
  })

  test.each([
    ['any digest', current],
    ['zeros', new Uint8Array(32)],
  ])('no such token, %s', (_, digest) => {
    expect(reasonAgainst({ id: 'x', digest }, undefined, now)).toBe('unknown')
  })
})

describe('allows', () => {
  const scope = {
    actions: ['read', 'update'] as Action[],
    connections: ['A', 'B'],
    versions: ['1.*', 'next'],
    fields: [],
  }
  test.each<[string, Partial<typeof scope>, Action, string, string[], boolean]>([
    ['all of it', {}, 'update', 'A', ['1.4.0'], true],
    ['the second of each', {}, 'update', 'B', ['next'], true],
    ['a read only', { actions: ['read'] }, 'read', 'A', ['1.4.0'], true],
    ['another action', { actions: ['read'] }, 'update', 'A', ['1.4.0'], false],
    ['an update does not imply a read', { actions: ['update'] }, 'read', 'A', ['1.4.0'], false],
    ['no action', { actions: [] }, 'read', 'A', ['1.4.0'], false],
    ['another connection', {}, 'read', 'C', ['1.4.0'], false],
    ['the beginning of a connection', {}, 'read', 'AB', ['1.4.0'], false],
    ['a connection in another case', {}, 'read', 'a', ['1.4.0'], false],
    ['every connection', { connections: ['*'] }, 'read', 'C', ['1.4.0'], true],
    ['a star inside an id is literal', { connections: ['C*'] }, 'read', 'CC', ['1.4.0'], false],
    ['no connection', { connections: [] }, 'read', 'A', ['1.4.0'], false],
    ['another version', {}, 'read', 'A', ['2.0.0'], false],
    ['no version', { versions: [] }, 'read', 'A', ['1.4.0'], false],
    ['both versions', {}, 'update', 'A', ['1.4.0', 'next'], true],
    ['the first version only', {}, 'update', 'A', ['1.4.0', '2.0.0'], false],
    ['the second version only', {}, 'update', 'A', ['2.0.0', '1.4.0'], false],
    ['latest by its name', { versions: ['latest', '1.*'] }, 'update', 'A', ['latest', '1.4.0'], true],
    ['latest, but not the name', { versions: ['latest'] }, 'update', 'A', ['latest', '1.4.0'], false],
    ['latest by a pattern', { versions: ['l*'] }, 'update', 'A', ['latest'], false],
  ])('%s', (_, changes, action, connectionId, versions, expected) => {
    expect(allows({ ...scope, ...changes }, action, connectionId, versions)).toBe(expected)
  })
})

describe('matchesVersion', () => {
  test.each<[string, string, boolean]>([
    ['1.4.0', '1.4.0', true],
    ['1.4.0', '1.4.1', false],
    ['1.4.0', '1x4x0', false],
    ['1.4.0', '1.4.0 ', false],
    ['1.*', '1.', true],
    ['1.*', '1.4.0', true],
    ['1.*', '11.0', false],
    ['1.*', 'v1.0', false],
    ['*-rc', '2.0-rc', true],
    ['*-rc', '2.0-rc1', false],
    ['1.*-rc*', '1.0-rc-rc', true],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['*', 'x', true],
    ['*', '', true],
    ['**', 'x', true],
    ['', '', true],
    ['', 'x', false],
    ['[0-9]+', '1', false],
    ['.', 'x', false],
    ['a*', 'A1', false],
    ['版*', '版本 1', true],
    ['*', '*', true],
    ['a*c', 'a*c', true],
  ])('%j covers %j: %s', (pattern, version, expected) => {
    expect(matchesVersion(pattern, version)).toBe(expected)
  })

  test.each(['latest', 'default'])('%s is covered by * and by its own name alone', reserved => {
    expect(matchesVersion('*', reserved)).toBe(true)
    expect(matchesVersion(reserved, reserved)).toBe(true)
    for (const pattern of [
      `${reserved[0]}*`,
      `${reserved}*`,
      `*${reserved}`,
      '*t',
      '**',
      '',
      'latest,default',
    ]) {
      expect(matchesVersion(pattern, reserved), pattern).toBe(false)
    }
    expect(matchesVersion(`${reserved[0]}*`, `${reserved}-1`)).toBe(true)
  })

  test('the same as a regular expression', () => {
    const pattern = fc
      .array(fc.constantFrom('a', 'b', '.', '*', '*', '(', '\\', '$', '\n', '😀'))
      .map(each => each.join(''))
    const name = fc
      .array(fc.constantFrom('a', 'b', '.', '*', '(', '\\', '$', '\n', '😀'))
      .map(each => each.join(''))
    // A name that a pattern covers more often than chance would have it.
    const pair = fc.oneof(
      fc.tuple(pattern, name),
      fc
        .tuple(pattern, name, name)
        .map(([p, a, b]) => [p, p.replaceAll('**', a).replaceAll('*', b)] as const),
    )
    fc.assert(
      fc.property(pair, ([pattern, name]) => {
        const literal = pattern.split('*').map(part => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
        expect(matchesVersion(pattern, name)).toBe(new RegExp(`^${literal.join('[^]*')}$`).test(name))
      }),
      { numRuns: 2000 },
    )
  })

  test('a pattern that would hang a regular expression', () => {
    expect(matchesVersion(`${'*a'.repeat(100)}*b`, 'a'.repeat(255))).toBe(false)
    expect(matchesVersion('*'.repeat(255), 'a'.repeat(255))).toBe(true)
  })
})
