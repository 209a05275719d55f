/**
 * Owns the decision whether a caller is let in: the credential, the rate, the path and the scope, in the order in which
 * refusals are told. Synchronous and pure but for the count of the rate: rows and time come in.
 */
import { type Action, allows, reasonAgainst } from '../auth/caller.ts'
import type { Refusal } from '../errors.ts'
import type { Call } from './messages.ts'
import type { RateState, Rates } from './rates.ts'
import type { Actor } from './record.ts'
import type { TokenRow } from './tokens.ts'

/** A caller that was let in, or a refusal with what its record and answer need beside it. */
export type Admission = Admitted | Refused
export interface Admitted {
  token: TokenRow
  actor: Actor
  rate: RateState
}
export interface Refused {
  refusal: Refusal
  actor: Actor
  rate?: RateState
}

/**
 * Lets a caller in, or says why not. Without `versions` there is nothing to be allowed: the path was refused, or the
 * request is about the token itself.
 */
export function admit(
  { credential, target }: Call,
  { action, versions }: { action: Action; versions: string[] },
  token: TokenRow | undefined,
  rates: Rates,
  nowMs: number,
): Admission {
  const reason = reasonAgainst(credential, token, nowMs)
  if (!token || reason) {
    const proven = token && (reason === 'expired' || reason === 'revoked')
    const actor: Actor = proven ? actorOf(token) : { type: 'anonymous', claimedId: credential.id }
    return { refusal: { code: 'invalid-token', reason: reason ?? 'unknown' }, actor }
  }
  const actor = actorOf(token)
  const { allowed, state: rate } = rates.take(token.id, token.rateLimit, nowMs)
  if (!allowed)
    return { refusal: { code: 'rate-limited', retryAfterSeconds: rate.resetSeconds }, actor, rate }
  const { connectionId } = target
  const inScope =
    versions.length === 0 || (connectionId && allows(token.scope, action, connectionId, versions))
  return inScope ? { token, actor, rate } : { refusal: { code: 'insufficient-scope' }, actor, rate }
}

function actorOf({ id, name }: TokenRow): Actor {
  return { type: 'token', id, name }
}
