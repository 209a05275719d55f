/**
 * Owns that the log is held elsewhere: signed checkpoints go to the archive, with the segments that are finished, and to the
 * receiver of alerts; hourly where something changed, and at once where a restored older copy would do harm. What fails is
 * sent again, as the newest there is by then. No clock, no dice and no network of its own.
 */
import { pauseMs } from '../upstream/backoff.ts'
import type { Message, Reception } from '../upstream/post.ts'
import { type Archive, type Segment, segmentLevel, segmentRecords } from './archive.ts'
import type { ArchiveTable } from './archive-table.ts'
import type { Continuity } from './continuity.ts'
import type { World } from './courier.ts'
import type { LogName, Notary } from './notary.ts'
import type { Entry, Event } from './record.ts'
import type { Desk } from './recorder.ts'
import { root } from './tree.ts'

/** In times the backoff's base: an hour, and 5 s between what goes out at once. */
const hourly = 14_400
const atOnceEvery = 20
/** A run gives segments to the archive for so long, in times the backoff's base, and then lets others go first. */
const patience = 40

/** What a restored older copy would undo: a token or a secret would be valid again, a session be back. */
const urgent: readonly Event[] = [
  'token.revoked',
  'token.rotated',
  'session.set',
  'session.rotated',
  'session.deleted',
  'hook.rotated',
  'hook.deleted',
  'fork.acknowledged',
]

/** What it publishes, and where. */
export interface Press extends Desk {
  table: ArchiveTable
  notary: Notary
  continuity: Continuity
  archive: Archive | undefined
  tell: ((message: Message) => Promise<Reception | undefined>) | undefined
  world: Pick<World, 'now' | 'random'>
  retryMs: number
}

export class Publication {
  readonly #on: Press
  #tries = 0
  #lastRunAt = 0
  /** Whether a record that has come since the run began must go out at once. */
  #pressing = false

  constructor(press: Press) {
    this.#on = press
  }

  /** Takes a record that is queued. */
  heed({ event }: Pick<Entry, 'event'>, _seq: number, timeMs: number): void {
    if (!this.#on.archive && !this.#on.tell) return
    if (urgent.includes(event)) this.#pressing = true
    this.#on.agenda.noLaterThan('checkpoints', this.#next(timeMs))
  }

  #next(nowMs: number): number {
    const { retryMs } = this.#on
    return this.#pressing
      ? Math.max(nowMs, this.#lastRunAt + atOnceEvery * retryMs)
      : nowMs + hourly * retryMs
  }

  /** Called hourly: makes due what was not, as with an archive that was bound since. */
  look(): void {
    const { archive, tables, table, log, agenda, world, retryMs } = this.#on
    if (!archive || !tables.exist || table.get().checkpointed >= log.size) return
    agenda.noLaterThan('checkpoints', world.now() + hourly * retryMs)
  }

  /** Sends the newest checkpoint, and says when to send another. */
  async run(): Promise<void> {
    const { queue, agenda, log, world, retryMs, table, tables, archive } = this.#on
    this.#lastRunAt = world.now()
    this.#pressing = false
    const again = world.now() + pauseMs(this.#tries + 1, retryMs, world.random())
    // For a crash in what follows.
    agenda.set('checkpoints', again)
    const organisation = tables.organisation()
    if (organisation) this.#on.notary.noticeKey({ organisationId: organisation.id })
    const { size } = log
    const top = root(log.tree)
    await queue.committed()
    const { host } = table.get()
    // Without a host the log has no name to be signed under: the next admin's call brings one.
    if (!organisation || host === null) return agenda.done('checkpoints')
    const name = { organisationId: organisation.id, host }
    const text = this.#on.notary.sign(name, size, top)
    const [archived, told] = await Promise.all([
      archive ? this.#archive(name, size, top, text) : 'done',
      this.#tell(name, size, top, text),
    ])
    if (archived === 'failed' || !told) {
      this.#tries++
      if (this.#pressing) agenda.noLaterThan('checkpoints', this.#next(world.now()))
      return
    }
    this.#tries = 0
    if (archived === 'more') agenda.set('checkpoints', world.now())
    else if (log.size > size) agenda.set('checkpoints', this.#next(world.now()))
    else agenda.done('checkpoints')
  }

  /** The segments come first: what a checkpoint covers and the object may lose is then there. */
  async #archive(
    { organisationId }: LogName,
    size: number,
    top: Uint8Array,
    text: string,
  ): Promise<'done' | 'more' | 'failed'> {
    const { queue, agenda, table, continuity, world, retryMs } = this.#on
    const archive = this.#on.archive as Archive
    const endsAt = world.now() + patience * retryMs
    const finished = Math.floor(size / segmentRecords)
    try {
      let { segments } = table.get()
      const given = segments
      for (; segments < finished && world.now() < endsAt; segments++) {
        await archive.keepSegment(organisationId, this.segment(segments))
        const count = segments + 1
        queue.add(() => table.putSegments(count))
      }
      if (segments > given) agenda.noLaterThan('retention', world.now())
      await archive.keepCheckpoint(organisationId, size, top, text)
      if (!(await continuity.advance(text, archive))) return 'failed'
      queue.add(() => table.putCheckpointed(size))
      await queue.committed()
      return segments < finished ? 'more' : 'done'
    } catch {
      return 'failed'
    }
  }

  /** Segment number `index`, from 0. */
  segment(index: number): Segment {
    const last = (index + 1) * segmentRecords
    return {
      first: last - segmentRecords + 1,
      node: this.#on.tables.nodeHash(last, segmentLevel),
      ndjson: this.#on.table.ndjson(last - segmentRecords, last),
    }
  }

  async #tell({ organisationId }: LogName, size: number, top: Uint8Array, text: string): Promise<boolean> {
    const { tell, table } = this.#on
    if (!tell || size === 0) return true
    const type = 'audit.checkpoint'
    // Of the last record that it covers, so that a message that is sent again is the same.
    const timestamp = new Date(table.timeOf(size)).toISOString()
    const data = { organisationId, size, root: Buffer.from(top).toString('base64'), checkpoint: text }
    const id = `${organisationId}.${size}.${type}`
    const reception = await tell({ id, body: JSON.stringify({ type, timestamp, data }) })
    return reception !== undefined && reception.status >= 200 && reception.status < 300
  }
}
