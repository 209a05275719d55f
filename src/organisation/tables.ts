/**
 * Owns every statement over an organisation's object; the schema is in schema.ts, and what finds
 * records by what they say in record-search.ts. Rows in, rows out.
 * Never decides and never waits; who calls sees to the transaction.
 */
import { writableFields } from '../update/writable.ts'
import type { IdempotencyRow } from './idempotency.ts'
import type { RateWindow } from './rates.ts'
import { closes } from './record.ts'
import { RecordSearch } from './record-search.ts'
import { migrate } from './schema.ts'
import type { SessionRow } from './session.ts'
import type { TokenRow } from './tokens.ts'
import { hashBytes } from './tree.ts'
import type { UnsettledRow } from './unsettled.ts'

/** A record with what it is found by. `hashes`: its leaf, then the tree nodes that it completes, 32 bytes each. */
export interface RecordRow {
  seq: number
  time: number
  event: string
  actor: string | null
  connectionId: string | null
  version: string | null
  requestId: string | null
  attempt: number | null
  /** No attempt before this number is open. */
  openFrom: number
  /** Of an attempt whose record does not hold its body: what it means to leave behind, as JSON. */
  intent: string | null
  record: string
  hashes: Uint8Array
}

/** A thing that is due; the object's alarm is the earliest of them. */
export interface DueRow {
  kind: string
  at: number
}

const recordsBetweenReadings = 16

export class Tables {
  readonly #sql: SqlStorage
  /** Finds records; only of an organisation that exists. */
  readonly search: RecordSearch

  #exist: boolean
  /** As it was read last, and what the records since then have added without their indexes. */
  #bytes: number | undefined
  #recordsSince = 0

  constructor(sql: SqlStorage) {
    this.#sql = sql
    this.search = new RecordSearch(sql)
    this.#exist = false
    this.lookAgain()
  }

  /** Finds out whether the organisation exists: at construction, and after an attempt to make it. */
  lookAgain(): void {
    this.#bytes = undefined
    this.#exist = this.#sql.exec(`select 1 from sqlite_master where name = 'schema'`).toArray().length > 0
  }

  /** Whether this organisation has come into being. Until then nothing is stored, and reading finds nothing. */
  get exist(): boolean {
    return this.#exist
  }

  /** Makes the tables, or brings them up to date; one transaction must be around it. */
  migrate(): void {
    migrate(this.#sql)
  }

  /** What the object's storage holds, indexes and free pages included; a few records late, as asking SQLite is slow. */
  get bytes(): number {
    if (this.#bytes === undefined || this.#recordsSince >= recordsBetweenReadings) {
      this.#bytes = this.#sql.databaseSize
      this.#recordsSince = 0
    }
    return this.#bytes
  }

  #read<T extends Record<string, SqlStorageValue>>(select: string, ...bindings: unknown[]): T[] {
    return this.#exist ? this.#sql.exec<T>(select, ...bindings).toArray() : []
  }

  #put(table: string, ...values: unknown[]): void {
    const places = values.map(() => '?').join(', ')
    this.#sql.exec(`insert or replace into ${table} values (${places})`, ...values)
  }

  insertOrganisation(id: string, createdAt: number): void {
    this.#put('organisation', id, createdAt)
  }

  organisation(): { id: string; createdAt: number } | undefined {
    const select = 'select id, created_at as createdAt from organisation'
    return this.#read<{ id: string; createdAt: number }>(select)[0]
  }

  token(id: string): TokenRow | undefined {
    return this.#tokens('where id = ?', id)[0]
  }

  /** Every token, newest first. */
  tokens(): TokenRow[] {
    return this.#tokens('order by created_at desc, id')
  }

  /** The ids of at most `limit` tokens that are not revoked, the newest first. */
  tokenIds(limit: number): string[] {
    const select = 'select id from tokens where revoked_at is null order by created_at desc limit ?'
    return this.#read<{ id: string }>(select, limit).map(({ id }) => id)
  }

  /** How many tokens are neither revoked nor expired. */
  activeTokens(nowMs: number): number {
    const where = 'where revoked_at is null and (expires_at is null or expires_at > ?)'
    return this.#sql.exec<{ n: number }>(`select count(*) as n from tokens ${where}`, nowMs).one().n
  }

  #tokens(tail: string, ...bindings: unknown[]): TokenRow[] {
    return this.#read(`select * from tokens ${tail}`, ...bindings).map(row => ({
      id: row.id as string,
      name: row.name as string,
      digest: bytes(row.digest),
      previousDigest: row.previous_digest === null ? null : bytes(row.previous_digest),
      previousUntil: row.previous_until as number | null,
      // Scopes from before there were fields allow them all.
      scope: { fields: writableFields, ...JSON.parse(row.scope as string) },
      rateLimit: {
        requests: row.rate_requests as number,
        windowSeconds: row.rate_window_seconds as number,
      },
      createdAt: row.created_at as number,
      createdBy: row.created_by as string,
      lifetimeMs: row.lifetime_ms as number | null,
      expiresAt: row.expires_at as number | null,
      revokedAt: row.revoked_at as number | null,
    }))
  }

  putToken(row: TokenRow): void {
    this.#put(
      'tokens',
      row.id,
      row.name,
      row.digest,
      row.previousDigest,
      row.previousUntil,
      JSON.stringify(row.scope),
      row.rateLimit.requests,
      row.rateLimit.windowSeconds,
      row.createdAt,
      row.createdBy,
      row.lifetimeMs,
      row.expiresAt,
      row.revokedAt,
    )
  }

  session(): SessionRow | undefined {
    const row = this.#read('select * from session')[0]
    return (
      row && {
        generation: row.generation as number,
        baseUrl: row.base_url as string,
        sealed: row.sealed === null ? null : bytes(row.sealed),
        names: JSON.parse(row.names as string),
        setAt: row.set_at as number | null,
        lastUsedAt: row.last_used_at as number | null,
        rejected: row.rejected === 1,
        lastRejectedAt: row.last_rejected_at as number | null,
        owner: row.owner as string | null,
        expiresAt: row.expires_at as number | null,
        probe: row.probe === null ? null : JSON.parse(row.probe as string),
      }
    )
  }

  putSession(row: SessionRow): void {
    this.#put(
      'session',
      1,
      row.generation,
      row.baseUrl,
      row.sealed,
      JSON.stringify(row.names),
      row.setAt,
      row.lastUsedAt,
      row.rejected ? 1 : 0,
      row.lastRejectedAt,
      row.owner,
      row.expiresAt,
      row.probe && JSON.stringify(row.probe),
    )
  }

  due(): DueRow[] {
    return this.#read<{ kind: string; at: number }>('select kind, at from due')
  }

  putDue(kind: string, at: number): void {
    this.#put('due', kind, at)
  }

  deleteDue(kind: string): void {
    this.#sql.exec('delete from due where kind = ?', kind)
  }

  /** Attempts whose outcome is unknown and not yet looked into to the end, oldest first. */
  unsettled(): UnsettledRow[] {
    const columns =
      'attempt, connection_id as connectionId, looks, missed, next_at as nextAt, until_at as untilAt'
    return this.#read(`select ${columns} from unsettled order by attempt`) as unknown as UnsettledRow[]
  }

  putUnsettled(row: UnsettledRow): void {
    const { attempt, connectionId, looks, missed, nextAt, untilAt } = row
    this.#put('unsettled', attempt, connectionId, looks, missed, nextAt, untilAt)
  }

  deleteUnsettled(attempt: number): void {
    this.#sql.exec('delete from unsettled where attempt = ?', attempt)
  }

  idempotency(scope: string): IdempotencyRow | undefined {
    const select =
      'select scope, fingerprint, answer, expires_at as expiresAt from idempotency where scope = ?'
    return this.#read(select, scope)[0] as unknown as IdempotencyRow | undefined
  }

  putIdempotency({ scope, fingerprint, answer, expiresAt }: IdempotencyRow): void {
    this.#put('idempotency', scope, fingerprint, answer, expiresAt)
  }

  deleteIdempotency(scope: string): void {
    this.#sql.exec('delete from idempotency where scope = ?', scope)
  }

  /** Deletes at most `limit` rows that have expired, and says how many. */
  sweepIdempotency(nowMs: number, limit: number): number {
    const expired = 'select scope from idempotency where expires_at <= ? limit ?'
    return this.#sql
      .exec(`delete from idempotency where scope in (${expired}) returning scope`, nowMs, limit)
      .toArray().length
  }

  nextIdempotencyExpiry(): number | null {
    return this.#sql.exec<{ at: number | null }>('select min(expires_at) as at from idempotency').one().at
  }

  insertRecord(row: RecordRow): void {
    this.#recordsSince++
    if (this.#bytes !== undefined) this.#bytes += row.record.length
    this.#sql.exec(
      'insert into records values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      row.seq,
      row.time,
      row.event,
      row.actor,
      row.connectionId,
      row.version,
      row.requestId,
      row.attempt,
      row.openFrom,
      row.intent,
      row.record,
      row.hashes,
    )
  }

  lastRecord(): { seq: number; time: number; openFrom: number } | undefined {
    const columns = 'seq, time, open_from as openFrom'
    const select = `select ${columns} from records order by seq desc limit 1`
    return this.#read<{ seq: number; time: number; openFrom: number }>(select)[0]
  }

  /** The attempts from `openFrom` on that no later record closes, oldest first. */
  openAttempts(openFrom: number): number[] {
    const open = new Set<number>()
    const rows = this.#sql.exec(
      'select seq, event, attempt from records where seq >= ? order by seq',
      openFrom,
    )
    for (const { seq, event, attempt } of rows) {
      if (event === 'update.attempted') open.add(seq as number)
      else if (closes(event as string)) open.delete(attempt as number)
    }
    return [...open]
  }

  /** The hash of the tree node of `level` that record `seq` completed; level 0 is its leaf. */
  nodeHash(seq: number, level: number): Uint8Array {
    const row = this.#sql.exec('select hashes from records where seq = ?', seq).one()
    return bytes(row.hashes).slice(level * hashBytes, (level + 1) * hashBytes)
  }

  /** One record's exact string. */
  record(seq: number): string | undefined {
    return this.#read<{ record: string }>('select record from records where seq = ?', seq)[0]?.record
  }

  /** The intent that was kept beside a record, as JSON. */
  intent(seq: number): string | null {
    const select = 'select intent from records where seq = ?'
    return this.#read<{ intent: string | null }>(select, seq)[0]?.intent ?? null
  }

  /** When a token's window of its rate opened, and how many of its requests the log holds since. */
  rateWindow(token: string): RateWindow | undefined {
    const select = 'select started_at as startedAt from rates where token = ?'
    const found = this.#read<{ startedAt: number }>(select, token)[0]
    return found && { ...found, used: this.search.requests(token, found.startedAt) }
  }

  putRate(token: string, startedAt: number): void {
    this.#put('rates', token, startedAt)
  }
}

function bytes(value: unknown): Uint8Array {
  return new Uint8Array(value as ArrayBuffer)
}
