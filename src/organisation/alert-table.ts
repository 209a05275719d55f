/**
 * Owns every statement over the tables of alerts and of warnings given. Rows in, rows out. Never decides and never
 * waits; who calls sees to the transaction.
 */

/** What is told under one key. Times are milliseconds since 1970. */
export interface AlertRow {
  key: string
  /** The message that is on its way, which does not change from its first try on; a count of 0 is none. */
  sentFirst: number
  sentLast: number
  sentCount: number
  tries: number
}

/** Something that expires; of the session, the subject is `session`, of a token, its id. */
export interface ExpiryRow {
  subject: string
  expiresAt: number
  /** When to warn of it. */
  warnAt: number
}

export class AlertTable {
  readonly #sql: SqlStorage

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  /** Adds a record to what waits under its key, which is sent at `at` or when its key's time comes; past `maxKeys`, under `rest`. */
  gather(key: string, seq: number, at: number, maxKeys: number, rest: string): void {
    const known = 'exists (select 1 from alerts where key = ?1)'
    const room = '(select count(*) from alerts) < ?4'
    this.#sql.exec(
      `insert into alerts values (iif(${known} or ${room}, ?1, ?5), ?2, ?2, 1, 0, 0, 0, 0, ?3)
       on conflict (key) do update set
         first_seq = iif(count = 0, excluded.first_seq, first_seq), last_seq = excluded.last_seq, count = count + 1`,
      key,
      seq,
      at,
      maxKeys,
      rest,
    )
  }

  /** Makes messages of what waits and is due, and forgets keys under which nothing came in their quiet time. */
  seal(nowMs: number): void {
    this.#sql.exec('delete from alerts where count = 0 and sent_count = 0 and next_at <= ?', nowMs)
    this.#sql.exec(
      `update alerts set sent_first = first_seq, sent_last = last_seq, sent_count = count, count = 0, tries = 0
       where sent_count = 0 and next_at <= ?`,
      nowMs,
    )
  }

  /** At most `limit` messages to send now, the longest overdue first. */
  due(nowMs: number, limit: number): AlertRow[] {
    const columns = 'key, sent_first as sentFirst, sent_last as sentLast, sent_count as sentCount, tries'
    const where = 'where sent_count > 0 and next_at <= ? order by next_at limit ?'
    const select = `select ${columns} from alerts ${where}`
    return this.#sql.exec(select, nowMs, limit).toArray() as unknown as AlertRow[]
  }

  /** When to come back to a key: with the same message, or, with a count of 0, once its quiet time is over. */
  settle(key: string, sentCount: number, tries: number, nextAt: number): void {
    const set = 'sent_count = ?, tries = ?, next_at = ?'
    this.#sql.exec(`update alerts set ${set} where key = ?`, sentCount, tries, nextAt, key)
  }

  /** When the next key's time comes, or null where there is none. */
  nextAt(): number | null {
    return this.#sql.exec<{ at: number | null }>('select min(next_at) as at from alerts').one().at
  }

  clear(): void {
    this.#sql.exec('delete from alerts')
  }

  /** At most `limit` of what expires and was not warned of, the first to warn of first. */
  expiries(nowMs: number, sessionLeadMs: number, tokenLeadMs: number, limit: number): ExpiryRow[] {
    const select = `with expiries as (
        select 'session' as subject, expires_at as expiresAt, expires_at - ? as warnAt from session
        where sealed is not null
        union all
        select id, expires_at, expires_at - ? from tokens where revoked_at is null
      )
      select * from expiries
      where expiresAt > ? and (subject, expiresAt) not in (select subject, expires_at from warned)
      order by warnAt limit ?`
    const rows = this.#sql.exec(select, sessionLeadMs, tokenLeadMs, nowMs, limit)
    return rows.toArray() as unknown as ExpiryRow[]
  }

  putWarned(subject: string, expiresAt: number): void {
    this.#sql.exec('insert or replace into warned values (?, ?)', subject, expiresAt)
  }

  deleteWarned(subject: string): void {
    this.#sql.exec('delete from warned where subject = ?', subject)
  }
}
