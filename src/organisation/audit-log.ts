/**
 * Owns the sequence of records: takes the next number, hashes, and queues the row. Synchronous, so that records stand
 * in the order in which things were decided. Never waits: the queue says when a record is durable.
 */
import { concat, toHex } from '../crypto.ts'
import type { Intent } from '../update/writable.ts'
import type { CommitQueue } from './commit-queue.ts'
import { closes, type Entry, recordString } from './record.ts'
import type { RecordRow, Tables } from './tables.ts'
import { append, emptyTree, type Frontier, leafHash, treeOf } from './tree.ts'

/** A record as its writer knows it. `receipt` is `<seq>:<leaf hash, hex>`. */
export interface Written {
  seq: number
  receipt: string
}

/** Who hears of a record: what it says, its number and its time. */
export type Heed = (entry: Entry, seq: number, timeMs: number) => void

export class AuditLog {
  readonly #tables: Tables
  readonly #queue: CommitQueue
  readonly #heed: Heed
  #tree: Frontier = emptyTree
  #timeMs = 0
  /** Attempts that no outcome has closed, oldest first. */
  #open = new Set<number>()

  /** `heed` hears of each record as it is queued: what it queues is in the same transaction. */
  constructor(tables: Tables, queue: CommitQueue, heed: Heed = () => {}) {
    this.#tables = tables
    this.#queue = queue
    this.#heed = heed
  }

  /** Reads the head from storage: at construction, and after a batch was not committed. */
  load(): void {
    const last = this.#tables.lastRecord()
    const size = last?.seq ?? 0
    this.#tree = treeOf((seq, level) => this.#tables.nodeHash(seq, level), size)
    this.#timeMs = last?.time ?? 0
    this.#open = new Set(last ? this.#tables.openAttempts(last.openFrom) : [])
  }

  /** The tree over every record, those that are queued included. */
  get tree(): Frontier {
    return this.#tree
  }

  /** The number of the newest record, 0 where there is none. */
  get size(): number {
    return this.#tree.size
  }

  /** The attempts without an outcome, oldest first. */
  get openAttempts(): readonly number[] {
    return [...this.#open]
  }

  /**
   * Queues one record. Its time is `nowMs`, or the last record's where the clock went backwards. `intent` is kept beside an
   * attempt, not in it: what a later look compares with.
   */
  append(entry: Entry, nowMs: number, intent?: Intent): Written {
    const seq = this.#tree.size + 1
    const timeMs = Math.max(nowMs, this.#timeMs)
    const record = recordString(seq, timeMs, entry)
    const leaf = leafHash(record)
    const { tree, completed } = append(this.#tree, leaf)
    this.#tree = tree
    this.#timeMs = timeMs
    if (entry.event === 'update.attempted') this.#open.add(seq)
    if (entry.attempt !== undefined && closes(entry.event)) this.#open.delete(entry.attempt)
    const [oldestOpen = seq + 1] = this.#open
    const row: RecordRow = {
      seq,
      time: timeMs,
      event: entry.event,
      actor: 'id' in entry.actor ? entry.actor.id : null,
      connectionId: entry.target.connectionId ?? null,
      version: entry.target.version ?? null,
      requestId: entry.requestId ?? null,
      attempt: entry.attempt ?? null,
      openFrom: oldestOpen,
      intent: intent ? JSON.stringify(intent) : null,
      record,
      hashes: concat(...completed),
    }
    this.#queue.add(() => this.#tables.insertRecord(row))
    this.#heed(entry, seq, timeMs)
    return { seq, receipt: `${seq}:${toHex(leaf)}` }
  }
}
