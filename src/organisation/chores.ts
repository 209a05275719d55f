/**
 * Owns what the object does when nobody asks: closing lost attempts, looking into unknown updates, sweeping, warning, and
 * telling the directory. Decides when each is due again. No clock and no network of its own: both are passed in.
 */
import type { Agenda } from './agenda.ts'
import { type Attempts, attemptMargin } from './attempts.ts'
import type { AuditLog } from './audit-log.ts'
import type { Capacity } from './capacity.ts'
import type { Summary } from './directory.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { Evidence } from './evidence.ts'
import type { Idempotency } from './idempotency.ts'
import { gateway, lostOutcome } from './record.ts'
import type { Recorder } from './recorder.ts'
import type { Due } from './schedule.ts'
import type { SessionStore } from './session-store.ts'
import type { Tables } from './tables.ts'
import type { Unsettled } from './unsettled.ts'
import type { Watch } from './watch.ts'
import type { Writer } from './writer.ts'

export const directoryRetryMs = 5_000
const dayMs = 86_400_000
const unknownKindMs = 3_600_000
/** By how much the storage may have grown before the directory is told. */
const publishedEveryBytes = 1_000_000
/** How long the alarm's looks may take, in times the backoff's base: one alone, or so many that share it. */
const lookPatience = 16
const mostLooks = 4

/** What the chores are about. */
export interface Household {
  tables: Tables
  log: AuditLog
  agenda: Agenda
  session: SessionStore
  unsettled: Unsettled
  idempotency: Idempotency
  capacity: Capacity
  attempts: Attempts
  recorder: Recorder
  watch: Watch
  evidence: Evidence
  dispatcher: Dispatcher
  /** Has the alarm's own slot. */
  inspector: Writer
  /** Tells the directory. */
  publish: (summary: Summary) => Promise<void>
  now: () => number
  timeoutMs: number
  retryMs: number
}

export class Chores {
  readonly #on: Household
  #publishedBytes = 0

  constructor(household: Household) {
    this.#on = household
  }

  /** Does one kind of what is due. May throw where something is broken: then it is due again. */
  async run(kind: Due): Promise<void> {
    const { agenda, attempts, recorder, idempotency, now, timeoutMs, retryMs } = this.#on
    switch (kind) {
      case 'attempts':
        this.closeLost()
        this.watchStorage()
        if (!attempts.busy) return agenda.done(kind)
        return agenda.set(kind, now() + timeoutMs + attemptMargin * retryMs)
      case 'denials':
        agenda.done(kind)
        return recorder.writeSuppressed()
      case 'idempotency':
        return idempotency.sweep(now())
      case 'unsettled':
        return this.#lookIntoUnsettled()
      case 'storage':
        agenda.done(kind)
        return this.watchStorage()
      case 'directory':
        return this.publish()
      case 'deliveries':
        return this.#on.dispatcher.start()
      case 'checkpoints':
      case 'retention':
        return this.#on.evidence[kind].run()
      case 'expiries':
      case 'alerts':
        return this.#on.watch[kind].run()
      default:
        // From a later version that was rolled back: kept for it, and not in the way.
        return agenda.set(kind, now() + unknownKindMs)
    }
  }

  /**
   * Closes as unknown what nothing else will close: attempts that a crash or a reset cut off, or whose outcome could not
   * be written. They are looked into like every unknown one.
   */
  closeLost(): void {
    const { log, attempts, tables, unsettled, now } = this.#on
    for (const attempt of log.openAttempts) {
      if (attempts.isRunning(attempt)) continue
      const outcome = lostOutcome(tables.record(attempt) as string, attempt)
      log.append(outcome, now())
      unsettled.keep(attempt, outcome.target.connectionId as string, now())
    }
  }

  /** Tells the directory how this organisation stands. What fails is due again. */
  async publish(): Promise<void> {
    const { tables, session, capacity, agenda, now } = this.#on
    const organisation = tables.organisation()
    if (!organisation) return
    const { bytes } = capacity
    const standing = () => ({ sessionState: session.view().state, tokens: tables.activeTokens(now()) })
    const told = standing()
    try {
      await this.#on.publish({
        organisationId: organisation.id,
        createdAt: organisation.createdAt,
        ...told,
        bytes,
      })
      this.#publishedBytes = bytes
      // What changed meanwhile made this due, and is not told yet.
      if (JSON.stringify(standing()) === JSON.stringify(told)) agenda.done('directory')
      else agenda.set('directory', now())
    } catch {
      agenda.set('directory', now() + directoryRetryMs)
    }
  }

  /** Records once a day that the storage is nearly full, and has the directory know by how much it grew. */
  watchStorage(): void {
    const { tables, log, agenda, capacity, now } = this.#on
    const { bytes, high } = capacity
    const grown = Math.abs(bytes - this.#publishedBytes)
    if (grown >= publishedEveryBytes) agenda.noLaterThan('directory', now())
    const organisationId = tables.organisation()?.id
    if (!high || organisationId === undefined || agenda.has('storage')) return
    log.append({ event: 'storage.high', actor: gateway, target: { organisationId }, storage: high }, now())
    agenda.set('storage', now() + dayMs)
  }

  /**
   * Looks at what unknown updates left behind, one after the other, and says when to look again. One that was looked at in vain
   * and missed its last look, as those of others took too long, is given up without: its connection waits.
   */
  async #lookIntoUnsettled(): Promise<void> {
    const { unsettled, inspector, agenda, now, timeoutMs, retryMs } = this.#on
    const patienceMs = Math.min(timeoutMs, lookPatience * retryMs)
    const endsAt = now() + patienceMs
    const due = unsettled.due(now())
    const eachMs = patienceMs / Math.min(mostLooks, due.length)
    for (const inquiry of due) {
      const { looks, missed, untilAt } = inquiry.row
      if (looks > 0 && missed === 0 && now() > untilAt + patienceMs) {
        unsettled.take(inquiry, { effect: 'unknown' }, now())
        continue
      }
      // What is left is due again at once, but after whatever else is.
      if (now() >= endsAt) continue
      const sight = await inspector.look(inquiry.errand, inquiry.intent, now() + eachMs)
      unsettled.take(inquiry, sight, now())
    }
    const { nextAt } = unsettled
    if (nextAt === undefined) agenda.done('unsettled')
    else agenda.set('unsettled', nextAt)
  }
}
