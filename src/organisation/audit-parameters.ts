/** Owns what is sent to ask of the audit log, as schemas that are built when they are called for. Never reads the log. */
import * as z from 'zod/mini'

function instant() {
  return z.iso.datetime({ offset: true, error: 'must be an RFC 3339 date-time with an offset' })
}
function seq() {
  return z.string().check(z.regex(/^\d{1,15}$/, 'must be a record number'))
}
function limit() {
  return z.string().check(z.regex(/^([1-9]\d{0,2}|1000)$/, 'must be a whole number from 1 to 1000'))
}
function exact() {
  return z.string().check(z.minLength(1), z.maxLength(255))
}

/** The query string of `GET /admin/organisations/{organisation_id}/audit`. */
export function auditQuery() {
  return z.strictObject({
    since: z.optional(instant()),
    until: z.optional(instant()),
    event: z.optional(
      z
        .string()
        .check(z.regex(/^[a-z]+\.([a-z]+|\*)$/, 'must be an event such as update.failed, or update.*')),
    ),
    outcome: z.optional(z.string().check(z.regex(/^[a-z]+$/, 'must be what follows the dot in an event'))),
    actor: z.optional(exact()),
    connectionId: z.optional(exact()),
    version: z.optional(exact()),
    requestId: z.optional(exact()),
    limit: z.optional(limit()),
    after: z.optional(seq()),
    before: z.optional(seq()),
  })
}

export type AuditParameters = z.infer<ReturnType<typeof auditQuery>>

function count() {
  return z.string().check(z.regex(/^(0|[1-9]\d{0,14})$/, 'must be a number of records'))
}

/** The query string of `GET …/audit/{seq}/proof`. */
export function proofQuery() {
  return z.strictObject({ size: z.optional(count()) })
}

/** The query string of `GET …/audit/consistency`. */
export function consistencyQuery() {
  return z.strictObject({ from: count(), to: z.optional(count()) })
}

/** The body of `POST …/audit/archive/acknowledge`: the digest of what the archive holds instead of this log. */
export function acknowledgement() {
  return z.strictObject({
    sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits in lower case')),
  })
}
