/**
 * Owns the record that closes a request, and the answer that waits until it is durable. Keeps refusals within their bounded
 * rate of records. No clock of its own.
 */
import type { Action } from '../auth/caller.ts'
import { type Code, refuse } from '../errors.ts'
import type { Refused } from './admission.ts'
import type { Agenda } from './agenda.ts'
import type { AuditLog } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import { Denials } from './denials.ts'
import type { Answer, Origin } from './messages.ts'
import { about, type Entry, fieldsOf, gateway, reasonOf } from './record.ts'
import type { Tables } from './tables.ts'

/** What the recorder writes to. */
export interface Desk {
  tables: Tables
  queue: CommitQueue
  log: AuditLog
  agenda: Agenda
  now: () => number
}

export class Recorder {
  readonly #on: Desk
  readonly #denials = new Denials()

  constructor(desk: Desk) {
    this.#on = desk
  }

  /** Writes the record that closes a request, and `also` what belongs to it; answers only when both are durable. */
  async answer(entry: Entry, answer: Answer, also?: (receipt: string, seq: number) => void): Promise<Answer> {
    const { receipt, seq } = this.#on.log.append(entry, this.#on.now())
    also?.(receipt, seq)
    try {
      await this.#on.queue.committed()
    } catch {
      return believed(answer)
        ? { ...answer, result: refuse({ code: 'audit-unavailable' }) }
        : nameless(answer)
    }
    return believed(answer) ? { ...answer, receipt } : nameless(answer)
  }

  /** Answers what is durable already, within the bounded rate of refusals' records: whoever repeats it adds no more. */
  async repeat(entry: Entry, answer: Answer): Promise<Answer> {
    if (this.mayRecordRefusal()) return this.answer(entry, answer)
    return this.#on.queue.committed().then(
      () => answer,
      () => ({ ...answer, result: refuse({ code: 'audit-unavailable' }) }),
    )
  }

  /** Answers what was refused before anything was attempted, within the bounded rate of such records. */
  async refuse(
    call: Origin & { target?: object; delivery?: string },
    action: Action | 'webhook',
    { refusal, actor, rate }: Refused,
  ): Promise<Answer> {
    const answer: Answer = { result: refuse(refusal) }
    if (rate) answer.rate = rate
    if (action === 'update') answer.effect = 'not-sent'
    if (!this.mayRecordRefusal()) return believed(answer) ? answer : nameless(answer)
    const denied = deniedCodes.includes(refusal.code)
    const fields = 'fields' in refusal ? fieldsOf(refusal.fields) : undefined
    const event = `${action}.${denied ? 'denied' : 'rejected'}` as const
    return this.answer({ ...about(call), event, actor, reason: reasonOf(refusal), fields }, answer)
  }

  /** False where the organisation does not exist, nothing may be written, or this minute has its refusals on record. */
  mayRecordRefusal(): boolean {
    if (!this.#on.tables.exist || !this.#on.queue.open) return false
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

/** Refusals that are about who asks; every other is about what is asked for. */
const deniedCodes: readonly Code[] = [
  'missing-token',
  'invalid-token',
  'invalid-signature',
  'rate-limited',
  'insufficient-scope',
]
const disbelieved: readonly Code[] = ['missing-token', 'invalid-token', 'invalid-signature']

function believed({ result }: Answer): boolean {
  return result.ok || !disbelieved.includes(result.refusal.code)
}

/** Who is not believed gets one and the same answer, without receipt or rate, whatever the log knows. */
function nameless({ receipt: _, rate: __, ...answer }: Answer): Answer {
  return answer
}
