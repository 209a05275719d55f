/**
 * Owns what the tests of alerts and warnings share: an organisation's log, session, tokens and agenda over a database in
 * memory, with a clock that a test turns and a receiver that it bends. Runs the real statements.
 */
import { DatabaseSync } from 'node:sqlite'
import { Secret } from '../../src/crypto.ts'
import { Agenda } from '../../src/organisation/agenda.ts'
import { AuditLog } from '../../src/organisation/audit-log.ts'
import { CommitQueue } from '../../src/organisation/commit-queue.ts'
import type { AdminCall } from '../../src/organisation/messages.ts'
import type { Entry } from '../../src/organisation/record.ts'
import { migrate } from '../../src/organisation/schema.ts'
import { SessionStore } from '../../src/organisation/session-store.ts'
import { Tables } from '../../src/organisation/tables.ts'
import { TokenStore } from '../../src/organisation/token-store.ts'
import { createToken } from '../../src/organisation/tokens.ts'
import { Watch, type Watched } from '../../src/organisation/watch.ts'
import type { Message, Reception } from '../../src/upstream/post.ts'

export const baseMs = 250
export const startMs = Date.parse('2026-11-24T09:30:00Z')
export const dayMs = 86_400_000

export interface Sent {
  at: number
  id: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read messages of every shape.
  body: any
  delivered: boolean
}

/** The part of a Durable Object's SQL that is used, over SQLite in memory. */
export function sqlOf(db: DatabaseSync): SqlStorage {
  const exec = (query: string, ...bindings: never[]) => {
    if (bindings.length === 0 && query.includes(';')) {
      db.exec(query)
      return []
    }
    const rows = db.prepare(query).all(...bindings)
    return Object.assign(rows, { toArray: () => rows, one: () => rows[0] })
  }
  return { exec } as unknown as SqlStorage
}

export class Bench {
  readonly db = new DatabaseSync(':memory:')
  readonly sql = sqlOf(this.db)
  now = startMs
  /** What the receiver answers; undefined is no answer. */
  receive: (message: Message) => Reception | undefined = () => ({ status: 204, retryAfterSeconds: undefined })
  /** What happens while a message is on its way. */
  meanwhile: () => void = () => {}
  /** What happens, once, while a batch goes to disk. */
  duringSync: (() => void) | undefined
  readonly sent: Sent[] = []
  configured = true
  alarmAt: number | undefined
  on!: Watched
  watch!: Watch
  #commit: (() => void) | undefined

  constructor() {
    migrate(this.sql)
    this.sql.exec('insert into organisation values (?, ?)', 'ORG1', startMs)
    this.restart()
  }

  /** The object is lost, with what it had not committed. */
  restart(): void {
    const tables = new Tables(this.sql)
    const storage = {
      transactionSync: <T>(run: () => T): T => {
        this.db.exec('begin')
        try {
          const value = run()
          this.db.exec('commit')
          return value
        } catch (error) {
          this.db.exec('rollback')
          throw error
        }
      },
      sync: async () => {
        const happens = this.duringSync
        this.duringSync = undefined
        happens?.()
      },
    }
    this.#commit = undefined
    const load = () => {
      for (const part of [log, agenda, tokens, session]) part.load()
    }
    const queue = new CommitQueue(
      storage,
      run => {
        this.#commit = run
        setTimeout(() => this.#commit === run && this.commit(), 0)
      },
      load,
    )
    const log = new AuditLog(tables, queue, (...record) => this.watch.heed(...record))
    const agenda = new Agenda(tables, queue, at => {
      this.alarmAt = at
    })
    const tokens = new TokenStore(tables, queue, log)
    const key = new Secret(Buffer.alloc(32, 1).toString('base64'))
    const session = new SessionStore(tables, queue, log, {
      baseUrl: 'https://p.example',
      keys: [key],
      retryMs: baseMs,
    })
    this.on = { tables, queue, log, agenda, session, tokens }
    const send = async (message: Message) => {
      const reception = this.receive(message)
      const delivered = reception?.status === 204
      this.sent.push({ at: this.now, id: message.id, body: JSON.parse(message.body), delivered })
      this.meanwhile()
      return reception
    }
    const world = { now: () => this.now, random: () => 0.5 }
    this.watch = new Watch(this.on, this.sql, world, baseMs, this.configured ? send : undefined)
    load()
    agenda.arm()
  }

  commit(): void {
    const run = this.#commit
    this.#commit = undefined
    run?.()
  }

  record(entry: Pick<Entry, 'event'> & Partial<Entry>): number {
    const whole: Entry = {
      actor: { type: 'gateway' },
      ...entry,
      target: { organisationId: 'ORG1', ...entry.target },
    }
    return this.on.log.append(whole, this.now).seq
  }

  /** Lets time go by, and runs the alarm whenever it is due. */
  async advance(ms: number): Promise<void> {
    const until = this.now + ms
    await this.on.queue.committed()
    while (this.alarmAt !== undefined && this.alarmAt <= until) {
      this.now = Math.max(this.now, this.alarmAt)
      this.alarmAt = undefined
      for (const kind of this.on.agenda.fired(this.now)) {
        if (kind === 'alerts' || kind === 'expiries') await this.watch[kind].run()
      }
      await this.on.queue.committed()
      this.on.agenda.arm()
    }
    this.now = until
  }

  /** The messages that arrived: event, and how many records. */
  get told(): [type: string, count: number][] {
    return this.sent.filter(({ delivered }) => delivered).map(({ body }) => [body.type, body.data.count])
  }

  get events(): string[] {
    const rows = this.sql.exec<{ event: string }>('select event from records order by seq').toArray()
    return Array.from(rows, ({ event }) => event)
  }

  rows(table: string): unknown[] {
    return [...this.sql.exec(`select * from ${table}`).toArray()]
  }

  readonly call: AdminCall = {
    organisationId: 'ORG1',
    requestId: 'r',
    client: { ip: '192.0.2.1' },
    admin: 'alice',
    host: 'gateway.example',
  }

  setSession(expiresAt: number | null, cookie = 'sesame'): void {
    const end = expiresAt === null ? null : new Date(expiresAt).toISOString()
    this.on.session.set(this.call, { cookie, owner: 'Kim', expiresAt: end }, this.now)
  }

  createToken(id: string, expiresAt: number | null): void {
    const wanted = {
      name: id,
      connections: ['*'],
      actions: ['read' as const],
      versions: ['*'],
      fields: ['name' as const],
      expiresAt: expiresAt === null ? null : new Date(expiresAt).toISOString(),
      rateLimit: { requests: 1, windowSeconds: 1 },
    }
    const row = createToken(wanted, { id, digest: new Uint8Array(32) }, 'alice', this.now)
    this.on.tokens.change(this.call, 'token.created', row, this.now)
  }

  revokeToken(id: string): void {
    const row = this.on.tokens.get(id)
    if (row) this.on.tokens.change(this.call, 'token.revoked', { ...row, revokedAt: this.now }, this.now)
  }
}
