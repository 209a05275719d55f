/**
 * Owns the statements over what evidence is made of: the leaves of the tree, and the key that last signed. Rows in, rows
 * out. Never decides and never waits; who calls knows that the organisation exists.
 */
import { hashBytes } from './tree.ts'

export class EvidenceTable {
  readonly #sql: SqlStorage

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  /** At most `limit` leaves, after one number and up to another, oldest first. */
  leaves(after: number, upTo: number, limit: number): { seq: number; leaf: Uint8Array }[] {
    const select = `select seq, substr(hashes, 1, ${hashBytes}) as leaf from records`
    const rows = this.#sql.exec(
      `${select} where seq > ? and seq <= ? order by seq limit ?`,
      after,
      upTo,
      limit,
    )
    return rows.toArray().map(({ seq, leaf }) => ({
      seq: seq as number,
      leaf: new Uint8Array(leaf as ArrayBuffer),
    }))
  }

  /** The public key of the last signature, in base64; undefined where nothing was signed yet. */
  signingKey(): string | undefined {
    const select = 'select public_key as publicKey from signing_key'
    return this.#sql.exec<{ publicKey: string }>(select).toArray()[0]?.publicKey
  }

  putSigningKey(publicKey: string): void {
    this.#sql.exec('insert or replace into signing_key values (1, ?)', publicKey)
  }
}
