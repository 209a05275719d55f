/**
 * Owns the road of a caller's request, from admission to outcome. Every step reads from memory and decides
 * without waiting; between steps it waits for a turn, a slot, the disk or the platform, and then looks again. No clock and
 * no network of its own: both are passed in.
 */
import { type Action, allows, reasonAgainst, type Scope } from '../auth/caller.ts'
import { withoutTokens } from '../auth/token.ts'
import { sha256Hex } from '../crypto.ts'
import { ok, type Refusal, type Result, refuse, tokenInBody } from '../errors.ts'
import { etagOf, fulfils } from '../update/etag.ts'
import { idempotencyScope } from '../update/idempotency-key.ts'
import { namesIn, propose } from '../update/proposal.ts'
import { writableFields } from '../update/writable.ts'
import { type Admission, admit } from './admission.ts'
import type { Attempts, Ending } from './attempts.ts'
import type { Capacity } from './capacity.ts'
import type { CommitQueue } from './commit-queue.ts'
import { type World, whenReady } from './courier.ts'
import type { Idempotency } from './idempotency.ts'
import type {
  Answer,
  Call,
  PatchCall,
  Presented,
  ReadCall,
  ReceiptCall,
  RefusedCall,
  TokenSelf,
  UpdateCall,
} from './messages.ts'
import type { Notary } from './notary.ts'
import { type RateState, Rates } from './rates.ts'
import { type Actor, about, type Entry } from './record.ts'
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
  notary: Notary
  now: World['now']
  sleep: World['sleep']
  /** From admission to the platform's answer, waiting and retries included. */
  timeoutMs: number
}

/** For whom an update is made: every one of the scopes must allow it. */
export interface Party {
  actor: Actor
  scopes: readonly Scope[]
  /** Whose share of turns and slots it takes. */
  owner: string
  rate?: RateState
  /** What may have changed while waiting. */
  objection: () => Refusal | undefined
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
    const admission = this.admit(call, 'read', [])
    if ('refusal' in admission) return this.#on.recorder.refuse(call, 'read', admission)
    const { token, actor, rate } = admission
    const full = this.#on.capacity.objection('read')
    if (full) return this.#on.recorder.refuse(call, 'read', { refusal: full, actor, rate })
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

  /** One of the caller's own records, and its proof. Leaves no record: to look at the log must not change it. */
  async receipt(call: ReceiptCall): Promise<Answer> {
    const admission = this.admit(call, 'read', [])
    if ('refusal' in admission) return this.#on.recorder.refuse(call, 'read', admission)
    const receipt = await this.#on.notary.receipt(call, call.seq, admission.token.id)
    if (!receipt.ok) return this.#on.recorder.refuse(call, 'read', { ...admission, refusal: receipt.refusal })
    return { result: { ok: true, status: 200, body: JSON.stringify(receipt.value) }, rate: admission.rate }
  }

  /** A request that the edge refused for what it holds: its caller is checked first, and the log gets its record. */
  async refused(call: RefusedCall): Promise<Answer> {
    const early = call.refusal.code === 'invalid-path' || call.refusal.code === 'invalid-query'
    const versions = early || call.target.version === undefined ? [] : [call.target.version, ...call.named]
    const admission = this.admit(call, call.action, versions)
    if ('refusal' in admission) return this.#on.recorder.refuse(call, call.action, admission)
    return this.#on.recorder.refuse(call, call.action, { ...admission, refusal: call.refusal })
  }

  /** Reads one version from the platform. */
  async read(call: ReadCall): Promise<Answer> {
    const deadline = this.#on.now() + this.#on.timeoutMs
    const admission = this.admit(call, 'read', [call.target.version])
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
  async update({ credential, ...call }: Presented<UpdateCall | PatchCall>): Promise<Answer> {
    const deadline = this.#on.now() + this.#on.timeoutMs
    const named = 'update' in call ? [call.update.name] : namesIn(call.patch)
    const admission = this.admit({ ...call, credential }, 'update', [call.target.version, ...named])
    if ('refusal' in admission) return this.#on.recorder.refuse(call, 'update', admission)
    const { actor, token, rate } = admission
    const objection = () => this.#objection({ credential })
    const party: Party = { actor, scopes: [token.scope], owner: token.id, rate, objection }
    const scope = scopeOf(call, token.id)
    if (scope === undefined) return this.#inTurn(call, party, deadline)

    const { idempotency, now } = this.#on
    const claim = idempotency.claim(scope, fingerprintOf(call), now())
    if (claim.kind === 'done') return this.#replay(call, party, claim.answer)
    if (claim.kind !== 'new')
      return this.#on.recorder.refuse(call, 'update', { ...admission, refusal: keyRefusals[claim.kind] })
    try {
      // Durable with the reservation; what ends before it leaves the key free.
      return await this.#inTurn(call, party, deadline, scope)
    } finally {
      idempotency.abandon(claim.row)
    }
  }

  /** Makes an update that no caller's token stands behind. */
  async updateFor(party: Party, call: PatchCall): Promise<Answer> {
    return this.#inTurn(call, party, this.#on.now() + this.#on.timeoutMs)
  }

  async #inTurn(
    call: UpdateCall | PatchCall,
    party: Party,
    deadline: number,
    scope?: string,
  ): Promise<Answer> {
    const { session, now, turns } = this.#on
    const early = this.#on.capacity.objection('update') ?? session.resting(now())
    if (early) return this.#on.recorder.refuse(call, 'update', { ...party, refusal: early })
    const turn = turns.take(call.target.connectionId, party.owner)
    let ending: Ending | undefined
    try {
      const late = await whenReady(turn, deadline, this.#on)
      const refusal = party.objection() ?? session.objection(now()) ?? late
      if (refusal) return await this.#on.recorder.refuse(call, 'update', { ...party, refusal })
      const wanted = await this.#against(call, party, deadline)
      if (!wanted.ok) return await this.#on.recorder.refuse(call, 'update', { ...party, ...wanted })
      if (!('update' in wanted.value)) return await this.#unchanged(call, party, wanted.value.held, scope)
      const { actor, owner, rate, objection } = party
      ending = await this.#on.attempts.make(
        wanted.value,
        { actor, owner, rate, deadline, turn, scope },
        objection,
      )
      if (ending.bug !== undefined) throw ending.bug
      return ending.answer
    } finally {
      // An unknown outcome keeps the turn until it is known: what came after it could not be told from it.
      if (!ending?.keepsTurn) turn?.leave()
    }
  }

  /**
   * What is to be sent, or the version as it is `held` where a patch would change nothing. A plain update is taken as it is;
   * a patch, a condition and a scope of some fields need the version as it is now: in the connection's turn, so that no
   * other update of the gateway's comes between.
   */
  async #against(
    call: UpdateCall | PatchCall,
    { scopes, owner, objection }: Party,
    deadline: number,
  ): Promise<Result<UpdateCall | { held: string }>> {
    const someFields = scopes.some(({ fields }) => fields.length < writableFields.length)
    if ('update' in call && !call.ifMatch && !someFields) return ok(call)
    const exchanged = await this.#on.writer.read({ ...call, owner }, deadline, objection)
    if (!exchanged.ok) return exchanged
    const { result } = exchanged.value.verdict
    if (!result.ok)
      return call.ifMatch && isMissing(result.refusal) ? refuse({ code: 'precondition-failed' }) : result
    if (call.ifMatch && !fulfils(result.body, call.ifMatch)) return refuse({ code: 'precondition-failed' })

    const proposed = propose(result.body, call)
    if (!proposed.ok) return proposed
    const { update, change } = proposed.value
    const { connectionId, version } = call.target
    const allowed = scopes.every(
      scope =>
        allows(scope, 'update', connectionId, [version, update.name]) &&
        Object.keys(change).every(field => scope.fields.includes(field)),
    )
    if (!allowed) return refuse({ code: 'insufficient-scope' })
    const base = etagOf(result.body)
    if ('update' in call) return ok({ ...call, change, base })
    if (Object.keys(change).length === 0) return ok({ held: result.body })
    if (withoutTokens(update.body) !== update.body) return refuse(tokenInBody)
    const { patch, ...rest } = call
    return ok({ ...rest, update, change, base, patchSha256: sha256Hex(patch) })
  }

  /** A patch that changes nothing is not sent: the answer is the version as it is. Kept for its key, as any answer. */
  async #unchanged(
    call: UpdateCall | PatchCall,
    { actor, rate }: Party,
    body: string,
    scope: string | undefined,
  ): Promise<Answer> {
    const { recorder, idempotency, now } = this.#on
    const answer: Answer = { result: { ok: true, status: 200, body }, effect: 'not-sent' }
    const entry: Entry = { ...about(call), event: 'update.unchanged', actor, request: requestOf(call) }
    return recorder.answer(entry, rate ? { ...answer, rate } : answer, receipt => {
      if (scope === undefined) return
      idempotency.reserve(scope, now())
      idempotency.settle(scope, { ...answer, receipt })
    })
  }

  /**
   * The answer of the first request with this key, and its receipt. A record says that it was given again; of a full storage's
   * there are no more than of refusals.
   */
  async #replay(call: UpdateCall | PatchCall, { actor, rate }: Party, first: Answer): Promise<Answer> {
    const { recorder, capacity } = this.#on
    const entry: Entry = { ...about(call), event: 'update.replayed', actor, request: requestOf(call) }
    const again = rate ? { ...first, rate } : first
    const answer = await (capacity.full ? recorder.repeat(entry, again) : recorder.answer(entry, again))
    const replayed: Answer = { ...answer, replayed: true }
    if (first.receipt) replayed.receipt = first.receipt
    return replayed
  }

  /** Who is this, and may they? Synchronous, and the start of everything that a caller asks for. */
  admit(call: Call, action: Action, versions: string[]): Admission {
    return admit(
      call,
      { action, versions },
      this.#on.tokens.get(call.credential.id),
      this.#rates,
      this.#on.now(),
    )
  }

  /** What may have changed while waiting: revocation, rotation, expiry. The session is looked at as it is opened. */
  #objection({ credential }: Pick<Call, 'credential'>): Refusal | undefined {
    const reason = reasonAgainst(credential, this.#on.tokens.get(credential.id), this.#on.now())
    return reason && { code: 'invalid-token', reason }
  }
}

const keyRefusals: Record<'in-flight' | 'mismatch', Refusal> = {
  'in-flight': { code: 'idempotency-in-flight', retryAfterSeconds: 1 },
  mismatch: { code: 'idempotency-mismatch' },
}

/** What a call's idempotency key is unique within. */
function scopeOf(call: UpdateCall | PatchCall, tokenId: string): string | undefined {
  const { target, idempotencyKey } = call
  if (idempotencyKey === undefined) return undefined
  const method = 'update' in call ? 'PUT' : 'PATCH'
  return idempotencyScope(tokenId, method, target.connectionId, target.version, idempotencyKey)
}

/** What makes two requests with one key the same. */
function fingerprintOf(call: UpdateCall | PatchCall): string {
  return 'update' in call ? call.update.sha256 : sha256Hex(call.patch)
}

/** What a record says of a request that is not sent. */
function requestOf(call: UpdateCall | PatchCall): Entry['request'] {
  const text = 'update' in call ? call.update.body : call.patch
  const { idempotencyKey } = call
  return { sha256: fingerprintOf(call), bytes: Buffer.byteLength(text), idempotencyKey }
}

function isMissing(refusal: Refusal): boolean {
  return refusal.code === 'upstream-rejected' && refusal.status === 404
}
