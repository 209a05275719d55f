/**
 * Owns what can be asked of the audit log: the query of `GET …/audit` as a schema. Never reads the log.
 */
import * as z from 'zod/mini'
import { withoutTokens } from '../auth/token.ts'

const instant = z.iso.datetime({ offset: true, error: 'must be an RFC 3339 date-time with an offset' })
const seq = z.string().check(z.regex(/^\d{1,15}$/, 'must be a record number'))
const limit = z.string().check(z.regex(/^([1-9]\d{0,2}|1000)$/, 'must be a whole number from 1 to 1000'))
const exact = z.string().check(z.minLength(1), z.maxLength(255))

/** The query string of `GET /admin/organisations/{organisation_id}/audit`. */
export const auditQuery = z.strictObject({
  since: z.optional(instant),
  until: z.optional(instant),
  event: z.optional(
    z.string().check(z.regex(/^[a-z]+\.([a-z]+|\*)$/, 'must be an event such as update.failed, or update.*')),
  ),
  outcome: z.optional(z.string().check(z.regex(/^[a-z]+$/, 'must be what follows the dot in an event'))),
  actor: z.optional(exact),
  connectionId: z.optional(exact),
  version: z.optional(exact),
  requestId: z.optional(exact),
  limit: z.optional(limit),
  after: z.optional(seq),
  before: z.optional(seq),
})

const count = z.string().check(z.regex(/^(0|[1-9]\d{0,14})$/, 'must be a number of records'))

/** The query string of `GET …/audit/{seq}/proof`. */
export const proofQuery = z.strictObject({ size: z.optional(count) })

/** The query string of `GET …/audit/consistency`. */
export const consistencyQuery = z.strictObject({ from: count, to: z.optional(count) })

/** The body of `POST …/audit/archive/acknowledge`: the digest of what the archive holds instead of this log. */
export const acknowledgement = z.strictObject({
  sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits in lower case')),
})

/** Which records match; what is undefined does not narrow. Times are milliseconds since 1970. */
export interface AuditFilter {
  since?: number
  until?: number
  event?: string
  outcome?: string
  actor?: string
  connectionId?: string
  version?: string
  requestId?: string
}

export interface AuditQuery extends AuditFilter {
  limit?: number
  after?: number
  before?: number
}

/** A checked query string with its times and numbers as such. */
export function parseAuditQuery(query: z.infer<typeof auditQuery>): AuditQuery {
  const parsed: Record<string, string | number> = {}
  for (const [name, text] of Object.entries(query)) {
    const isTime = name === 'since' || name === 'until'
    const isNumber = name === 'limit' || name === 'after' || name === 'before'
    parsed[name] = isTime ? Date.parse(text) : isNumber ? Number(text) : text
  }
  return parsed
}

/** A query as a record may hold it: times in RFC 3339, and no token in a caller's words. */
export function filterShown(query: AuditQuery): object {
  const shown = Object.entries(query).map(([name, value]) => {
    const isTime = name === 'since' || name === 'until'
    const text = isTime ? new Date(value).toISOString() : value
    return [name, typeof text === 'string' ? withoutTokens(text) : text]
  })
  return Object.fromEntries(shown)
}
