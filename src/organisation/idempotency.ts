/**
 * Owns idempotency keys: which request runs under one, and what it was answered. Held in memory while a request waits,
 * durable from its reservation on, kept 24 hours. No clock: the time comes in.
 */
import { sha256Hex } from '../crypto.ts'
import type { Agenda } from './agenda.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { Answer } from './messages.ts'
import type { Tables } from './tables.ts'

/** `answer` is null while the request's effect is not known. `fingerprint`: SHA-256 of the serialised update, in hex. */
export interface IdempotencyRow {
  scope: string
  fingerprint: string
  answer: string | null
  expiresAt: number
}

/** What a key says to a request that bears it; `row` is the claim of a new one, to be given up by who made it. */
export type Claim =
  | { kind: 'new'; row: IdempotencyRow }
  | { kind: 'in-flight' | 'mismatch' }
  | { kind: 'done'; answer: Answer }

const lifetimeMs = 86_400_000
const sweepMs = 3_600_000
const maxSwept = 1_000
const maxAnswerBytes = 64 * 1024

export class Idempotency {
  readonly #tables: Tables
  readonly #queue: CommitQueue
  readonly #agenda: Agenda
  /** Rows that are not on disk yet, and those whose request is on its way. */
  readonly #recent = new Map<string, IdempotencyRow>()
  /** Of those, what has been queued for the disk. */
  readonly #reserved = new Set<string>()

  constructor(on: { tables: Tables; queue: CommitQueue; agenda: Agenda }) {
    this.#tables = on.tables
    this.#queue = on.queue
    this.#agenda = on.agenda
  }

  /** Claims a key for a request, or says what stands against it. Who claimed it must settle or release it. */
  claim(scope: string, fingerprint: string, nowMs: number): Claim {
    const row = this.#recent.get(scope) ?? this.#tables.idempotency(scope)
    if (row && row.expiresAt > nowMs) {
      if (row.fingerprint !== fingerprint) return { kind: 'mismatch' }
      return row.answer === null ? { kind: 'in-flight' } : { kind: 'done', answer: JSON.parse(row.answer) }
    }
    this.#reserved.delete(scope)
    const claimed = { scope, fingerprint, answer: null, expiresAt: nowMs + lifetimeMs }
    this.#recent.set(scope, claimed)
    return { kind: 'new', row: claimed }
  }

  /** Makes a claim durable, in the transaction of the record that says what it was claimed for. */
  reserve(scope: string, nowMs: number): void {
    const row = this.#recent.get(scope)
    if (!row) return
    this.#reserved.add(scope)
    this.#queue.add(() => this.#tables.putIdempotency(row))
    this.#agenda.noLaterThan('idempotency', nowMs + sweepMs)
  }

  /** Forgets what a commit that failed was to store. Claims of requests under way stay. */
  load(): void {
    for (const [scope, row] of this.#recent) {
      if (row.answer !== null || row.expiresAt === 0) this.#forget(scope)
    }
  }

  /** Keeps an answer for whoever repeats the request: an update that was applied, or of which nobody will ever know. */
  settle(scope: string, answer: Answer): void {
    const row = this.#recent.get(scope) ?? this.#tables.idempotency(scope)
    if (row)
      this.#change({ ...row, answer: JSON.stringify(bounded(answer)) }, settled =>
        this.#tables.putIdempotency(settled),
      )
  }

  /** Frees a key, whose request changed nothing, in the transaction of the record that says so. */
  release(scope: string): void {
    const row = this.#recent.get(scope) ?? this.#tables.idempotency(scope)
    if (row) this.#change({ ...row, expiresAt: 0 }, () => this.#tables.deleteIdempotency(scope))
  }

  /** Gives up a claim that was never reserved; not that of another request, which may have come after a release. */
  abandon(row: IdempotencyRow): void {
    if (!this.#reserved.has(row.scope)) this.#forgetIf(row)
  }

  /** Holds a row in memory until its write is on disk; a new claim may have come by then. */
  #change(row: IdempotencyRow, write: (row: IdempotencyRow) => void): void {
    this.#recent.set(row.scope, row)
    this.#queue.add(() => write(row))
    this.#queue.committed().then(
      () => this.#forgetIf(row),
      () => {},
    )
  }

  #forgetIf(row: IdempotencyRow): void {
    if (this.#recent.get(row.scope) === row) this.#forget(row.scope)
  }

  #forget(scope: string): void {
    this.#recent.delete(scope)
    this.#reserved.delete(scope)
  }

  /** Takes away what has expired, some at a time, and says when there is more. */
  sweep(nowMs: number): void {
    const swept = this.#tables.sweepIdempotency(nowMs, maxSwept)
    const next = this.#tables.nextIdempotencyExpiry()
    if (next === null) this.#agenda.done('idempotency')
    else this.#agenda.set('idempotency', swept === maxSwept ? nowMs : Math.max(next, nowMs + sweepMs))
  }
}

/** An answer over 64 KiB is kept by its status and digest. */
function bounded(answer: Answer): Answer {
  const { result } = answer
  if (!result.ok || Buffer.byteLength(result.body) <= maxAnswerBytes) return answer
  return { ...answer, result: { ...result, body: JSON.stringify({ sha256: sha256Hex(result.body) }) } }
}
