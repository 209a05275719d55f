/**
 * Owns how the timeline's form and links narrow the log: from a query string to a checked query, and back to a link. A field
 * that was left empty is not a filter, and a time without an offset is UTC, as browsers send it.
 */
import { auditQuery } from '../../organisation/audit-parameters.ts'
import { type AuditQuery, parseAuditQuery } from '../../organisation/audit-query.ts'
import { fieldErrors } from '../../update/connection-version.ts'

/** The fields of the form, and `before`, by which its pages follow one another. */
export const filterNames = ['event', 'outcome', 'actor', 'connectionId', 'version', 'since', 'until'] as const
export type FilterName = (typeof filterNames)[number]
export type Filters = Partial<Record<FilterName | 'before', string>>

export const pageLength = 50

/** What was asked, as it is shown again, with a query where all of it is acceptable, and else what is wrong. */
export interface Asked {
  filters: Filters
  query: AuditQuery | undefined
  wrong: { field: string; message: string }[]
}

/** Reads a query string. What is no filter is not looked at. */
export function readFilters(search: URLSearchParams): Asked {
  const filters: Filters = {}
  for (const name of [...filterNames, 'before'] as const) {
    const value = search.get(name)?.trim()
    if (value) filters[name] = value
  }
  const whole = { ...filters }
  for (const name of ['since', 'until'] as const) {
    const local = /^(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d(?:\.\d+)?)?$/.exec(whole[name] ?? '')
    if (local) whole[name] = `${local[1]}${local[2] ?? ':00'}Z`
  }
  const parsed = auditQuery().safeParse({ ...whole, limit: String(pageLength) })
  return parsed.success
    ? { filters, query: parseAuditQuery(parsed.data), wrong: [] }
    : { filters, query: undefined, wrong: fieldErrors(parsed.error) }
}

/** A link's query string with these filters; nothing for none. */
export function searchOf(filters: Filters): string {
  const search = new URLSearchParams(filters as Record<string, string>).toString()
  return search === '' ? '' : `?${search}`
}
