/**
 * Owns the road of a caller's request, from admission to outcome. Every step reads from memory and decides
 * without waiting; between steps it waits for a turn, a slot, the disk or the platform, and then looks again. No clock and
 * no network of its own: both are passed in.
 */
import { type Action, reasonAgainst } from '../auth/caller.ts'
import { type Refusal, refuse } from '../errors.ts'
import { idempotencyScope } from '../update/idempotency-key.ts'
import { intentOf } from '../update/writable.ts'
import type { Verdict } from '../upstream/verdict.ts'
import { type Admission, type Admitted, admit, type Refused } from './admission.ts'
import type { Agenda } from './agenda.ts'
import type { AuditLog } from './audit-log.ts'
import type { Capacity } from './capacity.ts'
import type { CommitQueue } from './commit-queue.ts'
import { type Exchange, type World, whenReady } from './courier.ts'
import { Denials } from './denials.ts'
import type { Idempotency } from './idempotency.ts'
import type { Answer, Call, ReadCall, RefusedCall, TokenSelf, UpdateCall } from './messages.ts'
import { type RateState, Rates } from './rates.ts'
import { type Actor, about, type Entry, fieldsOf, gateway, payloadOf, reasonOf } from './record.ts'
import type { SessionStore } from './session-store.ts'
import type { Tables } from './tables.ts'
import type { TokenStore } from './token-store.ts'
import { instant } from './tokens.ts'
import { type Ticket, Turns } from './turns.ts'
import type { Unsettled } from './unsettled.ts'
import type { Writer } from './writer.ts'

const maxWaitingPerConnection = 32
const maxWaiting = 256
/** How long after its deadline an attempt without an outcome is taken for lost, in times the backoff's base. */
export const attemptMargin = 20

/** What the road runs on. */
export interface Surroundings {
  tables: Tables
  queue: CommitQueue
  log: AuditLog
  agenda: Agenda
  tokens: TokenStore
  session: SessionStore
  turns: Turns
  writer: Writer
  unsettled: Unsettled
  idempotency: Idempotency
  capacity: Capacity
  now: World['now']
  sleep: World['sleep']
  /** From admission to the platform's answer, waiting and retries included. */
  timeoutMs: number
  retryMs: number
}

/** What an attempt starts from. */
interface Standing {
  actor: Actor
  rate: RateState
  deadline: number
  turn: Ticket | undefined
  /** Of its idempotency key, if it has one. */
  scope: string | undefined
}

/** How an attempt ended, and whether it keeps its connection's turn. */
interface Ending {
  answer: Answer
  keepsTurn: boolean
}

/** One writer at a time per connection, and so many behind it. */
export function newTurns(): Turns {
  return new Turns(maxWaitingPerConnection, maxWaiting)
}

export class Road {
  readonly #on: Surroundings
  readonly #rates: Rates
  readonly #denials = new Denials()
  /** Attempts that are still on their way. */
  readonly #running = new Set<number>()

  constructor(surroundings: Surroundings) {
    this.#on = surroundings
    const { tables, queue } = surroundings
    this.#rates = new Rates({
      recall: id => tables.rateWindow(id),
      remember: (id, startedAt) => queue.add(() => tables.putRate(id, startedAt)),
    })
  }

  /** Whether any attempt is on its way. */
  get busy(): boolean {
    return this.#running.size > 0
  }

  /** Whether an attempt is on its way: its outcome will come by itself. */
  isRunning(attempt: number): boolean {
    return this.#running.has(attempt)
  }

  /** What the caller's token may do, and whether the session stands. */
  async describeToken(call: Call): Promise<Answer> {
    const admission = this.#admit(call, 'read', [])
    if ('refusal' in admission) return this.#refuse(call, 'read', admission)
    const { token, actor, rate } = admission
    const { state, expiresAt } = this.#on.session.view()
    const view: TokenSelf = {
      id: token.id,
      name: token.name,
      ...token.scope,
      expiresAt: instant(token.expiresAt),
      rateLimit: rate,
      session: { state, expiresAt },
    }
    const result = { ok: true as const, status: 200, body: JSON.stringify(view) }
    return this.#answer({ ...about(call), event: 'read.succeeded', actor }, { result, rate })
  }

  /** A request that the edge refused for what it holds: its caller is checked first, and the log gets its record. */
  async refused(call: RefusedCall): Promise<Answer> {
    const early = call.refusal.code === 'invalid-path' || call.refusal.code === 'invalid-query'
    const versions = early || call.target.version === undefined ? [] : [call.target.version]
    const admission = this.#admit(call, call.action, versions)
    if ('refusal' in admission) return this.#refuse(call, call.action, admission)
    return this.#refuse(call, call.action, { ...admission, refusal: call.refusal })
  }

  /** Reads one version from the platform. */
  async read(call: ReadCall): Promise<Answer> {
    const deadline = this.#on.now() + this.#on.timeoutMs
    const admission = this.#admit(call, 'read', [call.target.version])
    if ('refusal' in admission) return this.#refuse(call, 'read', admission)
    const { actor, rate } = admission
    const full = this.#on.capacity.objection('read')
    if (full) return this.#refuse(call, 'read', { refusal: full, actor, rate })

    const errand = { ...call, owner: call.credential.id }
    const exchanged = await this.#on.writer.read(errand, deadline, () => this.#objection(call))
    if (!exchanged.ok) return this.#refuse(call, 'read', { refusal: exchanged.refusal, actor, rate })
    const { verdict, upstream } = exchanged.value
    const { result } = verdict
    const event = result.ok ? 'read.succeeded' : 'read.failed'
    const reason = result.ok ? undefined : result.refusal.code
    return this.#answer({ ...about(call), event, actor, upstream, reason }, { result, rate })
  }

  /** Updates one version: admit → turn → look again → reserve → slot → look again → forward → settle. */
  async update(call: UpdateCall): Promise<Answer> {
    const deadline = this.#on.now() + this.#on.timeoutMs
    const admission = this.#admit(call, 'update', [call.target.version, call.update.name])
    if ('refusal' in admission) return this.#refuse(call, 'update', admission)
    const scope = scopeOf(call)
    if (scope === undefined) return this.#inTurn(call, admission, deadline)

    const { idempotency, now } = this.#on
    const claim = idempotency.claim(scope, call.update.sha256, now())
    if (claim.kind === 'done') return this.#replay(call, admission, claim.answer)
    if (claim.kind !== 'new')
      return this.#refuse(call, 'update', { ...admission, refusal: keyRefusals[claim.kind] })
    try {
      // Durable with the reservation; what ends before it leaves the key free.
      return await this.#inTurn(call, admission, deadline, scope)
    } finally {
      idempotency.abandon(claim.row)
    }
  }

  async #inTurn(
    call: UpdateCall,
    { actor, rate }: Admitted,
    deadline: number,
    scope?: string,
  ): Promise<Answer> {
    const { session, now, turns } = this.#on
    const early = this.#on.capacity.objection('update') ?? session.resting(now())
    if (early) return this.#refuse(call, 'update', { refusal: early, actor, rate })
    const turn = turns.take(call.target.connectionId, call.credential.id)
    let ending: Ending | undefined
    try {
      const late = await whenReady(turn, deadline, this.#on)
      const refusal = this.#objection(call) ?? session.objection(now()) ?? late
      if (refusal) return await this.#refuse(call, 'update', { refusal, actor, rate })
      ending = await this.#attempt(call, { actor, rate, deadline, turn, scope })
      return ending.answer
    } finally {
      // An unknown outcome keeps the turn until it is known: what came after it could not be told from it.
      if (!ending?.keepsTurn) turn?.leave()
    }
  }

  /** The answer of the first request with this key, and its receipt. A record says that it was given again. */
  async #replay(call: UpdateCall, { actor, rate }: Admitted, first: Answer): Promise<Answer> {
    const { sha256, bytes } = call.update
    const request = { sha256, bytes, idempotencyKey: call.idempotencyKey }
    const answer = await this.#answer(
      { ...about(call), event: 'update.replayed', actor, request },
      { ...first, rate },
    )
    const replayed: Answer = { ...answer, replayed: true }
    if (first.receipt) replayed.receipt = first.receipt
    return replayed
  }

  /** The turn is ours: reserve, write, settle. */
  async #attempt(call: UpdateCall, { actor, rate, deadline, turn, scope }: Standing): Promise<Ending> {
    const { log, agenda, queue, writer, unsettled, idempotency, now } = this.#on
    const { connectionId, version } = call.target
    const request = payloadOf(call.update, call.idempotencyKey)
    const intent = intentOf(call.update.body, version)
    const kept = request?.body === undefined ? intent : undefined
    const attempt = log.append({ ...about(call), event: 'update.attempted', actor, request }, now(), kept).seq
    this.#running.add(attempt)
    if (scope !== undefined) idempotency.reserve(scope, now())
    const marginMs = attemptMargin * this.#on.retryMs
    agenda.noEarlierThan('attempts', deadline + marginMs, marginMs)
    try {
      // Durable from here on: that this update is about to be sent. A crash after it leaves an attempt without an
      // outcome, which the alarm's construction of the object closes as unknown and has looked into.
      await queue.committed()
    } catch {
      this.#running.delete(attempt)
      if (scope !== undefined) idempotency.release(scope)
      return {
        answer: { result: refuse({ code: 'audit-unavailable' }), effect: 'not-sent', rate },
        keepsTurn: false,
      }
    }

    const errand = { ...call, owner: call.credential.id, body: call.update.body }
    let bug: unknown
    const { verdict, upstream } = await writer
      .write(
        errand,
        intent,
        deadline,
        () => this.#objection(call),
        soFar => this.#recordResend(call, actor, attempt, soFar),
      )
      .catch((error: unknown) => {
        // A bug must not leave the attempt without its outcome: it is closed first, then thrown on.
        bug = error
        return { verdict: broken, upstream: undefined }
      })

    const { effect, result } = verdict
    const { sha256, bytes } = call.update
    const settled: Entry = {
      ...about(call),
      event: outcomes[effect],
      actor,
      attempt,
      request: { sha256, bytes },
      upstream,
      outcome: effect,
      reason: result.ok ? undefined : reasonOf(result.refusal),
    }
    this.#running.delete(attempt)
    if (effect === 'unknown') unsettled.keep(attempt, connectionId, Math.max(deadline, now()), turn)
    const ended: Answer = { result, effect, rate }
    const answer = await this.#answer(settled, ended, receipt => {
      if (scope === undefined || effect === 'unknown') return
      if (effect === 'applied') idempotency.settle(scope, { result, effect, receipt })
      else idempotency.release(scope)
    })
    if (bug !== undefined) throw bug
    return { answer, keepsTurn: effect === 'unknown' }
  }

  /** Makes a record of a resend durable; false where it can't be, and nothing may be sent. */
  async #recordResend(
    call: UpdateCall,
    actor: Actor,
    attempt: number,
    { verdict, upstream }: Exchange,
  ): Promise<boolean> {
    const reason = verdict.result.ok ? undefined : verdict.result.refusal.code
    const entry: Entry = { ...about(call), event: 'update.retried', actor, attempt, upstream, reason }
    this.#on.log.append(entry, this.#on.now())
    return this.#on.queue.committed().then(
      () => true,
      () => false,
    )
  }

  /** Who is this, and may they? Synchronous, and the start of everything that a caller asks for. */
  #admit(call: Call, action: Action, versions: string[]): Admission {
    return admit(
      call,
      { action, versions },
      this.#on.tokens.get(call.credential.id),
      this.#rates,
      this.#on.now(),
    )
  }

  /** What may have changed while waiting: revocation, rotation, expiry. The session is looked at as it is opened. */
  #objection(call: Call): Refusal | undefined {
    const reason = reasonAgainst(call.credential, this.#on.tokens.get(call.credential.id), this.#on.now())
    return reason && { code: 'invalid-token', reason }
  }

  /** Writes the record that closes a request, and `also` what belongs to it; answers only when both are durable. */
  async #answer(entry: Entry, answer: Answer, also?: (receipt: string) => void): Promise<Answer> {
    const { receipt } = this.#on.log.append(entry, this.#on.now())
    also?.(receipt)
    try {
      await this.#on.queue.committed()
    } catch {
      return { ...answer, result: refuse({ code: 'audit-unavailable' }) }
    }
    return believed(answer) ? { ...answer, receipt } : nameless(answer)
  }

  /** Answers what was refused before anything was attempted, within the bounded rate of such records. */
  async #refuse(call: Call, action: Action, { refusal, actor, rate }: Refused): Promise<Answer> {
    const answer: Answer = { result: refuse(refusal) }
    if (rate) answer.rate = rate
    if (action === 'update') answer.effect = 'not-sent'
    if (!this.mayRecordRefusal()) return believed(answer) ? answer : nameless(answer)
    const denied = ['invalid-token', 'rate-limited', 'insufficient-scope'].includes(refusal.code)
    const fields = 'fields' in refusal ? fieldsOf(refusal.fields) : undefined
    const event = `${action}.${denied ? 'denied' : 'rejected'}` as const
    return this.#answer({ ...about(call), event, actor, reason: reasonOf(refusal), fields }, answer)
  }

  /** False where the organisation does not exist, or this minute has its refusals on record. */
  mayRecordRefusal(): boolean {
    if (!this.#on.tables.exist) return false
    if (this.#denials.admit(this.#on.now())) return true
    this.#on.agenda.noLaterThan('denials', this.#denials.dueAt)
    return false
  }

  /** Sums up the refusals that got no record of their own. */
  writeSuppressed(): void {
    // Due, but nothing counted: an object that was lost since took the number with it.
    const count = this.#denials.drain() || null
    const organisationId = this.#on.tables.organisation()?.id
    if (organisationId === undefined) return
    const target = { organisationId }
    this.#on.log.append({ event: 'denials.suppressed', actor: gateway, target, count }, this.#on.now())
  }
}

const outcomes = {
  applied: 'update.succeeded',
  'not-applied': 'update.failed',
  'not-sent': 'update.failed',
  unknown: 'update.unknown',
} as const

const keyRefusals: Record<'in-flight' | 'mismatch', Refusal> = {
  'in-flight': { code: 'idempotency-in-flight', retryAfterSeconds: 1 },
  mismatch: { code: 'idempotency-mismatch' },
}

/** What a call's idempotency key is unique within. */
function scopeOf({ credential, target, idempotencyKey }: UpdateCall): string | undefined {
  if (idempotencyKey === undefined) return undefined
  return idempotencyScope(credential.id, target.connectionId, target.version, idempotencyKey)
}

/** What is known of a write after a bug: nothing. */
const broken: Verdict = { effect: 'unknown', result: refuse({ code: 'internal' }), session: 'unsaid' }

function believed({ result }: Answer): boolean {
  return result.ok || result.refusal.code !== 'invalid-token'
}

/** Who is not believed gets one and the same answer, without receipt or rate, whatever the log knows. */
function nameless({ receipt: _, rate: __, ...answer }: Answer): Answer {
  return answer
}
