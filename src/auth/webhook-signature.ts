/**
 * Owns whether a webhook was signed by who shares its secret: four schemes over the raw bytes, any of several secrets. Pure:
 * time comes in. Never looks at what a body says, and fails closed on every header that is not exactly in its form: two
 * headers of a name arrive joined by a comma, and must not be taken for one.
 */

import {
  concat,
  fromBase64,
  fromHex,
  type HmacHash,
  type Secret,
  verifyEd25519,
  verifyHmac,
} from '../crypto.ts'
import type { SignatureReason } from '../errors.ts'

export type SignatureScheme =
  /** standardwebhooks.com: `webhook-id`, `-timestamp` and `-signature`, or the same as `svix-…`. */
  | { type: 'standard-webhooks' }
  /** `X-Hub-Signature-256`. Neither its id nor a time is signed. */
  | { type: 'github' }
  /** `Stripe-Signature: t=…,v1=…`. */
  | { type: 'stripe' }
  /** For everyone else: one header that holds `prefix` and the HMAC of the body. */
  | { type: 'hmac'; header: string; hash: HmacHash; encoding: 'hex' | 'base64'; prefix: string }

/** A request as it came: `header` gives a value or null, `body` the bytes that were signed. */
export interface SignedRequest {
  header: (name: string) => string | null
  body: Uint8Array
}

/** `id` where it is signed: a repetition has the same. Else why it is not believed, for the log alone. */
export type Signature = { valid: true; id: string | undefined } | { valid: false; reason: SignatureReason }

/** How far a signed time may be from now, either way. */
const toleranceSeconds = 300
/** More signatures than this in one header are not tried. */
const maxSignatures = 16

/** Whether any of the secrets signed a request, for the schemes that sign a time: not more than five minutes ago or ahead. */
export async function verifySignature(
  scheme: SignatureScheme,
  secrets: readonly Secret[],
  request: SignedRequest,
  nowMs: number,
): Promise<Signature> {
  const claimed = claims(scheme, request)
  if (typeof claimed === 'string') return { valid: false, reason: claimed }
  const { timestamp, signatures, prefix, id } = claimed
  if (timestamp !== undefined && Math.abs(nowMs / 1000 - timestamp) > toleranceSeconds) {
    return { valid: false, reason: 'stale' }
  }
  const message = concat(Buffer.from(prefix), request.body)
  for (const secret of secrets) {
    for (const signature of signatures) {
      if (await holds(scheme, secret.reveal(), signature, message)) return { valid: true, id }
    }
  }
  return { valid: false, reason: 'mismatch' }
}

interface Claims {
  /** Seconds since 1970. */
  timestamp?: number
  signatures: { version: string; bytes: Uint8Array<ArrayBuffer> }[]
  /** What is signed before the body. */
  prefix: string
  id?: string
}

function claims(scheme: SignatureScheme, { header }: SignedRequest): Claims | 'missing' | 'malformed' {
  switch (scheme.type) {
    case 'standard-webhooks':
      return standardClaims(header)
    case 'stripe':
      return stripeClaims(header('Stripe-Signature'))
    case 'github':
      return plainClaims(header('X-Hub-Signature-256'), 'sha256=', 'hex')
    case 'hmac':
      return plainClaims(header(scheme.header), scheme.prefix, scheme.encoding)
  }
}

function standardClaims(header: SignedRequest['header']): ReturnType<typeof claims> {
  const family = header('webhook-signature') === null ? 'svix' : 'webhook'
  const [id, timestamp, list] = ['id', 'timestamp', 'signature'].map(name => header(`${family}-${name}`))
  if (id == null || timestamp == null || list == null) return 'missing'
  // A full stop in an id would let it reach into the time that is signed behind it.
  if (!/^[\x21-\x2b\x2d\x2f-\x7e]{1,255}$/.test(id) || !/^\d{1,12}$/.test(timestamp)) return 'malformed'
  const entries = list.split(' ').map(entry => /^(v\d{1,2}[a-z]?),([A-Za-z0-9+/]+={0,2})$/.exec(entry))
  const signatures = entries.map(entry => ({
    version: entry?.[1] ?? '',
    bytes: fromBase64(entry?.[2] ?? ''),
  }))
  return bounded(signatures, { timestamp: Number(timestamp), prefix: `${id}.${timestamp}.`, id })
}

/** docs.stripe.com, "Verify webhook signatures manually": `t=` once, `v1=` once or more, other schemes are skipped. */
function stripeClaims(value: string | null): ReturnType<typeof claims> {
  if (value === null) return 'missing'
  const pairs = value.split(',').map(pair => /^(t|v\d{1,2})=([0-9a-f]+)$/.exec(pair))
  const [timestamp, ...more] = pairs.filter(pair => pair?.[1] === 't').map(pair => pair?.[2] ?? '')
  if (pairs.includes(null) || more.length > 0 || !/^\d{1,12}$/.test(timestamp ?? '')) return 'malformed'
  const signatures = pairs
    .filter(pair => pair?.[1] === 'v1')
    .map(pair => ({ version: 'v1', bytes: fromHex(pair?.[2] ?? '') }))
  return bounded(signatures, { timestamp: Number(timestamp), prefix: `${timestamp}.` })
}

function plainClaims(
  value: string | null,
  prefix: string,
  encoding: 'hex' | 'base64',
): ReturnType<typeof claims> {
  if (value === null) return 'missing'
  const text = value.startsWith(prefix) ? value.slice(prefix.length) : ''
  return bounded([{ version: 'v1', bytes: encoding === 'hex' ? fromHex(text) : fromBase64(text) }], {
    prefix: '',
  })
}

function bounded(
  signatures: { version: string; bytes: Uint8Array<ArrayBuffer> | undefined }[],
  rest: Omit<Claims, 'signatures'>,
): Claims | 'malformed' {
  const whole = signatures.filter((each): each is Claims['signatures'][number] => !!each.bytes?.byteLength)
  const sound = whole.length === signatures.length && whole.length > 0 && whole.length <= maxSignatures
  return sound ? { ...rest, signatures: whole } : 'malformed'
}

async function holds(
  scheme: SignatureScheme,
  secret: string,
  { version, bytes }: Claims['signatures'][number],
  message: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  if (scheme.type !== 'standard-webhooks') {
    const hash = scheme.type === 'hmac' ? scheme.hash : 'SHA-256'
    // Also Stripe's, whose secret is the text as it is, whsec_ included.
    return secret !== '' && verifyHmac(hash, Buffer.from(secret), bytes, message)
  }
  const [, kind, text = ''] = /^(whsec_|whpk_)?(.*)$/.exec(secret) ?? []
  const key = fromBase64(text)
  if (!key?.byteLength) return false
  // A public key must never be taken for a shared secret: anyone could sign with it.
  if (version === 'v1a') return kind === 'whpk_' && verifyEd25519(key, bytes, message)
  return version === 'v1' && kind !== 'whpk_' && verifyHmac('SHA-256', key, bytes, message)
}
