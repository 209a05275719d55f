/**
 * Owns when deliveries are tried, and what follows from each try. Run by the alarm: what is to be done is in rows alone, so
 * it outlives the object. No clock, no dice and no network of its own.
 */
import { reasonAgainst } from '../auth/caller.ts'
import { type Refusal, refuse } from '../errors.ts'
import type { Agenda } from './agenda.ts'
import type { AuditLog, Heed } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { World } from './courier.ts'
import { afterFailure, type DeliveryRow, isSpent, maxTries, meaningOf, runnable } from './deliveries.ts'
import type { DeliveryStore } from './delivery-store.ts'
import type { HookStore } from './hook-store.ts'
import { type HookRow, scopeOfHook } from './hooks.ts'
import type { Answer, PatchCall } from './messages.ts'
import { actorOf } from './reception.ts'
import { reasonOf } from './record.ts'
import type { Road } from './road.ts'
import type { SessionStore } from './session-store.ts'
import type { Tables } from './tables.ts'
import type { TokenStore } from './token-store.ts'

/** What deliveries are made with. */
export interface Depot {
  tables: Tables
  queue: CommitQueue
  log: AuditLog
  agenda: Agenda
  session: SessionStore
  tokens: TokenStore
  hooks: HookStore
  deliveries: DeliveryStore
  road: Road
  world: Pick<World, 'now' | 'random'>
  retryMs: number
}

/** So many connections at a time, so that callers keep a slot. */
const maxLanes = 4
/** In times the backoff's base. A lane that was lost with its object is noticed after 30 s. */
const watch = 120
/** How long deliveries rest where nothing can be sent for any of them: 5 min. */
const rest = 1_200

export class Dispatcher {
  readonly #on: Depot
  readonly #busy = new Set<string>()
  #lanes = 0
  #resumeAt = 0
  #sweepAt: number | undefined

  constructor(depot: Depot) {
    this.#on = depot
  }

  /** What may go is due, and no rest holds it up: in a new object, and where the log may be written to again. */
  wake(): void {
    this.#resumeAt = 0
    const { ready, nextAt } = this.#runnable()
    const at = ready.length > 0 ? this.#on.world.now() : nextAt
    if (at !== undefined) this.#on.agenda.noLaterThan('deliveries', at)
  }

  /** Takes a record that is queued: a new session ends the rest, and so does an update that anyone made. */
  heed(...[{ event }, , timeMs]: Parameters<Heed>): void {
    if (timeMs >= this.#resumeAt || (event !== 'session.set' && event !== 'update.succeeded')) return
    this.#resumeAt = 0
    this.#on.agenda.noLaterThan('deliveries', timeMs)
  }

  /**
   * Begins the deliveries that are due, in order in each connection, and does not wait for them: a hung platform must not keep the
   * alarm from the rest of its work.
   */
  start(): void {
    this.#sweepAt = this.#on.deliveries.sweep(this.#on.world.now())
    while (this.#lanes < maxLanes && this.#next()) {
      this.#lanes++
      this.#lane()
        .catch(() => this.#rest())
        .finally(() => {
          this.#lanes--
          this.#plan()
        })
    }
    this.#plan()
  }

  /** Says when to come back: what is under way is looked after, in case its object is lost. */
  #plan(): void {
    const { agenda, world, retryMs } = this.#on
    const now = world.now()
    const { ready, nextAt } = this.#runnable()
    const times = [this.#sweepAt]
    if (this.#lanes > 0) times.push(now + watch * retryMs)
    else if (ready.length > 0) times.push(Math.max(now, this.#resumeAt))
    if (nextAt !== undefined) times.push(Math.max(nextAt, this.#resumeAt))
    const at = Math.min(...times.filter(time => time !== undefined))
    if (at === Number.POSITIVE_INFINITY) agenda.done('deliveries')
    else agenda.set('deliveries', at)
  }

  /** Gives a delivery up, on record. */
  bury(row: DeliveryRow, hook: HookRow, reason: string, fields?: string[]): void {
    const { log, deliveries, world, tables } = this.#on
    const { id: delivery, requestId, connectionId, version, tries } = row
    const organisationId = tables.organisation()?.id as string
    const { seq } = log.append(
      {
        requestId,
        event: 'webhook.dead',
        actor: actorOf(hook),
        target: { organisationId, connectionId, ...(version === null ? {} : { version }), hookId: hook.id },
        delivery,
        upstream: { attempts: tries },
        reason,
        ...(fields ? { fields } : {}),
      },
      world.now(),
    )
    deliveries.end(row, 'dead', seq, world.now())
  }

  #runnable(): ReturnType<typeof runnable> {
    const { deliveries, hooks, world } = this.#on
    const blocks = (hook: string) => hooks.get(hook)?.definition.onFailure !== 'skip'
    return runnable(deliveries.pending(), blocks, world.now())
  }

  /** The next delivery, of a connection that no lane is at. */
  #next(): DeliveryRow | undefined {
    if (this.#on.world.now() < this.#resumeAt) return undefined
    return this.#runnable().ready.find(({ connectionId }) => !this.#busy.has(connectionId))
  }

  /** One delivery after the other, until none is due. */
  async #lane(): Promise<void> {
    for (let row = this.#next(); row; row = this.#next()) {
      this.#busy.add(row.connectionId)
      try {
        await this.#deliver(row)
      } finally {
        this.#busy.delete(row.connectionId)
      }
    }
  }

  async #deliver(row: DeliveryRow): Promise<void> {
    const { hooks, session, road, queue, tables, world } = this.#on
    const hook = hooks.get(row.hook)
    const { version, patch, connectionId } = row
    if (!hook || version === null || patch === null) return this.#rest()
    // What was cut off in its last try, a crash after it, is not tried once more.
    if (row.tries >= maxTries) return this.bury(row, hook, row.failure ?? 'unknown')
    if (session.objection(world.now())) return this.#rest()
    const organisationId = tables.organisation()?.id as string
    const { requestId, id: delivery } = row
    const target = { connectionId, version, hookId: hook.id }
    const call: PatchCall = { organisationId, requestId, client: {}, target, trace: {}, patch, delivery }
    const scopes = [scopeOfHook(hook.definition), ...this.#tokenOf(row).map(({ scope }) => scope)]
    const party = { actor: actorOf(hook), scopes, owner: hook.id, objection: () => this.#objection(row) }
    const answer = await road
      .updateFor(party, call)
      .catch((): Answer => ({ result: refuse({ code: 'internal' }) }))
    this.#settle(row, answer)
    // Nothing goes on from what is not on disk.
    await queue.committed().catch(() => this.#rest())
  }

  /** What followed from a try that was not applied: the log has told the rest already. */
  #settle(before: DeliveryRow, { result, effect }: Answer): void {
    const { hooks, deliveries, session, world, retryMs } = this.#on
    const hook = hooks.get(before.hook)
    const row = deliveries.get(before.id)
    if (result.ok || effect === 'unknown' || !hook || row?.state !== 'pending') return
    const { refusal } = result
    const failure = reasonOf(refusal)
    const askedMs = 'retryAfterSeconds' in refusal ? (refusal.retryAfterSeconds ?? 0) * 1000 : 0
    const meaning = meaningOf(refusal)
    // What was no failure of its own costs it no try.
    const tries = meaning === 'pause' ? before.tries : before.tries + 1
    const failed = { ...row, failure, tries }
    if (meaning === 'pause') {
      deliveries.put(failed)
      // What an older session was told says nothing about one that was set meanwhile.
      if (refusal.code === 'audit-unavailable' || session.objection(world.now())) this.#rest()
    } else if (meaning === 'hopeless' || isSpent(failed, world.now())) {
      this.bury(failed, hook, failure)
    } else {
      deliveries.put(afterFailure(failed, askedMs, retryMs, world.now(), world.random()))
    }
  }

  /**
   * Why a delivery must not be sent any more, if so: its hook is gone, a look has found an earlier try to have done it, or the
   * token that vouched for it is gone.
   */
  #objection(row: DeliveryRow): Refusal | undefined {
    if (!this.#on.hooks.get(row.hook)) return { code: 'not-found', detail: 'The hook was deleted.' }
    if (this.#on.deliveries.get(row.id)?.state !== 'pending') {
      return { code: 'delivery-conflict', detail: 'It was delivered meanwhile.' }
    }
    if (row.token === null) return undefined
    const [token] = this.#tokenOf(row)
    const reason = token
      ? reasonAgainst({ id: token.id, digest: token.digest }, token, this.#on.world.now())
      : 'unknown'
    return reason && { code: 'invalid-token', reason }
  }

  #tokenOf({ token }: DeliveryRow) {
    const row = token === null ? undefined : this.#on.tokens.get(token)
    return row ? [row] : []
  }

  #rest(): void {
    this.#resumeAt = this.#on.world.now() + rest * this.#on.retryMs
  }
}
