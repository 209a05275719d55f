/** Checks what a hook may be: the schemas, how one is changed and rotated, and what it may do. */
import { describe, expect, test } from 'vitest'
import {
  activeSecrets,
  changeDefinition,
  definitionOf,
  type HookDefinition,
  type HookRow,
  isSecretFor,
  rotateHook,
  scopeOfHook,
  secretFrom,
  viewHook,
} from '../../src/organisation/hooks.ts'
import { hookChange, newHook, secretRotation } from '../../src/organisation/new-hook.ts'

const now = Date.parse('2026-11-24T09:30:00Z')
const wanted = {
  name: 'releases',
  verification: { type: 'github' },
  connectionId: 'CONN1',
  version: '${{ event.tag }}',
  versions: ['1.*'],
  change: { isDefault: true },
}
const definition: HookDefinition = {
  ...wanted,
  verification: { type: 'github' },
  onFailure: 'block',
  when: 'event.ok',
}
const row: HookRow = { id: 'H1', definition, secrets: [], createdAt: now, createdBy: 'alice' }
const base64 = (bytes: number) => Buffer.alloc(bytes, 1).toString('base64')

describe('a new hook', () => {
  test.each<[string, object]>([
    ['the least of it', {}],
    ['all of it', { when: 'event.ok', onFailure: 'skip', change: { name: 'x', description: null } }],
    [
      'a Standard Webhooks secret',
      { verification: { type: 'standard-webhooks', secret: `whsec_${base64(24)}` } },
    ],
    ['the longest', { verification: { type: 'standard-webhooks', secret: `whsec_${base64(64)}` } }],
    ['a public key', { verification: { type: 'standard-webhooks', secret: `whpk_${base64(32)}` } }],
    [
      'a Stripe secret, a text as it is',
      { verification: { type: 'stripe', secret: 'whsec_abcdefghijklmnop' } },
    ],
    ['an HMAC', { verification: { type: 'hmac', header: 'X-Signature' } }],
    ['tokens', { verification: { type: 'token' } }],
  ])('%s', (_, changes) => {
    expect(newHook().safeParse({ ...wanted, ...changes }).success).toBe(true)
  })

  const of = (verification: object) => ({ verification })
  test.each<[string, object, string]>([
    ['no name', { name: undefined }, 'name'],
    ['an unknown key', { organisationId: 'X' }, ''],
    ['a connection that is none', { connectionId: 'a/b' }, 'connectionId'],
    ['no version', { version: '' }, 'version'],
    ['no patterns where some are given', { versions: [] }, 'versions'],
    ['an empty condition', { when: '' }, 'when'],
    ['a number as a change', { change: { description: 1 } }, 'change.description'],
    ['another way to fail', { onFailure: 'stop' }, 'onFailure'],
    ['another verification', of({ type: 'none' }), 'verification.type'],
    ['no verification', of({}), 'verification.type'],
    ['a short secret', of({ type: 'github', secret: 'short' }), 'verification.secret'],
    ['a long secret', of({ type: 'github', secret: 'x'.repeat(513) }), 'verification.secret'],
    ['a secret beyond ASCII', of({ type: 'github', secret: 'ü'.repeat(20) }), 'verification.secret'],
    [
      'a secret with a line break',
      of({ type: 'stripe', secret: `${'x'.repeat(20)}\n` }),
      'verification.secret',
    ],
    ['23 bytes', of({ type: 'standard-webhooks', secret: `whsec_${base64(23)}` }), 'verification.secret'],
    ['65 bytes', of({ type: 'standard-webhooks', secret: `whsec_${base64(65)}` }), 'verification.secret'],
    ['no prefix', of({ type: 'standard-webhooks', secret: base64(32) }), 'verification.secret'],
    [
      'no base64',
      of({ type: 'standard-webhooks', secret: `whsec_${'*'.repeat(40)}` }),
      'verification.secret',
    ],
    [
      'half a public key',
      of({ type: 'standard-webhooks', secret: `whpk_${base64(31)}` }),
      'verification.secret',
    ],
    ['a private key', of({ type: 'standard-webhooks', secret: `whsk_${base64(32)}` }), 'verification.secret'],
    ['a secret beside tokens', of({ type: 'token', secret: 'x'.repeat(20) }), 'verification'],
    ['no header', of({ type: 'hmac' }), 'verification.header'],
    ['a header that is none', of({ type: 'hmac', header: 'X Y' }), 'verification.header'],
    ['SHA-1', of({ type: 'hmac', header: 'X', hash: 'SHA-1' }), 'verification.hash'],
    ['another encoding', of({ type: 'hmac', header: 'X', encoding: 'base64url' }), 'verification.encoding'],
    ['a prefix with a space', of({ type: 'hmac', header: 'X', prefix: 'a b' }), 'verification.prefix'],
  ])('%s is named', (_, changes, path) => {
    const { success, error } = newHook().safeParse({ ...wanted, ...changes })
    expect(success).toBe(false)
    expect(error?.issues.map(issue => issue.path.join('.'))).toEqual([path])
    // What was brought is never repeated.
    expect(error?.issues.map(({ message }) => message).join()).not.toMatch(/xxxx|AQEB|üü|short/)
  })

  test('keeps all but its secret', () => {
    const parsed = newHook().parse({
      ...wanted,
      verification: { type: 'hmac', header: 'X-Signature', secret: 'brought-by-its-sender' },
    })
    expect(definitionOf(parsed)).toEqual({
      ...wanted,
      onFailure: 'block',
      verification: { type: 'hmac', header: 'X-Signature', hash: 'SHA-256', encoding: 'hex', prefix: '' },
    })
  })
})

describe('a change', () => {
  test.each<[string, object, object]>([
    ['nothing', {}, definition],
    ['its name', { name: 'other' }, { ...definition, name: 'other' }],
    ['its condition', { when: 'event.no' }, { ...definition, when: 'event.no' }],
    ['how it fails', { onFailure: 'skip' }, { ...definition, onFailure: 'skip' }],
    ['the whole change', { change: { name: 'x' } }, { ...definition, change: { name: 'x' } }],
    ['what is undefined', { name: undefined }, definition],
  ])('of %s leaves the rest', (_, change, expected) => {
    expect(changeDefinition(definition, hookChange().parse(change))).toEqual(expected)
  })

  test('null takes a condition and patterns away, and nothing else', () => {
    const changed = changeDefinition(definition, hookChange().parse({ when: null, versions: null }))
    expect(changed).toEqual({ ...wanted, onFailure: 'block', versions: undefined })
    expect('when' in changed || 'versions' in changed).toBe(false)
    for (const field of ['name', 'connectionId', 'version', 'change', 'onFailure']) {
      expect(hookChange().safeParse({ [field]: null }).success).toBe(false)
    }
  })

  test.each(['verification', 'id', 'secret', 'createdBy'])('%s is not one', field => {
    expect(hookChange().safeParse({ [field]: 'x' }).success).toBe(false)
  })
})

describe('secrets', () => {
  const sealed = (n: number) => new Uint8Array([n])
  const aged = (...secrets: [number, number | null][]): HookRow => ({
    ...row,
    secrets: secrets.map(([n, until]) => ({ sealed: sealed(n), until })),
  })
  const secretsOf = ({ secrets }: HookRow) => secrets.map(each => [each.sealed[0], each.until])

  test.each<[string, HookRow, number, [number, number | null][]]>([
    [
      'with a grace',
      aged([1, null]),
      60,
      [
        [9, null],
        [1, now + 60_000],
      ],
    ],
    ['with none', aged([1, null]), 0, [[9, null]]],
    ['with none, of two', aged([2, null], [1, now + 5]), 0, [[9, null]]],
    [
      'an older one keeps its own end',
      aged([2, null], [1, now + 5]),
      60,
      [
        [9, null],
        [2, now + 60_000],
        [1, now + 5],
      ],
    ],
    [
      'or has it sooner',
      aged([2, null], [1, now + 90_000]),
      60,
      [
        [9, null],
        [2, now + 60_000],
        [1, now + 60_000],
      ],
    ],
    [
      'what is over is dropped',
      aged([2, null], [1, now]),
      60,
      [
        [9, null],
        [2, now + 60_000],
      ],
    ],
    [
      'the oldest of three goes',
      aged([3, null], [2, now + 8], [1, now + 7]),
      60,
      [
        [9, null],
        [3, now + 60_000],
        [2, now + 8],
      ],
    ],
  ])('rotated %s', (_, before, graceSeconds, after) => {
    expect(secretsOf(rotateHook(before, sealed(9), graceSeconds, now))).toEqual(after)
  })

  test('work until their end', () => {
    const hook = aged([3, null], [2, now + 1], [1, now])
    expect(activeSecrets(hook, now).map(each => each.sealed[0])).toEqual([3, 2])
    expect(activeSecrets(hook, now + 1).map(each => each.sealed[0])).toEqual([3])
  })

  test('are shown by their ends alone', () => {
    const view = viewHook(aged([3, null], [2, now + 1], [1, now]), { pending: 1, dead: 2 }, now)
    expect(view).toEqual({
      id: 'H1',
      ...definition,
      createdAt: '2026-11-24T09:30:00.000Z',
      createdBy: 'alice',
      previousSecretsUntil: ['2026-11-24T09:30:00.001Z'],
      pending: 1,
      dead: 2,
    })
  })

  test.each(['standard-webhooks', 'github', 'stripe', 'hmac'] as const)(
    'one made for %s has its form',
    type => {
      const secret = secretFrom(type, new Uint8Array(32).fill(250)) as string
      expect(isSecretFor(type, secret)).toBe(true)
      expect(secret.startsWith('whsec_')).toBe(type === 'standard-webhooks')
      expect(Buffer.from(secret.replace('whsec_', ''), 'base64')).toEqual(Buffer.alloc(32, 250))
    },
  )

  test('for tokens there is none', () => {
    expect(secretFrom('token', new Uint8Array(32))).toBeUndefined()
    expect(isSecretFor('token', 'x'.repeat(20))).toBe(false)
  })

  test('a rotation has a day of grace, a week at most', () => {
    expect(secretRotation().parse({})).toEqual({ graceSeconds: 86_400 })
    expect(secretRotation().safeParse({ graceSeconds: 604_800 }).success).toBe(true)
    for (const graceSeconds of [-1, 1.5, 604_801, '60']) {
      expect(secretRotation().safeParse({ graceSeconds }).success).toBe(false)
    }
  })
})

test.each<[string, object, string[]]>([
  ['its patterns', {}, ['1.*']],
  ['a version that it names itself', { version: 'latest', versions: undefined }, ['*']],
])('it may update its own connection, by %s', (_, changes, versions) => {
  expect(scopeOfHook({ ...definition, ...changes })).toEqual({
    actions: ['update'],
    connections: ['CONN1'],
    versions,
    fields: ['name', 'description', 'isLatest', 'isDefault'],
  })
})
