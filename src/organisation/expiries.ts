/**
 * Owns warnings ahead of an expiry: one record for each end of a session or a token, whether or not anyone is alerted.
 * Survives a crash by its rows. No clock: the time comes in.
 */
import type { AlertTable } from './alert-table.ts'
import { type Entry, gateway } from './record.ts'
import { instant } from './tokens.ts'
import type { Watched } from './watch.ts'

const dayMs = 86_400_000
const sessionLeadMs = 7 * dayMs
const tokenLeadMs = 14 * dayMs
const maxWarnings = 100

export class Expiries {
  readonly #on: Watched
  readonly #table: AlertTable
  readonly #now: () => number
  /** Whether an end was set that the tables may not show yet. */
  #news = false

  constructor(on: Watched, table: AlertTable, now: () => number) {
    this.#on = on
    this.#table = table
    this.#now = now
  }

  /** Takes a record that is queued: one that sets an end makes its warning due. */
  heed({ event, token }: Entry, _seq: number, timeMs: number): void {
    const { queue, agenda, session } = this.#on
    const set = event === 'session.set'
    if (!set && event !== 'token.created' && event !== 'token.rotated') return
    const { expiresAt } = set ? session.view() : (token as { expiresAt: string | null })
    // Whoever sets a session is warned of its end, though the one before it may have had the same.
    if (set) queue.add(() => this.#table.deleteWarned('session'))
    if (expiresAt === null) return
    this.#news = true
    const warnAt = Date.parse(expiresAt) - (set ? sessionLeadMs : tokenLeadMs)
    agenda.noLaterThan('expiries', Math.max(timeMs, warnAt))
  }

  /** Writes the warnings that are due, and says when the next one is. */
  async run(): Promise<void> {
    const { queue, agenda } = this.#on
    this.#news = false
    await queue.committed()
    const nowMs = this.#now()
    const rows = this.#table.expiries(nowMs, sessionLeadMs, tokenLeadMs, maxWarnings + 1)
    const due = rows.filter(({ warnAt }) => warnAt <= nowMs).slice(0, maxWarnings)
    for (const { subject, expiresAt } of due) {
      // What is queued, such as a revocation, is not in the row.
      const entry = subject === 'session' ? this.#ofSession(expiresAt) : this.#ofToken(subject, expiresAt)
      if (!entry) continue
      queue.add(() => this.#table.putWarned(subject, expiresAt))
      this.#on.log.append(entry, nowMs)
    }
    const next = this.#news ? nowMs : rows[due.length]?.warnAt
    if (next === undefined) agenda.done('expiries')
    else agenda.set('expiries', next)
  }

  #ofSession(expiresAt: number): Entry | undefined {
    const { state, generation, owner, expiresAt: end } = this.#on.session.view()
    if (state === 'missing' || end !== instant(expiresAt)) return undefined
    const session = { generation, ...(owner === null ? {} : { owner }), expiresAt: end }
    return { event: 'session.expiring', actor: gateway, target: this.#target(), session }
  }

  #ofToken(id: string, expiresAt: number): Entry | undefined {
    const row = this.#on.tokens.get(id)
    if (!row || row.revokedAt !== null || row.expiresAt !== expiresAt) return undefined
    const token = { id, name: row.name, expiresAt: instant(expiresAt) }
    return { event: 'token.expiring', actor: gateway, target: { ...this.#target(), tokenId: id }, token }
  }

  #target(): { organisationId: string } {
    return { organisationId: this.#on.tables.organisation()?.id as string }
  }
}
