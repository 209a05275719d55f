/**
 * Owns what can be asked of the audit log: the query of `GET …/audit` as a schema. Never reads the log.
 */
import * as z from 'zod/mini'

const instant = z.pipe(
  z.iso.datetime({ offset: true, error: 'must be an RFC 3339 date-time with an offset' }),
  z.transform(text => Date.parse(text)),
)
const seq = z.pipe(
  z.string().check(z.regex(/^\d{1,15}$/, 'must be a record number')),
  z.transform(text => Number(text)),
)
const limit = z.pipe(
  z.string().check(
    z.regex(/^\d{1,4}$/, 'must be a whole number from 1 to 1000'),
    z.refine(text => Number(text) >= 1 && Number(text) <= 1000, 'must be a whole number from 1 to 1000'),
  ),
  z.transform(text => Number(text)),
)
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

export type AuditQuery = z.infer<typeof auditQuery>

/** Which records match; what is undefined does not narrow. Times are milliseconds since 1970. */
export type AuditFilter = Omit<AuditQuery, 'limit' | 'after' | 'before'>
