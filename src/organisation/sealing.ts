/**
 * Owns how secrets are sealed for storage: a key of its own for each purpose, bound to where the secret belongs. Pure. What
 * is opened travels as a Secret.
 */
import { deriveKey, fromBase64, open, Secret, seal } from '../crypto.ts'

/** No two purposes share a key. */
export type Purpose = 'session' | 'hook'

/** Seals a secret with the newest key. `context` says what it belongs to, and must be the same to open it. */
export function sealSecret(
  secret: string,
  masterKey: Secret,
  purpose: Purpose,
  context: readonly string[],
): Uint8Array {
  return seal(keyFor(masterKey, purpose), secret, [purpose, ...context])
}

/**
 * A sealed secret, with the number of the key that opened it: 0 is the newest, and anything else means that it should be
 * sealed anew. Undefined where no key opens it: another key or another context.
 */
export function openSecret(
  sealed: Uint8Array,
  masterKeys: readonly Secret[],
  purpose: Purpose,
  context: readonly string[],
): { secret: Secret; key: number } | undefined {
  for (const [key, masterKey] of masterKeys.entries()) {
    const secret = open(keyFor(masterKey, purpose), sealed, [purpose, ...context])
    if (secret !== undefined) return { secret: new Secret(secret), key }
  }
  return undefined
}

const derived = new WeakMap<Secret, Map<Purpose, Uint8Array>>()

/** Derived once for each master key: a session is opened for every send. */
function keyFor(masterKey: Secret, purpose: Purpose): Uint8Array {
  const keys = derived.get(masterKey) ?? new Map<Purpose, Uint8Array>()
  derived.set(masterKey, keys)
  const key = keys.get(purpose) ?? deriveKey(fromBase64(masterKey.reveal()) as Uint8Array, purpose)
  keys.set(purpose, key)
  return key
}
