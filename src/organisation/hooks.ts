/**
 * Owns the life of a hook: how it is made, changed and shown. Pure: rows and times in, rows out. Secrets stand here sealed
 * alone.
 */
import type { Scope } from '../auth/caller.ts'
import { withoutTokens } from '../auth/token.ts'
import type { SignatureScheme } from '../auth/webhook-signature.ts'
import { fromBase64 } from '../crypto.ts'
import type { Mapping } from '../update/webhook-mapping.ts'
import { writableFields } from '../update/writable.ts'
import type { HookChange, NewHook } from './new-hook.ts'
import { instant } from './tokens.ts'

/** How an event is believed: by a signature, or by a token of the gateway. */
export type Verification = SignatureScheme | { type: 'token' }

/** What an admin defines. */
export interface HookDefinition extends Mapping {
  name: string
  verification: Verification
  connectionId: string
  /** Whether a delivery that fails keeps later ones of its connection waiting. */
  onFailure: 'block' | 'skip'
}

/** A secret of a hook: the newest has no end. Times are milliseconds since 1970. */
export interface HookSecret {
  sealed: Uint8Array
  until: number | null
}

/** A hook as it is stored. */
export interface HookRow {
  id: string
  definition: HookDefinition
  /** The newest first; none where a token is asked for. */
  secrets: readonly HookSecret[]
  createdAt: number
  createdBy: string
}

/** Headers that no hook is told: credentials, and what stands on the way between the sender and here. */
export const withheld =
  /^(authorization|cookie|proxy-authorization|x-real-ip|true-client-ip|cf-.*|x-forwarded-.*)$/i
const maxHeadersLength = 16 * 1024

/** An organisation has at most so many. */
export const maxHooks = 100
/** After two rotations in one day three secrets may be at work; the oldest goes before there are more. */
const maxSecrets = 3

/** What a hook is told of a sender's headers, by names in lower case. */
export function headersTold(headers: Iterable<[string, string]>): Record<string, string> {
  const told: Record<string, string> = {}
  let length = 0
  for (const [name, value] of headers) {
    length += name.length + value.length
    if (length <= maxHeadersLength && !withheld.test(name)) told[name.toLowerCase()] = withoutTokens(value)
  }
  return told
}

/** The header of a name that an admin chose, which may be that of a member that every object has. */
export function headerOf(headers: Readonly<Record<string, string>>, name: string): string | null {
  const key = name.toLowerCase()
  return Object.hasOwn(headers, key) ? (headers[key] ?? null) : null
}

/** Whether a sender only asks whether the hook is there. */
export function isPing({ verification }: HookDefinition, headers: Readonly<Record<string, string>>): boolean {
  return verification.type === 'github' && headerOf(headers, 'x-github-event') === 'ping'
}

/** Whether a text may be the secret of a hook of this type. */
export function isSecretFor(type: Verification['type'], text: string): boolean {
  return type === 'standard-webhooks' ? isStandardSecret(text) : type !== 'token'
}

/** Standard Webhooks, "Signature scheme": a shared secret of 24 to 64 bytes, or an Ed25519 public key. */
function isStandardSecret(text: string): boolean {
  const [, kind, base64 = ''] = /^(whsec_|whpk_)(.*)$/.exec(text) ?? []
  const length = fromBase64(base64)?.byteLength ?? 0
  return kind === 'whpk_' ? length === 32 : kind === 'whsec_' && length >= 24 && length <= 64
}

/** A secret in the form that senders of this type take, from 32 random bytes; undefined where none is needed. */
export function secretFrom(type: Verification['type'], random: Uint8Array): string | undefined {
  const bytes = Buffer.from(random)
  if (type === 'token') return undefined
  return type === 'standard-webhooks' ? `whsec_${bytes.toString('base64')}` : bytes.toString('base64url')
}

/** What of a request's body is kept: all but the secret. */
export function definitionOf(wanted: NewHook): HookDefinition {
  const { secret: _, ...verification } = { secret: undefined, ...wanted.verification }
  return { ...wanted, verification }
}

/** A definition with a change, in its own order; what was wrong with the whole of it is for definitionErrors. */
export function changeDefinition(before: HookDefinition, wanted: HookChange): HookDefinition {
  const given = Object.entries(wanted).filter(([, value]) => value !== undefined)
  const all = Object.entries({ ...before, ...Object.fromEntries(given) })
  return Object.fromEntries(all.filter(([, value]) => value !== null)) as unknown as HookDefinition
}

/** A hook with a new secret; the ones before it work for the grace. */
export function rotateHook(row: HookRow, sealed: Uint8Array, graceSeconds: number, nowMs: number): HookRow {
  const until = nowMs + graceSeconds * 1000
  const graced = activeSecrets(row, nowMs).map(each => ({
    ...each,
    until: each.until === null ? until : Math.min(each.until, until),
  }))
  const kept = graceSeconds === 0 ? [] : graced.slice(0, maxSecrets - 1)
  return { ...row, secrets: [{ sealed, until: null }, ...kept] }
}

/** The secrets that work now. */
export function activeSecrets({ secrets }: HookRow, nowMs: number): readonly HookSecret[] {
  return secrets.filter(({ until }) => until === null || nowMs < until)
}

/** What a hook may do: update versions of its own connection, under the names that it allows. */
export function scopeOfHook({ connectionId, versions }: HookDefinition): Scope {
  return {
    actions: ['update'],
    connections: [connectionId],
    versions: versions ?? ['*'],
    fields: writableFields,
  }
}

/** A hook as an admin sees it: without a secret. */
export interface HookView extends HookDefinition {
  id: string
  createdAt: string
  createdBy: string
  /** Until when each of its older secrets works. */
  previousSecretsUntil: string[]
  pending: number
  dead: number
}

export function viewHook(row: HookRow, counts: { pending: number; dead: number }, nowMs: number): HookView {
  const older = activeSecrets(row, nowMs).flatMap(({ until }) => (until === null ? [] : [instant(until)]))
  return {
    id: row.id,
    ...row.definition,
    createdAt: instant(row.createdAt),
    createdBy: row.createdBy,
    previousSecretsUntil: older,
    ...counts,
  }
}
