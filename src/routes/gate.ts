/**
 * Owns what the edge decides about a credential before and after an object is asked, with the rate limiter of the client's
 * address. Never lets anyone in, and never keeps out who is known: see auth/throttle.ts.
 */
import type { Context } from 'hono'
import { addressKey, remember, Throttle } from '../auth/throttle.ts'
import type { Credential } from '../auth/token.ts'
import { toHex } from '../crypto.ts'
import type { CredentialReason, Refusal } from '../errors.ts'
import { ask } from './answer.ts'
import { type AppEnv, clientOf } from './context.ts'

/** One for each isolate. */
const throttle = new Throttle()
/**
 * Which token ids exist, by organisation: asked for only while forged ones come in. Never a promise: one of a request that was
 * broken off never settles, and would keep out everyone who waits for it.
 */
const directories = new Map<string, { at: number; ids: Set<string> }>()
const maxDirectories = 100
const freshMs = 1_000

/** Why no object is asked about a credential, if so. */
export async function turnedAway(
  c: Context<AppEnv>,
  organisationId: string,
  credential: Credential,
): Promise<Refusal | undefined> {
  const passage = throttle.passage(keyOf(organisationId, credential), addressOf(c), Date.now())
  if (passage === 'ask') return undefined
  if (passage === 'never-existed') {
    await countRefused(c)
    return { code: 'invalid-token', reason: 'unknown' }
  }
  // Others behind the same address may forge as much as they like: who holds an id that exists is let through to be checked.
  const exists = passage === 'doubtful' && (await existing(c, organisationId))?.has(credential.id)
  if (exists) return undefined
  const detail = 'Too many credentials from this address were refused.'
  return { code: 'rate-limited', retryAfterSeconds: 1, detail }
}

/** The ids of an organisation's tokens, as they were a second or two ago; undefined where that may not be asked now. */
async function existing(c: Context<AppEnv>, organisationId: string): Promise<Set<string> | undefined> {
  const nowMs = Date.now()
  const known = directories.get(organisationId)
  if (known && nowMs - known.at < freshMs) return known.ids
  const exists = known && known.ids.size > 0
  if (!exists && !throttle.mayLookUp(addressOf(c), nowMs)) return known?.ids
  // Meanwhile others go by what is known, so that a flood asks once a second.
  if (known) known.at = nowMs
  const asked = await ask(c, organisationId, organisation => organisation.tokens.ids())
  const ids = new Set(asked.ok ? asked.value : [])
  remember(directories, organisationId, { at: nowMs, ids }, maxDirectories)
  return ids
}

/** Takes in what the object said of a credential; `reason` is undefined where it was believed. */
export async function learn(
  c: Context<AppEnv>,
  organisationId: string,
  credential: Credential,
  reason: CredentialReason | undefined,
): Promise<void> {
  const key = keyOf(organisationId, credential)
  if (reason === undefined) return throttle.accept(key)
  throttle.refuse(key, reason !== 'unknown', Date.now())
  await countRefused(c)
}

/** Whether so many credentials from this address were refused that its next ones are doubted. */
export function isBlocked(c: Context<AppEnv>): boolean {
  return throttle.isBlocked(addressOf(c), Date.now())
}

/** Counts a refused credential against the client's address; false where that address is blocked already. */
export async function countRefused(c: Context<AppEnv>): Promise<boolean> {
  const address = addressOf(c)
  if (throttle.isBlocked(address, Date.now())) return false
  // A limiter that fails must not turn a refusal into an error: it is no check of anyone.
  const { success } = await c
    .get('config')
    .addressLimit.limit({ key: address })
    .catch(() => ({ success: true }))
  if (!success) throttle.block(address, Date.now())
  return success
}

/** What an address is counted as. */
export function addressOf(c: Context<AppEnv>): string {
  return addressKey(clientOf(c).ip ?? '')
}

function keyOf(organisationId: string, { digest }: Credential): string {
  return `${organisationId}/${toHex(digest)}`
}
