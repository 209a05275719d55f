/**
 * Owns the deliveries of one organisation as they are, or are queued to be. A delivery's state changes in the transaction
 * of the record that shows it: it hears of every record as it is queued. No clock and no dice: they come in.
 */
import type { Agenda } from './agenda.ts'
import type { Heed } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import {
  afterFailure,
  type DeliveryRow,
  type DeliveryState,
  ended,
  keptMs,
  maxDeadBytes,
  maxDeadPayloads,
  maxPending,
  maxPendingLength,
  maxPendingOfAll,
  type Payload,
} from './deliveries.ts'
import type { DeliveryFilter, HookTable } from './hook-table.ts'
import type { Tables } from './tables.ts'

/** An unknown outcome is looked into for 240 times the base; a delivery waits a little longer to hear of it. */
const untilKnown = 250
/** After so many deaths it is seen to that there are not too many payloads of the dead. */
const countedDeaths = 100
/** Rows that are dropped in one go. */
const maxDropped = 1_000
/** A page ends once its patches have so many characters: a call of the object answers with 32 MiB at most. */
const maxPageLength = 4_194_304

export class DeliveryStore {
  readonly #tables: Tables
  readonly #table: HookTable
  readonly #queue: CommitQueue
  readonly #agenda: Agenda
  readonly #random: () => number
  readonly #baseMs: number
  /** What is pending, and what has just come to its end and is not on disk. */
  readonly #rows = new Map<string, DeliveryRow>()
  readonly #ids = new Map<string, string>()
  /** When a payload has been kept long enough, or it is to be found out. */
  #sweepAt = 0
  #deaths = countedDeaths

  constructor(
    on: { tables: Tables; queue: CommitQueue; agenda: Agenda },
    table: HookTable,
    random: () => number,
    baseMs: number,
  ) {
    this.#tables = on.tables
    this.#queue = on.queue
    this.#agenda = on.agenda
    this.#table = table
    this.#random = random
    this.#baseMs = baseMs
  }

  load(): void {
    this.#rows.clear()
    this.#ids.clear()
    this.#sweepAt = 0
    if (!this.#tables.exist) return
    for (const row of this.#table.pending()) this.#keep(row)
  }

  get(id: string): DeliveryRow | undefined {
    return this.#rows.get(id) ?? (this.#tables.exist ? this.#table.delivery(id) : undefined)
  }

  /** What a hook was sent under a key before. */
  find(hook: string, key: string): DeliveryRow | undefined {
    const id = this.#ids.get(nameOf(hook, key))
    return id === undefined ? this.#table.deliveryBy(hook, key) : this.#rows.get(id)
  }

  /** What is still to be delivered, in the order in which it was received. */
  pending(): DeliveryRow[] {
    return [...this.#rows.values()].filter(({ state }) => state === 'pending').sort((a, b) => a.seq - b.seq)
  }

  countPending(hook: string): number {
    let count = 0
    for (const row of this.#rows.values()) if (row.hook === hook && row.state === 'pending') count++
    return count
  }

  /** Whether one more delivery of a hook may wait. */
  hasRoom(hook: string): boolean {
    let count = 0
    let length = 0
    for (const { state, patch } of this.#rows.values()) {
      if (state !== 'pending') continue
      count++
      length += patch?.length ?? 0
    }
    return count < maxPendingOfAll && length < maxPendingLength && this.countPending(hook) < maxPending
  }

  count(hook: string, state: DeliveryState): number {
    return this.#table.count(hook, state)
  }

  /** A page of what a hook was sent, newest first; what is queued is not in it. `more`: there is another page. */
  list(hook: string, { limit, ...filter }: DeliveryFilter): { rows: DeliveryRow[]; more: boolean } {
    const rows: DeliveryRow[] = []
    let length = 0
    for (const row of this.#table.deliveriesOf(hook, filter)) {
      if (rows.length === limit || length >= maxPageLength) return { rows, more: true }
      rows.push(row)
      length += row.patch?.length ?? 0
    }
    return { rows, more: false }
  }

  /** Stores a delivery that is still to be made. */
  put(row: DeliveryRow): void {
    this.#keep(row)
    this.#queue.add(() => this.#table.putDelivery(row))
    this.#agenda.noLaterThan('deliveries', row.nextAt)
  }

  putPayload(id: string, payload: Payload): void {
    this.#queue.add(() => this.#table.putPayload(id, payload))
  }

  payload(id: string): Payload | undefined {
    return this.#table.payload(id)
  }

  /** Takes a delivery to its end. A dead one keeps its payload for a while. */
  end(
    before: DeliveryRow,
    state: Exclude<DeliveryState, 'pending'>,
    closedBy: number | null,
    nowMs: number,
  ): void {
    const row = ended(before, state, closedBy, nowMs)
    this.#keep(row)
    this.#queue.add(() => {
      this.#table.putDelivery(row)
      if (state !== 'dead') this.#table.deletePayload(row.id)
    })
    if (state === 'dead') {
      if (++this.#deaths >= countedDeaths) this.#agenda.noLaterThan('deliveries', nowMs)
      this.#sweepAt = Math.min(this.#sweepAt, nowMs + keptMs)
      this.#agenda.noLaterThan('deliveries', nowMs + keptMs)
    }
    this.#queue.committed().then(
      () => {
        if (this.#rows.get(row.id) === row) this.#drop(row)
      },
      () => {},
    )
  }

  /** Forgets what a deleted hook was sent; says how much of it was still to be delivered. */
  forget(hook: string, nowMs: number): number {
    this.#agenda.noLaterThan('deliveries', nowMs)
    const rows = [...this.#rows.values()].filter(row => row.hook === hook)
    for (const row of rows) this.#drop(row)
    return rows.filter(({ state }) => state === 'pending').length
  }

  /** Takes a record that is queued: what it says of a delivery is in the same transaction. */
  heed(...[entry, seq, timeMs]: Parameters<Heed>): void {
    const row = entry.delivery === undefined ? undefined : this.#rows.get(entry.delivery)
    if (row?.state !== 'pending') return
    const { event, applied } = entry
    if (event === 'update.attempted') {
      this.put({ ...row, tries: row.tries + 1 })
    } else if (event === 'update.succeeded' || event === 'update.unchanged' || applied) {
      this.end(row, 'done', seq, timeMs)
    } else if (event === 'update.unknown') {
      this.put({ ...row, failure: 'unknown', nextAt: timeMs + untilKnown * this.#baseMs })
    } else if (event === 'update.reconciled') {
      const failed = { ...row, failure: applied === false ? 'not-applied' : 'interrupted' }
      this.put(afterFailure(failed, 0, this.#baseMs, timeMs, this.#random()))
    }
  }

  /** Drops what was kept long enough and what deleted hooks were sent, some at a time, and says when there is more. */
  sweep(nowMs: number): number | undefined {
    if (!this.#tables.exist) return undefined
    const deleted = this.#table.deletedHook()
    if (deleted !== undefined) {
      this.#queue.add(() => this.#table.dropDeleted(deleted, maxDropped))
      return nowMs
    }
    if (this.#deaths >= countedDeaths) {
      this.#deaths = 0
      this.#queue.add(() => this.#table.keepNewestDead(maxDeadPayloads, maxDeadBytes))
    }
    if (nowMs >= this.#sweepAt) {
      const first = this.#table.firstDeath()
      // One that is queued does not show yet.
      this.#sweepAt =
        first === null && !this.#queue.busy ? Number.POSITIVE_INFINITY : (first ?? nowMs) + keptMs
    }
    if (nowMs >= this.#sweepAt) this.#queue.add(() => this.#table.dropDead(nowMs - keptMs, maxDropped))
    return this.#sweepAt === Number.POSITIVE_INFINITY ? undefined : this.#sweepAt
  }

  #keep(row: DeliveryRow): void {
    this.#rows.set(row.id, row)
    this.#ids.set(nameOf(row.hook, row.key), row.id)
  }

  #drop(row: DeliveryRow): void {
    this.#rows.delete(row.id)
    this.#ids.delete(nameOf(row.hook, row.key))
  }
}

function nameOf(hook: string, key: string): string {
  return `${hook}/${key}`
}
