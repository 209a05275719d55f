/**
 * Owns the form of a hook's id: 16 random base62 digits, then 8 that only this gateway can compute, so that an id which was
 * guessed costs no look-up. Knowing an id proves nothing: who sends is checked by the signature.
 */
import { shortHmac } from '../crypto.ts'
import { base62, randomBase62 } from './token.ts'

const randomLength = 16
/** 62^8 > 2^47: of a thousand guesses a second, one passes in some seven thousand years. */
const checkLength = 8
const form = /^[0-9A-Za-z]{24}$/

/** A new id, for one organisation. */
export function mintHookId(
  key: Uint8Array,
  organisationId: string,
  randomBytes: (length: number) => Uint8Array,
): string {
  const random = randomBase62(randomLength, randomBytes)
  return random + checkOf(key, organisationId, random)
}

/** Whether an id was made here for this organisation. */
export function isHookId(key: Uint8Array, organisationId: string, id: string): boolean {
  return (
    hasHookIdForm(id) && checkOf(key, organisationId, id.slice(0, randomLength)) === id.slice(randomLength)
  )
}

/** Whether a string has the form of a hook's id, as in an admin path. */
export function hasHookIdForm(text: string): boolean {
  return form.test(text)
}

function checkOf(key: Uint8Array, organisationId: string, random: string): string {
  return base62(shortHmac(key, `${organisationId}/${random}`), checkLength)
}
