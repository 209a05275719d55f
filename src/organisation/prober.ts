/**
 * Owns reading a probe, the version that tells whether a session stands: with a session that is not set yet, and hourly
 * with the one that is. Never lets a session out: it goes to the platform as any other does. No clock of its own.
 */
import { Secret } from '../crypto.ts'
import { ok, type Result, refuse } from '../errors.ts'
import type { AuditLog } from './audit-log.ts'
import type { AdminCall, Origin } from './messages.ts'
import type { NewSession } from './new-session.ts'
import { about, byAdmin, gateway } from './record.ts'
import { cookieHeaderOf, rotateCookies } from './session.ts'
import type { SessionStore } from './session-store.ts'
import type { Writer } from './writer.ts'

export class Prober {
  readonly #log: AuditLog
  readonly #session: SessionStore
  readonly #writer: Writer
  readonly #now: () => number
  readonly #timeoutMs: number

  constructor(log: AuditLog, session: SessionStore, writer: Writer, now: () => number, timeoutMs: number) {
    this.#log = log
    this.#session = session
    this.#writer = writer
    this.#now = now
    this.#timeoutMs = timeoutMs
  }

  /**
   * The session to set, with what the platform made of its cookies; or why it may not be set. Without a probe it is taken
   * as it is. `recorded`: the organisation exists, so a refusal gets a record.
   */
  async tryOut(call: AdminCall, wanted: NewSession, recorded: boolean): Promise<Result<NewSession>> {
    if (!wanted.probe) return ok(wanted)
    const header = cookieHeaderOf(wanted)
    const errand = { ...call, target: wanted.probe, trace: {}, candidate: new Secret(header) }
    const exchanged = await this.#writer.read(errand, this.#now() + this.#timeoutMs, () => undefined)
    const { upstream, setCookies } = exchanged.ok ? exchanged.value : { upstream: undefined, setCookies: [] }
    const result = exchanged.ok ? exchanged.value.verdict.result : exchanged
    if (result.ok) {
      const renewed = rotateCookies(header, setCookies, this.#now())
      const { cookie: _, ...rest } = wanted
      return ok(renewed === undefined ? wanted : { ...rest, cookieHeader: renewed })
    }
    const { refusal } = result
    if (recorded) {
      const { generation: _, ...seen } = upstream ?? {}
      const entry = { event: 'session.refused', upstream: seen, reason: refusal.code } as const
      this.#log.append({ ...byAdmin(call), ...entry }, this.#now())
    }
    return refuse(refusal.code === 'session-rejected' ? { ...refusal, detail: refusedCandidate } : refusal)
  }

  /** Reads the probe that was set with the session, if any, and records it. A session that rests is left alone. */
  async look(origin: Origin): Promise<void> {
    const { probe } = this.#session
    if (!probe) return
    const errand = { ...origin, target: probe, trace: {} }
    const exchanged = await this.#writer.read(errand, this.#now() + this.#timeoutMs, () => undefined)
    if (!exchanged.ok) return
    const { verdict, upstream } = exchanged.value
    const { result } = verdict
    const event = result.ok ? 'read.succeeded' : 'read.failed'
    const reason = result.ok ? undefined : result.refusal.code
    this.#log.append({ ...about(errand), event, actor: gateway, upstream, reason }, this.#now())
  }
}

const refusedCandidate =
  'The platform refused this session when it was asked for the probe. Nothing was changed.'
