/**
 * Owns the form of an audit record. Builds the string that is stored, hashed and exported, once.
 * Never holds a secret: there is no field that one could stand in.
 */
import { withoutTokens } from '../auth/token.ts'
import { sha256Hex } from '../crypto.ts'
import type { Effect, FieldError, Refusal } from '../errors.ts'
import type { Change } from '../update/proposal.ts'
import type { AdminCall, Origin, ReaderCall } from './messages.ts'

export type Actor =
  | { type: 'token' | 'admin' | 'webhook' | 'auditor'; id: string; name: string }
  /** `claimedId`: the token id that a credential named and did not prove. */
  | { type: 'anonymous'; claimedId?: string }
  | { type: 'gateway' }

/** Where a request came from: as Cloudflare saw it, and as it called itself. */
export interface Client {
  ip?: string
  userAgent?: string
}

export interface Target {
  organisationId: string
  connectionId?: string
  version?: string
  tokenId?: string
  hookId?: string
}

export type Event =
  | 'update.attempted'
  | 'update.succeeded'
  | 'update.failed'
  | 'update.unknown'
  | 'update.retried'
  | 'update.replayed'
  | 'update.unchanged'
  | 'update.reconciled'
  | 'update.denied'
  | 'update.rejected'
  | 'read.succeeded'
  | 'read.failed'
  | 'read.denied'
  | 'read.rejected'
  | 'token.created'
  | 'token.rotated'
  | 'token.revoked'
  | 'token.expiring'
  | 'session.set'
  | 'session.rotated'
  | 'session.rejected'
  | 'session.expiring'
  | 'session.deleted'
  | 'session.resealed'
  | 'session.refused'
  | 'admin.denied'
  | 'audit.exported'
  | 'console.opened'
  | 'key.changed'
  | 'fork.acknowledged'
  | 'denials.suppressed'
  | 'storage.high'
  | 'alert.abandoned'
  | 'hook.created'
  | 'hook.changed'
  | 'hook.rotated'
  | 'hook.resealed'
  | 'hook.deleted'
  | 'webhook.received'
  | 'webhook.duplicate'
  | 'webhook.ignored'
  | 'webhook.denied'
  | 'webhook.rejected'
  | 'webhook.dead'
  | 'webhook.replayed'

/** What a record says, in the order in which it is written; what is undefined is left out. */
export interface Entry {
  requestId?: string
  event: Event
  actor: Actor
  target: Target
  client?: Client
  /** The webhook delivery that it belongs to. */
  delivery?: string | undefined
  /** An event's id, as its sender gave it. */
  message?: string
  /** The `seq` of the `update.attempted` record that this one closes. */
  attempt?: number
  request?: {
    sha256: string
    bytes: number
    /** Of the merge patch that the update was made from. */
    patchSha256?: string | undefined
    idempotencyKey?: string | undefined
    body?: unknown
  }
  upstream?: {
    status?: number
    durationMs?: number
    attempts?: number
    sha256?: string
    generation?: number
  }
  outcome?: Effect
  /** Field by field, where the version was read before. */
  change?: object
  /** What a later look showed; null where none could tell. */
  applied?: boolean | null
  /** The version as that look saw it. */
  observed?: { sha256: string; updatedAt?: string }
  /** What an export was narrowed to. */
  filter?: object
  /** When the reader that opened the console had logged in. */
  loggedInAt?: string
  reason?: string
  token?: object
  session?: object
  hook?: object
  /** The message that was given up. */
  alert?: object
  /** How many refusals got no record of their own; null where the number was lost. */
  count?: number | null
  fields?: string[]
  /** The public keys that sign checkpoints, in base64. */
  key?: { from: string; to: string }
  /** This log, and what the archive held in its stead. */
  fork?: object
  storage?: { bytes: number; limitBytes: number }
}

/** The gateway itself, where nobody asked. */
export const gateway: Actor = { type: 'gateway' }

/** What every record of a request says of where it came from and what it is about. */
export function about(
  call: Origin & { target?: object; delivery?: string },
): Pick<Entry, 'requestId' | 'target' | 'client' | 'delivery'> {
  const { requestId, organisationId, client, target, delivery } = call
  return { requestId, target: { organisationId, ...target }, client, delivery }
}

/** The same, of what an admin does. */
export function byAdmin(
  call: AdminCall & { target?: object; delivery?: string },
): ReturnType<typeof about> & Pick<Entry, 'actor'> {
  return { ...about(call), actor: { type: 'admin', id: call.admin, name: call.admin } }
}

/** The same, of what an admin or auditor reads. */
export function byReader(call: ReaderCall): Pick<Entry, 'requestId' | 'target' | 'client' | 'actor'> {
  const { role, name } = call.reader
  return { ...about(call), actor: { type: role, id: name, name } }
}

/** The same, of what the gateway learned while it handled a request. */
export function byGateway(origin: Origin): Pick<Entry, 'requestId' | 'target' | 'actor'> {
  const { requestId, organisationId } = origin
  return { requestId, target: { organisationId }, actor: gateway }
}

/**
 * The outcome of an attempt whose object was lost under it, from the attempt's own record: nobody knows whether the
 * platform applied it.
 */
export function lostOutcome(record: string, attempt: number): Entry {
  const { requestId, actor, target, client, delivery, request } = JSON.parse(record)
  const { sha256, bytes } = request
  return {
    requestId,
    event: 'update.unknown',
    actor,
    target,
    client,
    delivery,
    attempt,
    request: { sha256, bytes },
    outcome: 'unknown',
    reason: 'interrupted',
  }
}

const maxBodyBytes = 8 * 1024

/** The exact bytes of a record. Key order is fixed, so that two readers see the same thing in the same place. */
export function recordString(seq: number, timeMs: number, entry: Entry): string {
  return JSON.stringify({
    seq,
    time: new Date(timeMs).toISOString(),
    requestId: entry.requestId,
    event: entry.event,
    actor: entry.actor,
    target: entry.target,
    client: entry.client,
    delivery: entry.delivery,
    message: entry.message,
    attempt: entry.attempt,
    request: entry.request,
    change: entry.change,
    upstream: entry.upstream,
    outcome: entry.outcome,
    applied: entry.applied,
    observed: entry.observed,
    filter: entry.filter,
    loggedInAt: entry.loggedInAt,
    reason: entry.reason,
    token: entry.token,
    session: entry.session,
    hook: entry.hook,
    alert: entry.alert,
    count: entry.count,
    fields: entry.fields,
    key: entry.key,
    fork: entry.fork,
    storage: entry.storage,
  })
}

/** Whether an event is the one outcome that closes an attempt. */
export function closes(event: string): boolean {
  return event === 'update.succeeded' || event === 'update.failed' || event === 'update.unknown'
}

/** What a record says of an update's payload: over 8 KiB, its digest and size alone. */
export function payloadOf(
  update: { body: string; sha256: string; bytes: number },
  { idempotencyKey, patchSha256 }: { idempotencyKey?: string; patchSha256?: string } = {},
): Entry['request'] {
  const { sha256, bytes, body } = update
  const request = { sha256, bytes, patchSha256, idempotencyKey }
  return bytes > maxBodyBytes ? request : { ...request, body: JSON.parse(body) }
}

const maxFields = 20
const maxFieldLength = 64

const maxChangeLength = 1024

/** What changed, bounded: of a long text its digest and size, and no token that the platform may hold in it. */
export function changeOf(change: Change | undefined): Entry['change'] {
  if (!change) return undefined
  const bounded = (value: unknown) => {
    if (typeof value !== 'string') return value
    const bytes = Buffer.byteLength(value)
    return bytes > maxChangeLength ? { sha256: sha256Hex(value), bytes } : withoutTokens(value)
  }
  const fields = Object.entries(change).map(([field, { from, to }]) => {
    return [field, { from: bounded(from), to: bounded(to) }]
  })
  return Object.fromEntries(fields)
}

/** The names of what was wrong, bounded: unknown ones are whatever the caller chose. */
export function fieldsOf(fields: readonly FieldError[]): string[] {
  return fields
    .slice(0, maxFields)
    .map(({ field }) => withoutTokens(field).slice(0, maxFieldLength).toWellFormed())
}

/** What the log says of a refusal: its code; of a credential, what was wrong with it. */
export function reasonOf(refusal: Refusal): string {
  return 'reason' in refusal ? refusal.reason : refusal.code
}
