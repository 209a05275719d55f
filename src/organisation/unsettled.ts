/**
 * Owns the updates whose outcome is unknown, until a later look tells it: which are due, what a look means, and the turn
 * that each keeps meanwhile. Survives a crash by its rows. No clock: the time comes in.
 */

import { sha256Hex } from '../crypto.ts'
import { refuse } from '../errors.ts'
import { idempotencyScope } from '../update/idempotency-key.ts'
import { type Intent, intentOf } from '../update/writable.ts'
import type { Agenda } from './agenda.ts'
import type { AuditLog } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { Errand } from './courier.ts'
import type { Idempotency } from './idempotency.ts'
import { gateway } from './record.ts'
import type { Tables } from './tables.ts'
import type { Ticket, Turns } from './turns.ts'
import type { Sight } from './writer.ts'

/** Times are milliseconds since 1970. */
export interface UnsettledRow {
  attempt: number
  connectionId: string
  looks: number
  /** How many looks have shown that it was not applied. */
  missed: number
  nextAt: number
  untilAt: number
}

/** The look that a row asks for. */
export interface Inquiry {
  row: UnsettledRow
  errand: Errand
  intent: Intent
  /** Of the idempotency key that waits for the answer, if any. */
  scope: string | undefined
  /** The webhook delivery that it was made for, if any. */
  delivery: string | undefined
}

/** Looks go on for this many times the base: a minute at the default of 250 ms. */
const patience = 240
const firstLook = 4
const secondLook = 8

export class Unsettled {
  readonly #tables: Tables
  readonly #queue: CommitQueue
  readonly #log: AuditLog
  readonly #agenda: Agenda
  readonly #idempotency: Idempotency
  readonly #turns: Turns
  readonly #baseMs: number
  readonly #rows = new Map<number, UnsettledRow>()
  readonly #held = new Map<number, Ticket>()

  constructor(
    on: { tables: Tables; queue: CommitQueue; log: AuditLog; agenda: Agenda; idempotency: Idempotency },
    turns: Turns,
    baseMs: number,
  ) {
    this.#tables = on.tables
    this.#queue = on.queue
    this.#log = on.log
    this.#agenda = on.agenda
    this.#idempotency = on.idempotency
    this.#turns = turns
    this.#baseMs = baseMs
  }

  /** Reads the rows, and takes the turns that they keep: at construction, before any request can. */
  load(): void {
    this.#rows.clear()
    for (const row of this.#tables.unsettled()) {
      this.#rows.set(row.attempt, row)
      if (!this.#held.has(row.attempt)) this.#hold(row, undefined)
    }
  }

  /**
   * Keeps an attempt whose outcome is recorded as unknown, in the same transaction, to be looked into from `fromMs` on:
   * after its deadline, when the platform has had time to finish. Its connection's turn stays taken.
   */
  keep(attempt: number, connectionId: string, fromMs: number, turn?: Ticket): void {
    const row: UnsettledRow = {
      attempt,
      connectionId,
      looks: 0,
      missed: 0,
      nextAt: fromMs + firstLook * this.#baseMs,
      untilAt: fromMs + patience * this.#baseMs,
    }
    this.#hold(row, turn)
    this.#put(row)
  }

  /** Keeps the turn of an attempt whose outcome could not be written: it will be closed as unknown, and kept. */
  hold(attempt: number, turn: Ticket): void {
    if (!this.#held.has(attempt)) this.#held.set(attempt, turn)
  }

  /** What to look at now. */
  due(nowMs: number): Inquiry[] {
    return [...this.#rows.values()]
      .filter(row => row.nextAt <= nowMs)
      .sort((a, b) => a.nextAt - b.nextAt)
      .map(row => {
        const record = JSON.parse(this.#tables.record(row.attempt) as string)
        const { requestId, actor, target, request, delivery } = record
        const { organisationId, connectionId, version } = target
        const errand: Errand = {
          organisationId,
          requestId,
          client: {},
          trace: {},
          target: { connectionId, version },
        }
        const { idempotencyKey: key } = request
        const method = request.patchSha256 === undefined ? 'PUT' : 'PATCH'
        const scope =
          key === undefined ? undefined : idempotencyScope(actor.id, method, connectionId, version, key)
        const kept = this.#tables.intent(row.attempt)
        const intent = kept === null ? intentOf(JSON.stringify(request.body), version) : JSON.parse(kept)
        return { row, errand, intent, scope, delivery }
      })
  }

  /**
   * Takes what a look showed. Applied ends it. Not applied must be seen twice in a row, as a write that was cut off may land a
   * little later. What cannot be read is looked at again with growing pauses, and given up after a minute; a first sight of it
   * as not applied gets its second however late it came, as after a long downtime.
   */
  take({ row, errand, scope, delivery }: Inquiry, sight: Sight, nowMs: number): void {
    const looks = row.looks + 1
    const missed = sight.effect === 'not-applied' ? row.missed + 1 : 0
    const settled = sight.effect === 'applied' || missed >= 2
    if (!settled && (nowMs < row.untilAt || missed === 1)) {
      // The last look is at the very end, so that one that came before it has a second.
      const pause = secondLook * this.#baseMs
      const nextAt =
        nowMs < row.untilAt ? Math.min(nowMs + pause * 2 ** row.looks, row.untilAt) : nowMs + pause
      this.#put({ ...row, looks, missed, nextAt })
      return
    }
    this.#rows.delete(row.attempt)
    this.#queue.add(() => this.#tables.deleteUnsettled(row.attempt))
    const applied = sight.effect === 'applied' ? true : missed >= 2 ? false : null
    const { requestId, organisationId, target } = errand
    const { receipt } = this.#log.append(
      {
        requestId,
        event: 'update.reconciled',
        actor: gateway,
        target: { organisationId, ...target },
        delivery,
        attempt: row.attempt,
        applied,
        observed: sight.effect === 'unknown' ? undefined : observedOf(sight.body),
      },
      nowMs,
    )
    if (scope !== undefined) this.#tellKey(scope, applied === null ? { effect: 'unknown' } : sight, receipt)
    // The turn goes on once that is on disk: what has to look again must not find a successor's work.
    this.#queue.committed().then(
      () => {
        this.#held.get(row.attempt)?.leave()
        this.#held.delete(row.attempt)
      },
      () => {},
    )
  }

  /** When the next look is due, or undefined where nothing is unsettled. */
  get nextAt(): number | undefined {
    return this.#rows.size === 0
      ? undefined
      : Math.min(...[...this.#rows.values()].map(({ nextAt }) => nextAt))
  }

  /** Applied: whoever repeats the request gets what was read. Not applied: the key is free. Else: it stays unknown. */
  #tellKey(scope: string, sight: Sight, receipt: string): void {
    if (sight.effect === 'applied') {
      const result = { ok: true as const, status: 200, body: sight.body }
      this.#idempotency.settle(scope, { result, effect: 'applied', receipt })
    } else if (sight.effect === 'not-applied') {
      this.#idempotency.release(scope)
    } else {
      this.#idempotency.settle(scope, {
        result: refuse({ code: 'upstream-unreachable' }),
        effect: 'unknown',
        receipt,
      })
    }
  }

  #put(row: UnsettledRow): void {
    this.#rows.set(row.attempt, row)
    this.#queue.add(() => this.#tables.putUnsettled(row))
    this.#agenda.noLaterThan('unsettled', row.nextAt)
  }

  #hold({ attempt, connectionId }: UnsettledRow, turn: Ticket | undefined): void {
    // Held already where a commit failed under it: the turn is still the same.
    if (this.#held.has(attempt)) return
    const ticket = turn ?? this.#turns.take(connectionId)
    if (ticket) this.#held.set(attempt, ticket)
  }
}

function observedOf(body: string): { sha256: string; updatedAt?: string } {
  const { updatedAt } = JSON.parse(body)
  return { sha256: sha256Hex(body), ...(typeof updatedAt === 'string' ? { updatedAt } : {}) }
}
