/**
 * Owns every statement over the tables of hooks, deliveries and payloads. Rows in, rows out. Never decides and never waits;
 * who calls sees to the transaction.
 */
import type { DeliveryRow, DeliveryState, Payload } from './deliveries.ts'
import type { HookRow } from './hooks.ts'

/** Which deliveries of a hook to list: those before a number, newest first. */
export interface DeliveryFilter {
  state: DeliveryState | undefined
  before: number
  limit: number
}

export class HookTable {
  readonly #sql: SqlStorage

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  /** Every hook, oldest first. */
  hooks(): HookRow[] {
    return this.#sql
      .exec('select * from hooks order by created_at, id')
      .toArray()
      .map(row => ({
        id: row.id as string,
        definition: JSON.parse(row.definition as string),
        secrets: JSON.parse(row.secrets as string).map((each: { sealed: string; until: number | null }) => ({
          ...each,
          sealed: new Uint8Array(Buffer.from(each.sealed, 'base64')),
        })),
        createdAt: row.created_at as number,
        createdBy: row.created_by as string,
      }))
  }

  putHook({ id, definition, secrets, createdAt, createdBy }: HookRow): void {
    const sealed = secrets.map(each => ({ ...each, sealed: Buffer.from(each.sealed).toString('base64') }))
    this.#sql.exec(
      'insert or replace into hooks values (?, ?, ?, ?, ?)',
      id,
      JSON.stringify(definition),
      JSON.stringify(sealed),
      createdAt,
      createdBy,
    )
  }

  /** Forgets a hook; what it was sent is left to dropDeleted. */
  deleteHook(id: string): void {
    this.#sql.exec('delete from hooks where id = ?', id)
    this.#sql.exec('insert or ignore into deleted_hooks values (?)', id)
  }

  /** A deleted hook whose deliveries are not all gone. */
  deletedHook(): string | undefined {
    return this.#sql.exec<{ id: string }>('select id from deleted_hooks limit 1').toArray()[0]?.id
  }

  /** Drops at most `limit` of what a deleted hook was sent: all of years at once would hold up the object. */
  dropDeleted(hook: string, limit: number): void {
    const some = 'select id from deliveries where hook = ? order by seq limit ?'
    this.#sql.exec(`delete from payloads where delivery in (${some})`, hook, limit)
    const gone = this.#sql
      .exec(`delete from deliveries where id in (${some}) returning id`, hook, limit)
      .toArray()
    if (gone.length < limit) this.#sql.exec('delete from deleted_hooks where id = ?', hook)
  }

  /** What is still to be delivered, in the order in which it was received. */
  pending(): DeliveryRow[] {
    return this.#deliveries(`where state = 'pending' and hook in (select id from hooks) order by seq`)
  }

  delivery(id: string): DeliveryRow | undefined {
    return this.#deliveries('where id = ?', id)[0]
  }

  /** What a hook was sent under a key. */
  deliveryBy(hook: string, key: string): DeliveryRow | undefined {
    return this.#deliveries('where hook = ? and key = ?', hook, key)[0]
  }

  /** Deliveries of a hook, newest first, read as they are asked for: not all of them may fit into memory. */
  deliveriesOf(hook: string, { state, before }: Omit<DeliveryFilter, 'limit'>): Iterable<DeliveryRow> {
    const tail = 'and seq < ? order by seq desc'
    return state === undefined
      ? this.#read(`where hook = ? ${tail}`, hook, before)
      : this.#read(`where hook = ? and state = ? ${tail}`, hook, state, before)
  }

  /** How many deliveries of a hook are in a state. */
  count(hook: string, state: DeliveryState): number {
    const select = 'select count(*) as n from deliveries where hook = ? and state = ?'
    return this.#sql.exec<{ n: number }>(select, hook, state).one().n
  }

  #deliveries(tail: string, ...bindings: unknown[]): DeliveryRow[] {
    return [...this.#read(tail, ...bindings)]
  }

  #read(tail: string, ...bindings: unknown[]): Iterable<DeliveryRow> {
    const columns = `id, hook, key, digest, seq, request_id as requestId, message_id as messageId, token,
      connection_id as connectionId, version, patch, state, tries, failure, received_at as receivedAt, since,
      next_at as nextAt, ended_at as endedAt, closed_by as closedBy`
    const rows: Iterable<unknown> = this.#sql.exec(`select ${columns} from deliveries ${tail}`, ...bindings)
    return rows as Iterable<DeliveryRow>
  }

  putDelivery(row: DeliveryRow): void {
    const { id, hook, key, digest, seq, requestId, messageId, token, connectionId, version, patch } = row
    const { state, tries, failure, receivedAt, since, nextAt, endedAt, closedBy } = row
    const values = [id, hook, key, digest, seq, requestId, messageId, token, connectionId, version, patch]
    values.push(state, tries, failure, receivedAt, since, nextAt, endedAt, closedBy)
    this.#sql.exec(
      `insert or replace into deliveries values (${values.map(() => '?').join(', ')})`,
      ...values,
    )
  }

  putPayload(delivery: string, { body, headers }: Payload): void {
    const text = JSON.stringify(headers)
    this.#sql.exec('insert or replace into payloads values (?, ?, ?)', delivery, body, text)
  }

  payload(delivery: string): Payload | undefined {
    const row = this.#sql.exec('select body, headers from payloads where delivery = ?', delivery).toArray()[0]
    return (
      row && {
        body: new Uint8Array(row.body as ArrayBuffer),
        headers: JSON.parse(row.headers as string),
      }
    )
  }

  deletePayload(delivery: string): void {
    this.#sql.exec('delete from payloads where delivery = ?', delivery)
  }

  /** Drops at most `limit` payloads of what died before a time. */
  dropDead(beforeMs: number, limit: number): void {
    const dead = `select delivery from payloads cross join deliveries on id = delivery
      where state = 'dead' and ended_at <= ? limit ?`
    this.#sql.exec(`delete from payloads where delivery in (${dead})`, beforeMs, limit)
  }

  /**
   * Drops the payloads of all but the newest dead deliveries of each hook: of so many, and of so many bytes. As in dropDead, payloads
   * are read and their deliveries looked up: there are few of them beside all that ever died.
   */
  keepNewestDead(limit: number, maxBytes: number): void {
    const newest = `select delivery, row_number() over newest as place, sum(length(body)) over newest as bytes
      from payloads cross join deliveries on id = delivery where state = 'dead'
      window newest as (partition by hook order by ended_at desc, seq desc)`
    const older = `select delivery from (${newest}) where place > ? or bytes > ?`
    this.#sql.exec(`delete from payloads where delivery in (${older})`, limit, maxBytes)
  }

  /** When the first dead delivery that has its payload still died, or null. Reads the key of every payload: cross join keeps that order. */
  firstDeath(): number | null {
    const select = `select min(ended_at) as at from payloads cross join deliveries on id = delivery where state = 'dead'`
    return this.#sql.exec<{ at: number | null }>(select).one().at
  }
}
