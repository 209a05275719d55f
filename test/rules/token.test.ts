// Checks the form of a token: how it is made, taken apart and found in a header, and that a mistyped one is refused.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bearerOf, crc32, isTokenId, mintToken, parseToken } from '../../src/auth/token.ts'
import { randomBytes, sha256, toHex } from '../../src/crypto.ts'

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
// Their checks were computed with zlib.
const known = 'vgw_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw3wG7xV'
const paddedCheck = 'vgw_0000000000000404zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz00yLIw'

/** A source of bytes that gives those of a script, one after the other. */
function scripted(...bytes: number[]): (length: number) => Uint8Array {
  let at = 0
  return length => {
    if (at + length > bytes.length) throw new Error('the script is at its end')
    at += length
    return Uint8Array.from(bytes.slice(at - length, at))
  }
}

function range(from: number, length: number): number[] {
  return Array.from({ length }, (_, i) => from + i)
}

test.each([
  ['', 0],
  ['a', 0xe8b7be43],
  ['123456789', 0xcbf43926],
  ['The quick brown fox jumps over the lazy dog', 0x414fa339],
])('the CRC-32 of %j', (text, expected) => {
  expect(crc32(text)).toBe(expected)
})

test('base62 is in the order 0-9A-Za-z, and bytes wrap around it', () => {
  expect(mintToken(scripted(...range(0, 59))).token).toBe(known)
  expect(mintToken(scripted(...range(189, 59))).token).toBe(
    'vgw_3456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0v9bEX',
  )
})

test('bytes from 248 are skipped, as their remainder would be biased', () => {
  const id = [...range(248, 8), ...range(0, 8), ...range(8, 8), ...range(248, 8)]
  expect(mintToken(scripted(...id, ...range(16, 43))).token).toBe(known)
})

test('every character is as likely as any other', () => {
  const counts = new Map<string, number>()
  for (const byte of range(0, 248)) {
    const { id } = mintToken(scripted(byte, ...range(0, 58))).credential
    counts.set(id.charAt(0), (counts.get(id.charAt(0)) ?? 0) + 1)
  }
  expect([...counts.keys()].sort().join('')).toBe(base62)
  expect(new Set(counts.values())).toEqual(new Set([4]))
})

test('a token is vgw_, 16 of id, 43 of secret and 6 of check; what is kept is its id and SHA-256', () => {
  fc.assert(
    fc.property(fc.nat(), () => {
      const { token, credential } = mintToken(randomBytes)
      expect(token).toMatch(/^vgw_[0-9A-Za-z]{65}$/)
      expect(credential).toEqual({ id: token.slice(4, 20), digest: sha256(token) })
      expect(parseToken(token)).toEqual(credential)
    }),
  )
})

test('a new secret under an id that exists', () => {
  const first = mintToken(randomBytes)
  const second = mintToken(randomBytes, first.credential.id)
  expect(second.credential.id).toBe(first.credential.id)
  expect(parseToken(second.token)?.id).toBe(first.credential.id)
  expect(second.token.slice(20, 63)).not.toBe(first.token.slice(20, 63))
})

test('tokens with checks computed elsewhere are taken, also one padded with 0', () => {
  expect(parseToken(known)?.id).toBe('0123456789ABCDEF')
  expect(toHex(parseToken(known)?.digest ?? new Uint8Array())).toBe(
    '1f561ada99b95e484725062828ec36fcf055b8a69483f8e0321c5f7087b42ae4',
  )
  expect(parseToken(paddedCheck)?.id).toBe('0000000000000404')
})

test('every single changed character is refused', () => {
  for (const at of range(0, known.length)) {
    for (const character of `${base62}_- `) {
      if (character === known[at]) continue
      const changed = known.slice(0, at) + character + known.slice(at + 1)
      expect(parseToken(changed), changed).toBeUndefined()
    }
  }
})

test('any character changed to anything, left out, doubled or swapped with its neighbour is refused', () => {
  const token = fc.nat().map(() => mintToken(randomBytes).token)
  fc.assert(
    fc.property(token, fc.nat({ max: 67 }), fc.string({ maxLength: 2 }), (token, at, text) => {
      const [before, here, after] = [token.slice(0, at), token.charAt(at), token.slice(at + 1)]
      const swapped = before + token.charAt(at + 1) + here + token.slice(at + 2)
      for (const mistyped of [before + text + after, before + here + here + after, swapped]) {
        if (mistyped !== token) expect(parseToken(mistyped), mistyped).toBeUndefined()
      }
    }),
  )
})

test.each([
  ['nothing', ''],
  ['the prefix', 'vgw_'],
  ['a line end after it', `${known}\n`],
  ['a space before it', ` ${known}`],
  ['two joined by a comma', `${known}, ${known}`],
  ['another case', known.toUpperCase()],
  ['another prefix', known.replace('vgw_', 'ghp_')],
  ['no check', known.slice(0, -6)],
  ['full-width digits', known.replace('0', '\uff10')],
])('not a token: %s', (_, text) => {
  expect(parseToken(text)).toBeUndefined()
})

test.each<[string, boolean]>([
  ['0123456789ABCDEF', true],
  ['zzzzzzzzzzzzzzzz', true],
  ['0123456789ABCDE', false],
  ['0123456789ABCDEFG', false],
  ['0123456789ABCDE_', false],
  ['0123456789ABCDEF\n', false],
  ['', false],
])('is %j the id of a token: %s', (text, expected) => {
  expect(isTokenId(text)).toBe(expected)
})

test.each<[string | undefined, string | undefined]>([
  [`Bearer ${known}`, known],
  [`bearer ${known}`, known],
  [`BEARER ${known}`, known],
  [`Bearer   ${known}`, known],
  [`Bearer ${known}  `, known],
  [`Bearer ${known}, Bearer ${known}`, `${known}, Bearer ${known}`],
  ['Bearer a b', 'a b'],
  [undefined, undefined],
  ['', undefined],
  ['Bearer', undefined],
  ['Bearer ', undefined],
  [known, undefined],
  [`Bearer${known}`, undefined],
  [`Basic ${known}`, undefined],
  [`Token ${known}`, undefined],
  [`Basic x, Bearer ${known}`, undefined],
  [` Bearer ${known}`, undefined],
  [`Bearer\t${known}`, undefined],
])('in Authorization: %s the bearer is %s', (header, expected) => {
  expect(bearerOf(header)).toBe(expected)
})
