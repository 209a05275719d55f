/**
 * Owns what the console may ask of an organisation: the part of the object that the edge, which has checked who asks, reaches
 * as `organisation.console`. Whoever reads is on record first: the log says once a login who has opened it, and nothing is
 * shown before that is durable. Changes nothing else. No clock of its own.
 */
import { RpcTarget } from 'cloudflare:workers'
import { ok, type Result, refuse } from '../errors.ts'
import { ArchiveError } from './archive.ts'
import type { AuditLog } from './audit-log.ts'
import type { AuditQuery } from './audit-query.ts'
import { type AuditPage, auditPage, pageRows } from './audit-reader.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { Continuity } from './continuity.ts'
import type { DeliveryView } from './deliveries.ts'
import type { HookDesk } from './hook-desk.ts'
import type { DeliveryFilter } from './hook-table.ts'
import type { HookView } from './hooks.ts'
import type { ConsoleCall } from './messages.ts'
import type { LogName, Notary, Receipt } from './notary.ts'
import { type Day, type Failure, OutcomeTable } from './outcome-table.ts'
import { byReader } from './record.ts'
import { archiveUnreadable, type RecordBytes } from './record-bytes.ts'
import type { SessionView } from './session.ts'
import type { SessionStore } from './session-store.ts'
import type { Tables } from './tables.ts'
import type { TokenStore } from './token-store.ts'
import { instant, type TokenView } from './tokens.ts'
import { leafHash } from './tree.ts'

/** What the page of an organisation shows; null where nothing has been stored under its id. */
export interface Overview {
  session: SessionView
  day: Day
  lastFailure: Failure | null
  page: AuditPage
  /** Why nothing is written, where that is so. */
  stopped: string | null
}

/** One record, with those that belong to the same attempt, its own included, oldest first. */
export interface Trail {
  record: string
  leaf: Uint8Array
  attempt: string[]
}

/** A hook with a page of what it was sent, newest first; `next` is the `before` of the one after it. */
export interface DeliveryPage {
  hook: HookView
  deliveries: DeliveryView[]
  next: number | null
}

/** What the reader reads from. */
export interface Shelf {
  tables: Tables
  queue: CommitQueue
  log: AuditLog
  session: SessionStore
  tokens: TokenStore
  hooks: HookDesk
  notary: Notary
  bytes: RecordBytes
  continuity: Continuity
  now: () => number
}

const maxRemembered = 100
/** The edge's clock, which timed the login, may be ahead of the object's by this much. */
const clockSkewMs = 60_000
const maxOpenings = 100

export class ConsoleReader extends RpcTarget {
  readonly #on: Shelf
  readonly #outcomes: OutcomeTable
  /** Logins whose opening is on record: only spares looking for it again. */
  readonly #opened = new Set<string>()

  constructor(shelf: Shelf, sql: SqlStorage) {
    super()
    this.#on = shelf
    this.#outcomes = new OutcomeTable(sql)
  }

  async overview(call: ConsoleCall, query: AuditQuery): Promise<Result<Overview | null>> {
    const { session, tables, bytes, continuity, now } = this.#on
    return this.#onRecord(call, async () => ({
      session: session.view(),
      day: this.#outcomes.lastDay(now()),
      lastFailure: this.#outcomes.lastFailure(),
      page: await auditPage(tables, bytes, query),
      stopped: continuity.objection ?? null,
    }))
  }

  async tokens(call: ConsoleCall): Promise<Result<TokenView[] | null>> {
    return this.#onRecord(call, () => this.#on.tokens.list(this.#on.now()))
  }

  async trail(call: ConsoleCall, seq: number): Promise<Result<Trail | null>> {
    return this.#onRecord(call, async () => {
      const { bytes } = this.#on
      const record = await bytes.of(seq)
      if (record === undefined) return null
      const {
        event,
        attempt = event === 'update.attempted' ? seq : undefined,
        requestId,
      } = JSON.parse(record)
      const rows = attempt === undefined ? [] : this.#outcomes.ofAttempt(attempt, requestId)
      const together = (await bytes.fill(rows)).map(row => row.record)
      return { record, leaf: leafHash(record), attempt: together }
    })
  }

  async receipt(call: ConsoleCall, name: LogName, seq: number): Promise<Result<Receipt | null>> {
    const asked = await this.#onRecord(call, () => this.#on.notary.anyReceipt(name, seq))
    if (!asked.ok) return asked
    return asked.value ?? ok(null)
  }

  async hooks(call: ConsoleCall): Promise<Result<HookView[] | null>> {
    return this.#onRecord(call, () => this.#on.hooks.list())
  }

  async deliveries(
    call: ConsoleCall,
    hookId: string,
    filter: DeliveryFilter,
  ): Promise<Result<DeliveryPage | null>> {
    return this.#onRecord(call, async () => {
      const hook = await this.#on.hooks.get(hookId)
      const page = await this.#on.hooks.deliveries(hookId, filter)
      return hook.ok && page.ok ? { hook: hook.value, ...page.value } : null
    })
  }

  /** For the list of organisations, which shows no more of any than this. */
  async lastFailure(): Promise<Failure | null> {
    return this.#on.tables.exist ? this.#outcomes.lastFailure() : null
  }

  async #onRecord<T>(call: ConsoleCall, read: () => T | Promise<T>): Promise<Result<T | null>> {
    const { tables, queue, log, continuity, now } = this.#on
    // A guessed id stores nothing.
    if (!tables.exist) return ok(null)
    const login = `${call.reader.role} ${call.reader.name} ${call.loggedInAt}`
    const isNew = !this.#opened.has(login) && !this.#isOnRecord(call)
    if (isNew) {
      const loggedInAt = instant(call.loggedInAt)
      log.append({ ...byReader(call), event: 'console.opened', loggedInAt }, now())
    }
    try {
      await queue.committed()
    } catch {
      return refuse({ code: 'audit-unavailable', detail: continuity.objection })
    }
    if (this.#opened.size >= maxRemembered) this.#opened.clear()
    this.#opened.add(login)
    try {
      return ok(await read())
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error
      return refuse({ code: 'audit-unavailable', detail: archiveUnreadable })
    }
  }

  #isOnRecord({ reader, loggedInAt }: ConsoleCall): boolean {
    const since = loggedInAt - clockSkewMs
    const asked = { event: 'console.opened', actor: reader.name, since, limit: maxOpenings }
    // Its bytes are still here: a login is shorter than the shortest retention.
    return pageRows(this.#on.tables, asked).rows.some(({ record }) => {
      const said = JSON.parse(record)
      return said.actor.type === reader.role && said.loggedInAt === instant(loggedInAt)
    })
  }
}
