/**
 * Owns how records are found by what they say. Three indexes name every record but the attempts, whose entries would be three
 * rows an update: an attempt has the actor, connection, version and request id of the record that closes it, and is found
 * through that one. Those that none closes within a stretch of the log are few, and lie at or behind its `open_from`.
 * Never writes and never decides.
 */
import type { AuditFilter } from './audit-query.ts'

/** The records strictly between two numbers. */
export interface Stretch {
  after: number
  before: number
}

interface FoundRecord {
  seq: number
  record: string
}

/** The condition of the three indexes, word for word: SQLite does not take another for the same. */
const indexed = `event <> 'update.attempted'`
/** What narrows most comes first. */
const indexes = [
  ['requestId', 'request_id'],
  ['connectionId', 'connection_id'],
  ['actor', 'actor'],
] as const
const openFromAtEnd = 'select open_from from records order by seq desc limit 1'

/** The events of which every admitted request that attempts nothing leaves one; one that its scope forbade leaves a `.denied`. */
const requests = `'update.rejected', 'update.replayed', 'update.unchanged', 'read.succeeded', 'read.failed', 'read.rejected',
  'webhook.received', 'webhook.ignored', 'webhook.duplicate', 'webhook.replayed', 'webhook.rejected'`

export class RecordSearch {
  readonly #sql: SqlStorage

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  /** What of a stretch is there and lies within the times of a filter, if anything. */
  narrow({ since, until }: AuditFilter, { after, before }: Stretch): Stretch | undefined {
    const from = since === undefined ? 1 : this.#firstFrom(since)
    const end = until === undefined ? this.#size + 1 : this.#firstFrom(until)
    return unlessEmpty({ after: Math.max(after, from - 1), before: Math.min(before, end) })
  }

  /**
   * Looks through the beginning of a stretch that was narrowed: `size` of its records, or of those that an index names. Finds
   * what matches there, at most `most`; `rest` is what was not looked through.
   */
  next(
    filter: AuditFilter,
    { after, before }: Stretch,
    order: 'asc' | 'desc',
    { size, most }: { size: number; most: number },
  ): { found: FoundRecord[]; rest: Stretch | undefined } {
    const index = indexes.find(([name]) => filter[name] !== undefined)
    const last = index
      ? this.#nth(index[1], filter[index[0]] as string, { after, before }, order, size)
      : order === 'asc'
        ? after + size
        : before - size
    if (last === undefined || last <= after || last >= before) {
      return { found: this.#matches(filter, { after, before }, order, most, index), rest: undefined }
    }
    const [first, rest] =
      order === 'asc'
        ? [
            { after, before: last + 1 },
            { after: last, before },
          ]
        : [
            { after: last - 1, before },
            { after, before: last },
          ]
    return { found: this.#matches(filter, first, order, most, index), rest: unlessEmpty(rest) }
  }

  /** The number of the `nth` record of a stretch that an index has under a value. */
  #nth(
    column: string,
    value: string,
    { after, before }: Stretch,
    order: 'asc' | 'desc',
    nth: number,
  ): number | undefined {
    const select = `select seq from records where ${column} = ? and ${indexed} and seq > ? and seq < ?`
    const tail = `order by seq ${order} limit 1 offset ?`
    return this.#sql.exec<{ seq: number }>(`${select} ${tail}`, value, after, before, nth - 1).toArray()[0]
      ?.seq
  }

  #matches(
    filter: AuditFilter,
    stretch: Stretch,
    order: 'asc' | 'desc',
    most: number,
    index: (typeof indexes)[number] | undefined,
  ): FoundRecord[] {
    const bindings: (string | number)[] = []
    const bind = (value: string | number) => `?${bindings.push(value)}`
    const after = bind(stretch.after)
    const before = bind(stretch.before)
    const conditions = [`seq > ${after}`, `seq < ${before}`]
    const equal = (column: string, value: string | undefined) => {
      if (value !== undefined) conditions.push(`${column} = ${bind(value)}`)
    }
    if (filter.event?.endsWith('.*')) {
      const stem = filter.event.slice(0, -2)
      conditions.push(`event >= ${bind(`${stem}.`)} and event < ${bind(`${stem}/`)}`)
    } else {
      equal('event', filter.event)
    }
    equal(`substr(event, instr(event, '.') + 1)`, filter.outcome)
    for (const [name, column] of indexes) equal(column, filter[name])
    equal('version', filter.version)
    if (index) {
      const named = `from records where ${index[1]} = ${bind(filter[index[0]] as string)} and ${indexed} and seq > ${after} and seq < ${before}`
      const openFrom = `select open_from from records where seq = ${before} - 1`
      conditions.push(`seq in (select seq ${named} union all select attempt ${named}
        union all select seq from records where not ${indexed} and seq >= (${openFrom}) and seq < ${before})`)
    }
    const select = `select seq, record from records where ${conditions.join(' and ')}`
    return this.#sql
      .exec<{ seq: number; record: string }>(
        `${select} order by seq ${order} limit ${bind(most)}`,
        ...bindings,
      )
      .toArray()
  }

  /** The last record of an actor that says that it was let in. */
  lastAccepted(actor: string): { seq: number; time: number } | null {
    const closed = `actor = ?1 and ${indexed} and event not like '%.denied' and event not like '%.rejected'`
    const open = `actor = ?1 and not ${indexed} and seq >= (${openFromAtEnd})`
    const last = (where: string) =>
      `select * from (select seq, time from records where ${where} order by seq desc limit 1)`
    const select = `${last(closed)} union all ${last(open)} order by seq desc limit 1`
    return this.#sql.exec<{ seq: number; time: number }>(select, actor).toArray()[0] ?? null
  }

  /** How many of a token's requests were admitted since a time. */
  requests(token: string, sinceMs: number): number {
    const named = `from records where actor = ?1 and ${indexed} and seq >= ?2`
    const forbidden = `event like '%.denied' and record <> '' and json_extract(record, '$.reason') = 'insufficient-scope'`
    const select = `select count(*) as used from (
      select seq ${named} and (event in (${requests}) or ${forbidden})
      union select attempt ${named} and attempt >= ?2
      union select seq from records where actor = ?1 and not ${indexed} and seq >= max(?2, (${openFromAtEnd})))`
    return this.#sql.exec<{ used: number }>(select, token, this.#firstFrom(sinceMs)).one().used
  }

  get #size(): number {
    return this.#sql.exec<{ size: number }>('select ifnull(max(seq), 0) as size from records').one().size
  }

  /** The number of the first record at or after a time, one past the last where there is none. Time rises with seq. */
  #firstFrom(timeMs: number): number {
    let low = 1
    let high = this.#size + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const row = this.#sql.exec<{ time: number }>('select time from records where seq = ?', middle).one()
      if (row.time < timeMs) low = middle + 1
      else high = middle
    }
    return low
  }
}

function unlessEmpty(stretch: Stretch): Stretch | undefined {
  return stretch.before - stretch.after > 1 ? stretch : undefined
}
