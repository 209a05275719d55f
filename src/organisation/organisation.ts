/**
 * Owns an organisation: the road of each request from admission to outcome, and what its tokens, session, log and agenda
 * do together. A shell over the files beside it: here alone are the clock, the storage and the call to the platform.
 * Never sees a token, and lets the session out only into upstream/forward.ts.
 */
import { DurableObject } from 'cloudflare:workers'
import { type Action, allows, reasonAgainst } from '../auth/caller.ts'
import type { Credential } from '../auth/token.ts'
import { sha256, toHex } from '../crypto.ts'
import { type Config, readConfig } from '../env.ts'
import { ok, type Refusal, type Result, refuse } from '../errors.ts'
import { forward } from '../upstream/forward.ts'
import { judge, type Verdict } from '../upstream/verdict.ts'
import { Agenda } from './agenda.ts'
import { AuditLog } from './audit-log.ts'
import type { AuditQuery } from './audit-query.ts'
import { type AuditPage, auditExport, auditPage } from './audit-reader.ts'
import { CommitQueue } from './commit-queue.ts'
import { Denials } from './denials.ts'
import type {
  AdminCall,
  Answer,
  Call,
  Origin,
  ReadCall,
  RefusedCall,
  RevokedToken,
  TokenSelf,
  UpdateCall,
} from './messages.ts'
import { type RateState, Rates } from './rates.ts'
import { type Actor, about, type Entry, gateway, lostOutcome, payloadOf } from './record.ts'
import type { Due } from './schedule.ts'
import { cookiesOf, type NewSession, type SessionView } from './session.ts'
import { type Opened, SessionStore } from './session-store.ts'
import { Slots } from './slots.ts'
import { Tables } from './tables.ts'
import { TokenStore } from './token-store.ts'
import { createToken, instant, type NewToken, rotateToken, type TokenRow, type TokenView } from './tokens.ts'
import { type Ticket, Turns } from './turns.ts'

/** Six outgoing connections are an object's; one is kept for its alarm. */
const upstreamSlots = 5
const maxWaitingPerConnection = 32
const maxWaiting = 256
/** How long after its deadline an attempt without an outcome is taken for lost. */
const attemptMarginMs = 5_000
const retryMs = 5_000

/** A caller that was let in, or a refusal with what its record and answer need beside it. */
type Admission = { token: TokenRow; actor: Actor; rate: RateState } | Refused
interface Refused {
  refusal: Refusal
  actor: Actor
  rate?: RateState
}

export class Organisation extends DurableObject<Env> {
  readonly #config: Config
  readonly #tables: Tables
  readonly #queue: CommitQueue
  readonly #log: AuditLog
  readonly #agenda: Agenda
  readonly #tokens: TokenStore
  readonly #session: SessionStore
  readonly #turns = new Turns(maxWaitingPerConnection, maxWaiting)
  readonly #slots = new Slots(upstreamSlots, maxWaiting)
  readonly #rates = new Rates()
  readonly #denials = new Denials()
  /** Attempts that this very object is still handling. */
  readonly #running = new Set<number>()

  constructor(state: DurableObjectState, env: Env) {
    super(state, env)
    const config = readConfig(env)
    if (!config.ok)
      throw new Error('the edge lets nothing through to an object without a valid configuration')
    const { upstream, sealingKeys } = config.config
    this.#config = config.config
    this.#tables = new Tables(state.storage.sql)
    const nextTurn = (run: () => void) => void setTimeout(run, 0)
    this.#queue = new CommitQueue(state.storage, nextTurn, () => this.#load())
    this.#log = new AuditLog(this.#tables, this.#queue)
    this.#agenda = new Agenda(this.#tables, this.#queue, at => void state.storage.setAlarm(at))
    this.#tokens = new TokenStore(this.#tables, this.#queue, this.#log)
    const custody = { baseUrl: upstream.baseUrl, keys: sealingKeys }
    this.#session = new SessionStore(this.#tables, this.#queue, this.#log, custody)
    if (!this.#tables.exist) return
    state.storage.transactionSync(() => this.#tables.migrate())
    this.#load()
    // Whatever is open now was cut off by a crash or a reset: nothing else runs yet.
    for (const seq of this.#log.openAttempts) {
      this.#log.append(lostOutcome(this.#tables.record(seq) as string, seq), Date.now())
    }
    this.#agenda.arm()
  }

  /** Reads everything that is held in memory from storage: at construction, and where a commit failed. */
  #load(): void {
    this.#log.load()
    this.#agenda.load()
    this.#tokens.load()
    this.#session.load()
  }

  // A caller's requests

  /** What the caller's token may do, and whether the session stands. */
  async describeToken(call: Call): Promise<Answer> {
    const admission = this.#admit(call, 'read', [])
    if ('refusal' in admission) return this.#refuse(call, 'read', admission)
    const { token, actor, rate } = admission
    const { state, expiresAt } = this.#session.view()
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
    const deadline = Date.now() + this.#config.upstream.timeoutMs
    const admission = this.#admit(call, 'read', [call.target.version])
    if ('refusal' in admission) return this.#refuse(call, 'read', admission)
    const { actor, rate } = admission

    const slot = this.#slots.take(call.target.connectionId)
    const late = await whenReady(slot, deadline)
    const ready = late ? refuse(late) : this.#lookAgain(call)
    if (!ready.ok) {
      slot?.leave()
      return this.#refuse(call, 'read', { refusal: ready.refusal, actor, rate })
    }
    const { verdict, upstream } = await this.#send(call, ready.value, deadline)
    slot?.leave()
    const { result } = verdict
    const event = result.ok ? 'read.succeeded' : 'read.failed'
    const reason = result.ok ? undefined : result.refusal.code
    return this.#answer({ ...about(call), event, actor, upstream, reason }, { result, rate })
  }

  /** Updates one version: admit → turn → look again → reserve → slot → look again → forward → settle. */
  async update(call: UpdateCall): Promise<Answer> {
    const deadline = Date.now() + this.#config.upstream.timeoutMs
    const admission = this.#admit(call, 'update', [call.target.version, call.update.name])
    if ('refusal' in admission) return this.#refuse(call, 'update', admission)
    const { actor, rate } = admission

    const turn = this.#turns.take(call.target.connectionId)
    try {
      const late = await whenReady(turn, deadline)
      const ready = late ? refuse(late) : this.#lookAgain(call)
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
    const attempt = this.#log.append(attempted, Date.now()).seq
    this.#running.add(attempt)
    this.#agenda.noEarlierThan('attempts', deadline + attemptMarginMs, attemptMarginMs)
    try {
      // Durable from here on: that this update is about to be sent. A crash after it leaves an attempt without an
      // outcome, which the alarm's construction of the object closes as unknown.
      await this.#queue.committed()
    } catch {
      this.#running.delete(attempt)
      return { result: refuse({ code: 'audit-unavailable' }), effect: 'not-sent', rate }
    }

    const slot = this.#slots.take(call.target.connectionId)
    const late = await whenReady(slot, deadline)
    const ready = late ? refuse(late) : this.#lookAgain(call)
    const { verdict, upstream } = ready.ok
      ? await this.#send(call, ready.value, deadline, call.update.body)
      : { verdict: notSent(ready.refusal), upstream: undefined }
    // Free before the outcome is written, so that records of concurrent updates commit together.
    slot?.leave()

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
    return this.#answer(settled, { result, effect, rate })
  }

  /** Who is this, and may they? Synchronous, and the start of everything that a caller asks for. */
  #admit(call: Call, action: Action, versions: string[]): Admission {
    const nowMs = Date.now()
    const token = this.#tokens.get(call.credential.id)
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
   * What may have changed while waiting: revocation, rotation, expiry, the session. Opens the session for the send that
   * must follow with no await in between.
   */
  #lookAgain(call: Call): Result<Opened> {
    const reason = reasonAgainst(call.credential, this.#tokens.get(call.credential.id), Date.now())
    return reason ? refuse({ code: 'invalid-token', reason }) : this.#session.open()
  }

  /** Sends one request, and hears from the answer whether the session still stands. */
  async #send(
    call: ReadCall,
    { cookie, generation }: Opened,
    deadline: number,
    body?: string,
  ): Promise<{ verdict: Verdict; upstream: Entry['upstream'] }> {
    const startedAt = Date.now()
    const { requestId, trace } = call
    const target = { organisationId: call.organisationId, ...call.target }
    const request = { baseUrl: this.#config.upstream.baseUrl, target, cookie, requestId, trace, body }
    const reply = await forward(fetch, request, Math.max(1, deadline - startedAt))
    const values = cookiesOf(cookie.reveal()).map(({ value }) => value)
    const verdict = judge(reply, values)
    const status = 'status' in reply ? reply.status : undefined
    const { body: text, setCookies } = reply.kind === 'answered' ? reply : { body: undefined, setCookies: [] }
    const heard = { generation, said: verdict.session, status, setCookies }
    if (this.#session.hear(call, heard, Date.now())) this.#agenda.noLaterThan('directory', Date.now())
    const digest = text === undefined ? undefined : toHex(sha256(text))
    const upstream = { status, durationMs: Date.now() - startedAt, attempts: 1, sha256: digest, generation }
    return { verdict, upstream }
  }

  /** Writes the record that closes a request, waits until it is durable, and only then answers. */
  async #answer(entry: Entry, answer: Answer): Promise<Answer> {
    const { receipt } = this.#log.append(entry, Date.now())
    const committed = await this.#commit(() => receipt)
    if (!committed.ok) return { ...answer, result: committed }
    // Who is not believed gets one and the same answer, whatever the log knows.
    const believed = answer.result.ok || answer.result.refusal.code !== 'invalid-token'
    return believed ? { ...answer, receipt } : answer
  }

  /** Answers what was refused before anything was attempted, within the bounded rate of such records. */
  async #refuse(call: Call, action: Action, { refusal, actor, rate }: Refused): Promise<Answer> {
    const answer: Answer = { result: refuse(refusal) }
    if (rate) answer.rate = rate
    if (action === 'update') answer.effect = 'not-sent'
    if (!this.#mayRecordRefusal()) return answer
    const denied = ['invalid-token', 'rate-limited', 'insufficient-scope'].includes(refusal.code)
    const fields = 'fields' in refusal ? refusal.fields.map(({ field }) => field) : undefined
    const event = `${action}.${denied ? 'denied' : 'rejected'}` as const
    return this.#answer({ ...about(call), event, actor, reason: reasonOf(refusal), fields }, answer)
  }

  /** False where the organisation does not exist, or this minute has its refusals on record. */
  #mayRecordRefusal(): boolean {
    if (!this.#tables.exist) return false
    if (this.#denials.admit(Date.now())) return true
    this.#agenda.noLaterThan('denials', this.#denials.dueAt)
    return false
  }

  // Administration: the edge has checked the admin

  async setSession(call: AdminCall, body: NewSession): Promise<Result<SessionView>> {
    this.#comeIntoBeing(call.organisationId)
    this.#session.set(call, body, Date.now())
    return this.#commitAndPublish(() => this.#session.view())
  }

  async getSession(): Promise<SessionView> {
    return this.#session.view()
  }

  async deleteSession(call: AdminCall): Promise<Result<SessionView>> {
    if (!this.#session.delete(call, Date.now())) return ok(this.#session.view())
    return this.#commitAndPublish(() => this.#session.view())
  }

  async reseal(call: AdminCall): Promise<Result<'resealed' | 'unchanged' | 'unopened'>> {
    const outcome = this.#session.reseal(call, Date.now())
    return this.#commit(() => outcome)
  }

  /** Stores a token that the edge has minted. */
  async createToken(call: AdminCall, wanted: NewToken, credential: Credential): Promise<Result<TokenView>> {
    this.#comeIntoBeing(call.organisationId)
    return this.#changeToken(call, 'token.created', createToken(wanted, credential, call.admin, Date.now()))
  }

  async listTokens(): Promise<TokenView[]> {
    return this.#tokens.list(Date.now())
  }

  async getToken(id: string): Promise<Result<TokenView>> {
    const row = this.#tokens.get(id)
    return row ? ok(this.#tokens.view(row, Date.now())) : noSuchToken
  }

  /** Gives a token a new secret, which the edge has minted. A revoked token stays revoked. */
  async rotateToken(
    call: AdminCall,
    credential: Credential,
    graceSeconds: number,
  ): Promise<Result<TokenView>> {
    const row = this.#tokens.get(credential.id)
    if (!row) return noSuchToken
    if (row.revokedAt !== null) {
      return refuse({ code: 'not-found', detail: 'This token was revoked, which is final. Make a new one.' })
    }
    const rotated = rotateToken(row, credential.digest, graceSeconds, Date.now())
    return this.#changeToken(call, 'token.rotated', rotated)
  }

  /** Revokes a token; a second time changes nothing. */
  async revokeToken(call: AdminCall, id: string): Promise<Result<RevokedToken>> {
    const row = this.#tokens.get(id)
    if (!row) return noSuchToken
    const view = (token: TokenView) => ok({ ...token, lastAccepted: this.#tokens.lastAccepted(id) })
    if (row.revokedAt !== null) return view(this.#tokens.view(row, Date.now()))
    const changed = await this.#changeToken(call, 'token.revoked', { ...row, revokedAt: Date.now() })
    return changed.ok ? view(changed.value) : changed
  }

  async #changeToken(
    call: AdminCall,
    event: 'token.created' | 'token.rotated' | 'token.revoked',
    row: TokenRow,
  ): Promise<Result<TokenView>> {
    this.#tokens.change(call, event, row, Date.now())
    return this.#commitAndPublish(() => this.#tokens.view(row, Date.now()))
  }

  /** Records that someone presented a wrong admin secret. */
  async adminDenied(origin: Origin): Promise<void> {
    if (!this.#mayRecordRefusal()) return
    const actor: Actor = { type: 'anonymous' }
    this.#log.append({ ...about(origin), event: 'admin.denied', actor, reason: 'invalid-token' }, Date.now())
    await this.#commit(() => undefined)
  }

  async auditPage(query: AuditQuery): Promise<AuditPage> {
    return auditPage(this.#tables, query)
  }

  async auditRecord(seq: number): Promise<string | undefined> {
    return this.#tables.record(seq)
  }

  /** What the log holds when this is called. */
  async auditExport(query: AuditQuery): Promise<ReadableStream<Uint8Array>> {
    return auditExport(this.#tables, query, this.#log.size)
  }

  // Coming into being, committing, and what is due

  /** The tables, with the first call that has something to keep: until then a guessed id has stored nothing. */
  #comeIntoBeing(id: string): void {
    if (this.#tables.exist) return
    this.ctx.storage.transactionSync(() => {
      this.#tables.migrate()
      this.#tables.insertOrganisation(id, Date.now())
    })
    this.#load()
  }

  async #commit<T>(value: () => T): Promise<Result<T>> {
    try {
      await this.#queue.committed()
    } catch {
      return refuse({ code: 'audit-unavailable' })
    }
    return ok(value())
  }

  /** Commits, and tells the directory before the answer goes out, so that the listing shows what was just done. */
  async #commitAndPublish<T>(value: () => T): Promise<Result<T>> {
    this.#agenda.noLaterThan('directory', Date.now() + retryMs)
    const committed = await this.#commit(value)
    if (committed.ok) await this.#publish()
    return committed
  }

  /** Tells the directory how this organisation stands. What fails is due again. */
  async #publish(): Promise<void> {
    const organisation = this.#tables.organisation()
    if (!organisation) return
    try {
      await this.#config.directory.getByName('directory').put({
        organisationId: organisation.id,
        createdAt: organisation.createdAt,
        sessionState: this.#session.view().state,
        tokens: this.#tables.activeTokens(Date.now()),
      })
      this.#agenda.done('directory')
    } catch {
      this.#agenda.set('directory', Date.now() + retryMs)
    }
  }

  /** Does what is due. Never throws: after six failures the runtime would forget the alarm. */
  override async alarm(): Promise<void> {
    for (const kind of this.#agenda.fired(Date.now())) {
      try {
        await this.#run(kind)
      } catch {
        this.#agenda.set(kind, Date.now() + retryMs)
      }
    }
    await this.#commit(() => this.#agenda.arm())
  }

  async #run(kind: Due): Promise<void> {
    switch (kind) {
      case 'attempts':
        // Construction has closed what a crash left; what is open now is still running and will close itself.
        if (this.#running.size === 0) return this.#agenda.done(kind)
        return this.#agenda.set(kind, Date.now() + this.#config.upstream.timeoutMs + attemptMarginMs)
      case 'denials':
        this.#agenda.done(kind)
        return this.#writeSuppressed()
      case 'directory':
        return this.#publish()
    }
  }

  #writeSuppressed(): void {
    const count = this.#denials.drain()
    const organisationId = this.#tables.organisation()?.id
    if (count === 0 || organisationId === undefined) return
    const target = { organisationId }
    this.#log.append({ event: 'denials.suppressed', actor: gateway, target, count }, Date.now())
  }
}

const noSuchToken = refuse({ code: 'not-found', detail: 'This organisation has no token with this id.' })
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

/** What the log says of a refusal: its code; of a credential, what was wrong with it. */
function reasonOf(refusal: Refusal): string {
  return refusal.code === 'invalid-token' ? refusal.reason : refusal.code
}

/** Waits for a ticket until the deadline; a refusal where there is none, or where its turn does not come in time. */
async function whenReady(ticket: Ticket | undefined, deadline: number): Promise<Refusal | undefined> {
  if (!ticket) return { code: 'overloaded', retryAfterSeconds: 1 }
  const { promise: late, resolve } = Promise.withResolvers<'late'>()
  const timer = setTimeout(() => resolve('late'), Math.max(0, deadline - Date.now()))
  const first = await Promise.race([ticket.ready, late])
  clearTimeout(timer)
  return first === 'late' ? { code: 'upstream-timeout' } : undefined
}
