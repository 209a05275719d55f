/** Checks a session: what an admin may set, that it opens where it was sealed for alone, how it rotates, what is shown. */
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { Secret } from '../../src/crypto.ts'
import { newSession } from '../../src/organisation/new-session.ts'
import {
  cookieHeaderOf,
  cookiesOf,
  openSession,
  rotateCookies,
  type SessionRow,
  sealSession,
  viewSession,
} from '../../src/organisation/session.ts'

describe('setting', () => {
  const longest = 'x'.repeat(8192)

  test.each<[string, object, string]>([
    ['a bare value', { cookie: 'abc123' }, 'cookie=abc123'],
    ['padded base64', { cookie: 'YWJjZA==' }, 'cookie=YWJjZA=='],
    ['a bare value that looks like a pair', { cookie: 'sid=a' }, 'cookie=sid=a'],
    ['a bare value in quotes', { cookie: '"a,b"' }, 'cookie="a,b"'],
    ['the longest value', { cookie: longest }, `cookie=${longest}`],
    ['a header of one cookie', { cookieHeader: 'cookie=abc' }, 'cookie=abc'],
    ['a header of two', { cookieHeader: 'theme=dark; sid=a=b' }, 'theme=dark; sid=a=b'],
    ['a header without a space', { cookieHeader: 'a=b;c=d' }, 'a=b;c=d'],
    ['a space within a value', { cookieHeader: 'a=b c; d="e, f"' }, 'a=b c; d="e, f"'],
    ['an empty value', { cookieHeader: 'a=; b=c' }, 'a=; b=c'],
    ['a name of 64 characters', { cookieHeader: `${longest.slice(0, 64)}=a` }, `${longest.slice(0, 64)}=a`],
    ['a value that begins with =', { cookieHeader: 'a==b' }, 'a==b'],
    ['a cookie named twice', { cookieHeader: 'a=1; a=2' }, 'a=1; a=2'],
  ])('%s is kept exactly', (_, body, header) => {
    expect(cookieHeaderOf(z.parse(newSession(), body))).toBe(header)
  })

  test.each<[string, object]>([
    ['neither', {}],
    ['both', { cookie: 'a', cookieHeader: 'cookie=a' }],
    ['an unknown field', { cookie: 'a', name: 'x' }],
    ['an empty value', { cookie: '' }],
    ['a value with ;', { cookie: 'a;b=c' }],
    ['a value with a space', { cookie: 'a b' }],
    ['a value with a space behind it', { cookie: 'a ' }],
    ['a value with a tab', { cookie: 'a\tb' }],
    ['a value with a line feed', { cookie: 'a\nb' }],
    ['a value with a line feed behind it', { cookie: 'a\n' }],
    ['a value with NUL', { cookie: 'a\0' }],
    ['a value with DEL', { cookie: 'a\x7f' }],
    ['a value that is not ASCII', { cookie: 'ä' }],
    ['a value that is too long', { cookie: `${longest}x` }],
    ['an end in the year 10000 in UTC', { cookie: 'a', expiresAt: '9999-12-31T23:59:59-00:01' }],
    ['an owner with a token', { cookie: 'a', owner: `of vgw_${'0'.repeat(65)}` }],
    ['a probe of a token', { cookie: 'a', probe: { connectionId: 'C', version: `vgw_${'0'.repeat(65)}` } }],
    ['a number', { cookie: 5 }],
    ['an empty header', { cookieHeader: '' }],
    ['a header with its own name', { cookieHeader: 'Cookie: a=b' }],
    ['a header of a bare value', { cookieHeader: 'abc' }],
    ['a header without a name', { cookieHeader: '=abc' }],
    ['a header with nothing between ;', { cookieHeader: 'a=b;; c=d' }],
    ['a header with ; at its end', { cookieHeader: 'a=b;' }],
    ['a header with a space in a name', { cookieHeader: 'a b=c' }],
    ['a header that is not ASCII', { cookieHeader: 'a=ä' }],
    ['a header with a control character in a value', { cookieHeader: 'a=b\x01c' }],
    ['a header over two lines', { cookieHeader: 'a=b;\r\n c=d' }],
    ['a header with a line feed behind it', { cookieHeader: 'a=b\n' }],
    ['a header with a tab', { cookieHeader: 'a=b;\tc=d' }],
    ['a header with a no-break space', { cookieHeader: 'a=b;\u00a0c=d' }],
    ['a header with a byte order mark', { cookieHeader: '\ufeffa=b' }],
    ['a header that is too long', { cookieHeader: `a=${longest}` }],
    ['a header with a name of 65 characters', { cookieHeader: `${longest.slice(0, 65)}=a` }],
    ['a header without any value', { cookieHeader: 'a=; b=' }],
    ['a header of a bare value in base64 with =', { cookieHeader: 'aHVzaDE=' }],
    ['a header of a bare value in base64 with ==', { cookieHeader: 'aHVzaA==' }],
  ])('%s is refused', (_, body) => {
    expect(z.safeParse(newSession(), body).success).toBe(false)
  })

  test('a refusal repeats nothing of what was sent', () => {
    for (const body of [
      { cookie: 'hush hush' },
      { cookieHeader: 'hush' },
      { cookie: 'hush', cookieHeader: 'x' },
      { cookieHeader: 'hush==' },
    ]) {
      expect(JSON.stringify(z.safeParse(newSession(), body).error?.issues)).not.toContain('hush')
    }
  })

  test('a header that is far too long is not looked into', () => {
    const long = `a=b${' '.repeat(2 ** 20)}c`
    expect(z.safeParse(newSession(), { cookieHeader: long }).error?.issues.length).toBe(1)
  })

  test('the cookies of a header', () => {
    expect(cookiesOf('theme=dark;sid=a=b; empty=')).toEqual([
      { name: 'theme', value: 'dark' },
      { name: 'sid', value: 'a=b' },
      { name: 'empty', value: '' },
    ])
  })
})

describe('sealing', () => {
  const key = (byte: number) => new Secret(Buffer.alloc(32, byte).toString('base64'))
  const [first, second, third] = [key(1), key(2), key(3)]
  const baseUrl = 'https://platform.example/api'
  const header = 'theme=dark; sid=a=b'
  const sealed = sealSession(header, first, 'ORG1', baseUrl)
  const flipped = (at: number) => sealed.map((byte, index) => (index === at ? byte ^ 1 : byte))

  test.each<[string, Uint8Array, Secret[], string, string, number | undefined]>([
    ['its key', sealed, [first], 'ORG1', baseUrl, 0],
    ['its key as the previous one', sealed, [second, first], 'ORG1', baseUrl, 1],
    ['another key', sealed, [second], 'ORG1', baseUrl, undefined],
    ['two other keys', sealed, [second, third], 'ORG1', baseUrl, undefined],
    ['another organisation', sealed, [first], 'ORG2', baseUrl, undefined],
    ['another platform', sealed, [first], 'ORG1', 'https://platform.example/ap', undefined],
    ['a border moved', sealed, [first], 'ORG1https://platform.example/api', '', undefined],
    ['a changed nonce', flipped(0), [first], 'ORG1', baseUrl, undefined],
    ['a changed byte', flipped(12), [first], 'ORG1', baseUrl, undefined],
    ['a changed tag', flipped(sealed.length - 1), [first], 'ORG1', baseUrl, undefined],
    ['a byte fewer', sealed.slice(0, -1), [first], 'ORG1', baseUrl, undefined],
    ['nothing', new Uint8Array(), [first], 'ORG1', baseUrl, undefined],
  ])('opening with %s', (_, bytes, keys, organisationId, url, expected) => {
    const opened = openSession(bytes, keys, organisationId, url)
    expect(opened?.key).toBe(expected)
    expect(opened?.header.reveal()).toBe(expected === undefined ? undefined : header)
  })

  test('what is sealed shows nothing, and no two are alike', () => {
    expect(Buffer.from(sealed).includes('sid')).toBe(false)
    expect(sealSession(header, first, 'ORG1', baseUrl)).not.toEqual(sealed)
  })

  test('what is opened has no printable form', () => {
    const opened = openSession(sealed, [first], 'ORG1', baseUrl)
    expect(`${opened?.header} ${JSON.stringify(opened)}`).not.toContain('dark')
  })
})

test.each<[string, string[], string | undefined]>([
  ['nothing', [], undefined],
  ['a new value', ['sid=new'], 'theme=dark; sid=new'],
  ['a new value with attributes', ['sid=new; Path=/; HttpOnly; Max-Age=60'], 'theme=dark; sid=new'],
  ['a value with =', ['sid=a=b=='], 'theme=dark; sid=a=b=='],
  ['both cookies', ['sid=new', 'theme=light'], 'theme=light; sid=new'],
  ['one cookie twice', ['sid=new', 'sid=newer'], 'theme=dark; sid=newer'],
  ['the same value', ['sid=old'], undefined],
  ['another cookie', ['tracker=x'], undefined],
  ['another cookie and one of ours', ['tracker=x', 'sid=new'], 'theme=dark; sid=new'],
  ['a name in other letters', ['SID=new'], undefined],
  ['an empty value', ['sid='], undefined],
  ['an end by Max-Age', ['sid=gone; Max-Age=0'], undefined],
  ['an end by a negative Max-Age', ['sid=gone; max-age=-1'], undefined],
  ['an end by a date', ['sid=gone; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT'], undefined],
  ['a date to come', ['sid=new; Expires=Wed, 01 Jan 2070 00:00:00 GMT'], 'theme=dark; sid=new'],
  ['no name', ['new'], undefined],
  ['nothing but attributes', ['; Path=/'], undefined],
  ['an empty line', [''], undefined],
  ['a value that may not stand in a header', ['sid=a\x01b'], undefined],
  ['a value that is not ASCII', ['sid=ä'], undefined],
  ['a value that makes it too long', [`sid=${'x'.repeat(8192)}`], undefined],
])('rotating by %s', (_, setCookies, expected) => {
  expect(rotateCookies('theme=dark; sid=old', setCookies, Date.parse('2026-11-24T00:00:00Z'))).toBe(expected)
})

describe('showing', () => {
  const baseUrl = 'https://platform.example/api'
  const row: SessionRow = {
    generation: 3,
    baseUrl,
    sealed: Buffer.from('hush'),
    names: ['theme', 'sid'],
    setAt: 1_000,
    lastUsedAt: 2_000,
    rejected: false,
    lastRejectedAt: null,
    owner: 'ops@example.com',
    expiresAt: 4_000,
    probe: { connectionId: 'CONN1', version: '1.4.0' },
  }
  const active = {
    state: 'active',
    cookies: ['theme', 'sid'],
    generation: 3,
    owner: 'ops@example.com',
    expiresAt: '1970-01-01T00:00:04.000Z',
    setAt: '1970-01-01T00:00:01.000Z',
    lastUsedAt: '1970-01-01T00:00:02.000Z',
    lastRejectedAt: null,
    probe: { connectionId: 'CONN1', version: '1.4.0' },
  }
  const nothing = { owner: null, expiresAt: null, setAt: null, lastUsedAt: null }
  const { probe: _, ...unprobed } = active
  const missing = { ...unprobed, state: 'missing', cookies: [], ...nothing }

  test.each<[string, SessionRow | undefined, object]>([
    ['none', undefined, { ...missing, generation: 0 }],
    ['one that stands', row, active],
    ['one never used', { ...row, lastUsedAt: null }, { ...active, lastUsedAt: null }],
    [
      'one that was rejected',
      { ...row, rejected: true, lastRejectedAt: 3_000 },
      { ...active, state: 'rejected', lastRejectedAt: '1970-01-01T00:00:03.000Z' },
    ],
    ['one that was deleted', { ...row, sealed: null, names: [] }, missing],
    [
      'one that was rejected and deleted',
      { ...row, sealed: null, rejected: true, lastRejectedAt: 3_000 },
      missing,
    ],
    ['one for another platform', { ...row, baseUrl: 'https://staging.example/api' }, missing],
  ])('%s', (_, stored, expected) => {
    const view = viewSession(stored, baseUrl)
    expect(view).toEqual(expected)
    // Neither the value nor what it is sealed to: there is no field for it.
    expect(Object.keys(view)).toEqual(Object.keys(expected))
  })
})
