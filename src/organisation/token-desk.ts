/**
 * Owns what an admin may do with tokens: the part of the object that the edge reaches as `organisation.tokens`. The edge has
 * checked the admin. No clock of its own.
 */
import { RpcTarget } from 'cloudflare:workers'
import type { Credential } from '../auth/token.ts'
import { ok, type Result, refuse } from '../errors.ts'
import type { AdminCall, RevokedToken } from './messages.ts'
import type { NewToken } from './new-token.ts'
import type { Tables } from './tables.ts'
import type { TokenStore } from './token-store.ts'
import { createToken, rotateToken, type TokenRow, type TokenView } from './tokens.ts'

/** Answers once a record is durable and the directory has been told. */
export type Publishing = <T>(receipt: string, value: () => T) => Promise<Result<T>>

/** What the desk works with. */
export interface TokenDrawers {
  tables: Tables
  tokens: TokenStore
  now: () => number
  /** Sees to it that the organisation exists; false where it can't be made. */
  exist: (call: AdminCall) => Promise<boolean>
  publishing: Publishing
}

/** More tokens than this are not told of at once; a flooded edge keeps the rest waiting. */
const maxTokenIds = 10_000

export class TokenDesk extends RpcTarget {
  readonly #on: TokenDrawers

  constructor(drawers: TokenDrawers) {
    super()
    this.#on = drawers
  }

  /** Stores a token that the edge has minted. */
  async create(call: AdminCall, wanted: NewToken, credential: Credential): Promise<Result<TokenView>> {
    if (!(await this.#on.exist(call))) return refuse({ code: 'audit-unavailable' })
    return this.#change(call, 'token.created', createToken(wanted, credential, call.admin, this.#on.now()))
  }

  async list(): Promise<TokenView[]> {
    return this.#on.tokens.list(this.#on.now())
  }

  /** Which tokens exist that are not revoked, for an edge that is flooded with forged ones. No secrets: ids name tokens. */
  async ids(): Promise<string[]> {
    return this.#on.tables.tokenIds(maxTokenIds)
  }

  async get(id: string): Promise<Result<TokenView>> {
    const row = this.#on.tokens.get(id)
    return row ? ok(this.#on.tokens.view(row, this.#on.now())) : noSuchToken
  }

  /** Gives a token a new secret, which the edge has minted. A revoked token stays revoked. */
  async rotate(call: AdminCall, credential: Credential, graceSeconds: number): Promise<Result<TokenView>> {
    const row = this.#on.tokens.get(credential.id)
    if (!row) return noSuchToken
    if (row.revokedAt !== null) {
      return refuse({ code: 'not-found', detail: 'This token was revoked, which is final. Make a new one.' })
    }
    const rotated = rotateToken(row, credential.digest, graceSeconds, this.#on.now())
    return this.#change(call, 'token.rotated', rotated)
  }

  /** Revokes a token; a second time changes nothing. */
  async revoke(call: AdminCall, id: string): Promise<Result<RevokedToken>> {
    const row = this.#on.tokens.get(id)
    if (!row) return noSuchToken
    const view = (token: TokenView) => ({ ...token, lastAccepted: this.#on.tokens.lastAccepted(id) })
    if (row.revokedAt !== null) return ok(view(this.#on.tokens.view(row, this.#on.now())))
    const changed = await this.#change(call, 'token.revoked', { ...row, revokedAt: this.#on.now() })
    return changed.ok ? { ...changed, value: view(changed.value) } : changed
  }

  async #change(
    call: AdminCall,
    event: 'token.created' | 'token.rotated' | 'token.revoked',
    row: TokenRow,
  ): Promise<Result<TokenView>> {
    const { receipt } = this.#on.tokens.change(call, event, row, this.#on.now())
    return this.#on.publishing(receipt, () => this.#on.tokens.view(row, this.#on.now()))
  }
}

const noSuchToken = refuse({ code: 'not-found', detail: 'This organisation has no token with this id.' })
