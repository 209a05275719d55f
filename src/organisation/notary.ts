/**
 * Owns what proves the log to who does not trust it: signed checkpoints, proofs, leaves, receipts. Speaks of what is
 * durable alone, and signs with a new key only what says so. Never changes a record. No clock of its own.
 */
import { type SigningKey, toHex } from '../crypto.ts'
import { type FieldError, ok, type Refusal, type Result, refuse } from '../errors.ts'
import { checkpoint } from './checkpoint.ts'
import { EvidenceTable } from './evidence-table.ts'
import { type Actor, gateway } from './record.ts'
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

export class Notary {
  readonly #on: Omit<Desk, 'agenda'>
  readonly #table: EvidenceTable
  readonly #key: SigningKey
  /** The public key that signed last, in base64, as it is or is queued to be. */
  #signedWith: string | undefined

  constructor(desk: Omit<Desk, 'agenda'>, sql: SqlStorage, key: SigningKey) {
    this.#on = desk
    this.#table = new EvidenceTable(sql)
    this.#key = key
  }

  /** Reads from storage which key signed last. */
  load(): void {
    this.#signedWith = this.#on.tables.exist ? this.#table.signingKey() : undefined
  }

  /** A signed checkpoint of all that is durable, or that this call has made so. */
  async checkpoint(name: LogName): Promise<Result<string>> {
    this.#noticeKey(name)
    const tree = await this.#durable()
    return tree.ok ? ok(checkpoint(name, tree.value.size, root(tree.value), this.#key)) : tree
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
      const rows = this.#table.leaves(last, size, leavesPage)
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
    this.#noticeKey(name)
    const tree = await this.#durable()
    if (!tree.ok) return tree
    const record = seq <= tree.value.size ? this.#on.tables.record(seq) : undefined
    const actor: Actor | undefined = record && JSON.parse(record).actor
    if (!record || !actor || !isFor(actor)) return noSuchRecord
    const { leaf, proof } = this.#inclusion(seq, tree.value.size)
    const signed = checkpoint(name, tree.value.size, root(tree.value), this.#key)
    return ok({ record, leaf, proof, checkpoint: signed })
  }

  #inclusion(seq: number, size: number): Inclusion {
    const proof = inclusionProof(this.#nodeAt, seq, size).map(toHex)
    return { seq, size, leaf: toHex(this.#nodeAt(seq, 0)), proof }
  }

  readonly #nodeAt = (seq: number, level: number) => this.#on.tables.nodeHash(seq, level)

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

  /** Another key than the last one is a record, which the first checkpoint that it signs covers. */
  #noticeKey({ organisationId }: LogName): void {
    const { tables, queue, log, now } = this.#on
    const key = Buffer.from(this.#key.publicKey).toString('base64')
    const last = this.#signedWith
    if (!tables.exist || last === key) return
    this.#signedWith = key
    queue.add(() => this.#table.putSigningKey(key))
    if (last === undefined) return
    log.append(
      { event: 'key.changed', actor: gateway, target: { organisationId }, key: { from: last, to: key } },
      now(),
    )
  }
}

const noSuchRecord = refuse({ code: 'not-found', detail: 'There is no record with this number.' })

function beyond(field: string, size: number): { ok: false; refusal: Refusal } {
  return badQuery({ field, message: `must not be more than ${size}, the number of records in the log` })
}

function badQuery(field: FieldError): { ok: false; refusal: Refusal } {
  return refuse({ code: 'invalid-query', fields: [field] })
}
