/** Checks what a version that was read says of an update that was sent. */
import { expect, test } from 'vitest'
import { compare, intentOf, isAbout } from '../../src/update/writable.ts'

const sent = {
  id: '01M59MG9XR6FT096B3PXN8RG2V',
  name: '1.4.1',
  description: 'changed',
  isLatest: true,
  isDefault: false,
  createdAt: '2026-10-19T08:30:00Z',
  updatedAt: '2026-10-21T16:45:31Z',
  publishedAt: null as string | null,
}
const intent = intentOf(JSON.stringify(sent), '1.4.0')

test('it is looked for under its new name, then under the one in the path, each once', () => {
  expect(intent.names).toEqual(['1.4.1', '1.4.0'])
  expect(intentOf(JSON.stringify(sent), '1.4.1').names).toEqual(['1.4.1'])
})

test.each<[string, object, string]>([
  ['all as sent', {}, 'applied'],
  ['a later updatedAt, which the platform sets', { updatedAt: '2026-11-24T09:00:00Z' }, 'applied'],
  ['another publishedAt, which is read-only', { publishedAt: '2026-11-24T09:00:00Z' }, 'applied'],
  ['a field that we do not know', { tags: ['a'] }, 'applied'],
  ['the old name', { name: '1.4.0' }, 'not-applied'],
  ['another description', { description: 'as before' }, 'not-applied'],
  ['no description', { description: undefined }, 'not-applied'],
  ['another isLatest', { isLatest: false }, 'not-applied'],
  ['another isDefault', { isDefault: true }, 'not-applied'],
  ['another id: the name has moved to a sibling', { id: '01OTHER' }, 'other'],
])('%s', (_, change, expected) => {
  expect(compare(intent, JSON.stringify({ ...sent, ...change }))).toBe(expected)
})

test('no description and an empty one are the same', () => {
  const { description: _, ...without } = sent
  expect(
    compare(intentOf(JSON.stringify(without), '1.4.0'), JSON.stringify({ ...sent, description: '' })),
  ).toBe('applied')
})

test.each(['null', '[]', '"text"', '{}'])('an answer that is no version (%s) is another', text => {
  expect(compare(intent, text)).toBe('other')
})

test.each([
  ['the version as sent', JSON.stringify(sent), true],
  ['the version, changed by someone since', JSON.stringify({ ...sent, isDefault: true }), true],
  ['a sibling', JSON.stringify({ ...sent, id: '01OTHER' }), false],
  ['null', 'null', false],
  ['a text', '"01M59MG9XR6FT096B3PXN8RG2V"', false],
])('whether an answer is about the version: %s', (_, answer, expected) => {
  expect(isAbout(intent, answer)).toBe(expected)
})
