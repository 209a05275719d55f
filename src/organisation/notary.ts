/**
 * Owns what proves the log to who does not trust it: signed checkpoints, proofs, leaves, receipts. Speaks of what is
 * durable alone, and signs with a new key only what says so. Never changes a record. No clock of its own.
 */
import { type SigningKey, toHex } from '../crypto.ts'
import { type FieldError, ok, type Refusal, type Result, refuse } from '../errors.ts'
import type { ArchiveTable } from './archive-table.ts'
import { checkpoint } from './checkpoint.ts'
import type { Continuity } from './continuity.ts'
import type { EvidenceTable } from './evidence-table.ts'
import { type Actor, gateway } from './record.ts'
import { archiveUnreadable, type RecordBytes } from './record-bytes.ts'
import type { Desk } from './recorder.ts'
import { consistencyProof, type Frontier, inclusionProof, root } from './tree.ts'

/** Whose log, and under which host it is asked for: together they are the log's name. */
export interface LogName {
  organisationId: string
  host: string
}

/** That a record is in the log of `size` records: its leaf and the path to the root, in hexadecimal. */
export interface Inclusion {
  seq: number
  size: number
  leaf: string
  proof: string[]
}

/** That the log of `to` records begins with that of `from`. */
export interface Consistency {
  from: number
  to: number
  proof: string[]
}

/** What convinces on its own of one record: its exact bytes, and the way from them to a signature. */
export interface Receipt {
  record: string
  leaf: string
  proof: string[]
  checkpoint: string
}

const leavesPage = 2_000

/** What the notary speaks of, and signs with. */
export interface Seal extends Omit<Desk, 'agenda'> {
  evidence: EvidenceTable
  table: ArchiveTable
  bytes: RecordBytes
  continuity: Continuity
  key: SigningKey
}

export class Notary {
  readonly #on: Seal
  /** The public key that signed last, in base64, as it is or is queued to be. */
  #signedWith: string | undefined

  constructor(seal: Seal) {
    this.#on = seal
  }

  /** Reads from storage which key signed last. */
  load(): void {
    this.#signedWith = this.#on.tables.exist ? this.#on.evidence.signingKey() : undefined
  }

  /** A signed checkpoint of all that is durable, or that this call has made so. */
  async checkpoint(name: LogName): Promise<Result<string>> {
    const tree = await this.#signable(name)
    return tree.ok ? ok(this.sign(name, tree.value.size, root(tree.value))) : tree
  }

  /** A checkpoint, signed; who calls knows that it is of this log, and durable. */
  sign(name: LogName, size: number, top: Uint8Array): string {
    return checkpoint(name, size, top, this.#on.key)
  }

  /** Remembers under which host the log is known to those who run it: a part of its name. */
  noticeHost(host: string): void {
    const { tables, table, queue } = this.#on
    if (tables.exist && table.get().host !== host) queue.add(() => table.putHost(host))
  }

  /** Records that another key signs than the last one, where that is so; before the first signature with it. */
  noticeKey({ organisationId }: Pick<LogName, 'organisationId'>): void {
    const { tables, queue, log, now, evidence } = this.#on
    const key = Buffer.from(this.#on.key.publicKey).toString('base64')
    const last = this.#signedWith
    if (!tables.exist || last === key) return
    this.#signedWith = key
    queue.add(() => evidence.putSigningKey(key))
    if (last === undefined) return
    log.append(
      { event: 'key.changed', actor: gateway, target: { organisationId }, key: { from: last, to: key } },
      now(),
    )
  }

  /** The proof that a record is in the log as it is, or as it was when it held `size` records. */
  async inclusion(seq: number, size?: number): Promise<Result<Inclusion>> {
    const tree = await this.#durable()
    if (!tree.ok) return tree
    if (seq > tree.value.size) return noSuchRecord
    const of = size ?? tree.value.size
    if (of > tree.value.size) return beyond('size', tree.value.size)
    if (seq > of)
      return badQuery({ field: 'size', message: 'must not be less than the number of the record' })
    return ok(this.#inclusion(seq, of))
  }

  /** The proof that the log, as it is or was when it held `to` records, begins with the first `from` of them. */
  async consistency(from: number, to?: number): Promise<Result<Consistency>> {
    const tree = await this.#durable()
    if (!tree.ok) return tree
    const of = to ?? tree.value.size
    if (of > tree.value.size) return beyond('to', tree.value.size)
    if (from > of)
      return to === undefined
        ? beyond('from', of)
        : badQuery({ field: 'from', message: 'must not be more than to' })
    return ok({ from, to: of, proof: consistencyProof(this.#nodeAt, from, of).map(toHex) })
  }

  /** `<seq>:<leaf hash, hex>` of every record there is now, a line each, oldest first; read in pages as they are asked for. */
  async leaves(): Promise<Result<Generator<string, undefined>>> {
    const tree = await this.#durable()
    return tree.ok ? ok(this.#leafPages(tree.value.size)) : tree
  }

  *#leafPages(size: number): Generator<string, undefined> {
    for (let last = 0; last < size; ) {
      const rows = this.#on.evidence.leaves(last, size, leavesPage)
      if (rows.length > 0) yield rows.map(({ seq, leaf }) => `${seq}:${toHex(leaf)}\n`).join('')
      last = rows.at(-1)?.seq ?? size
    }
    return undefined
  }

  /** One record that a token caused, with what proves it; those of others are as if there were none. */
  async receipt(name: LogName, seq: number, tokenId: string): Promise<Result<Receipt>> {
    return this.#receipt(name, seq, actor => actor.type === 'token' && actor.id === tokenId)
  }

  /** The same of any record, for who may read them all. */
  async anyReceipt(name: LogName, seq: number): Promise<Result<Receipt>> {
    return this.#receipt(name, seq, () => true)
  }

  async #receipt(name: LogName, seq: number, isFor: (actor: Actor) => boolean): Promise<Result<Receipt>> {
    const tree = await this.#signable(name)
    if (!tree.ok) return tree
    const { size } = tree.value
    let record: string | undefined
    try {
      record = seq <= size ? await this.#on.bytes.of(seq) : undefined
    } catch {
      return refuse({ code: 'audit-unavailable', detail: archiveUnreadable })
    }
    if (!this.#on.continuity.open) return this.#shut()
    const actor: Actor | undefined = record && JSON.parse(record).actor
    if (!record || !actor || !isFor(actor)) return noSuchRecord
    const { leaf, proof } = this.#inclusion(seq, size)
    return ok({ record, leaf, proof, checkpoint: this.sign(name, size, root(tree.value)) })
  }

  #inclusion(seq: number, size: number): Inclusion {
    const proof = inclusionProof(this.#nodeAt, seq, size).map(toHex)
    return { seq, size, leaf: toHex(this.#nodeAt(seq, 0)), proof }
  }

  readonly #nodeAt = (seq: number, level: number) => this.#on.tables.nodeHash(seq, level)

  /** What may be signed: two logs under one name must not be, so nothing while this may not be the one that was known. */
  async #signable(name: LogName): Promise<Result<Frontier>> {
    const { continuity } = this.#on
    try {
      await continuity.confirm()
    } catch {
      return this.#shut()
    }
    this.noticeKey(name)
    const tree = await this.#durable()
    return tree.ok && !continuity.open ? this.#shut() : tree
  }

  #shut(): ReturnType<typeof refuse> {
    return refuse({ code: 'audit-unavailable', detail: this.#on.continuity.objection })
  }

  /** The log as it is now, once it is on disk: what a checkpoint says must not be undone by a crash. */
  async #durable(): Promise<Result<Frontier>> {
    const { tree } = this.#on.log
    try {
      await this.#on.queue.committed()
    } catch {
      return refuse({ code: 'audit-unavailable' })
    }
    return ok(tree)
  }
}

const noSuchRecord = refuse({ code: 'not-found', detail: 'There is no record with this number.' })

function beyond(field: string, size: number): { ok: false; refusal: Refusal } {
  return badQuery({ field, message: `must not be more than ${size}, the number of records in the log` })
}

function badQuery(field: FieldError): { ok: false; refusal: Refusal } {
  return refuse({ code: 'invalid-query', fields: [field] })
}
