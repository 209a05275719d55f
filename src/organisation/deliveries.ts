/**
 * Owns the life of a delivery: its states, which goes next in each connection, and what becomes of one that failed. Pure: rows,
 * times and chance come in.
 */
import type { Refusal } from '../errors.ts'
import { pauseMs } from '../upstream/backoff.ts'
import { instant } from './tokens.ts'

export type DeliveryState = 'pending' | 'done' | 'dead' | 'ignored'
export const deliveryStates = ['pending', 'done', 'dead', 'ignored'] as const

/** An event that a hook took. Times are milliseconds since 1970. */
export interface DeliveryRow {
  id: string
  hook: string
  /** The message's id or its body's digest: what makes a second one the same. */
  key: string
  /** SHA-256 of the body, in hex. */
  digest: string
  /** The record that says that it was received; deliveries go in this order. */
  seq: number
  requestId: string
  /** As its sender named it. */
  messageId: string | null
  /** The id of the token that it came with, if it was one. */
  token: string | null
  connectionId: string
  /** Null with `patch` where the event could not be mapped. */
  version: string | null
  patch: string | null
  state: DeliveryState
  tries: number
  /** The code of the last failure. */
  failure: string | null
  receivedAt: number
  /** From when its three days count: as it was received or replayed. */
  since: number
  nextAt: number
  endedAt: number | null
  /** The record that shows what became of it. */
  closedBy: number | null
}

/** An event as it came. */
export interface Payload {
  body: Uint8Array
  headers: Readonly<Record<string, string>>
}

const dayMs = 86_400_000
/** So many of a hook may wait. */
export const maxPending = 1_000
/** What waits is held in memory: so many deliveries of an organisation, and so many characters of their patches. */
export const maxPendingOfAll = 10_000
export const maxPendingLength = 8_388_608
export const maxTries = 12
const maxAgeMs = 3 * dayMs
/** What waited three days for a session, or for another, has hardly been tried. */
const minTries = 3
/** How long a dead delivery keeps its payload. */
export const keptMs = 30 * dayMs
/** The newest dead of a hook keep theirs: so many, and so many bytes, that a hundred hooks leave room for the rest. */
export const maxDeadPayloads = 1_000
export const maxDeadBytes = 67_108_864
/** Of what is done, a longer patch is told of by the update's own records alone. */
const maxDonePatch = 8 * 1024

/** The row of an event that was just received. */
export function received(
  event: Pick<DeliveryRow, 'id' | 'hook' | 'key' | 'digest' | 'requestId' | 'messageId' | 'token'>,
  connectionId: string,
  seq: number,
  nowMs: number,
): DeliveryRow {
  return {
    ...event,
    seq,
    connectionId,
    version: null,
    patch: null,
    state: 'pending',
    tries: 0,
    failure: null,
    receivedAt: nowMs,
    since: nowMs,
    nextAt: nowMs,
    endedAt: null,
    closedBy: null,
  }
}

/** A delivery that is to be tried from now on, as if it had just come, in its old place. */
export function rearmed(
  row: DeliveryRow,
  { connectionId, version, patch }: { connectionId: string; version: string; patch: string },
  nowMs: number,
): DeliveryRow {
  const fresh = {
    state: 'pending' as const,
    tries: 0,
    since: nowMs,
    nextAt: nowMs,
    endedAt: null,
    closedBy: null,
  }
  return { ...row, ...fresh, connectionId, version, patch }
}

/** A delivery that came to its end. */
export function ended(
  row: DeliveryRow,
  state: Exclude<DeliveryState, 'pending'>,
  closedBy: number | null,
  nowMs: number,
): DeliveryRow {
  const patch = state === 'done' && (row.patch?.length ?? 0) > maxDonePatch ? null : row.patch
  return { ...row, patch, state, endedAt: nowMs, closedBy }
}

/** Pauses of the scheduler, in times the backoff's base: 5 s after a first try, then four times as long, 6 h at most. */
export function afterFailure(
  row: DeliveryRow,
  askedMs: number,
  baseMs: number,
  nowMs: number,
  random: number,
): DeliveryRow {
  return { ...row, nextAt: nowMs + Math.max(askedMs, pauseMs(Math.max(1, row.tries), baseMs, random)) }
}

/** Whether a delivery that has failed is given up. */
export function isSpent(row: DeliveryRow, nowMs: number): boolean {
  return row.tries >= maxTries || (row.tries >= minTries && nowMs - row.since >= maxAgeMs)
}

/** What a failure means for the delivery: some are not its own, and some will not get better by themselves. */
export function meaningOf(refusal: Refusal): 'pause' | 'retry' | 'hopeless' {
  switch (refusal.code) {
    case 'session-missing':
    case 'session-rejected':
    case 'audit-unavailable':
      return 'pause'
    case 'invalid-token':
    case 'insufficient-scope':
    case 'invalid-body':
      return 'hopeless'
    case 'upstream-rejected':
      return refusal.status === 400 || refusal.status === 422 ? 'hopeless' : 'retry'
    default:
      return 'retry'
  }
}

/**
 * The deliveries that may go, one a connection, the longest due first. What waits for another try keeps later ones of its
 * connection waiting, unless its hook says to skip it; what is being looked into keeps the connection's turn anyway.
 */
export function runnable(
  pending: Iterable<DeliveryRow>,
  blocks: (hook: string) => boolean,
  nowMs: number,
): { ready: DeliveryRow[]; nextAt: number | undefined } {
  const decided = new Set<string>()
  const ready: DeliveryRow[] = []
  let nextAt: number | undefined
  for (const row of pending) {
    if (decided.has(row.connectionId)) continue
    if (row.nextAt <= nowMs) ready.push(row)
    else nextAt = Math.min(nextAt ?? row.nextAt, row.nextAt)
    if (row.nextAt <= nowMs || blocks(row.hook) || row.failure === 'unknown') decided.add(row.connectionId)
  }
  return { ready: ready.sort((a, b) => a.nextAt - b.nextAt), nextAt }
}

/** A delivery as an admin sees it. */
export interface DeliveryView {
  id: string
  hookId: string
  state: DeliveryState
  messageId: string | null
  requestId: string
  connectionId: string
  version: string | null
  change: unknown
  tries: number
  lastFailure: string | null
  receivedAt: string
  nextAt: string | null
  endedAt: string | null
  /** The numbers of the records that say that it was received, and what became of it. */
  receivedSeq: number
  closedSeq: number | null
}

export function viewDelivery(row: DeliveryRow): DeliveryView {
  return {
    id: row.id,
    hookId: row.hook,
    state: row.state,
    messageId: row.messageId,
    requestId: row.requestId,
    connectionId: row.connectionId,
    version: row.version,
    change: row.patch === null ? null : JSON.parse(row.patch),
    tries: row.tries,
    lastFailure: row.failure,
    receivedAt: instant(row.receivedAt),
    nextAt: row.state === 'pending' ? instant(row.nextAt) : null,
    endedAt: instant(row.endedAt),
    receivedSeq: row.seq,
    closedSeq: row.closedBy,
  }
}
