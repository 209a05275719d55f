/**
 * Owns getting an update to the platform once: sends it, and where the answer leaves it open, looks at the version before
 * sending again. Truth before retry: what was applied is never sent twice, and a later refusal never turns it into a
 * failure. Pure but for what is passed in.
 */
import { ok, type Refusal, type Result, refuse } from '../errors.ts'
import { etagOf } from '../update/etag.ts'
import { compare, type Intent, isAbout } from '../update/writable.ts'
import { backoffMs } from '../upstream/backoff.ts'
import type { Verdict } from '../upstream/verdict.ts'
import type { Courier, Errand, Exchange, World } from './courier.ts'

/** A write is sent at most this often, a read as well. */
export const maxSends = 3

/** What a look at the platform showed. `unknown`: it could not be read, or no version there has the id. */
export type Sight =
  | { effect: 'applied'; body: string }
  | { effect: 'not-applied'; body: string }
  | { effect: 'unknown' }

export class Writer {
  readonly #courier: Courier
  readonly #world: Pick<World, 'now' | 'random' | 'sleep'>
  readonly #retryMs: number

  /** `retryMs`: the base of the backoff between two tries. */
  constructor(courier: Courier, world: Pick<World, 'now' | 'random' | 'sleep'>, retryMs: number) {
    this.#courier = courier
    this.#world = world
    this.#retryMs = retryMs
  }

  /**
   * Sends an update until its effect is known, at most three times, within the deadline. `beforeResend` makes a record of
   * the resend durable; where it can't, nothing is sent again. Never throws but for a bug.
   */
  async write(
    errand: Errand,
    intent: Intent,
    deadline: number,
    objection: () => Refusal | undefined,
    beforeResend: (soFar: Exchange) => Promise<boolean>,
  ): Promise<{ verdict: Verdict; upstream: Exchange['upstream'] | undefined }> {
    const startedAt = this.#world.now()
    errand.pass ??= {}
    let wasOpen = false
    let last: Exchange | undefined
    for (let sends = 1; ; sends++) {
      const exchanged = await this.#courier.exchange(errand, deadline, objection)
      if (!exchanged.ok) {
        // Nothing was sent this time; what was sent before, a look has shown not to have been applied.
        const effect = last ? 'not-applied' : 'not-sent'
        return { verdict: { effect, result: exchanged, session: 'unsaid' }, upstream: last?.upstream }
      }
      const verdict = ofThisVersion(exchanged.value.verdict, intent)
      const durationMs = this.#world.now() - startedAt
      const upstream = { ...exchanged.value.upstream, durationMs, attempts: sends }
      if (verdict.effect === 'applied') return { verdict, upstream }

      // A 401 has applied nothing. A redirect or a page may stand after a change that was made: the look tells, if it is let in.
      if (verdict.session === 'rejected' && verdict.effect !== 'unknown') {
        return { verdict: wasOpen ? unknownAs(verdict) : verdict, upstream }
      }
      // Once a send is open, whatever a later one is told says nothing about the first.
      wasOpen ||= verdict.effect === 'unknown'
      const sight: Sight | undefined = wasOpen ? await this.look(errand, intent, deadline) : undefined
      if (sight?.effect === 'applied') return { verdict: appliedAs(sight.body, verdict), upstream }
      if (sight?.effect === 'unknown') return { verdict: unknownAs(verdict), upstream }
      const known: Verdict = sight ? { ...verdict, effect: 'not-applied' } : verdict
      last = { ...exchanged.value, verdict: known, upstream }

      // Sent again, it would undo what somebody else did since it was allowed.
      if (sight && errand.base !== undefined && etagOf(sight.body) !== errand.base)
        return { verdict: { ...known, result: refuse(changed) }, upstream }
      // After a look that was answered, the session is not what was wrong; the platform's own refusal is final.
      if (sends === maxSends || isRefused(verdict) || !(worthAnother(verdict) || sight)) return last
      if (!(await this.#pause(sends, verdict, deadline))) return last
      if (!(await beforeResend(last)))
        return { verdict: { ...known, result: refuse({ code: 'audit-unavailable' }) }, upstream }
    }
  }

  /** Reads, and where no answer comes tries again. One that came and is not usable will not get better. */
  async read(
    errand: Errand,
    deadline: number,
    objection: () => Refusal | undefined,
  ): Promise<Result<Exchange>> {
    errand.pass ??= {}
    for (let sends = 1; ; sends++) {
      const exchanged = await this.#courier.exchange(errand, deadline, objection)
      if (!exchanged.ok) return exchanged
      const { verdict, upstream, setCookies } = exchanged.value
      const usable = verdict.result.ok || verdict.result.refusal.code !== 'upstream-invalid-response'
      const again = sends < maxSends && usable && worthAnother(verdict)
      if (!again || !(await this.#pause(sends, verdict, deadline))) {
        return ok({ verdict, setCookies, upstream: { ...upstream, attempts: sends } })
      }
    }
  }

  /** Reads the version, under every name that it may have, and compares. */
  async look(errand: Errand, intent: Intent, deadline: number): Promise<Sight> {
    errand.pass ??= {}
    for (let tries = 1; ; tries++) {
      let unreadable: Verdict | undefined
      for (const version of intent.names) {
        const { body: _, ...read } = errand
        const target = { connectionId: errand.target.connectionId, version }
        const exchanged = await this.#courier.exchange({ ...read, target }, deadline)
        if (!exchanged.ok) return { effect: 'unknown' }
        const { verdict } = exchanged.value
        const { result, session } = verdict
        if (session === 'rejected') return { effect: 'unknown' }
        if (result.ok) {
          const effect = compare(intent, result.body)
          if (effect !== 'other') return { effect, body: result.body }
        } else if (result.refusal.code !== 'upstream-rejected' || result.refusal.status !== 404) {
          unreadable = verdict
        }
      }
      if (!unreadable || tries === maxSends) return { effect: 'unknown' }
      if (!(await this.#pause(tries, unreadable, deadline))) return { effect: 'unknown' }
    }
  }

  /** Waits before another try, as long as the platform asks or the backoff says; false where the deadline comes first. */
  async #pause(tries: number, { result }: Verdict, deadline: number): Promise<boolean> {
    const refusal = result.ok ? undefined : result.refusal
    const asked = refusal && 'retryAfterSeconds' in refusal ? (refusal.retryAfterSeconds ?? 0) * 1000 : 0
    const ms = Math.max(asked, backoffMs(tries, this.#retryMs, this.#world.random()))
    if (this.#world.now() + ms >= deadline) return false
    await this.#world.sleep(ms).done
    return true
  }
}

/** Whether a send that failed may go better: it never arrived, it was left open, or the platform asks to wait. */
function worthAnother({ effect, result, session }: Verdict): boolean {
  return (
    !result.ok &&
    session !== 'rejected' &&
    (effect === 'unknown' || effect === 'not-sent' || result.refusal.code === 'overloaded')
  )
}

/** Whether the platform has understood a request and says no. */
function isRefused({ result }: Verdict): boolean {
  return !result.ok && result.refusal.code === 'upstream-rejected'
}

const changed: Refusal = {
  code: 'precondition-failed',
  detail:
    'The version was changed by somebody else while this update was under way, and so it was not sent again.',
}

/** A 2xx that shows another version, or none, does not say that this one was updated. */
function ofThisVersion(verdict: Verdict, intent: Intent): Verdict {
  if (!verdict.result.ok || isAbout(intent, verdict.result.body)) return verdict
  const detail = 'The answer of the platform is not the version that was updated.'
  return unknownAs({ ...verdict, result: refuse({ code: 'upstream-invalid-response', detail }) })
}

function unknownAs(verdict: Verdict): Verdict {
  return { ...verdict, effect: 'unknown' }
}

function appliedAs(body: string, verdict: Verdict): Verdict {
  return { ...verdict, effect: 'applied', result: { ok: true, status: 200, body } }
}
