// Checks that the session is found in an answer in every common spelling, and that nothing else is taken for it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { holdsSecret, minSecretLength } from '../../src/upstream/leak.ts'

/** Its base64 has both characters in which the alphabets differ. */
const secret = 's>>?~~/+"eyJhbGciOi.J9_-=x?>~~~'
const percent = (text: string) =>
  Buffer.from(text)
    .toString('hex')
    .replace(/../g, hex => `%${hex}`)
const unicode = (text: string) =>
  [...text].map(each => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
const base64 = (text: string) => Buffer.from(text).toString('base64')
const base64url = (text: string) => Buffer.from(text).toString('base64url')

test('the secret here has what it needs', () => {
  expect(base64(secret)).toMatch(/\+.*\/|\/.*\+/)
  expect(base64url(secret)).toMatch(/-.*_|_.*-/)
})

describe('found', () => {
  test.each<[string, string]>([
    ['alone', secret],
    ['in a sentence', `Cookie: cookie=${secret}; path=/`],
    ['in JSON', JSON.stringify({ message: `bad cookie ${secret}!` })],
    ['in JSON in JSON', JSON.stringify({ message: JSON.stringify({ cookie: secret }) })],
    ['percent-encoded where it must be', encodeURIComponent(secret)],
    ['percent-encoded in full', percent(secret)],
    ['percent-encoded in full, upper case', percent(secret).toUpperCase()],
    ['percent-encoded in part', percent(secret.slice(0, 5)) + secret.slice(5)],
    ['percent-encoded twice', encodeURIComponent(encodeURIComponent(secret))],
    ['percent-encoded in full, twice', percent(percent(secret))],
    ['percent-encoded thrice', encodeURIComponent(encodeURIComponent(encodeURIComponent(secret)))],
    ['after a percent sign that encodes nothing', `100% %zz %${secret}`],
    ['in base64', base64(secret)],
    ['in the alphabet of URLs', base64url(secret)],
    ['in base64, percent-encoded', encodeURIComponent(base64(secret))],
    ['in base64 with its slashes escaped', base64(secret).replaceAll('/', '\\/')],
    ['with every character escaped', `{"m":"${unicode(secret)}"}`],
    ['with some escaped', `{"m":"${secret.replaceAll('>', '\\u003e').replace('"', '\\"')}"}`],
    ['escaped in upper case', `{"m":"${secret.replaceAll('>', '\\u003E').replace('"', '\\u0022')}"}`],
    ['with its slashes escaped', `{"m":"${secret.replaceAll('/', '\\/').replace('"', '\\"')}"}`],
    ['with its percent signs escaped', unicode(percent(secret))],
    ['escaped in what is no JSON', `<p>${unicode(secret)}</p>`],
  ])('%s', (_, text) => {
    expect(holdsSecret(text, [secret])).toBe(true)
  })

  test('in base64 whatever stands around it', () => {
    const around = fc.string({ unit: 'grapheme', maxLength: 9 })
    fc.assert(
      fc.property(around, around, (before, after) => {
        expect(holdsSecret(base64(before + secret + after), [secret])).toBe(true)
        expect(holdsSecret(base64url(before + secret + after), [secret])).toBe(true)
      }),
    )
  })

  test('any value of 16 characters on, in any mix of spellings', () => {
    const value = fc.stringMatching(/^[!#-+\--:<-[\]-~]{16,80}$/)
    const spelt = fc.constantFrom<(text: string) => string>(
      text => text,
      percent,
      unicode,
      encodeURIComponent,
    )
    fc.assert(
      fc.property(value, fc.array(spelt, { minLength: 1 }), (value, spellings) => {
        const text = [...value].map((each, i) => spellings[i % spellings.length]?.(each)).join('')
        expect(holdsSecret(`{"message":"${text}"}`, [value]), text).toBe(true)
      }),
    )
  })

  test.each<[string, (value: string, decoded: string) => string]>([
    ['as it is', value => value],
    ['with lower-case digits', value => value.replace(/%../g, hex => hex.toLowerCase())],
    ['decoded', (_, decoded) => decoded],
    ['encoded once more', value => encodeURIComponent(value)],
    ['in base64', value => base64(value)],
    ['decoded and in base64', (_, decoded) => base64(decoded)],
    ['decoded, with its slashes escaped', (_, decoded) => decoded.replaceAll('/', '\\/')],
  ])('a value that the cookie holds percent-encoded, %s', (_, spell) => {
    const value = 's%3AkQ2%2Ffw9%2Bx7zT%3D%3D.sig'
    const text = `{"message":"${spell(value, decodeURIComponent(value))}"}`
    expect(holdsSecret(text, [value])).toBe(true)
  })

  test('any one of several', () => {
    const values = ['0123456789abcdef', secret]
    expect(holdsSecret('x0123456789abcdefx', values)).toBe(true)
    expect(holdsSecret(secret, values)).toBe(true)
    expect(holdsSecret('0123456789abcde', values)).toBe(false)
  })
})

describe('not found', () => {
  test('what is shorter than 16 characters turns up by chance', () => {
    expect(minSecretLength).toBe(16)
    expect(holdsSecret('0123456789abcde', ['0123456789abcde'])).toBe(false)
    expect(holdsSecret('0123456789abcdef', ['0123456789abcdef'])).toBe(true)
    expect(holdsSecret('{"theme":"dark"}', ['dark', '1', ''])).toBe(false)
  })

  test('what is long only while it is encoded turns up by chance too', () => {
    expect(holdsSecret('{"isLatest":true,"isDefault":false}', ['%22%3Atrue%2C%22'])).toBe(false)
  })

  test.each<[string, string, string[]]>([
    ['no values', secret, []],
    ['nothing', '', [secret]],
    ['all but the last character', secret.slice(0, -1), [secret]],
    ['another case', secret.toUpperCase(), [secret]],
    ['the other way round', [...secret].reverse().join(''), [secret]],
  ])('%s', (_, text, values) => {
    expect(holdsSecret(text, values)).toBe(false)
  })

  test('ordinary JSON', () => {
    const value = '8f0c1d9be2a7463f95d1'
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), text => {
        expect(holdsSecret(text, [value, secret])).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})
