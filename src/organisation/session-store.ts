/**
 * Owns the session of one organisation as it is, or is queued to be: setting, opening for a send, and hearing from the
 * platform's answers whether it still stands. No clock: the time comes in. Lets it out as a Secret alone.
 */
import type { Secret } from '../crypto.ts'
import { ok, type Refusal, type Result, refuse } from '../errors.ts'
import type { AuditLog, Written } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { AdminCall, Origin } from './messages.ts'
import type { NewSession } from './new-session.ts'
import { byAdmin, byGateway } from './record.ts'
import {
  cookieHeaderOf,
  cookiesOf,
  openSession,
  type Probe,
  rotateCookies,
  type SessionRow,
  type SessionView,
  sealSession,
  viewSession,
} from './session.ts'
import type { Tables } from './tables.ts'

/** How stale the stored time of a session's last use may be. */
const lastUsedGranularityMs = 60_000
/** How long a rejected session is not tried, in times the backoff's base: 30 s at the default of 250 ms. */
const restTimes = 120

/** A session, opened for one send. */
export interface Opened {
  cookie: Secret
  generation: number
}

/** What one answer of the platform says about the session that it was asked with. */
export interface Heard {
  generation: number
  said: 'accepted' | 'rejected' | 'unsaid'
  status: number | undefined
  setCookies: readonly string[]
  pass: object | undefined
}

const forgotten = { sealed: null, names: [], rejected: false, owner: null, expiresAt: null, probe: null }

export class SessionStore {
  readonly #tables: Tables
  readonly #queue: CommitQueue
  readonly #log: AuditLog
  readonly #baseUrl: string
  readonly #keys: readonly [Secret, ...Secret[]]
  readonly #restMs: number
  #organisationId = ''
  /** Of a rejected session: when a single request may try it again. */
  #tryAt = 0
  /** Of the requests that try it, or learned of it: what they left open at the platform they may look into. */
  readonly #passes = new WeakSet<object>()
  #row: SessionRow | undefined
  /**
   * What `#row.sealed` holds, from its first send until that row changes: a session that was set anew, deleted or read anew
   * is forgotten here with the row. As long as it is the row's, opening it again would give the same.
   */
  #opened: { sealed: Uint8Array; header: Secret } | undefined

  constructor(
    tables: Tables,
    queue: CommitQueue,
    log: AuditLog,
    { baseUrl, keys, retryMs }: { baseUrl: string; keys: readonly [Secret, ...Secret[]]; retryMs: number },
  ) {
    this.#tables = tables
    this.#queue = queue
    this.#log = log
    this.#baseUrl = baseUrl
    this.#keys = keys
    this.#restMs = restTimes * retryMs
  }

  load(): void {
    this.#organisationId = this.#tables.organisation()?.id ?? ''
    this.#row = this.#tables.session()
    this.#opened = undefined
    this.#tryAt = (this.#row?.lastRejectedAt ?? 0) + this.#restMs
  }

  /** How it stands; one that no key opens is missing, as whoever needs it is told. */
  view(): SessionView {
    const row = this.#row
    return viewSession(row?.sealed && !this.#open().ok ? { ...row, sealed: null } : row, this.#baseUrl)
  }

  /** The version to read with the session, to see whether it stands. */
  get probe(): Probe | undefined {
    return this.#row?.sealed && this.#row.baseUrl === this.#baseUrl
      ? (this.#row.probe ?? undefined)
      : undefined
  }

  /**
   * Opens the session for a send. One that was rejected rests for 30 seconds, in which everyone is refused at once; then a
   * single request, known by its pass, may try it, while the others are still refused.
   */
  open(nowMs: number, pass?: object): Result<Opened> {
    const passes = pass !== undefined && this.#passes.has(pass)
    const refusal = passes ? undefined : this.resting(nowMs)
    if (refusal) return refuse(refusal)
    if (this.#row?.rejected && !passes) {
      this.#tryAt = nowMs + this.#restMs
      if (pass) this.#passes.add(pass)
    }
    return this.#open()
  }

  /** Why nothing could be sent now, if so. */
  objection(nowMs: number): Refusal | undefined {
    const opened = this.#open()
    return opened.ok ? this.resting(nowMs) : opened.refusal
  }

  /** Why everyone is refused at once for now, if so. */
  resting(nowMs: number): Refusal | undefined {
    return this.#row?.rejected && nowMs < this.#tryAt ? { code: 'session-rejected' } : undefined
  }

  /** Opens it for the platform that the gateway points at. What an older key sealed is sealed anew. */
  #open(): Result<Opened> {
    const row = this.#row
    if (!row?.sealed || row.baseUrl !== this.#baseUrl) {
      return refuse({
        code: 'session-missing',
        detail: 'The gateway holds no platform session for this organisation.',
      })
    }
    if (this.#opened?.sealed === row.sealed) {
      return ok({ cookie: this.#opened.header, generation: row.generation })
    }
    const opened = openSession(row.sealed, this.#keys, this.#organisationId, this.#baseUrl)
    if (!opened) {
      const detail =
        'The gateway holds a session for this organisation, but its SEALING_KEY does not open it.'
      return refuse({ code: 'session-missing', detail })
    }
    if (opened.key > 0) this.#put({ ...row, sealed: this.#seal(opened.header.reveal()) })
    else this.#opened = { sealed: row.sealed, header: opened.header }
    return ok({ cookie: opened.header, generation: row.generation })
  }

  /** Sets the session: a new generation, whatever was there. */
  set(call: AdminCall, body: NewSession, nowMs: number): Written {
    const header = cookieHeaderOf(body)
    const row: SessionRow = {
      generation: (this.#row?.generation ?? 0) + 1,
      baseUrl: this.#baseUrl,
      sealed: this.#seal(header),
      names: cookiesOf(header).map(({ name }) => name),
      setAt: nowMs,
      lastUsedAt: null,
      rejected: false,
      lastRejectedAt: null,
      owner: body.owner ?? null,
      expiresAt: body.expiresAt ? Date.parse(body.expiresAt) : null,
      probe: body.probe ?? null,
    }
    this.#put(row)
    const session = { generation: row.generation, cookies: row.names }
    return this.#log.append({ ...byAdmin(call), event: 'session.set', session }, nowMs)
  }

  /** Forgets the session; undefined where there is none. Its generation is never used again. */
  delete(call: AdminCall, nowMs: number): Written | undefined {
    if (!this.#row?.sealed) return undefined
    this.#put({ ...this.#row, ...forgotten })
    const session = { generation: this.#row.generation }
    return this.#log.append({ ...byAdmin(call), event: 'session.deleted', session }, nowMs)
  }

  /** Seals the session with the newest key. `unopened`: no key that is set opens it. */
  reseal(call: AdminCall, nowMs: number): 'resealed' | 'unchanged' | 'unopened' {
    const row = this.#row
    if (!row?.sealed) return 'unchanged'
    // For the platform that it was set for, whichever the gateway points at now.
    const opened = openSession(row.sealed, this.#keys, this.#organisationId, row.baseUrl)
    if (!opened) return 'unopened'
    if (opened.key === 0) return 'unchanged'
    const sealed = sealSession(opened.header.reveal(), this.#keys[0], this.#organisationId, row.baseUrl)
    this.#put({ ...row, sealed })
    const session = { generation: row.generation }
    this.#log.append({ ...byAdmin(call), event: 'session.resealed', session }, nowMs)
    return 'resealed'
  }

  /**
   * Takes from an answer what it says about the session; true where the session's state changed with it. Counts only
   * where the request used the current generation: an old one in flight changes nothing.
   */
  hear(origin: Origin, { generation, said, status, setCookies, pass }: Heard, nowMs: number): boolean {
    const row = this.#row
    if (!row?.sealed || row.generation !== generation || said === 'unsaid') return false
    if (said === 'rejected') {
      const rejected = { ...row, rejected: true, lastRejectedAt: nowMs }
      this.#tryAt = nowMs + this.#restMs
      if (pass) this.#passes.add(pass)
      if (row.rejected) {
        this.#row = rejected
        return false
      }
      this.#put(rejected)
      this.#log.append(
        { ...byGateway(origin), event: 'session.rejected', upstream: { status, generation } },
        nowMs,
      )
      return true
    }
    const used = { ...row, rejected: false, lastUsedAt: nowMs }
    const rotated = setCookies.length > 0 ? this.#rotated(setCookies, nowMs) : undefined
    if (rotated !== undefined) {
      const next = generation + 1
      this.#put({ ...used, sealed: this.#seal(rotated), generation: next })
      this.#log.append(
        { ...byGateway(origin), event: 'session.rotated', session: { generation: next, cookies: row.names } },
        nowMs,
      )
    } else if (row.rejected || nowMs - (row.lastUsedAt ?? 0) >= lastUsedGranularityMs) {
      this.#put(used)
    } else {
      this.#row = used
    }
    return row.rejected
  }

  #rotated(setCookies: readonly string[], nowMs: number): string | undefined {
    const opened = this.#open()
    return opened.ok ? rotateCookies(opened.value.cookie.reveal(), setCookies, nowMs) : undefined
  }

  #seal(header: string): Uint8Array {
    return sealSession(header, this.#keys[0], this.#organisationId, this.#baseUrl)
  }

  #put(row: SessionRow): void {
    this.#row = row
    if (this.#opened?.sealed !== row.sealed) this.#opened = undefined
    this.#queue.add(() => this.#tables.putSession(row))
  }
}
