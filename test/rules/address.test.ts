// Checks that nothing in a path's ids changes where a request to the platform goes.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { platformId, versionName } from '../../src/update/connection-version.ts'
import { versionUrl } from '../../src/upstream/address.ts'

const bases = [
  'https://platform.versori.com/api/connect/v1alpha1',
  'https://platform.example',
  'https://platform.example:8443/a',
  'http://127.0.0.1:8787',
  'http://[::1]:8787/api/connect',
]
const ids = { organisationId: 'ORG', connectionId: 'CONN', version: '1.4.0' }

/** Origin, path before the ids and number of segments, and each id decoded from its own place. */
function expectShape(url: string, baseUrl: string, target: typeof ids) {
  const [parsed, base] = [new URL(url), new URL(baseUrl)]
  expect(parsed.href).toBe(url)
  expect(parsed.origin).toBe(base.origin)
  expect([parsed.username, parsed.password, parsed.search, parsed.hash]).toEqual(['', '', '', ''])
  const path = base.pathname === '/' ? '' : base.pathname
  expect(parsed.pathname.startsWith(`${path}/o/`)).toBe(true)
  const { organisationId, connectionId, version } = target
  expect(parsed.pathname.slice(path.length).split('/').map(decodeURIComponent)).toEqual([
    '',
    'o',
    organisationId,
    'connections',
    connectionId,
    'versions',
    version,
  ])
}

test.each([
  ['1.4.0', '1.4.0'],
  ['latest', 'latest'],
  ['release 1', 'release%201'],
  ['café', 'caf%C3%A9'],
  ['版本', '%E7%89%88%E6%9C%AC'],
  ['a+b&c=d', 'a%2Bb%26c%3Dd'],
  ['a:b@c', 'a%3Ab%40c'],
  ["!'()*~", "!'()*~"],
  ['"<>^`{|}', '%22%3C%3E%5E%60%7B%7C%7D'],
  ['...', '...'],
])('the version %j stands as %s', (version, encoded) => {
  for (const base of bases) {
    expect(versionUrl(base, { ...ids, version })).toBe(`${base}/o/ORG/connections/CONN/versions/${encoded}`)
  }
})

test('valid ids keep their places', () => {
  const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)
  const version = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 99 })
    .map(text => text.normalize('NFC').trim())
    .filter(text => versionName.safeParse(text).success)
  fc.assert(
    fc.property(fc.constantFrom(...bases), id, id, version, (base, organisationId, connectionId, version) => {
      expect(platformId.safeParse(connectionId).success).toBe(true)
      const target = { organisationId, connectionId, version }
      expectShape(versionUrl(base, target), base, target)
    }),
  )
})

describe('ids that no rule has seen', () => {
  const hostile = fc.oneof(
    fc.array(fc.nat({ max: 0xffff })).map(units => String.fromCharCode(...units)),
    fc
      .array(
        fc.constantFrom(
          '.',
          '..',
          '/',
          '\\',
          '%2e',
          '%2F',
          '?',
          '#',
          '@',
          ':',
          ';',
          '\t',
          '\n',
          '\0',
          ' ',
          'x',
          '\ud800',
        ),
      )
      .map(parts => parts.join('')),
  )

  test('throw or keep their places', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...bases),
        hostile,
        hostile,
        hostile,
        (base, organisationId, connectionId, version) => {
          const target = { organisationId, connectionId, version }
          let url: string
          try {
            url = versionUrl(base, target)
          } catch {
            return
          }
          expectShape(url, base, target)
        },
      ),
      { numRuns: 1000 },
    )
  })

  test.each<[string, Partial<typeof ids>]>([
    ['a dot for the version', { version: '.' }],
    ['dots for the version', { version: '..' }],
    ['dots for the organisation', { organisationId: '..' }],
    ['dots for the connection', { connectionId: '..' }],
    ['no version', { version: '' }],
    ['no organisation', { organisationId: '' }],
    ['no connection', { connectionId: '' }],
    ['a lone surrogate', { version: '\ud800' }],
  ])('%s throws', (_, changes) => {
    for (const base of bases) expect(() => versionUrl(base, { ...ids, ...changes }), base).toThrow()
  })

  test.each<[string, string]>([
    ['a slash', '../../x'],
    ['an encoded slash', '..%2Fx'],
    ['an encoded dot', '%2e%2e'],
    ['a query', '1?x=y'],
    ['a fragment', '1#x'],
    ['another host', '//evil.example/'],
    ['a backslash', '\\..\\'],
  ])('%s stays inside its segment', (_, version) => {
    for (const base of bases) expectShape(versionUrl(base, { ...ids, version }), base, { ...ids, version })
  })

  test.each([
    'https://platform.example/',
    'https://platform.example?x=y',
    'https://platform.example#x',
    'https://platform.example/a/../b',
    'https://Platform.example',
  ])('a base URL that would bend the path throws: %s', base => {
    expect(() => versionUrl(base, ids)).toThrow()
  })
})
