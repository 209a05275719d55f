/**
 * Owns the statements over what the object remembers of its archive, and over segments of the log. Rows in, rows out. Never
 * decides and never waits; who calls sees to the transaction, and knows that the organisation exists.
 */
export interface ArchiveRow {
  /** Under which host the log is known: a part of its name. */
  host: string | null
  /** How many segments the archive has been given. */
  segments: number
  /** The size of the newest checkpoint that it has been given. */
  checkpointed: number
  /** Up to which record the bytes are in the archive alone. */
  dropped: number
  /** The signature of what an admin has acknowledged to be no longer this log, in base64. */
  acknowledged: string | null
}

/** What stands in place of bytes that are in the archive alone. */
export const droppedRecord = ''

export class ArchiveTable {
  readonly #sql: SqlStorage

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  get(): ArchiveRow {
    const columns = 'host, segments, checkpointed, dropped, acknowledged'
    return this.#sql.exec(`select ${columns} from archive`).one() as unknown as ArchiveRow
  }

  putHost(host: string): void {
    this.#sql.exec('update archive set host = ?', host)
  }

  putSegments(segments: number): void {
    this.#sql.exec('update archive set segments = ?', segments)
  }

  /** What was acknowledged is past with the checkpoint that takes its place. */
  putCheckpointed(size: number): void {
    this.#sql.exec('update archive set checkpointed = ?, acknowledged = null', size)
  }

  putAcknowledged(signature: string, segments: number): void {
    this.#sql.exec('update archive set acknowledged = ?, segments = ?', signature, segments)
  }

  /** The exact bytes of the records after one number and up to another, each with a line feed. */
  ndjson(after: number, upTo: number): string {
    const select = 'select record from records where seq > ? and seq <= ? order by seq'
    return this.#sql
      .exec<{ record: string }>(select, after, upTo)
      .toArray()
      .map(({ record }) => `${record}\n`)
      .join('')
  }

  timeOf(seq: number): number {
    return this.#sql.exec<{ time: number }>('select time from records where seq = ?', seq).one().time
  }

  /** Drops the bytes of the records after one number and up to another; what they are found and proven by stays. */
  drop(after: number, upTo: number): void {
    const set = 'record = ?, intent = null'
    this.#sql.exec(`update records set ${set} where seq > ? and seq <= ?`, droppedRecord, after, upTo)
    this.#sql.exec('update archive set dropped = ?', upTo)
  }

  /** The first record that an alert waits to tell of, if any. */
  firstToTell(): number | null {
    const first = 'min(iif(sent_count > 0, sent_last, last_seq))'
    const select = `select ${first} as seq from alerts where count > 0 or sent_count > 0`
    return this.#sql.exec<{ seq: number | null }>(select).one().seq
  }
}
