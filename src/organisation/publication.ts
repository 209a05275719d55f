/**
 * Owns that the log is held elsewhere: signed checkpoints go to the archive, with the segments that are finished, and then to the
 * receiver of alerts; hourly where something changed, and at once where a restored older copy would do harm. What fails at
 * either is sent there again, as the newest there is by then. No clock, no dice and no network of its own.
 */
import { pauseMs } from '../upstream/backoff.ts'
import type { Message, Reception } from '../upstream/post.ts'
import { messageId } from './alerts.ts'
import { type Archive, type Segment, segmentLevel, segmentRecords } from './archive.ts'
import type { ArchiveTable } from './archive-table.ts'
import { isHostOfLog } from './checkpoint.ts'
import type { Continuity } from './continuity.ts'
import type { World } from './courier.ts'
import type { Notary } from './notary.ts'
import type { Entry, Event } from './record.ts'
import type { Desk } from './recorder.ts'
import { leafHash, root } from './tree.ts'

/**
 * In times the backoff's base: an hour; 10 min between what goes out as the platform gives a new cookie, which it may do with each
 * answer; 5 s between what else goes out at once.
 */
const hourly = 14_400
const rotationEvery = 2_400
const atOnceEvery = 20
/** A run gives segments to the archive for so long, in times the backoff's base, and then lets others go first. */
const patience = 4

/** What a restored older copy would undo: a token or a secret would be valid again, a hook do more, a session be back. */
const urgent: readonly Event[] = [
  'token.revoked',
  'token.rotated',
  'session.set',
  'session.deleted',
  'hook.changed',
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

/** A checkpoint, as it goes out. */
interface Issue {
  organisationId: string
  size: number
  root: Uint8Array
  text: string
}

export class Publication {
  readonly #on: Press
  #lastRunAt = 0
  /** When a cookie that the platform gave anew last made one leave at once. */
  #rotatedAt = Number.NEGATIVE_INFINITY
  /** When the first record that came since the run began must go out, if one did. */
  #wantedAt: number | undefined
  /** How often each of the two has failed in a row. */
  #archiveTries = 0
  #tellTries = 0
  #tellAt = 0
  #toldSize = 0
  #isDamageTold = false

  constructor(press: Press) {
    this.#on = press
  }

  /** Takes a record that is queued. */
  heed({ event }: Pick<Entry, 'event'>, _seq: number, timeMs: number): void {
    const { archive, tell, retryMs, agenda } = this.#on
    if (!archive && !tell) return
    const rotatedAt = Math.max(timeMs, this.#rotatedAt + rotationEvery * retryMs)
    if (event === 'session.rotated' && rotatedAt === timeMs) this.#rotatedAt = timeMs
    const at = urgent.includes(event)
      ? Math.max(timeMs, this.#lastRunAt + atOnceEvery * retryMs)
      : event === 'session.rotated'
        ? rotatedAt
        : timeMs + hourly * retryMs
    this.#wantedAt = Math.min(at, this.#wantedAt ?? at)
    agenda.noLaterThan('checkpoints', at)
  }

  /** Called hourly: makes due what was not, as with an archive that was bound since. */
  look(): void {
    const { archive, tables, table, log, agenda, world, retryMs } = this.#on
    if (!archive || !tables.exist || table.get().checkpointed >= log.size) return
    agenda.noLaterThan('checkpoints', world.now() + hourly * retryMs)
  }

  /** Sends the newest checkpoint, and says when to send another. */
  async run(): Promise<void> {
    const { agenda, world, retryMs, archive, continuity } = this.#on
    this.#lastRunAt = world.now()
    this.#wantedAt = undefined
    // For a crash in what follows.
    agenda.set('checkpoints', world.now() + hourly * retryMs)
    const issue = await this.#issue()
    if (!issue) return continuity.open ? agenda.done('checkpoints') : undefined
    const archived = archive ? await this.#archive(issue, archive) : 'done'
    // Not where the archive knows another log: two must not go out under one name.
    const told = continuity.open && (await this.#tell(issue))
    this.#archiveTries = archived === 'failed' ? this.#archiveTries + 1 : 0
    const now = world.now()
    const due: number[] = this.#wantedAt === undefined ? [] : [this.#wantedAt]
    if (archived === 'more') due.push(now)
    if (archived === 'failed') due.push(now + pauseMs(this.#archiveTries, retryMs, world.random()))
    if (!told) due.push(Math.max(now + atOnceEvery * retryMs, this.#tellAt))
    if (due.length > 0) agenda.set('checkpoints', Math.min(...due))
    else agenda.done('checkpoints')
  }

  /**
   * A checkpoint of what is durable; undefined where the log is not known to be the one, and without a host, which is a part of its
   * name: whoever sets a session brings one.
   */
  async #issue(): Promise<Issue | undefined> {
    const { queue, log, table, tables, notary, continuity } = this.#on
    if (!tables.exist) return undefined
    const { organisationId } = continuity
    notary.noticeKey({ organisationId })
    const { size } = log
    const top = root(log.tree)
    await queue.committed()
    const { host } = table.get()
    if (host === null || !isHostOfLog(host) || !continuity.open) return undefined
    const text = notary.sign({ organisationId, host }, size, top)
    return { organisationId, size, root: top, text }
  }

  /** The segments come first: what a checkpoint covers and the object may lose is then there. */
  async #archive(
    { organisationId, size, root: top, text }: Issue,
    archive: Archive,
  ): Promise<'done' | 'more' | 'failed'> {
    const { queue, agenda, table, continuity, world, retryMs } = this.#on
    const endsAt = world.now() + patience * retryMs
    const finished = Math.floor(size / segmentRecords)
    try {
      let { segments } = table.get()
      const given = segments
      while (segments < finished && (segments === given || world.now() < endsAt)) {
        const segment = this.segment(segments)
        if (!segment) break
        await archive.keepSegment(organisationId, segment)
        const count = ++segments
        queue.add(() => table.putSegments(count))
      }
      if (segments > given) agenda.noLaterThan('retention', world.now())
      await archive.keepCheckpoint(organisationId, size, top, text)
      if (!(await continuity.advance(text, archive))) return 'failed'
      queue.add(() => table.putCheckpointed(size))
      await queue.committed()
      return segments < finished && segments > given ? 'more' : 'done'
    } catch {
      return 'failed'
    }
  }

  /**
   * Segment number `index` of the log, from 0. Undefined where its bytes are not those that were recorded: they must not be archived
   * under the name of those.
   */
  segment(index: number): Segment | undefined {
    const { tables, table } = this.#on
    const last = (index + 1) * segmentRecords
    const first = last - segmentRecords + 1
    const records = table.records(first, last)
    for (const [at, record] of records.entries()) {
      if (Buffer.compare(leafHash(record), tables.nodeHash(first + at, 0)) === 0) continue
      this.#tellDamage(first + at)
      return undefined
    }
    const ndjson = records.map(record => `${record}\n`).join('')
    return { first, node: tables.nodeHash(last, segmentLevel), ndjson }
  }

  /** Once in an object's life. */
  #tellDamage(seq: number): void {
    if (this.#isDamageTold) return
    this.#isDamageTold = true
    void this.#send('audit.damaged', `${seq}`, this.#on.world.now(), { seq })
  }

  /** Sends a checkpoint that has not been sent; false where it has to be tried again. */
  async #tell({ size, root: top, text }: Issue): Promise<boolean> {
    const { table, world, retryMs } = this.#on
    if (size <= this.#toldSize) return true
    if (world.now() < this.#tellAt) return false
    // The time of the last record that it covers, so that a message that is sent again is the same.
    const data = { size, root: Buffer.from(top).toString('base64'), checkpoint: text }
    const told = await this.#send('audit.checkpoint', `${size}`, table.timeOf(size), data)
    this.#tellTries = told ? 0 : this.#tellTries + 1
    if (told) this.#toldSize = size
    else this.#tellAt = world.now() + pauseMs(this.#tellTries, retryMs, world.random())
    return told
  }

  /** True where it arrived, or there is no receiver. */
  async #send(type: string, name: string, timeMs: number, about: object): Promise<boolean> {
    const { tell, tables } = this.#on
    if (!tell) return true
    const organisationId = tables.organisation()?.id as string
    const timestamp = new Date(timeMs).toISOString()
    const body = JSON.stringify({ type, timestamp, data: { organisationId, ...about } })
    const reception = await tell({ id: messageId(organisationId, name, type), body })
    return reception !== undefined && reception.status >= 200 && reception.status < 300
  }
}
