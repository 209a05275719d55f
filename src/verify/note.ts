/**
 * Owns reading what is signed: verifier keys and notes as c2sp.org/signed-note has them, and in them checkpoints as
 * c2sp.org/tlog-checkpoint has them. Written apart from the code that signs. Believes no text before its signature.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'

/** A key that is trusted, because whoever verifies has it from somewhere that they trust. */
export interface TrustedKey {
  name: string
  /** Eight hexadecimal digits. */
  id: string
  key: KeyObject
}

/** What a log signed: that its first `size` records hash to `root`. */
export interface Checkpoint {
  origin: string
  size: number
  root: Buffer
  /** Who signed it: `name+id`. */
  signer: string
}

/** RFC 8410, section 4: the DER of an Ed25519 public key is this and 32 bytes. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')
const ed25519 = 1
const maxNoteBytes = 100_000

/** The keys of a file, `name+id+key` a line; undefined where a line is none. */
export function parseKeys(text: string): TrustedKey[] | undefined {
  const lines = text.split('\n').map(line => line.trim())
  const keys = lines.filter(line => line !== '').map(parseKey)
  return keys.length > 0 && keys.every(key => key !== undefined) ? keys : undefined
}

function parseKey(line: string): TrustedKey | undefined {
  const [, name = '', id = '', encoded = ''] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(line) ?? []
  const bytes = fromBase64(encoded)
  if (bytes?.byteLength !== 33 || bytes[0] !== ed25519) return undefined
  const hash = createHash('sha256').update(`${name}\n`).update(bytes).digest('hex')
  if (hash.slice(0, 8) !== id) return undefined
  const der = Buffer.concat([spkiPrefix, bytes.subarray(1)])
  return { name, id, key: createPublicKey({ key: der, format: 'der', type: 'spki' }) }
}

/** The text of a note and the keys that signed it, or why it is not believed. */
export function openNote(
  note: Uint8Array,
  keys: readonly TrustedKey[],
): { text: string; signers: TrustedKey[] } | { problem: string } {
  const whole = note.byteLength <= maxNoteBytes ? utf8(note) : undefined
  const end = whole?.lastIndexOf('\n\n') ?? -1
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the specification forbids them.
  if (whole === undefined || end < 0 || /[\0-\x09\x0b-\x1f]/.test(whole))
    return { problem: 'is not a signed note' }
  const text = whole.slice(0, end + 1)
  const lines = whole.slice(end + 2).split('\n')
  if (lines.pop() !== '' || lines.length === 0) return { problem: 'is not a signed note' }
  const signers: TrustedKey[] = []
  for (const line of lines) {
    const [, name = '', encoded = ''] = /^— ([^+\s]+) (\S+)$/u.exec(line) ?? []
    const bytes = fromBase64(encoded)
    if (!bytes || bytes.byteLength < 5) return { problem: 'is not a signed note' }
    const id = bytes.subarray(0, 4).toString('hex')
    // Signatures of others say nothing, and are no fault.
    const known = keys.find(key => key.name === name && key.id === id)
    if (!known) continue
    const holds = verify(null, Buffer.from(text), known.key, bytes.subarray(4))
    if (!holds) return { problem: `has a signature of ${name}+${id} that does not hold` }
    signers.push(known)
  }
  return signers.length > 0 ? { text, signers } : { problem: 'is signed by none of the keys given' }
}

/** A checkpoint that a trusted key signed, or why it is not believed. */
export function openCheckpoint(
  note: Uint8Array,
  keys: readonly TrustedKey[],
): Checkpoint | { problem: string } {
  const opened = openNote(note, keys)
  if ('problem' in opened) return opened
  // Three lines: this gateway writes no extensions, so more of them are not its own.
  const [origin = '', decimal = '', encoded = '', ...more] = opened.text.split('\n')
  const size = /^(0|[1-9]\d{0,15})$/.test(decimal) ? Number(decimal) : Number.NaN
  const root = fromBase64(encoded)
  if (more.join() !== '' || origin === '' || !Number.isSafeInteger(size) || root?.byteLength !== 32) {
    return { problem: 'is a signed note, but no checkpoint' }
  }
  // One key signs the logs of one host: it must not vouch for a log of another.
  const signer = opened.signers.find(({ name }) => origin.startsWith(`${name}/o/`))
  if (!signer) return { problem: `is of ${origin}, which its key does not speak for` }
  return { origin, size, root, signer: `${signer.name}+${signer.id}` }
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** Standard base64 with its padding, and no other spelling of the same bytes. */
function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return text !== '' && bytes.toString('base64') === text ? bytes : undefined
}
