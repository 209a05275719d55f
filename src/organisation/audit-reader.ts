/**
 * Owns reading the log: a page, an export. Gives out the exact strings that were hashed, wherever they lie; never writes.
 */
import type { AuditFilter, AuditQuery } from './audit-query.ts'
import type { RecordBytes, Row } from './record-bytes.ts'
import type { Stretch } from './record-search.ts'
import type { Tables } from './tables.ts'

/** After so many records a page looks no further, a few milliseconds at most; after so many an export before it lets others go first. */
const maxLooked = 2_000
const exportStretch = 500

/** Exact record strings, newest first; `next` is the `before` of the page after it, null at the end. */
export interface AuditPage {
  records: string[]
  next: number | null
}

/**
 * Fewer than asked for, or none, with a `next`, is what a page holds that has looked at all that one page may. Throws
 * ArchiveError where bytes that the archive holds cannot be had.
 */
export async function auditPage(tables: Tables, bytes: RecordBytes, query: AuditQuery): Promise<AuditPage> {
  const { rows, next } = pageRows(tables, query)
  const records = await bytes.fill(rows)
  return { records: records.map(({ record }) => record), next }
}

/** The same as its rows, in which the bytes of old records may have been dropped. */
export function pageRows(tables: Tables, query: AuditQuery): { rows: Row[]; next: number | null } {
  const { limit = 100, after = 0, before = Number.MAX_SAFE_INTEGER, ...filter } = query
  if (!tables.exist) return { rows: [], next: null }
  const found: Row[] = []
  let rest = tables.search.narrow(filter, { after, before })
  let looked = 0
  while (rest && looked < maxLooked && found.length <= limit) {
    const size = Math.min(looked + limit + 1, maxLooked - looked)
    const stretch = tables.search.next(filter, rest, 'desc', { size, most: limit + 1 - found.length })
    found.push(...stretch.found)
    rest = stretch.rest
    looked += size
  }
  const page = found.slice(0, limit)
  const next = found.length > limit ? page.at(-1)?.seq : rest?.before
  return { rows: page, next: next ?? null }
}

/**
 * Every record that matches, up to number `size`, oldest first, each as its exact bytes and a line feed. Read in pages as
 * the reader asks for them, so that a long log neither fills memory nor holds up the object. `pause` is waited for where a
 * page holds nothing.
 */
export function auditExport(
  tables: Tables,
  bytes: RecordBytes,
  query: AuditQuery,
  size: number,
  pause: () => Promise<void>,
): ReadableStream<Uint8Array> {
  const { limit: _, after = 0, before = Number.MAX_SAFE_INTEGER, ...filter } = query
  const end = Math.min(before, size + 1)
  const stretch = tables.exist ? tables.search.narrow(filter, { after, before: end }) : undefined
  return streamOf(exportPages(tables, bytes, filter, stretch, pause))
}

/** Texts as a stream of bytes, each made when the reader asks for it. */
export function streamOf(
  pages: Iterator<string, undefined> | AsyncIterator<string, undefined>,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      const { value, done } = await pages.next()
      if (!done) return controller.enqueue(encoder.encode(value))
      controller.close()
      // A reader that waits with a buffer of its own still needs an answer after the close.
      controller.byobRequest?.respond(0)
    },
  })
}

async function* exportPages(
  tables: Tables,
  bytes: RecordBytes,
  filter: AuditFilter,
  stretch: Stretch | undefined,
  pause: () => Promise<void>,
): AsyncGenerator<string, undefined> {
  for (let rest = stretch; rest; ) {
    const most = Number.MAX_SAFE_INTEGER
    const next = tables.search.next(filter, rest, 'asc', { size: exportStretch, most })
    rest = next.rest
    const found = await bytes.fill(next.found)
    if (found.length > 0) yield found.map(({ record }) => `${record}\n`).join('')
    else await pause()
  }
  return undefined
}
