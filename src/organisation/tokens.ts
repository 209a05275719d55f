/**
 * Owns the life of a stored token: how it is made, rotated, revoked and shown. Pure: rows and times in, rows out.
 * Never sees a token itself: the edge mints it and passes on its id and digest.
 */
import type { Scope, TokenState } from '../auth/caller.ts'
import type { Credential } from '../auth/token.ts'
import type { NewToken } from './new-token.ts'
import type { RateLimit } from './rates.ts'

/** A token as it is stored. Times are milliseconds since 1970; `lifetimeMs` null means that it never expires. */
export interface TokenRow extends TokenState {
  id: string
  name: string
  scope: Scope
  rateLimit: RateLimit
  createdAt: number
  createdBy: string
  lifetimeMs: number | null
}

const dayMs = 86_400_000
const defaultLifetimeMs = 90 * dayMs

/** Makes a row. `expiresAt` left out means 90 days, null means never. */
export function createToken(
  wanted: NewToken,
  credential: Credential,
  createdBy: string,
  nowMs: number,
): TokenRow {
  const expiresAt =
    wanted.expiresAt === undefined
      ? nowMs + defaultLifetimeMs
      : wanted.expiresAt === null
        ? null
        : Date.parse(wanted.expiresAt)
  return {
    id: credential.id,
    name: wanted.name,
    digest: credential.digest,
    previousDigest: null,
    previousUntil: null,
    scope: (({ actions, connections, versions, fields }) => ({ actions, connections, versions, fields }))(
      wanted,
    ),
    rateLimit: wanted.rateLimit,
    createdAt: nowMs,
    createdBy,
    lifetimeMs: expiresAt === null ? null : expiresAt - nowMs,
    expiresAt,
    revokedAt: null,
  }
}

/** A new secret under the same id, for as long as the token once lived. The old secret works for the grace. */
export function rotateToken(
  row: TokenRow,
  digest: Uint8Array,
  graceSeconds: number,
  nowMs: number,
): TokenRow {
  // An expired secret is not brought back to life by renewing its token.
  const graced = graceSeconds > 0 && (row.expiresAt === null || nowMs < row.expiresAt)
  return {
    ...row,
    digest,
    previousDigest: graced ? row.digest : null,
    previousUntil: graced ? nowMs + graceSeconds * 1000 : null,
    expiresAt: row.lifetimeMs === null ? null : Math.min(nowMs + row.lifetimeMs, lastInstantMs),
  }
}

/** A token as an admin sees it: without secret or digest. */
export interface TokenView extends Scope {
  id: string
  name: string
  rateLimit: RateLimit
  createdAt: string
  createdBy: string
  expiresAt: string | null
  revokedAt: string | null
  lastUsedAt: string | null
  status: 'active' | 'expired' | 'revoked'
}

export function viewToken(row: TokenRow, lastUsedMs: number | null, nowMs: number): TokenView {
  const expired = row.expiresAt !== null && nowMs >= row.expiresAt
  return {
    id: row.id,
    name: row.name,
    ...row.scope,
    rateLimit: row.rateLimit,
    createdAt: instant(row.createdAt),
    createdBy: row.createdBy,
    expiresAt: instant(row.expiresAt),
    revokedAt: instant(row.revokedAt),
    lastUsedAt: instant(lastUsedMs),
    status: row.revokedAt !== null ? 'revoked' : expired ? 'expired' : 'active',
  }
}

/** RFC 3339 has no year of five digits. */
export const lastInstantMs = Date.parse('9999-12-31T23:59:59.999Z')

/** Milliseconds since 1970 as RFC 3339 in UTC. */
export function instant(ms: number): string
export function instant(ms: number | null): string | null
export function instant(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
