/**
 * Owns the road of a caller's request, from admission to outcome. Every step reads from memory and decides
 * without waiting; between steps it waits for a turn, a slot, the disk or the platform, and then looks again. No clock and
 * no network of its own: both are passed in.
 */
import { type Action, reasonAgainst } from '../auth/caller.ts'
import type { Refusal } from '../errors.ts'
import { idempotencyScope } from '../update/idempotency-key.ts'
import { type Admission, type Admitted, admit } from './admission.ts'
import type { Attempts, Ending } from './attempts.ts'
import type { Capacity } from './capacity.ts'
import type { CommitQueue } from './commit-queue.ts'
import { type World, whenReady } from './courier.ts'
import type { Idempotency } from './idempotency.ts'
import type { Answer, Call, ReadCall, RefusedCall, TokenSelf, UpdateCall } from './messages.ts'
import { Rates } from './rates.ts'
import { about } from './record.ts'
import type { Recorder } from './recorder.ts'
import type { SessionStore } from './session-store.ts'
import type { Tables } from './tables.ts'
import type { TokenStore } from './token-store.ts'
import { instant } from './tokens.ts'
import { Turns } from './turns.ts'
import type { Writer } from './writer.ts'

const maxWaitingPerConnection = 32
const maxWaiting = 256
/** What the road runs on. */
export interface Surroundings {
  tables: Tables
  queue: CommitQueue
  tokens: TokenStore
  session: SessionStore
  turns: Turns
  recorder: Recorder
  attempts: Attempts
  writer: Writer
  idempotency: Idempotency
  capacity: Capacity
  now: World['now']
  sleep: World['sleep']
  /** From admission to the platform's answer, waiting and retries included. */
  timeoutMs: number
}

/** One writer at a time per connection, and so many behind it. */
export function newTurns(): Turns {
  return new Turns(maxWaitingPerConnection, maxWaiting)
}

export class Road {
  readonly #on: Surroundings
  readonly #rates: Rates

  constructor(surroundings: Surroundings) {
    this.#on = surroundings
    const { tables, queue } = surroundings
    this.#rates = new Rates({
      recall: id => tables.rateWindow(id),
      remember: (id, startedAt) => queue.add(() => tables.putRate(id, startedAt)),
    })
  }

  /** What the caller's token may do, and whether the session stands. */
  async describeToken(call: Call): Promise<Answer> {
    const admission = this.#admit(call, 'read', [])
    if ('refusal' in admission) return this.#on.recorder.refuse(call, 'read', admission)
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
    return this.#on.recorder.answer({ ...about(call), event: 'read.succeeded', actor }, { result, rate })
  }

  /** A request that the edge refused for what it holds: its caller is checked first, and the log gets its record. */
  async refused(call: RefusedCall): Promise<Answer> {
    const early = call.refusal.code === 'invalid-path' || call.refusal.code === 'invalid-query'
    const versions = early || call.target.version === undefined ? [] : [call.target.version]
    const admission = this.#admit(call, call.action, versions)
    if ('refusal' in admission) return this.#on.recorder.refuse(call, call.action, admission)
    return this.#on.recorder.refuse(call, call.action, { ...admission, refusal: call.refusal })
  }

  /** Reads one version from the platform. */
  async read(call: ReadCall): Promise<Answer> {
    const deadline = this.#on.now() + this.#on.timeoutMs
    const admission = this.#admit(call, 'read', [call.target.version])
    if ('refusal' in admission) return this.#on.recorder.refuse(call, 'read', admission)
    const { actor, rate } = admission
    const full = this.#on.capacity.objection('read')
    if (full) return this.#on.recorder.refuse(call, 'read', { refusal: full, actor, rate })

    const errand = { ...call, owner: call.credential.id }
    const exchanged = await this.#on.writer.read(errand, deadline, () => this.#objection(call))
    if (!exchanged.ok)
      return this.#on.recorder.refuse(call, 'read', { refusal: exchanged.refusal, actor, rate })
    const { verdict, upstream } = exchanged.value
    const { result } = verdict
    const event = result.ok ? 'read.succeeded' : 'read.failed'
    const reason = result.ok ? undefined : result.refusal.code
    return this.#on.recorder.answer({ ...about(call), event, actor, upstream, reason }, { result, rate })
  }

  /** Updates one version: admit → turn → look again → reserve → slot → look again → forward → settle. */
  async update(call: UpdateCall): Promise<Answer> {
    const deadline = this.#on.now() + this.#on.timeoutMs
    const admission = this.#admit(call, 'update', [call.target.version, call.update.name])
    if ('refusal' in admission) return this.#on.recorder.refuse(call, 'update', admission)
    const scope = scopeOf(call)
    if (scope === undefined) return this.#inTurn(call, admission, deadline)

    const { idempotency, now } = this.#on
    const claim = idempotency.claim(scope, call.update.sha256, now())
    if (claim.kind === 'done') return this.#replay(call, admission, claim.answer)
    if (claim.kind !== 'new')
      return this.#on.recorder.refuse(call, 'update', { ...admission, refusal: keyRefusals[claim.kind] })
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
    if (early) return this.#on.recorder.refuse(call, 'update', { refusal: early, actor, rate })
    const turn = turns.take(call.target.connectionId, call.credential.id)
    let ending: Ending | undefined
    try {
      const late = await whenReady(turn, deadline, this.#on)
      const refusal = this.#objection(call) ?? session.objection(now()) ?? late
      if (refusal) return await this.#on.recorder.refuse(call, 'update', { refusal, actor, rate })
      const standing = { actor, rate, deadline, turn, scope }
      ending = await this.#on.attempts.make(call, standing, () => this.#objection(call))
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
    const answer = await this.#on.recorder.answer(
      { ...about(call), event: 'update.replayed', actor, request },
      { ...first, rate },
    )
    const replayed: Answer = { ...answer, replayed: true }
    if (first.receipt) replayed.receipt = first.receipt
    return replayed
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
}

const keyRefusals: Record<'in-flight' | 'mismatch', Refusal> = {
  'in-flight': { code: 'idempotency-in-flight', retryAfterSeconds: 1 },
  mismatch: { code: 'idempotency-mismatch' },
}

/** What a call's idempotency key is unique within. */
function scopeOf({ credential, target, idempotencyKey }: UpdateCall): string | undefined {
  if (idempotencyKey === undefined) return undefined
  return idempotencyScope(credential.id, target.connectionId, target.version, idempotencyKey)
}
