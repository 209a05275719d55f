/**
 * Owns every primitive: digests, random values, sealing. The only user of node:crypto, whose calls are
 * synchronous in workerd, so that a check and what follows it need no await between them.
 * Never decides anything: callers do.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes as nodeRandomBytes,
  sign,
  timingSafeEqual,
} from 'node:crypto'

const nonceBytes = 12
const tagBytes = 16

/** A secret without a printable form: interpolating, logging or serialising it shows no part of it. */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  /** The value itself. Search for this word to see every place where a secret is used. */
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return '[secret]'
  }
  toJSON(): string {
    return '[secret]'
  }
}

/** An Ed25519 private key (RFC 8032): it signs, and has no other form. */
export class SigningKey {
  readonly #key: KeyObject
  /** 32 bytes. */
  readonly publicKey: Uint8Array

  /** Takes the DER of PKCS #8; throws where that is no Ed25519 key. */
  constructor(der: Uint8Array) {
    this.#key = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
    // RFC 8410, section 4: the key is what the DER ends in.
    const spki = createPublicKey(this.#key).export({ format: 'der', type: 'spki' })
    this.publicKey = new Uint8Array(spki.subarray(-32))
  }

  /** The 64 bytes of the signature over a text in UTF-8. */
  sign(text: string): Uint8Array {
    return new Uint8Array(sign(null, Buffer.from(text), this.#key))
  }
}

/** SHA-256 (FIPS 180-4) of bytes, or of a string's in UTF-8. */
export function sha256(data: string | Uint8Array): Uint8Array {
  // In one call: a Hash object is a stream, which costs several times what the hashing does.
  return new Uint8Array(hash('sha256', data, 'buffer'))
}

/** The same as 64 hexadecimal digits. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex')
}

/** HMAC-SHA-256 (RFC 2104) of a text's UTF-8 bytes, in base64. */
export function hmacSha256(key: Uint8Array, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64')
}

/** The first 48 bits of an HMAC-SHA-256 (RFC 2104) of a text's UTF-8 bytes, as a whole number. */
export function shortHmac(key: Uint8Array, text: string): number {
  return createHmac('sha256', key).update(text).digest().readUIntBE(0, 6)
}

const hexDigits = '0123456789abcdef'

/** Two hexadecimal digits a byte, in lower case. */
export function toHex(bytes: Uint8Array): string {
  let digits = ''
  for (const byte of bytes) digits += hexDigits.charAt(byte >> 4) + hexDigits.charAt(byte & 15)
  return digits
}

/** Bytes one after the other. */
export function concat(...chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(chunks.reduce((length, { byteLength }) => length + byteLength, 0))
  let length = 0
  for (const chunk of chunks) {
    whole.set(chunk, length)
    length += chunk.byteLength
  }
  return whole
}

/** Compares in a time that does not depend on where the two differ. Digests only: lengths are not hidden. */
export function equalDigests(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b)
}

/** Bytes from the system's generator. */
export function randomBytes(length: number): Uint8Array {
  return new Uint8Array(nodeRandomBytes(length))
}

/**
 * A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds since 1970, then the random bits of a UUIDv4, whose variant
 * stands in the same place.
 */
export function uuidv7(nowMs: number, random: string = crypto.randomUUID()): string {
  const time = nowMs.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}

/**
 * Bytes from standard base64 (RFC 4648, section 4), padding required; undefined for anything else.
 * Stricter than Buffer, which skips what it does not know: a key with a typo must not become another key.
 */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? new Uint8Array(bytes) : undefined
}

/** Bytes from hexadecimal digits in lower case, two a byte; undefined for anything else. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> | undefined {
  return /^(?:[0-9a-f]{2})*$/.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : undefined
}

export type HmacHash = 'SHA-256' | 'SHA-384' | 'SHA-512'

/** Whether an HMAC (RFC 2104) is a key's over a message; WebCrypto compares in constant time. */
export async function verifyHmac(
  hash: HmacHash,
  key: Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
  message: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash }, false, ['verify'])
  return crypto.subtle.verify('HMAC', imported, signature, message)
}

/** Whether an Ed25519 signature (RFC 8032) is a public key's over a message; false for a key that is none. */
export async function verifyEd25519(
  publicKey: Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
  message: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  if (publicKey.byteLength !== 32) return false
  const key = await crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify'])
  return crypto.subtle.verify('Ed25519', key, signature, message)
}

/** A 256-bit AES key for one purpose, derived with HKDF-SHA-256 (RFC 5869): no two purposes share a key. */
export function deriveKey(master: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', master, new Uint8Array(0), `versori-gateway/${purpose}`, 32))
}

/**
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce: nonce ‖ ciphertext ‖ tag. One key may seal 2^32
 * values; sessions are set by people. `context` must be the same to open it: each part is bound with its length.
 */
export function seal(key: Uint8Array, plaintext: string, context: readonly string[]): Uint8Array {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(JSON.stringify(context)))
  return concat(nonce, cipher.update(Buffer.from(plaintext)), cipher.final(), cipher.getAuthTag())
}

/** The plaintext, or undefined where the key or the context is another or a bit was changed. */
export function open(key: Uint8Array, sealed: Uint8Array, context: readonly string[]): string | undefined {
  if (sealed.byteLength < nonceBytes + tagBytes) return undefined
  const end = sealed.byteLength - tagBytes
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes))
  decipher.setAAD(Buffer.from(JSON.stringify(context)))
  decipher.setAuthTag(sealed.subarray(end))
  try {
    const start = decipher.update(Buffer.from(sealed.subarray(nonceBytes, end)))
    return Buffer.concat([start, decipher.final()]).toString('utf8')
  } catch {
    return undefined
  }
}
