// Checks who an admin secret belongs to.
import { expect, test } from 'vitest'
import { adminOf } from '../../src/auth/admin.ts'
import { sha256 } from '../../src/crypto.ts'

const [first, second] = ['first-secret-of-32-characters-0001', 'second-secret-of-32-characters-002'] as const
const admins = [
  { name: 'ops', digest: sha256(first) },
  { name: 'ci', digest: sha256(second) },
]

test.each<[string, string, string | undefined]>([
  ['the first', first, 'ops'],
  ['the last', second, 'ci'],
  ['with its name', `ops:${first}`, undefined],
  ['a name alone', 'ops', undefined],
  ['one changed character', `${first.slice(0, -1)}2`, undefined],
  ['one less', first.slice(0, -1), undefined],
  ['one more', `${first}0`, undefined],
  ['another case', first.toUpperCase(), undefined],
  ['both', `${first},${second}`, undefined],
  ['a digest', Buffer.from(sha256(first)).toString('hex'), undefined],
  ['nothing', '', undefined],
])('adminOf: %s', (_, presented, name) => {
  expect(adminOf(presented, admins)).toBe(name)
})

test('without admins there is none', () => {
  expect(adminOf(first, [])).toBeUndefined()
  expect(adminOf('', [])).toBeUndefined()
})
