/**
 * Owns how the parts around evidence fit together: who proves the log, where it is held elsewhere, and who may read it. Holds
 * no rule of its own.
 */
import type { SigningKey } from '../crypto.ts'
import type { Message, Reception } from '../upstream/post.ts'
import type { Archive } from './archive.ts'
import type { ArchiveTable } from './archive-table.ts'
import { AuditDesk, type ReadingRoom } from './audit-desk.ts'
import type { Heed } from './audit-log.ts'
import type { Continuity } from './continuity.ts'
import type { World } from './courier.ts'
import { EvidenceTable } from './evidence-table.ts'
import { Notary } from './notary.ts'
import { Publication } from './publication.ts'
import { RecordBytes } from './record-bytes.ts'
import type { Desk } from './recorder.ts'
import { Retention } from './retention.ts'

/** What it is made of. */
export interface Means extends Desk {
  table: ArchiveTable
  continuity: Continuity
  archive: Archive | undefined
  key: SigningKey
  retentionDays: number | undefined
  world: Pick<World, 'now' | 'random'>
  retryMs: number
  tell: ((message: Message) => Promise<Reception | undefined>) | undefined
  exist: ReadingRoom['exist']
}

export class Evidence {
  readonly bytes: RecordBytes
  readonly notary: Notary
  readonly desk: AuditDesk
  readonly checkpoints: Publication
  readonly retention: Retention
  readonly #continuity: Continuity

  constructor(means: Means, storage: Pick<DurableObjectStorage, 'sql' | 'sync'>) {
    this.#continuity = means.continuity
    this.bytes = new RecordBytes(means.tables, means.archive)
    this.notary = new Notary({ ...means, evidence: new EvidenceTable(storage.sql), bytes: this.bytes })
    this.desk = new AuditDesk({
      ...means,
      bytes: this.bytes,
      notary: this.notary,
      pause: () => storage.sync(),
    })
    this.checkpoints = new Publication({ ...means, notary: this.notary })
    const segment = (index: number) => this.checkpoints.segment(index)
    this.retention = new Retention({ ...means, segment })
  }

  load(): void {
    this.notary.load()
  }

  heed(...record: Parameters<Heed>): void {
    this.checkpoints.heed(...record)
  }

  /** Called hourly; false where the log may not be written to. */
  async look(): Promise<boolean> {
    if (!this.#continuity.open && !(await this.#continuity.again())) return false
    this.checkpoints.look()
    this.retention.look()
    return true
  }
}
