/**
 * Owns an attempt, from the record that says that an update is about to be sent to the one that says what became of it. No
 * clock and no network of its own.
 */
import { type Refusal, refuse } from '../errors.ts'
import { intentOf } from '../update/writable.ts'
import type { Verdict } from '../upstream/verdict.ts'
import type { Agenda } from './agenda.ts'
import type { AuditLog } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { Exchange } from './courier.ts'
import type { Idempotency } from './idempotency.ts'
import type { Answer, UpdateCall } from './messages.ts'
import type { RateState } from './rates.ts'
import { type Actor, about, changeOf, type Entry, payloadOf, reasonOf } from './record.ts'
import type { Recorder } from './recorder.ts'
import type { Ticket } from './turns.ts'
import type { Unsettled } from './unsettled.ts'
import type { Writer } from './writer.ts'

/** How long after its deadline an attempt without an outcome is taken for lost, in times the backoff's base. */
export const attemptMargin = 20

/** What attempts are made with. */
export interface Tools {
  queue: CommitQueue
  log: AuditLog
  agenda: Agenda
  writer: Writer
  unsettled: Unsettled
  idempotency: Idempotency
  now: () => number
  retryMs: number
}

/** What an attempt starts from. */
export interface Standing {
  actor: Actor
  /** Whose share of the slots it takes. */
  owner: string
  rate: RateState | undefined
  deadline: number
  turn: Ticket | undefined
  /** Of its idempotency key, if it has one. */
  scope: string | undefined
}

/** How an attempt ended, and whether it keeps its connection's turn. A `bug` is to be thrown on once that is seen to. */
export interface Ending {
  answer: Answer
  keepsTurn: boolean
  bug?: unknown
}

export class Attempts {
  readonly #on: Tools
  readonly #recorder: Recorder
  /** Those that are still on their way. */
  readonly #running = new Set<number>()

  constructor(tools: Tools, recorder: Recorder) {
    this.#on = tools
    this.#recorder = recorder
  }

  /** Whether any attempt is on its way. */
  get busy(): boolean {
    return this.#running.size > 0
  }

  /** Whether an attempt is on its way: its outcome will come by itself. */
  isRunning(attempt: number): boolean {
    return this.#running.has(attempt)
  }

  /** The turn is ours: reserve, write, settle. `objection` is asked right before each send. */
  async make(
    call: UpdateCall,
    { actor, owner, rate, deadline, turn, scope }: Standing,
    objection: () => Refusal | undefined,
  ): Promise<Ending> {
    const { log, agenda, queue, writer, unsettled, idempotency, now } = this.#on
    const { connectionId, version } = call.target
    const request = payloadOf(call.update, call)
    const intent = intentOf(call.update.body, version)
    const kept = request?.body === undefined ? intent : undefined
    const attempt = log.append({ ...about(call), event: 'update.attempted', actor, request }, now(), kept).seq
    this.#running.add(attempt)
    if (scope !== undefined) idempotency.reserve(scope, now())
    agenda.noLaterThan('attempts', deadline + attemptMargin * this.#on.retryMs)
    try {
      // Durable from here on: that this update is about to be sent. A crash after it leaves an attempt without an
      // outcome, which the alarm's construction of the object closes as unknown and has looked into.
      await queue.committed()
    } catch {
      this.#running.delete(attempt)
      if (scope !== undefined) idempotency.release(scope)
      return {
        answer: rated({ result: refuse({ code: 'audit-unavailable' }), effect: 'not-sent' }, rate),
        keepsTurn: false,
      }
    }

    const errand = { ...call, owner, body: call.update.body }
    let bug: unknown
    const { verdict, upstream } = await writer
      .write(errand, intent, deadline, objection, soFar => this.#recordResend(call, actor, attempt, soFar))
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
      change: changeOf(call.change),
      upstream,
      outcome: effect,
      reason: result.ok ? undefined : reasonOf(result.refusal),
    }
    this.#running.delete(attempt)
    if (effect === 'unknown') unsettled.keep(attempt, connectionId, Math.max(deadline, now()), turn)
    const ended = rated({ result, effect }, rate)
    const answer = await this.#recorder.answer(settled, ended, receipt => {
      if (scope === undefined || effect === 'unknown') return
      if (effect === 'applied') idempotency.settle(scope, { result, effect, receipt })
      else idempotency.release(scope)
    })
    // What could not be written is closed as unknown and looked into; a successor would make that look tell a lie.
    // Not told by the answer: who is no longer believed gets the same one either way.
    const unwritten = log.openAttempts.includes(attempt)
    if (unwritten && turn) unsettled.hold(attempt, turn)
    return { answer, keepsTurn: effect === 'unknown' || unwritten, bug }
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
}

function rated(answer: Answer, rate: RateState | undefined): Answer {
  return rate ? { ...answer, rate } : answer
}

const outcomes = {
  applied: 'update.succeeded',
  'not-applied': 'update.failed',
  'not-sent': 'update.failed',
  unknown: 'update.unknown',
} as const

/** What is known of a write after a bug: nothing. */
const broken: Verdict = { effect: 'unknown', result: refuse({ code: 'internal' }), session: 'unsaid' }
