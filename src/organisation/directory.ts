/**
 * Owns the list of organisations that exist, with what each last said of itself. One object for all of them.
 * Never asked on a caller's road: only admin calls and the organisations' own news come here.
 */
import { DurableObject } from 'cloudflare:workers'
import { randomBytes } from '../crypto.ts'

const hookKeyBytes = 32

/** How an organisation stands. */
export interface Summary {
  organisationId: string
  createdAt: number
  sessionState: string
  /** Tokens that are neither revoked nor expired, when it last said so. */
  tokens: number
  /** What its object stores. */
  bytes: number
}

export class Directory extends DurableObject<Env> {
  constructor(state: DurableObjectState, env: Env) {
    super(state, env)
    // A column that came later than the table.
    const columns = state.storage.sql.exec(`select name from pragma_table_info('organisations')`).toArray()
    if (columns.length > 0 && !columns.some(({ name }) => name === 'bytes')) {
      state.storage.sql.exec('alter table organisations add column bytes integer not null default 0')
    }
  }

  /** Takes an organisation's latest state. */
  async put(summary: Summary): Promise<void> {
    const { sql } = this.ctx.storage
    sql.exec(
      `create table if not exists organisations
         (id text primary key, created_at integer not null, session_state text not null, tokens integer not null,
          bytes integer not null default 0) without rowid`,
    )
    const { organisationId, createdAt, sessionState, tokens, bytes } = summary
    const values = [organisationId, createdAt, sessionState, tokens, bytes]
    sql.exec('insert or replace into organisations values (?, ?, ?, ?, ?)', ...values)
  }

  /** What the check in a hook's id is made with: made once, so that ids hold whatever keys are changed. */
  async hookKey(): Promise<Uint8Array> {
    const { sql } = this.ctx.storage
    sql.exec(
      'create table if not exists hook_key (only_row integer primary key check (only_row = 1), key blob not null)',
    )
    sql.exec('insert or ignore into hook_key values (1, ?)', randomBytes(hookKeyBytes))
    const { key } = sql.exec<{ key: ArrayBuffer }>('select key from hook_key').one()
    return new Uint8Array(key)
  }

  /** At most `limit` organisations whose ids come after `after`, by id. */
  async list(after: string, limit: number): Promise<Summary[]> {
    const { sql } = this.ctx.storage
    if (sql.exec(`select 1 from sqlite_master where name = 'organisations'`).toArray().length === 0) return []
    const columns =
      'id as organisationId, created_at as createdAt, session_state as sessionState, tokens, bytes'
    return sql
      .exec(`select ${columns} from organisations where id > ? order by id limit ?`, after, limit)
      .toArray() as unknown as Summary[]
  }
}
