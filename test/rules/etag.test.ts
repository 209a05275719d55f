/** Checks entity tags: what they cover, how If-Match is read, and that it compares strongly. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { etagOf, fulfils, parseIfMatch } from '../../src/update/etag.ts'

const version = {
  id: '1',
  name: '1.4.0',
  description: 'x',
  isLatest: true,
  isDefault: false,
  createdAt: '2026-01-01T00:00:00Z',
  updatedAt: '2026-01-02T00:00:00Z',
  publishedAt: null,
}
const body = JSON.stringify(version)
const etag = `"${createHash('sha256').update(body).digest('hex')}"`

test('a tag is the digest of the version as it is serialised, in whatever order and company it came', () => {
  expect(etagOf(body)).toBe(etag)
  expect(
    etagOf(JSON.stringify({ extra: 1, ...Object.fromEntries(Object.entries(version).reverse()) }, null, 2)),
  ).toBe(etag)
  for (const [field, value] of Object.entries({ ...version, publishedAt: 'x' })) {
    const other =
      typeof value === 'boolean' ? !value : field.endsWith('At') ? '2026-03-03T00:00:00Z' : `${value}!`
    expect(etagOf(JSON.stringify({ ...version, [field]: other })), field).not.toBe(etag)
  }
  expect(etagOf('{}')).toBeUndefined()
  expect(etagOf('[1]')).toBeUndefined()
})

test.each([
  ['*', ['*']],
  [' * ', ['*']],
  ['"a"', ['"a"']],
  ['"a", "b"', ['"a"', '"b"']],
  ['W/"a" ,"b"', ['W/"a"', '"b"']],
  ['""', ['""']],
  ['', undefined],
  ['a', undefined],
  ['"a', undefined],
  ['"a" "b"', undefined],
  ['"a",', ['"a"']],
  [',, "a" ,, "b,c"', ['"a"', '"b,c"']],
  ['"\u00e9"', ['"\u00e9"']],
  ['"a" x, "b"', undefined],
  [',', undefined],
  ['*, "a"', undefined],
  ['w/"a"', undefined],
])('If-Match: %s', (header, expected) => {
  expect(parseIfMatch(header)).toEqual(expected)
})

describe('a version fulfils', () => {
  test.each([
    ['any', ['*'], true],
    ['its own tag', [etag], true],
    ['one of several', ['"a"', etag], true],
    ['not another', ['"a"'], false],
    ['not its own as a weak one', [`W/${etag}`], false],
  ])('%s', (_, ifMatch, expected) => {
    expect(fulfils(body, ifMatch)).toBe(expected)
  })
})
