// Checks how variables and secrets become a Config: each missing, malformed and right, and that no problem tells a value.
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../../src/crypto.ts'
import { type Config, parseConfig } from '../../src/env.ts'

function pkcs8(type: 'ed25519' | 'x25519'): string {
  const { privateKey } = type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519')
  return privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64')
}
const base64 = (length: number, fill = 0xfb) => Buffer.alloc(length, fill).toString('base64')
const secret = (letter: string, length = 32) => letter.repeat(length)
const signingKey = pkcs8('ed25519')
const organisation = { jurisdiction: (name: string) => ({ organisationsIn: name }) }
const addressLimit = { limit: async () => ({ success: true }) }
const directory = { jurisdiction: (name: string) => ({ directoriesIn: name }) }

const good = {
  ADMIN_TOKEN: secret('a'),
  SEALING_KEY: base64(32),
  AUDIT_SIGNING_KEY: signingKey,
  ORGANISATION: organisation,
  DIRECTORY: directory,
  ADDRESS_LIMIT: addressLimit,
}

function configOf(changes: Record<string, unknown>): Config {
  const result = parseConfig({ ...good, ...changes })
  if (!result.ok) throw new Error(JSON.stringify(result.failing))
  return result.config
}

/** The names of what fails, and their problems. */
function failing(env: Record<string, unknown>): { name: string; problem: string }[] {
  const result = parseConfig(env)
  return result.ok ? [] : [...result.failing]
}

test('what is needed is enough; the rest has defaults', () => {
  const { admins, sealingKeys, signingKey: signing, ...rest } = configOf({})
  expect(rest).toEqual({
    upstream: {
      baseUrl: 'https://platform.versori.com/api/connect/v1alpha1',
      timeoutMs: 10_000,
      retryMs: 250,
    },
    organisations: organisation,
    directory,
    addressLimit,
    auditors: [],
    storageBytes: 10_000_000_000,
    locationHint: undefined,
  })
  expect(rest.organisations).toBe(organisation)
  expect(rest.directory).toBe(directory)
  expect(admins).toEqual([{ name: 'admin', digest: sha256(secret('a')) }])
  expect(sealingKeys.map(key => key.reveal())).toEqual([good.SEALING_KEY])
  expect(signing.publicKey.byteLength).toBe(32)
})

test('nothing at all: everything that is needed is named', () => {
  expect(failing({})).toEqual([
    { name: 'ADMIN_TOKEN', problem: 'is not set' },
    { name: 'SEALING_KEY', problem: 'is not set' },
    { name: 'AUDIT_SIGNING_KEY', problem: 'is not set' },
    { name: 'ORGANISATION', problem: 'is not bound' },
    { name: 'DIRECTORY', problem: 'is not bound' },
    { name: 'ADDRESS_LIMIT', problem: 'is not bound' },
  ])
})

describe.each(['ADMIN_TOKEN', 'SEALING_KEY', 'AUDIT_SIGNING_KEY'])('%s', name => {
  test.each([undefined, null, ''])('%j is as none', value => {
    expect(failing({ ...good, [name]: value })).toEqual([{ name, problem: 'is not set' }])
  })
})

describe.each(['ORGANISATION', 'DIRECTORY', 'ADDRESS_LIMIT'])('%s', name => {
  test.each([undefined, null, '', 'text', 1, true])('%j is no binding', value => {
    expect(failing({ ...good, [name]: value })).toEqual([{ name, problem: 'is not bound' }])
  })
})

describe.each([
  'UPSTREAM_BASE_URL',
  'UPSTREAM_TIMEOUT_MS',
  'ORGANISATION_JURISDICTION',
  'ORGANISATION_LOCATION_HINT',
  'SEALING_KEY_PREVIOUS',
  'AUDITOR_TOKEN',
])('%s', name => {
  test.each([undefined, null, ''])('%j is as none', value => {
    expect(configOf({ [name]: value })).toEqual(configOf({}))
  })
})

test.each([
  ...Object.keys(good).slice(0, 3),
  'UPSTREAM_BASE_URL',
  'UPSTREAM_TIMEOUT_MS',
  'SEALING_KEY_PREVIOUS',
  'AUDITOR_TOKEN',
])('%s that is no string', name => {
  for (const value of [1, true, false, 0, {}, []]) {
    expect(failing({ ...good, [name]: value })).toEqual([{ name, problem: 'is not a string' }])
  }
})

/** Refused under its own name, and the problem tells no part of the value. */
function expectRefused(name: string, value: string) {
  const problems = failing({ ...good, [name]: value })
  expect(problems.map(problem => problem.name)).toEqual([name])
  for (const part of value.split(/[\s,]+/).filter(part => part.length > 3)) {
    expect(problems[0]?.problem).not.toContain(part)
  }
}

describe('UPSTREAM_BASE_URL', () => {
  test.each([
    ['https://platform-staging.versori.com/api/connect/v1alpha1', undefined],
    ['https://p.example', 'https://p.example'],
    ['https://p.example/', 'https://p.example'],
    ['https://p.example/a/b//', 'https://p.example/a/b'],
    ['HTTPS://P.Example:443/A', 'https://p.example/A'],
    ['https://p.example:8443/a/../b', 'https://p.example:8443/b'],
    ['http://localhost:8787', 'http://localhost:8787'],
    ['http://127.0.0.1:8787/a', 'http://127.0.0.1:8787/a'],
    ['http://127.9.9.9', 'http://127.9.9.9'],
    ['http://[::1]:8787', 'http://[::1]:8787'],
  ])('%s', (text, baseUrl = text) => {
    expect(configOf({ UPSTREAM_BASE_URL: text }).upstream.baseUrl).toBe(baseUrl)
  })

  test.each([
    ['no URL', 'platform.versori.com'],
    ['a path', '/api/connect'],
    ['http', 'http://platform.versori.com'],
    ['http to a private network', 'http://10.0.0.1'],
    ['http to any address', 'http://0.0.0.0:8787'],
    ['http to a host that begins like a loopback', 'http://localhost.evil.example'],
    ['http to a name that begins like an address', 'http://127.0.0.1.evil.example'],
    ['http to a host that ends like a loopback', 'http://evil-localhost'],
    ['http with a loopback for its user', 'http://localhost@evil.example'],
    ['ftp', 'ftp://platform.versori.com'],
    ['a script', 'javascript:alert(1)'],
    ['a file', 'file:///etc/passwd'],
    ['a user', 'https://someone@p.example'],
    ['a password', 'https://someone:hunter2@p.example'],
    ['a query', 'https://p.example/a?b=c'],
    ['an empty query', 'https://p.example/a?'],
    ['a fragment', 'https://p.example/a#b'],
    ['an empty fragment', 'https://p.example/a#'],
  ])('not %s', (_, text) => {
    expectRefused('UPSTREAM_BASE_URL', text)
  })
})

describe('UPSTREAM_TIMEOUT_MS', () => {
  test.each([
    ['100', 100],
    ['10000', 10_000],
    ['120000', 120_000],
  ])('%s', (text, ms) => {
    expect(configOf({ UPSTREAM_TIMEOUT_MS: text }).upstream.timeoutMs).toBe(ms)
  })

  test.each([
    '0',
    '99',
    '120001',
    '-1',
    '+1000',
    '1e4',
    '0x400',
    '1000.5',
    '10s',
    ' 1000',
    '1000\n',
    '9999999999',
    'off',
    'Infinity',
  ])('not %j', text => {
    expectRefused('UPSTREAM_TIMEOUT_MS', text)
  })
})

describe('where objects live', () => {
  test.each(['eu', 'fedramp', 'fedramp-high', 'us'])('the jurisdiction %s', name => {
    const { organisations, directory } = configOf({ ORGANISATION_JURISDICTION: name })
    expect({ ...organisations, ...directory }).toEqual({ organisationsIn: name, directoriesIn: name })
  })

  test.each(['EU', 'europe', 'eu,us', ' eu', 'none', 'weur'])('not the jurisdiction %j', text => {
    expectRefused('ORGANISATION_JURISDICTION', text)
  })

  test('a runtime without jurisdictions is a failure, not a wider choice', () => {
    expect(failing({ ...good, ORGANISATION_JURISDICTION: 'eu', DIRECTORY: {} })).toEqual([
      { name: 'ORGANISATION_JURISDICTION', problem: 'is not supported by this runtime' },
    ])
  })

  test.each(['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me'])('the hint %s', hint => {
    expect(configOf({ ORGANISATION_LOCATION_HINT: hint }).locationHint).toBe(hint)
  })

  test.each(['WEUR', 'europe', 'weurope', 'eu'])('not the hint %j', text => {
    expectRefused('ORGANISATION_LOCATION_HINT', text)
  })
})

describe('ADMIN_TOKEN', () => {
  test.each<[string, string, [name: string, secret: string][]]>([
    ['one bare secret', secret('a'), [['admin', secret('a')]]],
    ['one with a name', `ops:${secret('a')}`, [['ops', secret('a')]]],
    ['every character of a name', `A.z_0-9:${secret('a')}`, [['A.z_0-9', secret('a')]]],
    [
      'several',
      `ops:${secret('a')},${secret('b')}, ci:${secret('c', 99)} `,
      [
        ['ops', secret('a')],
        ['admin', secret('b')],
        ['ci', secret('c', 99)],
      ],
    ],
    ['a colon in a secret', `ops:${secret('a', 31)}:`, [['ops', `${secret('a', 31)}:`]]],
    [
      'one name for two secrets',
      `ops:${secret('a')},ops:${secret('b')}`,
      [
        ['ops', secret('a')],
        ['ops', secret('b')],
      ],
    ],
  ])('%s', (_, text, admins) => {
    expect(configOf({ ADMIN_TOKEN: text }).admins).toEqual(
      admins.map(([name, text]) => ({ name, digest: sha256(text) })),
    )
  })

  test.each([
    ['31 characters', secret('a', 31)],
    ['31 characters behind a name', `operations:${secret('a', 31)}`],
    ['a name alone', `operations:`],
    ['blanks', ' '.repeat(40)],
    ['an entry that is empty', `${secret('a')},`],
    ['a comma alone', ','],
    ['a short one among long ones', `${secret('a')},short,${secret('b')}`],
    ['a space inside', `${secret('a')} ${secret('b')}`],
    ['a line end inside', `${secret('a')}\n${secret('b')}`],
    ['beyond ASCII', secret('é')],
    ['a name with a space', `my ops:${secret('a')}`],
    ['one secret twice', `${secret('a')},${secret('a')}`],
    ['one secret under two names', `ops:${secret('a')},ci:${secret('a')}`],
    ['one secret bare and named', `${secret('a')},ci:${secret('a')}`],
    ['the first and the third the same', `${secret('a')},${secret('b')},x:${secret('a')}`],
  ])('not %s', (_, text) => {
    expectRefused('ADMIN_TOKEN', text)
  })

  test('the entry that is wrong is counted', () => {
    const problem = (text: string) => failing({ ...good, ADMIN_TOKEN: text })[0]?.problem
    expect(problem(`${secret('a')},short`)).toBe('entry 2 has fewer than 32 characters')
    expect(problem(`${secret('a')},${secret('b')},ci:${secret('a')}`)).toBe('entry 3 repeats a secret')
  })

  test('a Config keeps digests, and its keys do not print', () => {
    const text = JSON.stringify(
      configOf({ ADMIN_TOKEN: `ops:${secret('a')}`, SEALING_KEY_PREVIOUS: base64(32, 1) }),
    )
    for (const value of [secret('a'), good.SEALING_KEY, base64(32, 1)]) expect(text).not.toContain(value)
  })
})

describe('AUDITOR_TOKEN', () => {
  test('has the form of ADMIN_TOKEN, and its own name for a bare secret', () => {
    const { admins, auditors } = configOf({ AUDITOR_TOKEN: `olga:${secret('o')},${secret('p')}` })
    expect(auditors).toEqual([
      { name: 'olga', digest: sha256(secret('o')) },
      { name: 'auditor', digest: sha256(secret('p')) },
    ])
    expect(admins.length).toBe(1)
  })

  test.each([
    ['31 characters', secret('o', 31)],
    ['one secret twice', `${secret('o')},olga:${secret('o')}`],
    ["an admin's secret", good.ADMIN_TOKEN],
    ["an admin's secret under another name", `${secret('o')},olga:${good.ADMIN_TOKEN}`],
  ])('not %s', (_, text) => {
    expectRefused('AUDITOR_TOKEN', text)
  })
})

describe.each(['SEALING_KEY', 'SEALING_KEY_PREVIOUS'])('%s', name => {
  test('base64 of 32 bytes', () => {
    const keys = configOf({ [name]: base64(32, 7) }).sealingKeys.map(key => key.reveal())
    expect(keys).toEqual(name === 'SEALING_KEY' ? [base64(32, 7)] : [good.SEALING_KEY, base64(32, 7)])
  })

  test.each([
    ['31 bytes', base64(31)],
    ['33 bytes', base64(33)],
    ['16 bytes', base64(16)],
    ['hexadecimal', Buffer.alloc(32, 0xfb).toString('hex')],
    ['the alphabet of URLs', Buffer.alloc(32, 0xfb).toString('base64url')],
    ['no padding', base64(32).slice(0, -1)],
    ['a line end', `${base64(32)}\n`],
    ['a typo', `*${base64(32).slice(1)}`],
    ['words', 'correct horse battery staple'],
    ['a blank', ' '],
  ])('not %s', (_, text) => {
    expectRefused(name, text)
  })
})

describe('ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET', () => {
  const url = 'https://alerts.example/hook?key=value'
  const whsec = (bytes: number) => `whsec_${base64(bytes)}`
  const both = { ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_SECRET: whsec(32) }

  test('both are kept without a printable form; neither is none', () => {
    const { alerts } = configOf(both)
    expect([alerts?.url.reveal(), alerts?.secret.reveal()]).toEqual([url, whsec(32)])
    expect(JSON.stringify(configOf(both))).not.toMatch(/hook|whsec_/)
    for (const none of [undefined, null, '']) {
      expect(configOf({ ALERT_WEBHOOK_URL: none, ALERT_WEBHOOK_SECRET: none }).alerts).toBeUndefined()
    }
  })

  test.each([undefined, null, ''])('one and %j is half', none => {
    for (const name of ['ALERT_WEBHOOK_URL', 'ALERT_WEBHOOK_SECRET']) {
      expect(failing({ ...good, ...both, [name]: none })).toEqual([{ name, problem: 'is not set' }])
    }
  })

  test.each([
    ['https://alerts.example', 'https://alerts.example/'],
    ['https://alerts.example:8443/a/?b=c&d', undefined],
    ['http://127.0.0.1:9000/a', undefined],
    ['http://localhost/a', undefined],
    ['http://[::1]:9000/a', undefined],
  ])('%s', (text, expected = text) => {
    expect(configOf({ ...both, ALERT_WEBHOOK_URL: text }).alerts?.url.reveal()).toBe(expected)
  })

  test.each([
    ['no URL', 'alerts.example/hook'],
    ['http', 'http://alerts.example/hook'],
    ['http to a host that begins like a loopback', 'http://localhost.evil.example/hook'],
    ['a user', 'https://someone@alerts.example/hook'],
    ['a password', 'https://someone:sesame@alerts.example/hook'],
    ['a fragment', 'https://alerts.example/hook#part'],
    ['a script', 'javascript:alert(1)'],
  ])('not %s', (_, text) => {
    const problems = failing({ ...good, ...both, ALERT_WEBHOOK_URL: text })
    expect(problems.map(({ name }) => name)).toEqual(['ALERT_WEBHOOK_URL'])
    expect(problems[0]?.problem).not.toMatch(/hook|someone|sesame|evil/)
  })

  test.each([24, 32, 64])('a secret of %i bytes', bytes => {
    expect(configOf({ ...both, ALERT_WEBHOOK_SECRET: whsec(bytes) }).alerts?.secret.reveal()).toBe(
      whsec(bytes),
    )
  })

  test.each([
    ['23 bytes', whsec(23)],
    ['65 bytes', whsec(65)],
    ['no prefix', base64(32)],
    ['another prefix', `whsk_${base64(32)}`],
    ['no base64', `whsec_${'*'.repeat(44)}`],
    ['no padding', whsec(32).slice(0, -1)],
    ['a line end', `${whsec(32)}\n`],
    ['the prefix twice', `whsec_${whsec(32)}`],
  ])('not a secret with %s', (_, text) => {
    const problems = failing({ ...good, ...both, ALERT_WEBHOOK_SECRET: text })
    expect(problems.map(({ name }) => name)).toEqual(['ALERT_WEBHOOK_SECRET'])
    expect(problems[0]?.problem).not.toContain(text)
  })
})

describe('AUDIT_SIGNING_KEY', () => {
  const der = Buffer.from(signingKey, 'base64')
  test.each([
    ['a key of another kind', pkcs8('x25519')],
    ['the seed alone', der.subarray(16).toString('base64')],
    ['a byte too few', der.subarray(0, 47).toString('base64')],
    ['a byte too many', Buffer.concat([der, Buffer.of(0)]).toString('base64')],
    ['PEM', `-----BEGIN PRIVATE KEY-----\n${signingKey}\n-----END PRIVATE KEY-----\n`],
    ['hexadecimal', der.toString('hex')],
    [
      'the alphabet of URLs',
      Buffer.concat([der.subarray(0, 16), Buffer.alloc(32, 0xfb)]).toString('base64url'),
    ],
    ['a line end', `${signingKey}\n`],
  ])('not %s', (_, text) => {
    expectRefused('AUDIT_SIGNING_KEY', text)
  })
})

test('everything that is wrong is named at once', () => {
  const wrong = {
    UPSTREAM_BASE_URL: 'http://p.example',
    UPSTREAM_TIMEOUT_MS: 'off',
    ADMIN_TOKEN: 'short',
    SEALING_KEY: 'short',
    SEALING_KEY_PREVIOUS: 'short',
    AUDIT_SIGNING_KEY: 'short',
    ORGANISATION_JURISDICTION: 'mars',
    ORGANISATION_LOCATION_HINT: 'mars',
    ORGANISATION: undefined,
    DIRECTORY: undefined,
    ADDRESS_LIMIT: undefined,
    ORGANISATION_STORAGE_MB: '0',
  }
  expect(
    failing(wrong)
      .map(({ name }) => name)
      .sort(),
  ).toEqual(Object.keys(wrong).sort())
})
