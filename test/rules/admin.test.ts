// Checks who an admin's or auditor's secret belongs to.
import { expect, test } from 'vitest'
import { readerOf } from '../../src/auth/admin.ts'
import { sha256 } from '../../src/crypto.ts'

const [first, second, third] = [
  'first-secret-of-32-characters-0001',
  'second-secret-of-32-characters-002',
  'third-secret-of-32-characters-0003',
] as const
const admins = [
  { name: 'ops', digest: sha256(first) },
  { name: 'ci', digest: sha256(second) },
]
const auditors = [{ name: 'ops', digest: sha256(third) }]

test.each<[string, string, string | undefined]>([
  ['the first', first, 'admin ops'],
  ['the last', second, 'admin ci'],
  ["an auditor's", third, 'auditor ops'],
  ['with its name', `ops:${first}`, undefined],
  ['a name alone', 'ops', undefined],
  ['one changed character', `${first.slice(0, -1)}2`, undefined],
  ['one less', first.slice(0, -1), undefined],
  ['one more', `${first}0`, undefined],
  ['another case', first.toUpperCase(), undefined],
  ['both', `${first},${second}`, undefined],
  ['a digest', Buffer.from(sha256(first)).toString('hex'), undefined],
  ['nothing', '', undefined],
])('readerOf: %s', (_, presented, who) => {
  const reader = readerOf(presented, { admins, auditors })
  expect(reader && `${reader.role} ${reader.name}`).toBe(who)
})

test('without admins and auditors there is none', () => {
  expect(readerOf(first, { admins: [], auditors: [] })).toBeUndefined()
  expect(readerOf('', { admins: [], auditors: [] })).toBeUndefined()
})
