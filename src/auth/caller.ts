/**
 * Owns what a caller is and may do: the caller behind a credential, and scopes. Pure: rows, time and the
 * credential come in. Never records and never answers.
 */
import { equalDigests } from '../crypto.ts'
import type { CredentialReason } from '../errors.ts'
import type { Credential } from './token.ts'

export type Action = 'read' | 'update'

/** What a token may do. */
export interface Scope {
  actions: readonly Action[]
  /** Connection ids, or `*` for every one. */
  connections: readonly string[]
  /** Patterns over version names; see matchesVersion. */
  versions: readonly string[]
  /** What of a version an update may change. */
  fields: readonly string[]
}

/** What of a stored token decides whether a credential is believed. Times are milliseconds since 1970. */
export interface TokenState {
  digest: Uint8Array
  /** The secret before the last rotation, accepted until `previousUntil`. */
  previousDigest: Uint8Array | null
  previousUntil: number | null
  expiresAt: number | null
  revokedAt: number | null
}

const neverADigest = new Uint8Array(32)

/**
 * Whether a credential is believed, as a reason against it or undefined. Secrets are compared first and in
 * constant time, also for an unknown id, so that only who holds the secret learns by timing that a token existed.
 */
export function reasonAgainst(
  credential: Credential,
  token: TokenState | undefined,
  nowMs: number,
): Exclude<CredentialReason, 'malformed'> | undefined {
  const current = equalDigests(credential.digest, token?.digest ?? neverADigest)
  const previous = equalDigests(credential.digest, token?.previousDigest ?? neverADigest)
  if (!token) return 'unknown'
  const inGrace =
    previous && token.previousDigest !== null && token.previousUntil !== null && nowMs < token.previousUntil
  if (!current && !inGrace) return 'wrong-secret'
  if (token.revokedAt !== null) return 'revoked'
  if (token.expiresAt !== null && nowMs >= token.expiresAt) return 'expired'
  return undefined
}

/** Whether a scope allows an action on a connection and on all of the named versions. */
export function allows(
  scope: Scope,
  action: Action,
  connectionId: string,
  versions: readonly string[],
): boolean {
  return (
    scope.actions.includes(action) &&
    scope.connections.some(id => id === '*' || id === connectionId) &&
    versions.every(version => scope.versions.some(pattern => matchesVersion(pattern, version)))
  )
}

/**
 * Whether a pattern covers a version's name: `*` matches any run of characters, also none; the rest is literal.
 * `latest` and `default` move between versions, so only `*` alone or their own name covers them: `l*` does not.
 * Runs in pattern × name steps at most, whatever the pattern, where a regular expression could be made to hang.
 */
export function matchesVersion(pattern: string, version: string): boolean {
  if (version === 'latest' || version === 'default') return pattern === '*' || pattern === version
  let at = 0
  let p = 0
  let star = -1
  let resume = 0
  while (at < version.length) {
    if (pattern[p] === '*') {
      star = p++
      resume = at
    } else if (pattern[p] === version[at]) {
      p++
      at++
    } else if (star >= 0) {
      p = star + 1
      at = ++resume
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
