/**
 * Owns the form of an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07) and what makes two requests the same.
 * Pure.
 */
import { sha256Hex } from '../crypto.ts'

/**
 * The key in the header: a quoted string (RFC 8941, section 3.3.3) or, as most clients send it, a bare token; 1 to 255
 * characters of printable ASCII. Undefined for anything else, such as two headers in one.
 */
export function parseIdempotencyKey(header: string): string | undefined {
  const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/.exec(header)?.[1]
  const key =
    quoted?.replace(/\\(["\\])/g, '$1') ?? (/^[\x21\x23-\x2b\x2d-\x7e]+$/.test(header) ? header : '')
  return key.length >= 1 && key.length <= 255 ? key : undefined
}

/** What a key is unique within: one token, one method, one path. As a digest, so that keys of any length are rows alike. */
export function idempotencyScope(
  tokenId: string,
  method: 'PUT' | 'PATCH',
  connectionId: string,
  version: string,
  key: string,
): string {
  return sha256Hex(JSON.stringify([tokenId, method, connectionId, version, key]))
}
