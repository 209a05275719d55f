/**
 * Owns how long the object keeps the bytes of old records: past the days that are configured, and once the archive is seen
 * to hold exactly them, they are dropped. What records are found and proven by stays. No clock of its own.
 */
import { type Archive, type Segment, segmentRecords } from './archive.ts'
import type { ArchiveTable } from './archive-table.ts'
import type { Desk } from './recorder.ts'

const dayMs = 86_400_000
/** In times the backoff's base: how long a run drops before it lets others go first, and the pause where it could not. */
const patience = 4
const hourly = 14_400

/** What it drops from. */
export interface Stock extends Desk {
  table: ArchiveTable
  archive: Archive | undefined
  /** Undefined keeps everything. */
  retentionDays: number | undefined
  /** Segment number `index` of the log, from 0; undefined where its bytes are not those that were recorded. */
  segment: (index: number) => Segment | undefined
  retryMs: number
}

export class Retention {
  readonly #on: Stock

  constructor(stock: Stock) {
    this.#on = stock
  }

  /** Called hourly: makes due what was not, as with a number of days that was changed since. */
  look(): void {
    const { tables, agenda, now } = this.#on
    if (!tables.exist) return
    const at = this.#nextAt()
    if (at !== undefined) agenda.noLaterThan('retention', Math.max(now(), at))
  }

  /** Drops whole segments, oldest first, and says when to go on. */
  async run(): Promise<void> {
    const { queue, agenda, table, now, retryMs } = this.#on
    const endsAt = now() + patience * retryMs
    for (;;) {
      // What was closed a moment ago, and is to be looked into, stands in the tables then.
      await queue.committed()
      const at = this.#nextAt()
      if (at === undefined) return agenda.done('retention')
      if (at > now() || now() >= endsAt) return agenda.set('retention', at)
      const { dropped } = table.get()
      if (!(await this.#isArchived(dropped / segmentRecords))) {
        return agenda.set('retention', now() + hourly * retryMs)
      }
      if ((this.#nextAt() ?? Number.POSITIVE_INFINITY) > now()) continue
      queue.add(() => table.drop(dropped, dropped + segmentRecords))
    }
  }

  /** Seen, not remembered: another bucket may be bound by now. What it lacks it is given, and looked for again. */
  async #isArchived(index: number): Promise<boolean> {
    const archive = this.#on.archive as Archive
    const organisationId = this.#on.tables.organisation()?.id as string
    const segment = this.#on.segment(index)
    if (!segment) return false
    try {
      if (await archive.holdsSegment(organisationId, segment)) return true
      await archive.keepSegment(organisationId, segment)
      return await archive.holdsSegment(organisationId, segment)
    } catch {
      return false
    }
  }

  /** When the next segment may go; undefined where none waits. What is under way, looked into or to be told of is kept. */
  #nextAt(): number | undefined {
    const { archive, retentionDays, table, log, now } = this.#on
    if (!archive || retentionDays === undefined) return undefined
    const { dropped, segments } = table.get()
    const last = dropped + segmentRecords
    if (last > segments * segmentRecords) return undefined
    const at = table.timeOf(last) + retentionDays * dayMs
    const needed = Math.min(log.openAttempts[0] ?? last + 1, table.firstNeeded() ?? last + 1)
    return needed <= last ? Math.max(at, now() + dayMs) : at
  }
}
