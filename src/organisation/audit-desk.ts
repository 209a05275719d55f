/**
 * Owns what may be asked of the log: the part of the object that the edge, which has checked who asks, reaches as
 * `organisation.audit`. Reads, proves, and has a fork acknowledged. No clock of its own.
 */
import { RpcTarget } from 'cloudflare:workers'
import { ok, type Result, refuse } from '../errors.ts'
import { segmentRecords } from './archive.ts'
import type { ArchiveTable } from './archive-table.ts'
import { type AuditQuery, filterShown } from './audit-query.ts'
import { type AuditPage, auditExport, auditPage, streamOf } from './audit-reader.ts'
import type { ArchiveView, Continuity } from './continuity.ts'
import type { AdminCall, ReaderCall } from './messages.ts'
import type { Consistency, Inclusion, LogName, Notary } from './notary.ts'
import { byAdmin, byReader } from './record.ts'
import { archiveUnreadable, type RecordBytes } from './record-bytes.ts'
import type { Desk } from './recorder.ts'

/** What the desk works with. */
export interface ReadingRoom extends Desk {
  table: ArchiveTable
  bytes: RecordBytes
  continuity: Continuity
  notary: Notary
  /** Resolves on a later turn of the event loop. */
  pause: () => Promise<void>
  /** Sees to it that the organisation exists; false where it can't be made. */
  exist: (call: AdminCall) => Promise<boolean>
}

export class AuditDesk extends RpcTarget {
  readonly #on: ReadingRoom

  constructor(room: ReadingRoom) {
    super()
    this.#on = room
  }

  async page(query: AuditQuery): Promise<Result<AuditPage>> {
    await this.#settled()
    return readable(auditPage(this.#on.tables, this.#on.bytes, query))
  }

  /** One record's exact string, undefined where there is none. */
  async record(seq: number): Promise<Result<string | undefined>> {
    await this.#settled()
    return readable(this.#on.bytes.of(seq))
  }

  /**
   * What the log holds when this is called. That it was asked for is on record before any of it goes out, and the last line of it:
   * so a checkpoint covers it, whichever of the two is taken first.
   */
  async export(call: ReaderCall, query: AuditQuery): Promise<Result<ReadableStream<Uint8Array>>> {
    const { tables, bytes, log, queue, now, pause } = this.#on
    const stream = (size: number) => auditExport(tables, bytes, query, size, pause)
    if (!tables.exist) return ok(stream(0))
    const filter = filterShown(query)
    const { seq, receipt } = log.append({ ...byReader(call), event: 'audit.exported', filter }, now())
    try {
      await queue.committed()
    } catch {
      return this.#unwritable()
    }
    return { ok: true, value: stream(seq), receipt }
  }

  async checkpoint(name: LogName): Promise<Result<string>> {
    return this.#on.notary.checkpoint(name)
  }

  async inclusion(seq: number, size?: number): Promise<Result<Inclusion>> {
    return this.#on.notary.inclusion(seq, size)
  }

  async consistency(from: number, to?: number): Promise<Result<Consistency>> {
    return this.#on.notary.consistency(from, to)
  }

  async leaves(): Promise<Result<ReadableStream<Uint8Array>>> {
    const leaves = await this.#on.notary.leaves()
    return leaves.ok ? ok(streamOf(leaves.value)) : leaves
  }

  /** How the log stands to the archive, as that is now. */
  async archive(): Promise<ArchiveView> {
    await this.#on.continuity.again()
    return this.#on.continuity.view
  }

  /** Goes on with this log although the archive knows another, which an admin names by the digest of what is there. */
  async acknowledge(call: AdminCall, sha256: string): Promise<Result<ArchiveView>> {
    const { continuity, queue, log, table, now } = this.#on
    const { state, log: ours, archive: fork } = await this.archive()
    if (state !== 'forked' || !fork) return noFork
    if (fork.sha256 !== sha256) {
      const message = 'must be the sha256 that GET …/audit/archive shows now'
      return refuse({ code: 'invalid-body', fields: [{ field: 'sha256', message }] })
    }
    const signature = continuity.accept()
    if (!(await this.#on.exist(call))) {
      continuity.takeBack()
      return this.#unwritable()
    }
    // The archive lacks the segments of this log from where the two part; which that is, it finds out by their names.
    const segments = table.get().dropped / segmentRecords
    queue.add(() => table.putAcknowledged(signature, segments))
    const entry = {
      ...byAdmin(call),
      event: 'fork.acknowledged' as const,
      fork: { log: ours, archive: fork },
    }
    const { receipt } = log.append(entry, now())
    try {
      await queue.committed()
    } catch {
      continuity.takeBack()
      return this.#unwritable()
    }
    continuity.accepted()
    return { ok: true, value: continuity.view, receipt }
  }

  /** What is queued is a part of the log, unless it cannot be written. */
  async #settled(): Promise<void> {
    await this.#on.queue.committed().catch(() => {})
  }

  #unwritable(): ReturnType<typeof refuse> {
    return refuse({ code: 'audit-unavailable', detail: this.#on.continuity.objection })
  }
}

async function readable<T>(reading: Promise<T>): Promise<Result<T>> {
  return reading.then(ok, () => refuse({ code: 'audit-unavailable', detail: archiveUnreadable }))
}

const noFork = refuse({
  code: 'not-found',
  detail: 'There is no fork to acknowledge: the archive holds nothing that contradicts this log.',
})
