/**
 * Owns what follows from records by itself: warnings ahead of an expiry, and alerts. Hears of every record as it is
 * queued, and is run by the alarm. No clock and no network of its own.
 */
import type { Message, Reception } from '../upstream/post.ts'
import type { Agenda } from './agenda.ts'
import { AlertTable } from './alert-table.ts'
import { Alerts } from './alerts.ts'
import type { AuditLog, Heed } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { World } from './courier.ts'
import { Expiries } from './expiries.ts'
import type { SessionStore } from './session-store.ts'
import type { Tables } from './tables.ts'
import type { TokenStore } from './token-store.ts'

/** What it watches over. */
export interface Watched {
  tables: Tables
  queue: CommitQueue
  log: AuditLog
  agenda: Agenda
  session: SessionStore
  tokens: TokenStore
}

export class Watch {
  readonly alerts: Alerts
  readonly expiries: Expiries

  /** Without `send` there is no receiver of alerts, and nothing of them is stored. `baseMs`: of the backoff. */
  constructor(
    on: Watched,
    sql: SqlStorage,
    world: Pick<World, 'now' | 'random'>,
    baseMs: number,
    send: ((message: Message) => Promise<Reception | undefined>) | undefined,
  ) {
    const table = new AlertTable(sql)
    this.alerts = new Alerts(on, table, world, baseMs, send)
    this.expiries = new Expiries(on, table, world.now)
  }

  heed(...record: Parameters<Heed>): void {
    this.alerts.heed(...record)
    this.expiries.heed(...record)
  }
}
