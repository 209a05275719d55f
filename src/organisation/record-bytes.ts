/**
 * Owns where the bytes of a record come from: the object, or the archive where the object has dropped them. Never gives out
 * bytes that the tree does not confirm. No network of its own.
 */
import { type Archive, ArchiveError, segmentLevel, segmentRecords } from './archive.ts'
import { droppedRecord } from './archive-table.ts'
import type { Tables } from './tables.ts'
import { leafHash } from './tree.ts'

export interface Row {
  seq: number
  record: string
}

export class RecordBytes {
  readonly #tables: Tables
  readonly #archive: Archive | undefined
  /** The segment that was read last: readers go along the log. */
  #read: { first: number; lines: string[] } | undefined

  constructor(tables: Tables, archive: Archive | undefined) {
    this.#tables = tables
    this.#archive = archive
  }

  /** One record's exact string, undefined where there is none. Throws ArchiveError. */
  async of(seq: number): Promise<string | undefined> {
    const record = this.#tables.record(seq)
    return record === undefined ? undefined : (await this.fill([{ seq, record }]))[0]?.record
  }

  /** The same rows, each with its record's exact string. Throws ArchiveError. */
  async fill<T extends Row>(rows: T[]): Promise<T[]> {
    if (rows.every(({ record }) => record !== droppedRecord)) return rows
    const filled: T[] = []
    for (const row of rows) {
      filled.push(row.record === droppedRecord ? { ...row, record: await this.#archived(row.seq) } : row)
    }
    return filled
  }

  async #archived(seq: number): Promise<string> {
    const first = seq - ((seq - 1) % segmentRecords)
    if (this.#read?.first !== first) this.#read = { first, lines: await this.#lines(first) }
    const record = this.#read.lines[seq - first]
    const leaf = this.#tables.nodeHash(seq, 0)
    if (record === undefined || Buffer.compare(leafHash(record), leaf) !== 0) {
      this.#read = undefined
      throw new ArchiveError('the archive holds other bytes than those that were recorded')
    }
    return record
  }

  async #lines(first: number): Promise<string[]> {
    const organisationId = this.#tables.organisation()?.id
    if (!this.#archive || organisationId === undefined) throw new ArchiveError('no archive is bound')
    const node = this.#tables.nodeHash(first + segmentRecords - 1, segmentLevel)
    return (await this.#archive.segment(organisationId, { first, node })).split('\n')
  }
}

/** What a reader is told where the archive does not give the bytes of old records. */
export const archiveUnreadable =
  'The archive, which alone holds records as old as these, cannot be read, or holds other bytes than were recorded.'
