/** Checks hook ids: only the key and the organisation that they were made with accept them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasHookIdForm, isHookId, mintHookId } from '../../src/auth/hook-id.ts'

const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
const organisation = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)
/** Bytes that run out never repeat the ones before. */
const random = fc.infiniteStream(fc.nat(255)).map(stream => (length: number) => {
  return Uint8Array.from({ length }, () => stream.next().value as number)
})

test('an id is accepted by the key and the organisation that it was made with, and by no other', () => {
  fc.assert(
    fc.property(key, key, organisation, organisation, random, (made, other, here, there, bytes) => {
      const id = mintHookId(made, here, bytes)
      expect(hasHookIdForm(id)).toBe(true)
      expect(isHookId(made, here, id)).toBe(true)
      if (Buffer.compare(made, other) !== 0) expect(isHookId(other, here, id)).toBe(false)
      if (here !== there) expect(isHookId(made, there, id)).toBe(false)
    }),
  )
})

test('no character of it can be another', () => {
  const digits = [...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz']
  fc.assert(
    fc.property(key, random, fc.nat(23), fc.constantFrom(...digits), (made, bytes, at, digit) => {
      const id = mintHookId(made, 'ORG', bytes)
      const changed = id.slice(0, at) + digit + id.slice(at + 1)
      expect(isHookId(made, 'ORG', changed)).toBe(changed === id)
    }),
  )
})

test('where the organisation ends, the id begins', () => {
  const made = new Uint8Array(32).fill(7)
  const id = mintHookId(made, 'ORG', length => new Uint8Array(length).fill(1))
  expect(isHookId(made, 'OR', `G${id.slice(1)}`)).toBe(false)
  expect(isHookId(made, 'ORG1', id.slice(1))).toBe(false)
})

test.each([
  '',
  'a',
  'a'.repeat(23),
  'a'.repeat(25),
  `${'a'.repeat(23)}-`,
  `${'a'.repeat(24)}\n`,
  ` ${'a'.repeat(23)}`,
])('%j has not the form of an id', text => {
  expect(hasHookIdForm(text)).toBe(false)
  expect(isHookId(new Uint8Array(32), 'ORG', text)).toBe(false)
})
