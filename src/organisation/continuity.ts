/**
 * Owns whether the log in this storage is the one that the archive knows: a restored older copy is shorter, a rewritten one
 * has another root. Until that is found out, and as long as it is not, nothing may be written. Never writes the log itself.
 * Clock, bucket and receiver are passed in.
 */
import { type SigningKey, sha256Hex } from '../crypto.ts'
import type { Message, Reception } from '../upstream/post.ts'
import { messageId } from './alerts.ts'
import { type Archive, ArchiveError, type Held } from './archive.ts'
import type { ArchiveRow, ArchiveTable } from './archive-table.ts'
import { readCheckpoint } from './checkpoint.ts'
import type { World } from './courier.ts'
import type { Tables } from './tables.ts'
import { root, treeOf } from './tree.ts'

/**
 * - `unbound`: there is no archive, and nothing to compare with.
 * - `unconfirmed`: the archive has not been read yet, or cannot be.
 * - `forked`: the archive knows a larger or another log, or has lost what it knew.
 */
export type ArchiveState = 'unbound' | 'unconfirmed' | 'confirmed' | 'forked'

/** A log by its size and root (base64). Of what is no checkpoint, both are null; of a log that lacks a node, the root. */
interface Position {
  size: number | null
  root: string | null
}

/** How the log stands to the archive. */
export interface ArchiveView {
  state: ArchiveState
  log: Position
  /** What the archive holds where that is not this log; `sha256`: of its bytes, by which an admin acknowledges it. */
  archive: (Position & { sha256: string }) | null
}

/** The log may not be written to; the message says why, in words for the operator. */
export class NotConfirmed extends Error {}

/** What it compares with and tells. */
export interface Grounds {
  tables: Tables
  table: ArchiveTable
  archive: Archive | undefined
  key: SigningKey
  world: Pick<World, 'now'>
  retryMs: number
  /** The name of the object; empty where the runtime tells none. */
  name: string
  tell: ((message: Message) => Promise<Reception | undefined>) | undefined
}

/** How long the archive is left alone after it has failed, in times the backoff's base: 1 s. */
const restTimes = 4

export class Continuity {
  readonly #on: Grounds
  readonly #onConfirmed: () => void
  #state: ArchiveState
  #fork: NonNullable<ArchiveView['archive']> | undefined
  #told = false
  #comparing: Promise<void> | undefined
  #tryAt = 0
  #etag: string | undefined
  #forkEtag: string | undefined

  /** `onConfirmed` is called each time that the log may be written to after it might not. */
  constructor(grounds: Grounds, onConfirmed: () => void) {
    this.#on = grounds
    this.#onConfirmed = onConfirmed
    this.#state = grounds.archive ? 'unconfirmed' : 'unbound'
  }

  /** Whether the log may be written to. */
  get open(): boolean {
    return this.#state === 'confirmed' || this.#state === 'unbound'
  }

  /** Why it may not, in words for the operator. */
  get objection(): string | undefined {
    if (this.open) return undefined
    if (this.#isAnothers())
      return 'The storage of this organisation says that it is of another one: nothing is written to it.'
    return this.#state === 'forked'
      ? 'The archive knows another audit log than this one, as after a restored backup: nothing is written until an administrator has looked at GET …/audit/archive and acknowledged it.'
      : 'The archive of the audit log cannot be read, so this log may be an older copy: nothing is written until it can.'
  }

  get view(): ArchiveView {
    return { state: this.#state, log: this.#log(), archive: this.#fork ?? null }
  }

  /** Resolves once the log may be written to; throws NotConfirmed where it may not. */
  async confirm(): Promise<void> {
    if (this.open) return
    const mayTry = this.#state === 'unconfirmed' && this.#on.world.now() >= this.#tryAt
    if (this.#comparing || mayTry) await this.#compareOnce()
    if (!this.open) throw new NotConfirmed(this.objection)
  }

  /**
   * Compares anew: something else than this object may have written to the archive, or put it right. Where the archive cannot be
   * read, all stays as it is.
   */
  async again(): Promise<boolean> {
    if (this.#state !== 'unbound') await this.#compareOnce()
    return this.open
  }

  /** Puts a checkpoint of this log in the place of the newest. False where something else had, and the log is compared anew. */
  async advance(text: string, archive: Archive): Promise<boolean> {
    if (!this.open) return false
    const held = await archive.putNewest(this.organisationId, text, this.#etag)
    if (held) this.#etag = held.etag
    else await this.again()
    return held !== undefined
  }

  /** Lets the log be written to, as an admin has acknowledged the fork: the signature to keep of what was acknowledged. */
  accept(): string {
    const signature = this.#signatureOf(this.#fork?.sha256 ?? '')
    this.#etag = this.#forkEtag
    this.#state = 'confirmed'
    return signature
  }

  /** That is on record. */
  accepted(): void {
    this.#fork = undefined
    this.#told = false
    this.#opened()
  }

  /** That could not be recorded. */
  takeBack(): void {
    this.#state = 'forked'
  }

  #compareOnce(): Promise<void> {
    this.#comparing ??= this.#compare().finally(() => {
      this.#comparing = undefined
    })
    return this.#comparing
  }

  async #compare(): Promise<void> {
    const { archive, table, tables, world, retryMs } = this.#on
    if (!archive) return
    const wasOpen = this.open
    // By what was known when the archive was asked: a checkpoint may land meanwhile.
    const known = tables.exist ? table.get() : undefined
    if (this.#isAnothers()) this.#state = 'unconfirmed'
    else {
      try {
        this.#judge(await archive.newest(this.organisationId), known)
      } catch (error) {
        if (!(error instanceof ArchiveError)) throw error
        this.#tryAt = world.now() + restTimes * retryMs
      }
    }
    if (this.open && !wasOpen) this.#opened()
    // Nobody waits for the receiver.
    if (!this.open) void this.#tell()
  }

  #judge(held: Held | undefined, known: ArchiveRow | undefined): void {
    const claim = { sha256: sha256Hex(held?.text ?? ''), ...positionOf(held?.text) }
    const follows = held === undefined ? !known?.checkpointed : this.#begins(claim)
    const isOurs = follows || known?.acknowledged === this.#signatureOf(claim.sha256)
    this.#state = isOurs ? 'confirmed' : 'forked'
    this.#fork = isOurs ? undefined : claim
    // What contradicts this log must not be overwritten before an admin has acknowledged it.
    if (isOurs) this.#etag = held?.etag
    else this.#forkEtag = held?.etag
  }

  #opened(): void {
    try {
      this.#onConfirmed()
    } catch {
      // What is due is tried again by the alarm; that the log may be written to stands.
    }
  }

  /** Whether this log begins with the one of a checkpoint. */
  #begins({ size, root: claimed }: Position): boolean {
    try {
      return size !== null && size <= this.#size && rootAt(this.#on.tables, size) === claimed
    } catch {
      // A node is missing.
      return false
    }
  }

  /** Who can write to this storage must not be able to acknowledge. Ed25519 signs the same text the same way. */
  #signatureOf(digest: string): string {
    const text = `versori-gateway acknowledged fork\n${this.organisationId}\n${digest}\n`
    return Buffer.from(this.#on.key.sign(text)).toString('base64')
  }

  /** Of what is durable, whatever is queued. */
  #log(): Position {
    try {
      return { size: this.#size, root: rootAt(this.#on.tables, this.#size) }
    } catch {
      return { size: this.#size, root: null }
    }
  }

  get #size(): number {
    return this.#on.tables.lastRecord()?.seq ?? 0
  }

  /** The object's own name: the storage must not choose what it is compared with. */
  get organisationId(): string {
    return this.#on.name || (this.#on.tables.organisation()?.id ?? '')
  }

  #isAnothers(): boolean {
    const stored = this.#on.tables.organisation()?.id
    return stored !== undefined && stored !== this.organisationId
  }

  /** An alert of its own, once in an object's life: the log cannot take a record to alert of. */
  async #tell(): Promise<void> {
    if (!this.#fork || this.#told || !this.#on.tell) return
    const { sha256: digest, ...archive } = this.#fork
    const organisationId = this.organisationId
    const type = 'audit.forked'
    const timestamp = new Date(this.#on.world.now()).toISOString()
    const data = { organisationId, log: this.#log(), archive: { ...archive, sha256: digest } }
    const id = messageId(organisationId, `${this.#size}-${digest.slice(0, 16)}`, type)
    this.#told = true
    const reception = await this.#on.tell({ id, body: JSON.stringify({ type, timestamp, data }) })
    this.#told = reception !== undefined && reception.status >= 200 && reception.status < 300
  }
}

function positionOf(text: string | undefined): Position {
  return (text === undefined ? undefined : readCheckpoint(text)) ?? { size: null, root: null }
}

/** The root (base64) of the log as it was when it held `size` records. */
function rootAt(tables: Tables, size: number): string {
  const tree = treeOf((seq, level) => tables.nodeHash(seq, level), size)
  return Buffer.from(root(tree)).toString('base64')
}
