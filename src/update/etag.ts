/**
 * Owns entity tags of versions (RFC 9110, section 8.8.3), and If-Match. Pure. A tag is strong: the SHA-256 of the version as
 * the gateway serialises it, so it changes with every field and with nothing else.
 */
import { connectionVersion, serialise } from './connection-version.ts'

/** The tag of a version as the platform answered it, or undefined for anything that is no version. */
export function etagOf(body: string): string | undefined {
  const parsed = connectionVersion.safeParse(versionIn(body))
  return parsed.success ? `"${serialise(parsed.data).sha256}"` : undefined
}

/** The known fields of a version as the platform answered it: what it may add one day is not the caller's to send back. */
export function versionIn(body: string): Record<string, unknown> {
  const version: unknown = JSON.parse(body)
  const fields = typeof version === 'object' && version !== null ? Object.entries(version) : []
  return Object.fromEntries(fields.filter(([name]) => Object.hasOwn(connectionVersion.shape, name)))
}

/**
 * The tags of an If-Match (RFC 9110, section 13.1.1), or `*`; undefined where it is neither. Empty elements of the list are
 * skipped (section 5.6.1). Weak ones are kept: they match nothing.
 */
export function parseIfMatch(header: string): string[] | undefined {
  if (header.trim() === '*') return ['*']
  const tag = /(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g
  const list = /^[\s,]*\0(?:\s*,[\s,]*\0)*[\s,]*$/
  return list.test(header.replace(tag, '\0')) ? (header.match(tag) ?? undefined) : undefined
}

/** Whether a version fulfils an If-Match (RFC 9110, section 13.1.1): by strong comparison. */
export function fulfils(body: string, ifMatch: readonly string[]): boolean {
  return ifMatch.includes('*') || ifMatch.includes(etagOf(body) ?? '')
}
