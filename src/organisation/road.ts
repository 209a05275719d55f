/**
 * Owns the road of a caller's request, from admission to outcome (DESIGN.md 3). Every step reads from memory and decides
 * without waiting; between steps it waits for a turn, a slot, the disk or the platform, and then looks again. No clock and
 * no network of its own: both are passed in.
 */
import { type Action, allows, reasonAgainst } from '../auth/caller.ts'
import { sha256, toHex } from '../crypto.ts'
import { ok, type Refusal, type Result, refuse } from '../errors.ts'
import type { UpstreamRequest } from '../upstream/request.ts'
import { judge, type Reply, type Verdict } from '../upstream/verdict.ts'
import type { Agenda } from './agenda.ts'
import type { AuditLog } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import { Denials } from './denials.ts'
import type { Answer, Call, ReadCall, RefusedCall, TokenSelf, UpdateCall } from './messages.ts'
import { type RateState, Rates } from './rates.ts'
import { type Actor, about, type Entry, gateway, payloadOf } from './record.ts'
import { cookiesOf } from './session.ts'
import type { Opened, SessionStore } from './session-store.ts'
import { Slots } from './slots.ts'
import type { Tables } from './tables.ts'
import type { TokenStore } from './token-store.ts'
import { instant, type TokenRow } from './tokens.ts'
import { type Ticket, Turns } from './turns.ts'

/** Six outgoing connections are an object's; one is kept for its alarm. */
const upstreamSlots = 5
const maxWaitingPerConnection = 32
const maxWaiting = 256
/** How long after its deadline an attempt without an outcome is taken for lost. */
export const attemptMarginMs = 5_000

/** What the road runs on. */
export interface Surroundings {
  tables: Tables
  queue: CommitQueue
  log: AuditLog
  agenda: Agenda
  tokens: TokenStore
  session: SessionStore
  upstream: { baseUrl: string; timeoutMs: number }
  now: () => number
  /** Resolves after some milliseconds; `cancel` where nobody waits any more. */
  sleep: (ms: number) => { done: Promise<void>; cancel: () => void }
  send: (request: UpstreamRequest, timeoutMs: number) => Promise<Reply>
}

/** A caller that was let in, or a refusal with what its record and answer need beside it. */
type Admission = { token: TokenRow; actor: Actor; rate: RateState } | Refused
interface Refused {
  refusal: Refusal
  actor: Actor
  rate?: RateState
}

/** What a request to the platform came to. */
interface Exchange {
  verdict: Verdict
  upstream: Entry['upstream']
}

export class Road {
  readonly #on: Surroundings
  readonly #turns = new Turns(maxWaitingPerConnection, maxWaiting)
  readonly #slots = new Slots(upstreamSlots, maxWaiting)
  readonly #rates = new Rates()
  readonly #denials = new Denials()
  /** Attempts that are still on their way. */
  readonly #running = new Set<number>()

  constructor(surroundings: Surroundings) {
    this.#on = surroundings
  }

  /** Whether an attempt is on its way: an outcome for it will come by itself. */
  get busy(): boolean {
    return this.#running.size > 0
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
    const deadline = this.#on.now() + this.#on.upstream.timeoutMs
    const admission = this.#admit(call, 'read', [call.target.version])
    if ('refusal' in admission) return this.#refuse(call, 'read', admission)
    const { actor, rate } = admission

    const exchanged = await this.#exchange(call, deadline)
    if (!exchanged.ok) return this.#refuse(call, 'read', { refusal: exchanged.refusal, actor, rate })
    const { verdict, upstream } = exchanged.value
    const { result } = verdict
    const event = result.ok ? 'read.succeeded' : 'read.failed'
    const reason = result.ok ? undefined : result.refusal.code
    return this.#answer({ ...about(call), event, actor, upstream, reason }, { result, rate })
  }

  /** Updates one version: admit → turn → look again → reserve → slot → look again → forward → settle. */
  async update(call: UpdateCall): Promise<Answer> {
    const deadline = this.#on.now() + this.#on.upstream.timeoutMs
    const admission = this.#admit(call, 'update', [call.target.version, call.update.name])
    if ('refusal' in admission) return this.#refuse(call, 'update', admission)
    const { actor, rate } = admission

    const turn = this.#turns.take(call.target.connectionId)
    try {
      const late = await this.#whenReady(turn, deadline)
      const ready = late ? refuse(late) : this.#lookAgain(call, deadline)
      if (!ready.ok) return await this.#refuse(call, 'update', { refusal: ready.refusal, actor, rate })
      return await this.#attempt(call, actor, rate, deadline)
    } finally {
      turn?.leave()
    }
  }

  /** The turn is ours: reserve, send, settle. */
  async #attempt(call: UpdateCall, actor: Actor, rate: RateState, deadline: number): Promise<Answer> {
    const attempted: Entry = {
      ...about(call),
      event: 'update.attempted',
      actor,
      request: payloadOf(call.update),
    }
    const attempt = this.#on.log.append(attempted, this.#on.now()).seq
    this.#running.add(attempt)
    this.#on.agenda.noEarlierThan('attempts', deadline + attemptMarginMs, attemptMarginMs)
    try {
      // Durable from here on: that this update is about to be sent. A crash after it leaves an attempt without an
      // outcome, which the alarm's construction of the object closes as unknown.
      await this.#on.queue.committed()
    } catch {
      this.#running.delete(attempt)
      return { result: refuse({ code: 'audit-unavailable' }), effect: 'not-sent', rate }
    }

    let bug: unknown
    const exchanged = await this.#exchange(call, deadline, call.update.body).catch((error: unknown) => {
      // A bug must not leave the attempt without its outcome: it is closed first, then thrown on.
      bug = error
      return ok({ verdict: broken, upstream: undefined })
    })
    const { verdict, upstream } = exchanged.ok
      ? exchanged.value
      : { verdict: notSent(exchanged.refusal), upstream: undefined }

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
    const answer = await this.#answer(settled, { result, effect, rate })
    if (bug !== undefined) throw bug
    return answer
  }

  /** Who is this, and may they? Synchronous, and the start of everything that a caller asks for. */
  #admit(call: Call, action: Action, versions: string[]): Admission {
    const nowMs = this.#on.now()
    const token = this.#on.tokens.get(call.credential.id)
    const reason = reasonAgainst(call.credential, token, nowMs)
    if (!token || reason) {
      const proven = token && (reason === 'expired' || reason === 'revoked')
      const actor: Actor = proven ? actorOf(token) : { type: 'anonymous', claimedId: call.credential.id }
      return { refusal: { code: 'invalid-token', reason: reason ?? 'unknown' }, actor }
    }
    const actor = actorOf(token)
    const { allowed, state: rate } = this.#rates.take(token.id, token.rateLimit, nowMs)
    if (!allowed) {
      return { refusal: { code: 'rate-limited', retryAfterSeconds: rate.resetSeconds }, actor, rate }
    }
    const { connectionId } = call.target
    // Without versions there is nothing to be allowed: the path was refused, or it is about the token itself.
    const inScope =
      versions.length === 0 || (connectionId && allows(token.scope, action, connectionId, versions))
    return inScope ? { token, actor, rate } : { refusal: { code: 'insufficient-scope' }, actor, rate }
  }

  /**
   * What may have changed while waiting: the deadline, revocation, rotation, expiry, the session. Opens the session for the
   * send that must follow with no await in between.
   */
  #lookAgain(call: Call, deadline: number): Result<Opened> {
    if (this.#on.now() >= deadline) return refuse({ code: 'upstream-timeout' })
    const reason = reasonAgainst(call.credential, this.#on.tokens.get(call.credential.id), this.#on.now())
    return reason ? refuse({ code: 'invalid-token', reason }) : this.#on.session.open()
  }

  /** Waits for a slot, looks again, and sends with no await in between; a refusal where nothing was sent. */
  async #exchange(call: ReadCall, deadline: number, body?: string): Promise<Result<Exchange>> {
    const slot = this.#slots.take(call.target.connectionId)
    try {
      const late = await this.#whenReady(slot, deadline)
      const ready = late ? refuse(late) : this.#lookAgain(call, deadline)
      return ready.ok ? ok(await this.#send(call, ready.value, deadline, body)) : ready
    } finally {
      // Free before the outcome is written, so that records of concurrent updates commit together.
      slot?.leave()
    }
  }

  /** Sends one request, and hears from the answer whether the session still stands. */
  async #send(
    call: ReadCall,
    { cookie, generation }: Opened,
    deadline: number,
    body?: string,
  ): Promise<Exchange> {
    const startedAt = this.#on.now()
    const { requestId, trace } = call
    const target = { organisationId: call.organisationId, ...call.target }
    const request = { baseUrl: this.#on.upstream.baseUrl, target, cookie, requestId, trace, body }
    const reply = await this.#on.send(request, Math.max(1, deadline - startedAt))
    const values = cookiesOf(cookie.reveal()).map(({ value }) => value)
    const verdict = judge(reply, values)
    const status = 'status' in reply ? reply.status : undefined
    const { body: text, setCookies } = reply.kind === 'answered' ? reply : { body: undefined, setCookies: [] }
    const heard = { generation, said: verdict.session, status, setCookies }
    if (this.#on.session.hear(call, heard, this.#on.now()))
      this.#on.agenda.noLaterThan('directory', this.#on.now())
    const digest = text === undefined ? undefined : toHex(sha256(text))
    const upstream = {
      status,
      durationMs: this.#on.now() - startedAt,
      attempts: 1,
      sha256: digest,
      generation,
    }
    return { verdict, upstream }
  }

  /** Writes the record that closes a request, waits until it is durable, and only then answers. */
  async #answer(entry: Entry, answer: Answer): Promise<Answer> {
    const { receipt } = this.#on.log.append(entry, this.#on.now())
    try {
      await this.#on.queue.committed()
    } catch {
      return { ...answer, result: refuse({ code: 'audit-unavailable' }) }
    }
    return believed(answer) ? { ...answer, receipt } : answer
  }

  /** Answers what was refused before anything was attempted, within the bounded rate of such records. */
  async #refuse(call: Call, action: Action, { refusal, actor, rate }: Refused): Promise<Answer> {
    const answer: Answer = { result: refuse(refusal) }
    if (rate && believed(answer)) answer.rate = rate
    if (action === 'update') answer.effect = 'not-sent'
    if (!this.mayRecordRefusal()) return answer
    const denied = ['invalid-token', 'rate-limited', 'insufficient-scope'].includes(refusal.code)
    const fields = 'fields' in refusal ? refusal.fields.map(({ field }) => field) : undefined
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
    const count = this.#denials.drain()
    const organisationId = this.#on.tables.organisation()?.id
    if (count === 0 || organisationId === undefined) return
    const target = { organisationId }
    this.#on.log.append({ event: 'denials.suppressed', actor: gateway, target, count }, this.#on.now())
  }

  /** Waits for a ticket until the deadline; a refusal where there is none, or where its turn does not come in time. */
  async #whenReady(ticket: Ticket | undefined, deadline: number): Promise<Refusal | undefined> {
    if (!ticket) return { code: 'overloaded', retryAfterSeconds: 1 }
    const late = this.#on.sleep(Math.max(0, deadline - this.#on.now()))
    const first = await Promise.race([ticket.ready.then(() => 'ready'), late.done])
    late.cancel()
    return first === 'ready' ? undefined : { code: 'upstream-timeout' }
  }
}

const outcomes = {
  applied: 'update.succeeded',
  'not-applied': 'update.failed',
  'not-sent': 'update.failed',
  unknown: 'update.unknown',
} as const

function actorOf({ id, name }: TokenRow): Actor {
  return { type: 'token', id, name }
}

function notSent(refusal: Refusal): Verdict {
  return { effect: 'not-sent', result: refuse(refusal), session: 'unsaid' }
}

/** What is known of a write after a bug: nothing. */
const broken: Verdict = { effect: 'unknown', result: refuse({ code: 'internal' }), session: 'unsaid' }

/** Who is not believed gets one and the same answer, without receipt or rate, whatever the log knows. */
function believed({ result }: Answer): boolean {
  return result.ok || result.refusal.code !== 'invalid-token'
}

/** What the log says of a refusal: its code; of a credential, what was wrong with it. */
function reasonOf(refusal: Refusal): string {
  return refusal.code === 'invalid-token' ? refusal.reason : refusal.code
}
