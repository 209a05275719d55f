/**
 * Owns the life of a stored token: how it is made, rotated, revoked and shown. Pure: rows and times in, rows out.
 * Never sees a token itself: the edge mints it and passes on its id and digest.
 */
import * as z from 'zod/mini'
import type { Scope, TokenState } from '../auth/caller.ts'
import type { Credential } from '../auth/token.ts'
import { dateTime } from '../update/connection-version.ts'
import { writableFields } from '../update/writable.ts'
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
const maxGraceSeconds = 7 * 86_400

/** A name that a person gives. */
export const printable = z.string().check(
  z.minLength(1),
  z.maxLength(100),
  z.refine(
    text => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(text),
    'must not hold control or format characters',
  ),
)

/** Some of a few words, each once; all of them where it is left out. */
function someOf<const T extends readonly string[]>(words: T) {
  return z._default(
    z.array(z.enum(words)).check(
      z.minLength(1),
      z.refine(list => new Set(list).size === list.length, 'must name nothing twice'),
    ),
    [...words],
  )
}

/** Patterns over version names; see matchesVersion. */
export const versionPatterns = z
  .array(
    z.string().check(
      z.refine(text => text.length >= 1 && [...text].length <= 255, 'must have 1 to 255 characters'),
      z.refine(
        text => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}/\\%?#;]/u.test(text),
        'holds what no version name may hold',
      ),
      z.refine(text => text.normalize('NFC') === text, 'must be in Unicode normalisation form C'),
    ),
  )
  .check(z.minLength(1), z.maxLength(100))

/** The body of `POST …/tokens`. */
export const newToken = z.strictObject({
  name: printable,
  connections: z
    .array(z.string().check(z.regex(/^(\*|[A-Za-z0-9_-]{1,64})$/, 'must be * or the id of a connection')))
    .check(z.minLength(1), z.maxLength(100)),
  actions: someOf(['read', 'update']),
  fields: someOf(writableFields),
  versions: z._default(versionPatterns, ['*']),
  expiresAt: z.optional(z.nullable(dateTime)),
  rateLimit: z._default(
    z.strictObject({
      requests: z.int().check(z.gte(1), z.lte(100_000)),
      windowSeconds: z.int().check(z.gte(1), z.lte(86_400)),
    }),
    { requests: 60, windowSeconds: 60 },
  ),
})

export type NewToken = z.infer<typeof newToken>

/** The body of `POST …/tokens/{id}/rotate`. */
export const rotation = z.strictObject({
  graceSeconds: z._default(z.int().check(z.gte(0), z.lte(maxGraceSeconds)), 0),
})

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
    expiresAt: row.lifetimeMs === null ? null : nowMs + row.lifetimeMs,
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

/** Milliseconds since 1970 as RFC 3339 in UTC. */
export function instant(ms: number): string
export function instant(ms: number | null): string | null
export function instant(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
