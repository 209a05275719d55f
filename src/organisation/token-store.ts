/**
 * Owns the tokens of one organisation as they are, or are queued to be: admission sees a revocation before it is on
 * disk. Each change is a record in the same transaction. No clock: the time comes in.
 */
import type { AuditLog, Written } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { AdminCall } from './messages.ts'
import { byAdmin } from './record.ts'
import type { Tables } from './tables.ts'
import { instant, type TokenRow, type TokenView, viewToken } from './tokens.ts'

const maxCached = 1_000

export class TokenStore {
  readonly #tables: Tables
  readonly #queue: CommitQueue
  readonly #log: AuditLog
  readonly #cache = new Map<string, TokenRow>()

  constructor(tables: Tables, queue: CommitQueue, log: AuditLog) {
    this.#tables = tables
    this.#queue = queue
    this.#log = log
  }

  /** Forgets what is held in memory. */
  load(): void {
    this.#cache.clear()
  }

  /** A token by id: one indexed read where it is not in memory, none where the organisation does not exist. */
  get(id: string): TokenRow | undefined {
    const known = this.#cache.get(id)
    if (known) return known
    const row = this.#tables.token(id)
    if (row) this.#keep(row)
    return row
  }

  /** Stores a token as an admin changed it. Whoever is admitted next sees it; durable with the next commit. */
  change(
    call: AdminCall,
    event: 'token.created' | 'token.rotated' | 'token.revoked',
    row: TokenRow,
    nowMs: number,
  ): Written {
    this.#keep(row)
    this.#queue.add(() => this.#tables.putToken(row))
    const { id, name, scope, rateLimit } = row
    const origin = byAdmin(call)
    return this.#log.append(
      {
        ...origin,
        event,
        target: { ...origin.target, tokenId: id },
        token: { id, name, ...scope, rateLimit, expiresAt: instant(row.expiresAt) },
      },
      nowMs,
    )
  }

  list(nowMs: number): TokenView[] {
    return this.#tables.tokens().map(row => this.view(row, nowMs))
  }

  view(row: TokenRow, nowMs: number): TokenView {
    return viewToken(row, this.#tables.search.lastAccepted(row.id)?.time ?? null, nowMs)
  }

  /** The last record that let a token in, for who has to judge what a leaked one did. */
  lastAccepted(id: string): { time: string; seq: number } | null {
    const last = this.#tables.search.lastAccepted(id)
    return last && { time: instant(last.time), seq: last.seq }
  }

  #keep(row: TokenRow): void {
    // All at once: a change that is queued must be found until it is on disk, so it goes in after the sweep. What the
    // sweep takes is either on disk or in the queue that the next read of the row waits for.
    if (this.#cache.size >= maxCached && !this.#queue.busy) this.#cache.clear()
    this.#cache.set(row.id, row)
  }
}
