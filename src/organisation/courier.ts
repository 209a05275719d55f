/**
 * Owns one exchange with the platform: waits for a slot, opens the session, sends, judges the answer, and hears from it
 * whether the session still stands. No clock and no network of its own: both are passed in.
 */
import { type Secret, sha256Hex } from '../crypto.ts'
import { ok, type Refusal, type Result, refuse } from '../errors.ts'
import type { Trace } from '../upstream/headers.ts'
import type { UpstreamRequest } from '../upstream/request.ts'
import { judge, type Reply, type Verdict } from '../upstream/verdict.ts'
import type { Agenda } from './agenda.ts'
import type { Origin } from './messages.ts'
import type { Entry } from './record.ts'
import { cookiesOf } from './session.ts'
import type { SessionStore } from './session-store.ts'
import type { Slots } from './slots.ts'
import type { Ticket } from './turns.ts'

/** Time, chance and the network. */
export interface World {
  now: () => number
  /** In [0, 1). */
  random: () => number
  /** Resolves after some milliseconds; `cancel` where nobody waits any more. */
  sleep: (ms: number) => { done: Promise<void>; cancel: () => void }
  send: (request: UpstreamRequest, timeoutMs: number) => Promise<Reply>
}

/** What to do at the platform; with a body it is a PUT. */
export interface Errand extends Origin {
  target: { connectionId: string; version: string }
  trace: Trace
  body?: string
  /** Of a PUT that was made from a version: that one's entity tag. */
  base?: string | undefined
  /** The caller's token; the gateway's own errands have none. */
  owner?: string
  /** What one request's exchanges have in common: one that may try a rested session may look and send again. */
  pass?: object
  /** A Cookie header to try instead of the session. */
  candidate?: Secret
}

/** What an errand came to. */
export interface Exchange {
  verdict: Verdict
  upstream: NonNullable<Entry['upstream']>
  setCookies: readonly string[]
}

export class Courier {
  readonly #world: World
  readonly #slots: Slots
  readonly #session: SessionStore
  readonly #agenda: Agenda
  readonly #baseUrl: string

  constructor(world: World, slots: Slots, session: SessionStore, agenda: Agenda, baseUrl: string) {
    this.#world = world
    this.#slots = slots
    this.#session = session
    this.#agenda = agenda
    this.#baseUrl = baseUrl
  }

  /**
   * Waits for a slot, looks again, and sends with no await in between; a refusal where nothing was sent. `objection` is
   * asked right before the send, for what may have changed while waiting.
   */
  async exchange(
    errand: Errand,
    deadline: number,
    objection: () => Refusal | undefined = () => undefined,
  ): Promise<Result<Exchange>> {
    const slot = this.#slots.take(errand.target.connectionId, errand.owner)
    try {
      const refusal = (await whenReady(slot, deadline, this.#world)) ?? objection()
      if (refusal) return refuse(refusal)
      // No session has the generation 0: what a candidate is told counts for none.
      const opened = errand.candidate
        ? ok({ cookie: errand.candidate, generation: 0 })
        : this.#session.open(this.#world.now(), errand.pass)
      return opened.ok
        ? ok(await this.#send(errand, opened.value.cookie, opened.value.generation, deadline))
        : opened
    } finally {
      // Free before the outcome is written, so that records of concurrent updates commit together.
      slot?.leave()
    }
  }

  async #send(
    errand: Errand,
    cookie: UpstreamRequest['cookie'],
    generation: number,
    deadline: number,
  ): Promise<Exchange> {
    const startedAt = this.#world.now()
    const { requestId, trace, body } = errand
    const target = { organisationId: errand.organisationId, ...errand.target }
    const request = { baseUrl: this.#baseUrl, target, cookie, requestId, trace, body }
    const reply = await this.#world.send(request, Math.max(1, deadline - startedAt))
    const now = this.#world.now()
    const replied = reply.kind === 'answered' ? reply.setCookies : []
    // Also what the answer itself would make the session: a value handed out in it must not be told in it.
    const cookies = [cookie.reveal(), ...replied.map(each => each.split(';')[0] ?? '')].flatMap(cookiesOf)
    const verdict = judge(
      reply,
      cookies.map(({ value }) => value),
    )
    const status = 'status' in reply ? reply.status : undefined
    const { body: text, setCookies } = reply.kind === 'answered' ? reply : { body: undefined, setCookies: [] }
    // Only a 2xx in JSON may change the session.
    const renewing = verdict.result.ok ? setCookies : []
    const heard = { generation, said: verdict.session, status, setCookies: renewing, pass: errand.pass }
    if (this.#session.hear(errand, heard, now)) this.#agenda.noLaterThan('directory', now)
    const digest = text === undefined ? undefined : sha256Hex(text)
    return {
      verdict,
      setCookies,
      upstream: { status, durationMs: now - startedAt, attempts: 1, sha256: digest, generation },
    }
  }
}

/** Waits for a ticket until the deadline; a refusal where there is none, or where its turn does not come in time. */
export async function whenReady(
  ticket: Ticket | undefined,
  deadline: number,
  { now, sleep }: Pick<World, 'now' | 'sleep'>,
): Promise<Refusal | undefined> {
  if (!ticket) return { code: 'overloaded', retryAfterSeconds: 1 }
  // Its turn is mostly at once, which takes no timer to find out.
  if ((await Promise.race([ticket.ready, undefined])) && now() < deadline) return undefined
  const late = sleep(Math.max(0, deadline - now()))
  const granted = await Promise.race([ticket.ready, late.done])
  late.cancel()
  if (granted === false) return { code: 'overloaded', retryAfterSeconds: 1 }
  // Its turn may have come in the very moment in which its time was over.
  return granted === true && now() < deadline ? undefined : { code: 'upstream-timeout' }
}
