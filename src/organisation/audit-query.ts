/**
 * Owns what can be asked of the audit log, and how a record tells of it. Never reads the log.
 */
import { withoutTokens } from '../auth/token.ts'
import type { AuditParameters } from './audit-parameters.ts'

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
export function parseAuditQuery(query: AuditParameters): AuditQuery {
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
