/**
 * Owns the statements that sum up the newest records: how requests ended in the last day, what failed last, and what
 * belongs to one attempt. Each reads a bounded number of rows. Never writes; the log itself is read in tables.ts.
 */
import type { Row } from './record-bytes.ts'

/** At most so many records are looked at, the newest first: a day may have a million. */
export const maxLookedAt = 50_000
const maxOfAttempt = 100
const hourMs = 3_600_000
const hours = 24

/** How the requests of one hour ended. */
export interface Hour {
  startsAt: number
  succeeded: number
  failed: number
  unknown: number
  /** Denied or rejected, and so never sent. */
  refused: number
}

/** The last 24 hours by the clock, oldest first, the running one included. */
export interface Day {
  hours: Hour[]
  /** The time of the oldest record looked at where there were more than are looked at, else null. */
  countedSince: number | null
}

/** The newest record that says that a request or a delivery failed, or that nobody knows. */
export interface Failure {
  seq: number
  time: number
  event: string
}

export class OutcomeTable {
  readonly #sql: SqlStorage

  /** The tables must exist when it is asked. */
  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  lastDay(nowMs: number): Day {
    const firstHour = Math.floor(nowMs / hourMs) - hours + 1
    const day: Hour[] = Array.from({ length: hours }, (_, hour) => {
      return { startsAt: (firstHour + hour) * hourMs, succeeded: 0, failed: 0, unknown: 0, refused: 0 }
    })
    // What the archive alone holds is older than what is counted, but may be looked at last.
    const count = `case when event = 'denials.suppressed' and record <> '' then json_extract(record, '$.count') end as count`
    const select = `select time, event, ${count} from records order by seq desc limit ?`
    let looked = 0
    let oldest = nowMs
    for (const { time, event, count } of this.#sql.exec(select, maxLookedAt)) {
      const hour = day[Math.floor((time as number) / hourMs) - firstHour]
      // Time rises with seq, but a clock that was set back has left later times than now.
      if ((time as number) < firstHour * hourMs) return { hours: day, countedSince: null }
      looked++
      oldest = time as number
      const outcome = outcomeOf(event as string)
      if (hour && outcome) hour[outcome] += event === 'denials.suppressed' ? Number(count ?? 0) : 1
    }
    return { hours: day, countedSince: looked === maxLookedAt ? oldest : null }
  }

  /** Among the newest records that are looked at. */
  lastFailure(): Failure | null {
    const failures = `event in ('update.failed', 'update.unknown', 'read.failed', 'webhook.dead')`
    const newest = `seq > (select max(seq) from records) - ${maxLookedAt}`
    const select = `select seq, time, event from records where ${newest} and ${failures} order by seq desc limit 1`
    return (this.#sql.exec(select).toArray()[0] as Failure | undefined) ?? null
  }

  /** The records of one attempt, its own first. They bear its request id, by which they are found. */
  ofAttempt(attempt: number, requestId: string): Row[] {
    // With the condition of the index over request ids, see record-search.ts.
    const named = `request_id = ?2 and event <> 'update.attempted' and seq > ?1 and seq < ?1 + ${maxLookedAt}`
    const later = `select seq from records where ${named} and attempt = ?1`
    const select = `select seq, record from records where seq = ?1 or seq in (${later}) order by seq limit ${maxOfAttempt}`
    return this.#sql.exec(select, attempt, requestId).toArray() as unknown as Row[]
  }
}

function outcomeOf(event: string): Exclude<keyof Hour, 'startsAt'> | undefined {
  if (event === 'denials.suppressed' || event === 'admin.denied') return 'refused'
  if (!/^(update|read)\./.test(event)) return undefined
  switch (event.slice(event.indexOf('.') + 1)) {
    case 'succeeded':
    case 'unchanged':
    case 'replayed':
      return 'succeeded'
    case 'failed':
      return 'failed'
    case 'unknown':
      return 'unknown'
    case 'denied':
    case 'rejected':
      return 'refused'
  }
  return undefined
}
