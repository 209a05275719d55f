// Checks the names that may stand in a path, what a ConnectionVersion may hold, its one serialisation and the words
// about what is wrong with it.
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import {
  type ConnectionVersion,
  connectionVersion,
  fieldErrors,
  platformId,
  serialise,
  versionName,
} from '../../src/update/connection-version.ts'

const good = {
  id: '01JDA0W3T9V6Z1QX4B8N2M5K7C',
  name: '1.4.0',
  description: 'Retries.\n\tAnd a "quote".',
  isLatest: true,
  isDefault: false,
  createdAt: '2026-11-24T09:30:00Z',
  updatedAt: '2026-11-24T09:30:00.123456789Z',
  publishedAt: null,
} satisfies ConnectionVersion

/** What is wrong with a ConnectionVersion, as `field: message`. */
function wrongWith(value: unknown): string[] {
  const result = connectionVersion.safeParse(value)
  return result.success ? [] : fieldErrors(result.error).map(({ field, message }) => `${field}: ${message}`)
}

describe('platformId', () => {
  test.each([
    ['a ULID', '01JDA0W3T9V6Z1QX4B8N2M5K7C'],
    ['one character', 'a'],
    ['64 characters', 'a'.repeat(64)],
    ['every kind', 'AZaz09_-'],
    ['a word of JavaScript', '__proto__'],
  ])('%s', (_, text) => {
    expect(platformId.safeParse(text)).toEqual({ success: true, data: text })
  })

  test.each<[string, unknown]>([
    ['nothing', ''],
    ['65 characters', 'a'.repeat(65)],
    ['a dot', 'a.b'],
    ['dot segments', '..'],
    ['a slash', 'a/b'],
    ['a percent sign', 'a%2Fb'],
    ['a space', 'a b'],
    ['a line end after it', 'a\n'],
    ['a letter that looks the same', '\u0430'],
    ['NUL', 'a\0'],
    ['a number', 1],
    ['a list', ['a']],
    ['null', null],
  ])('not %s', (_, value) => {
    expect(platformId.safeParse(value).success).toBe(false)
  })
})

describe('versionName', () => {
  test.each([
    ['SemVer', '1.4.0-rc.1+build.5'],
    ['CalVer', '2026.11'],
    ['a counter', '7'],
    ['the reserved latest', 'latest'],
    ['the reserved default', 'default'],
    ['a space inside', 'release 1'],
    ['three dots', '...'],
    ['dots around', '.x.'],
    ['the rest of ASCII', '!"$&\'()*+,-.:<=>@[]^_`{|}~'],
    ['NFC', 'caf\u00e9'],
    ['Chinese', '版本'],
    ['Hebrew', 'גרסה'],
    ['Hindi', 'संस्करण'],
    ['beyond the first plane', '🚀'],
    ['255 characters', 'a'.repeat(255)],
    ['255 characters of two units each', '🚀'.repeat(255)],
    ['a word of JavaScript', '__proto__'],
  ])('%s', (_, text) => {
    expect(versionName.safeParse(text)).toEqual({ success: true, data: text })
  })

  const characters = 'must have 1 to 255 characters'
  const surrogate = 'must not hold a lone surrogate'
  const control = 'must not hold control, format or line separator characters'
  const separator = 'must not hold any of / \\ % ? # ;'
  const space = 'must not begin or end with a space'
  const nfc = 'must be in Unicode normalisation form C'
  const dots = 'must not be a dot segment'
  test.each<[string, string, string]>([
    ['nothing', '', characters],
    ['256 characters', 'a'.repeat(256), characters],
    ['256 characters of two units each', '🚀'.repeat(256), characters],
    ['a high surrogate alone', 'a\ud83d', surrogate],
    ['a low surrogate alone', '\ude80a', surrogate],
    ['surrogates the wrong way round', '\ude80\ud83d', surrogate],
    ['NUL', 'a\0b', control],
    ['a tab', 'a\tb', control],
    ['a line end', 'a\nb', control],
    ['a line end after it', 'a\n', control],
    ['DEL', 'a\x7fb', control],
    ['C1', 'a\x85b', control],
    ['a soft hyphen', 'a\u00adb', control],
    ['an Arabic letter mark', 'a\u061cb', control],
    ['zero width space', 'a\u200bb', control],
    ['zero width joiner', 'a\u200db', control],
    ['right-to-left override', 'a\u202eb', control],
    ['a word joiner', 'a\u2060b', control],
    ['a bidirectional isolate', 'a\u2066b', control],
    ['a byte order mark', 'a\ufeffb', control],
    ['a tag', 'a\u{e0061}b', control],
    ['a line separator', 'a\u2028b', control],
    ['a paragraph separator', 'a\u2029b', control],
    ['a slash', 'a/b', separator],
    ['a backslash', 'a\\b', separator],
    ['a percent sign', 'a%b', separator],
    ['a dot segment that decodes', '%2e%2e', separator],
    ['a question mark', 'a?b', separator],
    ['a hash', 'a#b', separator],
    ['a semicolon', 'a;b', separator],
    ['a space before', ' a', space],
    ['a space after', 'a ', space],
    ['a space alone', ' ', space],
    ['a no-break space before', '\u00a0a', space],
    ['an ideographic space after', 'a\u3000', space],
    ['NFD', 'cafe\u0301', nfc],
    ['the Kelvin sign', '\u212a', nfc],
    ['one dot', '.', dots],
    ['two dots', '..', dots],
  ])('not %s', (_, text, message) => {
    const result = versionName.safeParse(text)
    expect(result.success ? [] : fieldErrors(result.error)).toContainEqual({ field: 'body', message })
  })

  test.each<[string, unknown]>([
    ['a number', 1],
    ['null', null],
    ['nothing', undefined],
    ['a list', ['1.4.0']],
  ])('not %s', (_, value) => {
    expect(versionName.safeParse(value).success).toBe(false)
  })

  test('what is taken stays itself through a URL', () => {
    const anything = fc.array(fc.nat({ max: 0xffff })).map(units => String.fromCharCode(...units))
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'grapheme' }), anything), text => {
        if (!versionName.safeParse(text).success) return
        const url = new URL(`https://x.example/${encodeURIComponent(text)}/y`)
        expect(url.pathname.split('/').map(decodeURIComponent)).toEqual(['', text, 'y'])
      }),
    )
  })
})

describe('connectionVersion', () => {
  const { description: _, ...undescribed } = good
  test.each<[string, object]>([
    ['all of it', good],
    ['no description', undescribed],
    ['an empty description', { ...good, description: '' }],
    ['published', { ...good, publishedAt: '2026-11-24T09:30:00Z' }],
    ['an id that is no ULID', { ...good, id: 'ü / 1' }],
    ['a name that looks reserved', { ...good, name: 'Latest' }],
  ])('%s', (_, value) => {
    expect(connectionVersion.safeParse(value)).toEqual({ success: true, data: value })
  })

  const required = Object.keys(undescribed)
  test.each(required)('not without %s', field => {
    const value = Object.fromEntries(Object.entries(good).filter(([key]) => key !== field))
    expect(wrongWith(value)).toEqual([expect.stringMatching(new RegExp(`^${field}: `))])
  })

  const date = 'must be an RFC 3339 date-time with an offset'
  const others: unknown[] = [null, 0, 1, true, false, '', 'x', {}, [], ['x'], { toString: 'x' }]
  const allowed: Record<keyof typeof good, (value: unknown) => boolean> = {
    id: value => value === 'x',
    name: value => value === 'x',
    description: value => value === '' || value === 'x',
    isLatest: value => typeof value === 'boolean',
    isDefault: value => typeof value === 'boolean',
    createdAt: () => false,
    updatedAt: () => false,
    publishedAt: value => value === null,
  }
  test.each(Object.entries(allowed))('%s of another type', (field, allows) => {
    for (const value of others) {
      const wrong = wrongWith({ ...good, [field]: value })
      if (allows(value)) expect(wrong).toEqual([])
      else expect(wrong[0], JSON.stringify(value)).toMatch(new RegExp(`^${field}: `))
    }
  })

  test.each(['createdAt', 'updatedAt', 'publishedAt'])('the forms of %s', field => {
    for (const text of [
      '2026-11-24T09:30:00Z',
      '2026-11-24T09:30:00.1Z',
      '2026-11-24T09:30:00.123456789Z',
      '2026-11-24T09:30:00+02:00',
      '2026-11-24T09:30:00-11:30',
      '2026-11-24T09:30:00-00:00',
      '2024-02-29T23:59:59Z',
      '0001-01-01T00:00:00Z',
    ]) {
      expect(wrongWith({ ...good, [field]: text }), text).toEqual([])
    }
    for (const text of [
      '2026-11-24',
      '2026-11-24T09:30Z',
      '2026-11-24T09:30:00',
      '2026-11-24 09:30:00Z',
      '2026-11-24T09:30:00+02',
      '2026-11-24T09:30:00+0200',
      '2026-11-24T09:30:00+24:00',
      '2026-11-24T09:30:00+02:60',
      '2026-11-24T09:30:00.Z',
      '2026-11-24T09:30:00,1Z',
      '2026-11-24T24:00:00Z',
      '2026-11-24T09:60:00Z',
      '2026-11-24T09:30:60Z',
      '2026-12-31T23:59:60Z',
      '2026-13-01T00:00:00Z',
      '2026-00-01T00:00:00Z',
      '2026-11-31T00:00:00Z',
      '2026-02-29T00:00:00Z',
      '1900-02-29T00:00:00Z',
      '26-11-24T09:30:00Z',
      '+002026-11-24T09:30:00Z',
      '2026-11-24T09:30:00Z\n',
      ' 2026-11-24T09:30:00Z',
      '1795512600',
      'Tue, 24 Nov 2026 09:30:00 GMT',
      'now',
    ]) {
      expect(wrongWith({ ...good, [field]: text }), text).toEqual([`${field}: ${date}`])
    }
  })

  test.each<[string, object, string]>([
    [
      'a name that is default',
      { name: 'default' },
      'name: must not be default or latest, which are reserved',
    ],
    ['a name that is latest', { name: 'latest' }, 'name: must not be default or latest, which are reserved'],
    ['a name that is no path segment', { name: 'a/b' }, 'name: must not hold any of / \\ % ? # ;'],
    ['a name in NFD', { name: 'cafe\u0301' }, 'name: must be in Unicode normalisation form C'],
    ['NUL in the id', { id: 'a\0' }, 'id: must not hold NUL'],
    ['NUL in the description', { description: '\0' }, 'description: must not hold NUL'],
    ['a lone surrogate in the id', { id: 'a\udc00' }, 'id: must not hold a lone surrogate'],
    [
      'a lone surrogate in the description',
      { description: '\ud800a' },
      'description: must not hold a lone surrogate',
    ],
    ['a key too many', { extra: 1 }, 'extra: is not a known field'],
    ['a known key in another case', { Name: '2.0.0' }, 'Name: is not a known field'],
    ['a key without a value', { extra: undefined }, 'extra: is not a known field'],
    ['an empty key', { '': 1 }, ': is not a known field'],
    ['constructor', { constructor: {} }, 'constructor: is not a known field'],
    ['toString', { toString: {} }, 'toString: is not a known field'],
  ])('not %s', (_, changes, wrong) => {
    expect(wrongWith({ ...good, ...changes })).toEqual([wrong])
  })

  test('a prototype in JSON is an unknown key and lends no fields', () => {
    const { name: _, ...nameless } = good
    const text = (rest: object) => JSON.stringify(rest).replace('{', '{"__proto__":{"name":"1.4.0"},')
    expect(wrongWith(JSON.parse(text(good)))).toEqual(['__proto__: is not a known field'])
    expect(wrongWith(JSON.parse(text(nameless)))).toEqual([
      expect.stringMatching(/^name: /),
      '__proto__: is not a known field',
    ])
  })

  test.each<[string, unknown]>([
    ['null', null],
    ['a list', [good]],
    ['a string', JSON.stringify(good)],
    ['a number', 1],
    ['true', true],
  ])('%s is no ConnectionVersion', (_, value) => {
    expect(wrongWith(value)).toEqual([expect.stringMatching(/^body: /)])
  })
})

describe('serialise', () => {
  const order =
    '{"id":"01JDA0W3T9V6Z1QX4B8N2M5K7C","name":"1.4.0","description":"Retries.\\n\\tAnd a \\"quote\\".",'
  const rest =
    '"isLatest":true,"isDefault":false,"createdAt":"2026-11-24T09:30:00Z","updatedAt":"2026-11-24T09:30:00.123456789Z","publishedAt":null}'

  test('in the order of the schema, whatever the order of the keys, and the last of two same keys', () => {
    const entries = Object.entries(good).map(
      ([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`,
    )
    const earlier = fc
      .subarray(Object.keys(good))
      .map(keys => keys.map(key => `${JSON.stringify(key)}: ["earlier"]`))
    const shuffled = fc.shuffledSubarray(entries, { minLength: entries.length })
    fc.assert(
      fc.property(earlier, shuffled, fc.constantFrom(',', ',\n  '), (first, then, comma) => {
        const parsed = connectionVersion.parse(JSON.parse(`{${[...first, ...then].join(comma)}}`))
        expect(serialise(parsed).body).toBe(order + rest)
      }),
    )
  })

  test('a description that was not sent is not sent on', () => {
    const { description: _, ...undescribed } = good
    expect(serialise(connectionVersion.parse(undescribed)).body).not.toContain('description')
  })

  test('digest and size are those of the UTF-8 bytes, and parsing gives the same again', () => {
    const strings = fc.string({ unit: 'grapheme' }).filter(text => !text.includes('\0'))
    fc.assert(
      fc.property(strings, description => {
        const version = connectionVersion.parse({ ...good, description })
        const update = serialise(version)
        const bytes = new TextEncoder().encode(update.body)
        expect(update).toEqual({
          body: JSON.stringify({ ...good, description }),
          sha256: createHash('sha256').update(bytes).digest('hex'),
          bytes: bytes.byteLength,
          name: '1.4.0',
        })
        expect(JSON.parse(update.body)).toEqual(version)
      }),
    )
  })
})

describe('fieldErrors', () => {
  const schema = z.strictObject({
    field1: z.strictObject({ field2: z.array(z.strictObject({ field3: z.string() })) }),
    versions: z.array(z.string()),
  })
  test.each<[string, unknown, string[]]>([
    ['the whole', 1, ['body']],
    ['two fields', {}, ['field1', 'versions']],
    ['an element', { field1: { field2: [] }, versions: ['a', 1, 2] }, ['versions[1]', 'versions[2]']],
    ['deep', { field1: { field2: [{ field3: 1 }] }, versions: [] }, ['field1.field2[0].field3']],
    ['an unknown key', { field1: { field2: [] }, versions: [], a: 1, 'b.c': 2 }, ['a', 'b.c']],
    [
      'an unknown key, deep',
      { field1: { field2: [{ field3: '', x: 1 }], y: 1 }, versions: [] },
      ['field1.field2[0].x', 'field1.y'],
    ],
  ])('the path of %s', (_, value, fields) => {
    const result = schema.safeParse(value)
    const errors = result.success ? [] : fieldErrors(result.error)
    expect(errors.map(({ field }) => field).sort()).toEqual(fields.sort())
    for (const { message } of errors) expect(message).toMatch(/\w/)
  })

  test('at most 100, and long names are cut at 200 without half a character', () => {
    const unknown = Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`k${i}`, 1]))
    expect(wrongWith({ ...good, ...unknown })).toHaveLength(100)
    const [long] = wrongWith({ ...good, [`a${'🚀'.repeat(200)}`]: 1 })
    expect(long?.isWellFormed()).toBe(true)
    expect(long?.split(': ')[0]).toHaveLength(200)
  })

  test('messages do not repeat a value', () => {
    const value = 'do-not-repeat-this/'
    for (const field of Object.keys(good)) {
      for (const bad of [value, [value], { [value]: value }, 73577357]) {
        expect(wrongWith({ ...good, [field]: bad }).join(), field).not.toMatch(/do-not-repeat|73577357/)
      }
    }
  })
})
