/**
 * Owns the form of a checkpoint: a signed note (c2sp.org/signed-note) over the size and root of a log
 * (c2sp.org/tlog-checkpoint), and of the key that verifies it. Never looks at a log.
 */
import { concat, type SigningKey, sha256 } from '../crypto.ts'

/** Section "Signature types": plain Ed25519 over the note's text. */
const ed25519 = 1

/**
 * The name of the signing key: the host alone, as one key is every organisation's. The specification would have it match
 * the origin, but says SHOULD: verifiers go by name and key id, and take the origin on its own. A name may hold no plus.
 */
export function keyName(host: string): string {
  return host.replaceAll('+', '%2B')
}

/** The verifier key, `name+id+key`, as golang.org/x/mod/sumdb/note and those after it read it. */
export function verifierKey(host: string, publicKey: Uint8Array): string {
  const name = keyName(host)
  const key = Buffer.from([ed25519, ...publicKey]).toString('base64')
  return `${name}+${Buffer.from(keyId(name, publicKey)).toString('hex')}+${key}`
}

/** Whether a log can be named after a host: a line break or a slash in it would make its checkpoint that of another log. */
export function isHostOfLog(host: string): boolean {
  return /^[!-.0-~]+$/.test(host)
}

/** A checkpoint of an organisation's log, `<host>/o/<organisation_id>`, signed. */
export function checkpoint(
  { host, organisationId }: { host: string; organisationId: string },
  size: number,
  root: Uint8Array,
  key: SigningKey,
): string {
  const name = keyName(host)
  if (!isHostOfLog(host) || !/^[\w-]+$/.test(organisationId)) throw new Error('not the name of a log')
  const text = `${name}/o/${organisationId}\n${size}\n${Buffer.from(root).toString('base64')}\n`
  const signature = Buffer.from(concat(keyId(name, key.publicKey), key.sign(text)))
  return `${text}\n— ${name} ${signature.toString('base64')}\n`
}

/** The size and root (base64) that a checkpoint speaks of; undefined for what is none. Says nothing of its signature. */
export function readCheckpoint(text: string): { size: number; root: string } | undefined {
  const [, size, root] = /^.+\n(0|[1-9]\d{0,14})\n([A-Za-z0-9+/]{43}=)\n\n— /.exec(text) ?? []
  return size === undefined || root === undefined ? undefined : { size: Number(size), root }
}

/** The first four bytes of SHA-256(name ‖ "\n" ‖ 0x01 ‖ public key). */
function keyId(name: string, publicKey: Uint8Array): Uint8Array {
  return sha256(concat(Buffer.from(`${name}\n`), new Uint8Array([ed25519]), publicKey)).subarray(0, 4)
}
