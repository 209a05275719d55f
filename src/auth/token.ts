/**
 * Owns the form of a token: `vgw_<id 16><secret 43><check 6>` in base62. Makes them and takes them apart.
 * Never looks one up, and never keeps one: what is stored and passed on is the id and the digest.
 */
import { sha256 } from '../crypto.ts'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const prefix = 'vgw_'
const idLength = 16
/** 62^43 > 2^256. */
const secretLength = 43
const checkLength = 6
const form = /^vgw_[0-9A-Za-z]{65}$/

/** What a request presented, not yet believed: the id to look up and the digest to compare. Never the token. */
export interface Credential {
  id: string
  digest: Uint8Array
}

/** A new token; with `id`, a new secret under an id that exists. `token` is the one copy of it that there is. */
export function mintToken(
  randomBytes: (length: number) => Uint8Array,
  id: string = randomBase62(idLength, randomBytes),
): { token: string; credential: Credential } {
  const body = prefix + id + randomBase62(secretLength, randomBytes)
  const token = body + checkOf(body)
  return { token, credential: { id, digest: sha256(token) } }
}

/**
 * The credential in a token, or undefined where it has not the form or the check does not match: a typo or a
 * scanner's false find costs no look-up. The check is no secret, so it needs no constant time.
 */
export function parseToken(token: string): Credential | undefined {
  if (!form.test(token)) return undefined
  const body = token.slice(0, -checkLength)
  if (checkOf(body) !== token.slice(-checkLength)) return undefined
  return { id: token.slice(prefix.length, prefix.length + idLength), digest: sha256(token) }
}

/** A text in which whatever has a token's form is cut to its prefix: callers put tokens into odd places. */
export function withoutTokens(text: string): string {
  return text.replace(/vgw_[0-9A-Za-z]{65}/g, 'vgw_…')
}

/** Whether a text holds what has a token's form. */
export function holdsToken(text: string): boolean {
  return withoutTokens(text) !== text
}

/** Whether a string has the form of a token's id, as in an admin path. */
export function isTokenId(text: string): boolean {
  return /^[0-9A-Za-z]{16}$/.test(text)
}

/**
 * What stands behind `Bearer` in an Authorization header (RFC 6750, section 2.1; the scheme is matched without
 * regard to case), or undefined where there is no such header or another scheme. Two headers arrive joined by a
 * comma, which no token contains: they are a bearer value that fails its form.
 */
export function bearerOf(authorization: string | undefined): string | undefined {
  return /^bearer +(.+)$/i.exec(authorization ?? '')?.[1]?.trimEnd()
}

/** CRC-32 (IEEE 802.3, reflected, as in zlib) in six base62 digits, most significant first. */
function checkOf(text: string): string {
  return base62(crc32(text), checkLength)
}

/** The last `length` base62 digits of a whole number below 2^53, most significant first, padded with `0`. */
export function base62(value: number, length: number): string {
  let rest = value
  let digits = ''
  for (let i = 0; i < length; i++) {
    digits = alphabet.charAt(rest % 62) + digits
    rest = Math.floor(rest / 62)
  }
  return digits
}

/** CRC-32 of an ASCII string, as an unsigned 32-bit number. */
export function crc32(text: string): number {
  let crc = 0xffffffff
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i)
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}

/** So many digits, uniform over base62: a byte past the last whole run of 62 is thrown away, as its remainder would be biased. */
export function randomBase62(length: number, randomBytes: (length: number) => Uint8Array): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && text.length < length) text += alphabet.charAt(byte % 62)
    }
  }
  return text
}
