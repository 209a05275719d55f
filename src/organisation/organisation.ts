/**
 * Owns an organisation: its tokens, its session, its log, and the road of each request from admission to outcome.
 * A shell over the pure files beside it: here, and nowhere else in this folder, are the clock, the storage and the
 * call to the platform. Never sees a token, and lets the session out only into upstream/forward.ts.
 */
import { DurableObject } from 'cloudflare:workers'
import { type Action, allows, reasonAgainst } from '../auth/caller.ts'
import type { Credential } from '../auth/token.ts'
import { type Secret, sha256, toHex } from '../crypto.ts'
import { type Config, readConfig } from '../env.ts'
import { ok, type Refusal, type Result, refuse } from '../errors.ts'
import { forward } from '../upstream/forward.ts'
import { judge, type Verdict } from '../upstream/verdict.ts'
import { AuditLog } from './audit-log.ts'
import type { AuditFilter, AuditQuery } from './audit-query.ts'
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
import { type Actor, type Entry, payloadOf } from './record.ts'
import { type Due, Schedule } from './schedule.ts'
import {
  cookieHeaderOf,
  cookiesOf,
  type NewSession,
  openSession,
  rotateCookies,
  type SessionRow,
  type SessionView,
  sealSession,
  viewSession,
} from './session.ts'
import { Slots } from './slots.ts'
import { Tables } from './tables.ts'
import {
  createToken,
  instant,
  type NewToken,
  rotateToken,
  type TokenRow,
  type TokenView,
  viewToken,
} from './tokens.ts'
import { type Ticket, Turns } from './turns.ts'

/** Six outgoing connections are an object's; one is kept for its alarm. */
const upstreamSlots = 5
const maxWaitingPerConnection = 32
const maxWaiting = 256
/** How long after its deadline an attempt without an outcome is taken for lost. */
const attemptMarginMs = 5_000
const directoryRetryMs = 5_000
/** How stale the stored time of a session's last use may be. */
const lastUsedGranularityMs = 60_000
const exportPage = 500

interface Admitted {
  token: TokenRow
  rate: RateState
}

/** A refusal with what its record and answer need beside it. */
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
  readonly #schedule = new Schedule()
  readonly #turns = new Turns(maxWaitingPerConnection, maxWaiting)
  readonly #slots = new Slots(upstreamSlots, maxWaiting)
  readonly #rates = new Rates()
  readonly #denials = new Denials()
  /** Attempts whose request is still being handled by this very object. */
  readonly #running = new Set<number>()
  /** Undefined until the organisation comes into being with its first admin call that sets something. */
  #id: string | undefined
  /** Rows as they are or are queued to be, so that admission sees a revocation before it is on disk. */
  readonly #tokens = new Map<string, TokenRow>()
  #session: SessionRow | undefined
  #alarmAt: number | undefined

  constructor(state: DurableObjectState, env: Env) {
    super(state, env)
    const config = readConfig(env)
    if (!config.ok)
      throw new Error('the edge lets nothing through to an object without a valid configuration')
    this.#config = config.config
    this.#tables = new Tables(state.storage.sql)
    this.#queue = new CommitQueue(
      state.storage,
      run => void setTimeout(run, 0),
      () => this.#load(),
    )
    this.#log = new AuditLog(this.#tables, this.#queue)
    if (!this.#tables.exist()) return
    state.storage.transactionSync(() => this.#tables.migrate())
    this.#load()
    this.#closeLostAttempts()
    this.#setAlarm()
  }

  /** Reads everything that is held in memory from storage. */
  #load(): void {
    this.#tokens.clear()
    this.#id = this.#tables.exist() ? this.#tables.organisation()?.id : undefined
    if (this.#id === undefined) return
    this.#session = this.#tables.session()
    this.#schedule.load(this.#tables.due())
    this.#log.load()
    this.#alarmAt = undefined
  }

  // ── A caller's requests ────────────────────────────────────────────────────────────────────────────────────────

  /** What the caller's token may do, and whether the session stands. */
  async describeToken(call: Call): Promise<Answer> {
    const admitted = this.#admit(call, 'read', [])
    if ('refusal' in admitted) return this.#refuse(call, 'read', admitted)
    const { token, rate } = admitted
    const session = viewSession(this.#session, this.#config.upstream.baseUrl)
    const view: TokenSelf = {
      id: token.id,
      name: token.name,
      ...token.scope,
      expiresAt: instant(token.expiresAt),
      rateLimit: rate,
      session: { state: session.state, expiresAt: session.expiresAt },
    }
    const entry: Entry = { ...about(call), event: 'read.succeeded', actor: actorOf(token) }
    return this.#answer(entry, { result: { ok: true, status: 200, body: JSON.stringify(view) }, rate })
  }

  /** A request that the edge refused for what it holds: its caller is checked first, and the log gets its record. */
  async refused(call: RefusedCall): Promise<Answer> {
    const versions = call.target.version === undefined ? [] : [call.target.version]
    const early = call.refusal.code === 'invalid-path' || call.refusal.code === 'invalid-query'
    const admitted = this.#admit(call, call.action, early ? [] : versions)
    if ('refusal' in admitted) return this.#refuse(call, call.action, admitted)
    const { token, rate } = admitted
    return this.#refuse(call, call.action, { refusal: call.refusal, actor: actorOf(token), rate })
  }

  /** Reads one version from the platform. */
  async read(call: ReadCall): Promise<Answer> {
    const deadline = Date.now() + this.#config.upstream.timeoutMs
    const admitted = this.#admit(call, 'read', [call.target.version])
    if ('refusal' in admitted) return this.#refuse(call, 'read', admitted)
    const { token, rate } = admitted
    const actor = actorOf(token)

    const slot = this.#slots.take(call.target.connectionId)
    const refusal = await whenReady(slot, deadline)
    try {
      if (refusal) return this.#refuse(call, 'read', { refusal, actor, rate })
      const ready = this.#lookAgain(call)
      if (!ready.ok) return this.#refuse(call, 'read', { refusal: ready.refusal, actor, rate })
      const { verdict, upstream } = await this.#send(call, ready.value, deadline)
      const { result } = verdict
      const entry: Entry = {
        ...about(call),
        event: result.ok ? 'read.succeeded' : 'read.failed',
        actor,
        upstream,
      }
      if (!result.ok) entry.reason = result.refusal.code
      return this.#answer(entry, { result, rate })
    } finally {
      slot?.leave()
    }
  }

  /**
   * Updates one version: admit → turn → look again → reserve → slot → look again → forward → settle (DESIGN.md 3).
   */
  async update(call: UpdateCall): Promise<Answer> {
    const deadline = Date.now() + this.#config.upstream.timeoutMs
    const admitted = this.#admit(call, 'update', [call.target.version, call.update.name])
    if ('refusal' in admitted) return this.#refuse(call, 'update', admitted)
    const { token, rate } = admitted
    const actor = actorOf(token)

    const turn = this.#turns.take(call.target.connectionId)
    const refusal = await whenReady(turn, deadline)
    try {
      if (refusal) return this.#refuse(call, 'update', { refusal, actor, rate })
      const ready = this.#lookAgain(call)
      if (!ready.ok) return this.#refuse(call, 'update', { refusal: ready.refusal, actor, rate })
      return await this.#attempt(call, token, rate, deadline)
    } finally {
      turn?.leave()
    }
  }

  /** The turn is ours: reserve, send, settle. */
  async #attempt(call: UpdateCall, token: TokenRow, rate: RateState, deadline: number): Promise<Answer> {
    const actor = actorOf(token)
    const request = payloadOf(call.update)
    const { seq } = this.#log.append(
      { ...about(call), event: 'update.attempted', actor, request },
      Date.now(),
    )
    this.#running.add(seq)
    this.#ensureDue('attempts', deadline + attemptMarginMs)
    try {
      // Durable from here on: that this update is about to be sent. A crash after it leaves an attempt without an
      // outcome, which the next construction closes as unknown.
      await this.#queue.committed()
    } catch {
      this.#running.delete(seq)
      return { result: refuse({ code: 'audit-unavailable' }), effect: 'not-sent', rate }
    }

    const slot = this.#slots.take(call.target.connectionId)
    const waited = await whenReady(slot, deadline)
    const ready = waited ? refuse(waited) : this.#lookAgain(call)
    const sent = ready.ok ? await this.#send(call, ready.value, deadline, call.update.body) : undefined
    // The slot is free before the outcome is written, so that records of concurrent updates commit together.
    slot?.leave()

    const verdict: Verdict = sent?.verdict ?? {
      effect: 'not-sent',
      result: ready as { ok: false; refusal: Refusal },
      session: 'unsaid',
    }
    const entry: Entry = {
      ...about(call),
      event: outcomes[verdict.effect],
      actor,
      attempt: seq,
      request: { sha256: call.update.sha256, bytes: call.update.bytes },
      upstream: sent?.upstream,
      outcome: verdict.effect,
      reason: verdict.result.ok ? undefined : reasonOf(verdict.result.refusal),
    }
    this.#running.delete(seq)
    return this.#answer(entry, { result: verdict.result, effect: verdict.effect, rate })
  }

  /** Who is this, and may they? Synchronous, and the start of everything that a caller asks for. */
  #admit(call: Call, action: Action, versions: string[]): Admitted | Refused {
    const nowMs = Date.now()
    const token = this.#token(call.credential.id)
    const reason = reasonAgainst(call.credential, token, nowMs)
    if (!token || reason) {
      return {
        refusal: { code: 'invalid-token', reason: reason ?? 'unknown' },
        actor: suspect(call.credential, token, reason),
      }
    }
    const { allowed, state: rate } = this.#rates.take(token.id, token.rateLimit, nowMs)
    const actor = actorOf(token)
    if (!allowed) {
      return { refusal: { code: 'rate-limited', retryAfterSeconds: rate.resetSeconds }, actor, rate }
    }
    const { connectionId } = call.target
    // Without versions there is nothing to be allowed: the path was refused, or it is the token itself.
    if (
      connectionId !== undefined &&
      versions.length > 0 &&
      !allows(token.scope, action, connectionId, versions)
    ) {
      return { refusal: { code: 'insufficient-scope' }, actor, rate }
    }
    return { token, rate }
  }

  /**
   * What may have changed while waiting: revocation, expiry, rotation, the session. Gives the session for the send
   * that must follow without an await in between.
   */
  #lookAgain(call: Call): Result<{ cookie: Secret; generation: number }> {
    const reason = reasonAgainst(call.credential, this.#token(call.credential.id), Date.now())
    if (reason) return refuse({ code: 'invalid-token', reason })
    return this.#openSession()
  }

  /** Sends one request and takes from the answer what it says about the session. */
  async #send(
    call: ReadCall,
    { cookie, generation }: { cookie: Secret; generation: number },
    deadline: number,
    body?: string,
  ): Promise<{ verdict: Verdict; upstream: Entry['upstream'] }> {
    const startedAt = Date.now()
    const { baseUrl } = this.#config.upstream
    const { requestId, trace } = call
    const target = { organisationId: call.organisationId, ...call.target }
    const request = { baseUrl, target, cookie, requestId, trace, ...(body === undefined ? {} : { body }) }
    const reply = await forward(fetch, request, Math.max(1, deadline - startedAt))
    const secrets = cookiesOf(cookie.reveal()).map(({ value }) => value)
    const verdict = judge(reply, secrets)
    const status = 'status' in reply ? reply.status : undefined
    const setCookies = reply.kind === 'answered' ? reply.setCookies : []
    this.#noteSession(call, generation, verdict.session, status, setCookies)
    const digest = reply.kind === 'answered' ? toHex(sha256(reply.body)) : undefined
    const upstream = { status, durationMs: Date.now() - startedAt, attempts: 1, sha256: digest, generation }
    return { verdict, upstream }
  }

  // ── Records and answers ────────────────────────────────────────────────────────────────────────────────────────

  /** Writes the record that closes a request, waits until it is durable, and only then answers. */
  async #answer(entry: Entry, answer: Answer): Promise<Answer> {
    const { receipt } = this.#log.append(entry, Date.now())
    try {
      await this.#queue.committed()
    } catch {
      return { ...answer, result: refuse({ code: 'audit-unavailable' }) }
    }
    // A caller that is not believed gets one and the same answer, whatever the log knows.
    const hidden = !answer.result.ok && answer.result.refusal.code === 'invalid-token'
    return hidden ? answer : { ...answer, receipt }
  }

  /** Answers a request that was refused before anything was attempted, within the bounded rate of such records. */
  async #refuse(call: Call, action: Action, { refusal, actor, rate }: Refused): Promise<Answer> {
    const answer: Answer = { result: refuse(refusal) }
    if (rate) answer.rate = rate
    if (action === 'update') answer.effect = 'not-sent'
    const denied = ['invalid-token', 'rate-limited', 'insufficient-scope'].includes(refusal.code)
    const entry: Entry = { ...about(call), event: `${action}.${denied ? 'denied' : 'rejected'}`, actor }
    entry.reason = reasonOf(refusal)
    if ('fields' in refusal) entry.fields = refusal.fields.map(({ field }) => field)
    return this.#mayRecordRefusal() ? this.#answer(entry, answer) : answer
  }

  /** False where the organisation does not exist, or enough refusals were recorded in this minute. */
  #mayRecordRefusal(): boolean {
    if (this.#id === undefined) return false
    if (this.#denials.admit(Date.now())) return true
    this.#ensureDue('denials', this.#denials.dueAt)
    return false
  }

  // ── The session ────────────────────────────────────────────────────────────────────────────────────────────────

  #openSession(): Result<{ cookie: Secret; generation: number }> {
    const { upstream, sealingKeys } = this.#config
    const session = this.#session
    if (!session?.sealed || session.baseUrl !== upstream.baseUrl || this.#id === undefined) {
      return refuse({
        code: 'session-missing',
        detail: 'The gateway holds no platform session for this organisation.',
      })
    }
    const opened = openSession(session.sealed, sealingKeys, this.#id, upstream.baseUrl)
    if (!opened) {
      const detail =
        'The gateway holds a session for this organisation, but its SEALING_KEY does not open it.'
      return refuse({ code: 'session-missing', detail })
    }
    if (opened.key > 0) this.#putSession(this.#sealed(session, opened.header))
    return ok({ cookie: opened.header, generation: session.generation })
  }

  #sealed(session: SessionRow, header: Secret): SessionRow {
    const { sealingKeys, upstream } = this.#config
    const sealed = sealSession(header.reveal(), sealingKeys[0], this.#id as string, upstream.baseUrl)
    return { ...session, sealed }
  }

  /** What an answer says about the session counts only where it was asked with the current generation. */
  #noteSession(
    origin: Origin,
    generation: number,
    said: Verdict['session'],
    status: number | undefined,
    setCookies: string[],
  ): void {
    const session = this.#session
    if (!session?.sealed || session.generation !== generation) return
    const nowMs = Date.now()
    const entry = {
      requestId: origin.requestId,
      actor: gateway,
      target: { organisationId: origin.organisationId },
    }
    if (said === 'rejected' && !session.rejected) {
      this.#putSession({ ...session, rejected: true, lastRejectedAt: nowMs })
      this.#log.append({ ...entry, event: 'session.rejected', upstream: { status, generation } }, nowMs)
      this.#publishSoon()
    } else if (said === 'rejected') {
      this.#session = { ...session, lastRejectedAt: nowMs }
    }
    if (said !== 'accepted') return
    const used = { ...session, rejected: false, lastUsedAt: nowMs }
    const opened = setCookies.length > 0 ? this.#openSession() : undefined
    const rotated = opened?.ok ? rotateCookies(opened.value.cookie.reveal(), setCookies) : undefined
    if (rotated !== undefined) {
      const sealed = sealSession(rotated, this.#config.sealingKeys[0], this.#id as string, session.baseUrl)
      this.#putSession({ ...used, sealed, generation: generation + 1 })
      const names = cookiesOf(rotated).map(({ name }) => name)
      this.#log.append(
        { ...entry, event: 'session.rotated', session: { generation: generation + 1, cookies: names } },
        nowMs,
      )
    } else if (session.rejected || nowMs - (session.lastUsedAt ?? 0) >= lastUsedGranularityMs) {
      this.#putSession(used)
    } else {
      this.#session = used
    }
    if (session.rejected) this.#publishSoon()
  }

  #putSession(row: SessionRow): void {
    this.#session = row
    this.#queue.add(() => this.#tables.putSession(row))
  }

  // ── Administration: the edge has checked the admin ─────────────────────────────────────────────────────────────

  /** Sets the session; a new generation, whatever was there. */
  async setSession(call: AdminCall, body: NewSession): Promise<Result<SessionView>> {
    this.#comeIntoBeing(call.organisationId)
    const { upstream, sealingKeys } = this.#config
    const header = cookieHeaderOf(body)
    const nowMs = Date.now()
    const row: SessionRow = {
      generation: (this.#session?.generation ?? 0) + 1,
      baseUrl: upstream.baseUrl,
      sealed: sealSession(header, sealingKeys[0], call.organisationId, upstream.baseUrl),
      names: cookiesOf(header).map(({ name }) => name),
      setAt: nowMs,
      lastUsedAt: null,
      rejected: false,
      lastRejectedAt: null,
    }
    this.#putSession(row)
    const session = { generation: row.generation, cookies: row.names }
    this.#log.append({ ...byAdmin(call), event: 'session.set', session }, nowMs)
    return this.#commitAndPublish(() => viewSession(this.#session, upstream.baseUrl))
  }

  async getSession(): Promise<SessionView> {
    return viewSession(this.#session, this.#config.upstream.baseUrl)
  }

  /** Forgets the session; deleting none changes nothing. */
  async deleteSession(call: AdminCall): Promise<Result<SessionView>> {
    const view = () => viewSession(this.#session, this.#config.upstream.baseUrl)
    if (!this.#session?.sealed) return ok(view())
    this.#putSession({ ...this.#session, sealed: null, names: [], rejected: false })
    const session = { generation: this.#session.generation }
    this.#log.append({ ...byAdmin(call), event: 'session.deleted', session }, Date.now())
    return this.#commitAndPublish(view)
  }

  /** Seals the session with the newest key. `unopened`: no key that is set opens it. */
  async reseal(call: AdminCall): Promise<Result<'resealed' | 'unchanged' | 'unopened'>> {
    const session = this.#session
    const { sealingKeys, upstream } = this.#config
    if (!session?.sealed || session.baseUrl !== upstream.baseUrl) return ok('unchanged')
    const opened = openSession(session.sealed, sealingKeys, call.organisationId, upstream.baseUrl)
    if (!opened) return ok('unopened')
    if (opened.key === 0) return ok('unchanged')
    this.#putSession(this.#sealed(session, opened.header))
    const { generation } = session
    this.#log.append({ ...byAdmin(call), event: 'session.resealed', session: { generation } }, Date.now())
    return this.#commit(() => 'resealed')
  }

  /** Stores a token that the edge has minted. */
  async createToken(call: AdminCall, wanted: NewToken, credential: Credential): Promise<Result<TokenView>> {
    this.#comeIntoBeing(call.organisationId)
    const row = createToken(wanted, credential, call.admin, Date.now())
    return this.#changeToken(call, 'token.created', row)
  }

  async listTokens(): Promise<TokenView[]> {
    return this.#id === undefined ? [] : this.#tables.tokens().map(row => this.#view(row))
  }

  async getToken(id: string): Promise<Result<TokenView>> {
    const row = this.#token(id)
    return row ? ok(this.#view(row)) : noSuchToken
  }

  /** Gives a token a new secret, which the edge has minted. A revoked token stays revoked. */
  async rotateToken(
    call: AdminCall,
    credential: Credential,
    graceSeconds: number,
  ): Promise<Result<TokenView>> {
    const row = this.#token(credential.id)
    if (!row) return noSuchToken
    if (row.revokedAt !== null) {
      return refuse({ code: 'not-found', detail: 'This token was revoked, which is final. Make a new one.' })
    }
    return this.#changeToken(
      call,
      'token.rotated',
      rotateToken(row, credential.digest, graceSeconds, Date.now()),
    )
  }

  /** Revokes a token; a second time changes nothing. */
  async revokeToken(call: AdminCall, id: string): Promise<Result<RevokedToken>> {
    const row = this.#token(id)
    if (!row) return noSuchToken
    if (row.revokedAt === null) {
      const changed = await this.#changeToken(call, 'token.revoked', { ...row, revokedAt: Date.now() })
      if (!changed.ok) return changed
    }
    const last = this.#tables.lastAccepted(id)
    const lastAccepted = last && { time: instant(last.time), seq: last.seq }
    return ok({ ...this.#view(this.#token(id) ?? row), lastAccepted })
  }

  async #changeToken(
    call: AdminCall,
    event: 'token.created' | 'token.rotated' | 'token.revoked',
    row: TokenRow,
  ): Promise<Result<TokenView>> {
    // Believed, or no longer believed, from here on: whoever is admitted next sees it. Durable with the commit.
    this.#tokens.set(row.id, row)
    this.#queue.add(() => this.#tables.putToken(row))
    const origin = byAdmin(call)
    const token = {
      id: row.id,
      name: row.name,
      ...row.scope,
      rateLimit: row.rateLimit,
      expiresAt: instant(row.expiresAt),
    }
    this.#log.append({ ...origin, event, target: { ...origin.target, tokenId: row.id }, token }, Date.now())
    return this.#commitAndPublish(() => this.#view(row))
  }

  /** Records that someone presented a wrong admin secret. */
  async adminDenied(origin: Origin): Promise<void> {
    if (!this.#mayRecordRefusal()) return
    const entry: Entry = { ...about(origin), event: 'admin.denied', actor: { type: 'anonymous' } }
    await this.#answer(
      { ...entry, reason: 'invalid-token' },
      { result: refuse({ code: 'invalid-token', reason: 'unknown' }) },
    )
  }

  // ── Reading the log ────────────────────────────────────────────────────────────────────────────────────────────

  /** A page of exact record strings, newest first; `next` is the `before` of the page after it. */
  async auditPage(query: AuditQuery): Promise<{ records: string[]; next: number | null }> {
    if (this.#id === undefined) return { records: [], next: null }
    const { limit = 100, after = 0, before = Number.MAX_SAFE_INTEGER, ...filter } = query
    const rows = this.#tables.records(filter, { after, before }, 'desc', limit + 1)
    const page = rows.slice(0, limit)
    return {
      records: page.map(row => row.record),
      next: rows.length > limit ? (page.at(-1)?.seq ?? null) : null,
    }
  }

  async auditRecord(seq: number): Promise<string | undefined> {
    return this.#id === undefined ? undefined : this.#tables.record(seq)
  }

  /** Every record that matches when this is called, oldest first, each as its exact bytes and a line feed. */
  async auditExport(query: AuditQuery): Promise<ReadableStream<Uint8Array>> {
    const { limit: _, after = 0, before = Number.MAX_SAFE_INTEGER, ...filter } = query
    const end = Math.min(before, this.#log.size + 1)
    const encoder = new TextEncoder()
    let last = after
    return new ReadableStream({
      type: 'bytes',
      pull: controller => {
        const rows = this.#exportRows(filter, last, end)
        const lines = rows.map(row => `${row.record}\n`).join('')
        if (lines !== '') controller.enqueue(encoder.encode(lines))
        last = rows.at(-1)?.seq ?? last
        if (rows.length < exportPage) {
          controller.close()
          // A byte stream that is closed inside a pull with nothing to give still owes its reader an answer.
          if (lines === '') controller.byobRequest?.respond(0)
        }
      },
    })
  }

  #exportRows(filter: AuditFilter, after: number, before: number): { seq: number; record: string }[] {
    return this.#id === undefined ? [] : this.#tables.records(filter, { after, before }, 'asc', exportPage)
  }

  // ── Coming into being, committing, and what is due ─────────────────────────────────────────────────────────────

  /** The tables, with the first call that has something to keep: until then a guessed id has stored nothing. */
  #comeIntoBeing(id: string): void {
    if (this.#id !== undefined) return
    this.ctx.storage.transactionSync(() => {
      this.#tables.migrate()
      this.#tables.insertOrganisation(id, Date.now())
    })
    this.#load()
  }

  #token(id: string): TokenRow | undefined {
    if (this.#id === undefined) return undefined
    const known = this.#tokens.get(id)
    if (known) return known
    const row = this.#tables.token(id)
    if (row) this.#tokens.set(id, row)
    return row
  }

  #view(row: TokenRow): TokenView {
    return viewToken(row, this.#tables.lastAccepted(row.id)?.time ?? null, Date.now())
  }

  async #commit<T>(value: () => T): Promise<Result<T>> {
    try {
      await this.#queue.committed()
      return ok(value())
    } catch {
      return refuse({ code: 'audit-unavailable' })
    }
  }

  /** Commits, and tells the directory before the answer goes out, so that the listing shows what was just done. */
  async #commitAndPublish<T>(value: () => T): Promise<Result<T>> {
    this.#ensureDue('directory', Date.now() + directoryRetryMs)
    const committed = await this.#commit(value)
    if (committed.ok) await this.#publish()
    return committed
  }

  #publishSoon(): void {
    this.#ensureDue('directory', Date.now())
  }

  /** Tells the directory how this organisation stands. What fails is due again. */
  async #publish(): Promise<void> {
    const organisation = this.#tables.organisation()
    if (!organisation) return
    try {
      await this.#config.directory.getByName('directory').put({
        organisationId: organisation.id,
        createdAt: organisation.createdAt,
        sessionState: viewSession(this.#session, this.#config.upstream.baseUrl).state,
        tokens: this.#tables.activeTokens(Date.now()),
      })
      this.#done('directory')
    } catch {
      this.#postpone('directory', Date.now() + directoryRetryMs)
    }
  }

  /** Makes sure that a kind is due at `at`; one that is due later already is left, as `attempts` only grows. */
  #ensureDue(kind: Due, at: number): void {
    const current = this.#schedule.at(kind)
    if (kind === 'attempts' ? current !== undefined && current >= at : current !== undefined && current <= at)
      return
    this.#postpone(kind, kind === 'attempts' ? at + attemptMarginMs : at)
  }

  #postpone(kind: Due, at: number): void {
    this.#schedule.set(kind, at)
    this.#queue.add(() => {
      this.#tables.putDue(kind, at)
      this.#setAlarm()
    })
  }

  #done(kind: Due): void {
    if (this.#schedule.at(kind) === undefined) return
    this.#schedule.clear(kind)
    this.#queue.add(() => this.#tables.deleteDue(kind))
  }

  /** The alarm is part of the transaction around it, so what is due and what wakes the object are written together. */
  #setAlarm(): void {
    const at = this.#schedule.earliest
    if (at === undefined || at === this.#alarmAt) return
    this.#alarmAt = at
    void this.ctx.storage.setAlarm(at)
  }

  /** Does what is due. Never throws: after six failures the runtime would forget the alarm. */
  override async alarm(): Promise<void> {
    this.#alarmAt = undefined
    for (const kind of this.#schedule.dueBy(Date.now())) {
      try {
        await this.#run(kind)
      } catch {
        this.#postpone(kind, Date.now() + attemptMarginMs)
      }
    }
    await this.#queue.committed().catch(() => {})
    this.#setAlarm()
  }

  async #run(kind: Due): Promise<void> {
    switch (kind) {
      case 'attempts':
        // Construction has closed what a crash left; what is open now is still running and will close itself.
        if (this.#running.size > 0)
          this.#postpone(kind, Date.now() + this.#config.upstream.timeoutMs + attemptMarginMs)
        else this.#done(kind)
        return
      case 'denials':
        this.#done(kind)
        this.#writeSuppressed()
        return
      case 'directory':
        await this.#publish()
    }
  }

  #writeSuppressed(): void {
    const count = this.#denials.drain()
    if (count === 0 || this.#id === undefined) return
    const target = { organisationId: this.#id }
    this.#log.append({ event: 'denials.suppressed', actor: gateway, target, count }, Date.now())
  }

  /** At construction every attempt without an outcome is one that a crash or a reset cut off: nothing else runs yet. */
  #closeLostAttempts(): void {
    for (const seq of this.#log.openAttempts) {
      const { requestId, actor, target, client, request } = JSON.parse(this.#tables.record(seq) ?? '{}')
      this.#log.append(
        {
          requestId,
          event: 'update.unknown',
          actor,
          target,
          client,
          attempt: seq,
          request: request && { sha256: request.sha256, bytes: request.bytes },
          outcome: 'unknown',
          reason: 'interrupted',
        },
        Date.now(),
      )
    }
  }
}

const gateway: Actor = { type: 'gateway' }
const noSuchToken = refuse({ code: 'not-found', detail: 'This organisation has no token with this id.' })
const outcomes = {
  applied: 'update.succeeded',
  'not-applied': 'update.failed',
  'not-sent': 'update.failed',
  unknown: 'update.unknown',
} as const

function actorOf(token: TokenRow): Actor {
  return { type: 'token', id: token.id, name: token.name }
}

/** Who a refused credential belongs to: its token where the secret was right, else nobody. */
function suspect(credential: Credential, token: TokenRow | undefined, reason: string | undefined): Actor {
  if (token && (reason === 'expired' || reason === 'revoked')) return actorOf(token)
  return { type: 'anonymous', claimedId: credential.id }
}

function about(call: Origin & { target?: object }): Pick<Entry, 'requestId' | 'target' | 'client'> {
  const { requestId, organisationId, client, target } = call
  return { requestId, target: { organisationId, ...target }, client }
}

function byAdmin(call: AdminCall): Pick<Entry, 'requestId' | 'target' | 'client' | 'actor'> {
  return { ...about(call), actor: { type: 'admin', id: call.admin, name: call.admin } }
}

function reasonOf(refusal: Refusal): string {
  return refusal.code === 'invalid-token' ? refusal.reason : refusal.code
}

/** Waits for a ticket until the deadline; a refusal where there is none, or where its turn does not come in time. */
async function whenReady(ticket: Ticket | undefined, deadline: number): Promise<Refusal | undefined> {
  if (!ticket) return { code: 'overloaded', retryAfterSeconds: 1 }
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<'late'>(resolve => {
    timer = setTimeout(() => resolve('late'), Math.max(0, deadline - Date.now()))
  })
  const first = await Promise.race([ticket.ready, late])
  clearTimeout(timer)
  return first === 'late' ? { code: 'upstream-timeout' } : undefined
}
