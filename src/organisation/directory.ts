/**
 * Owns the list of organisations that exist, with what each last said of itself. One object for all of them.
 * Never asked on a caller's road: only admin calls and the organisations' own news come here.
 */
import { DurableObject } from 'cloudflare:workers'

/** How an organisation stands. */
export interface Summary {
  organisationId: string
  createdAt: number
  sessionState: string
  /** Tokens that are neither revoked nor expired, when it last said so. */
  tokens: number
}

export class Directory extends DurableObject<Env> {
  /** Takes an organisation's latest state. */
  async put(summary: Summary): Promise<void> {
    const { sql } = this.ctx.storage
    sql.exec(
      `create table if not exists organisations
         (id text primary key, created_at integer not null, session_state text not null, tokens integer not null) without rowid`,
    )
    const { organisationId, createdAt, sessionState, tokens } = summary
    sql.exec(
      'insert or replace into organisations values (?, ?, ?, ?)',
      organisationId,
      createdAt,
      sessionState,
      tokens,
    )
  }

  /** At most `limit` organisations whose ids come after `after`, by id. */
  async list(after: string, limit: number): Promise<Summary[]> {
    const { sql } = this.ctx.storage
    if (sql.exec(`select 1 from sqlite_master where name = 'organisations'`).toArray().length === 0) return []
    const columns = 'id as organisationId, created_at as createdAt, session_state as sessionState, tokens'
    return sql
      .exec(`select ${columns} from organisations where id > ? order by id limit ?`, after, limit)
      .toArray() as unknown as Summary[]
  }
}
