/**
 * Owns reading the log: a page, one record, an export. Gives out the exact strings that were hashed; never writes.
 */
import type { AuditFilter, AuditQuery } from './audit-query.ts'
import type { Tables } from './tables.ts'

const exportPage = 500

/** A page of exact record strings, newest first; `next` is the `before` of the page after it, null at the end. */
export interface AuditPage {
  records: string[]
  next: number | null
}

export function auditPage(tables: Tables, query: AuditQuery): AuditPage {
  const { limit = 100, after = 0, before = Number.MAX_SAFE_INTEGER, ...filter } = query
  const rows = tables.records(filter, { after, before }, 'desc', limit + 1)
  const page = rows.slice(0, limit)
  return {
    records: page.map(row => row.record),
    next: rows.length > limit ? (page.at(-1)?.seq ?? null) : null,
  }
}

/**
 * Every record that matches, up to number `size`, oldest first, each as its exact bytes and a line feed. Read in pages as
 * the reader asks for them, so that a long log neither fills memory nor holds up the object.
 */
export function auditExport(tables: Tables, query: AuditQuery, size: number): ReadableStream<Uint8Array> {
  const { limit: _, after = 0, before = Number.MAX_SAFE_INTEGER, ...filter } = query
  return streamOf(exportPages(tables, filter, after, Math.min(before, size + 1)))
}

/** Texts as a stream of bytes, each made when the reader asks for it. */
export function streamOf(pages: Iterator<string, undefined>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      const { value, done } = pages.next()
      if (!done) return controller.enqueue(encoder.encode(value))
      controller.close()
      // A reader that waits with a buffer of its own still needs an answer after the close.
      controller.byobRequest?.respond(0)
    },
  })
}

function* exportPages(
  tables: Tables,
  filter: AuditFilter,
  after: number,
  before: number,
): Generator<string, undefined> {
  for (let last = after; ; ) {
    const rows = tables.records(filter, { after: last, before }, 'asc', exportPage)
    if (rows.length > 0) yield rows.map(row => `${row.record}\n`).join('')
    if (rows.length < exportPage) return undefined
    last = rows.at(-1)?.seq ?? last
  }
}
