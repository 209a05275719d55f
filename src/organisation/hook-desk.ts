/**
 * Owns what an admin may do with hooks and deliveries: the part of the object that the edge reaches as `organisation.hooks`.
 * The edge has checked the admin. No clock of its own.
 */
import { RpcTarget } from 'cloudflare:workers'
import { holdsToken, withoutTokens } from '../auth/token.ts'
import { verifySignature } from '../auth/webhook-signature.ts'
import { type FieldError, ok, type Result, refuse, tokenInBody } from '../errors.ts'
import { parseEvent } from '../update/event.ts'
import type { Mapped } from '../update/webhook-mapping.ts'
import type { AuditLog } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import { type DeliveryView, viewDelivery } from './deliveries.ts'
import type { DeliveryStore } from './delivery-store.ts'
import { hookMapping } from './hook-mapping.ts'
import type { HookStore } from './hook-store.ts'
import type { DeliveryFilter } from './hook-table.ts'
import {
  changeDefinition,
  definitionOf,
  type HookDefinition,
  type HookRow,
  type HookView,
  headerOf,
  isPing,
  isSecretFor,
  maxHooks,
  rotateHook,
  secretFrom,
  viewHook,
} from './hooks.ts'
import type { AdminCall } from './messages.ts'
import type { HookChange, NewHook } from './new-hook.ts'
import { forHook, type Reception, withoutSecrets } from './reception.ts'
import { byAdmin } from './record.ts'
import type { Publishing } from './token-desk.ts'

/** What the desk works with. */
export interface Drawers {
  hooks: HookStore
  deliveries: DeliveryStore
  reception: Reception
  queue: CommitQueue
  log: AuditLog
  now: () => number
  /** Sees to it that the organisation exists; false where it can't be made. */
  exist: (call: AdminCall) => Promise<boolean>
  publishing: Publishing
}

/** What a sample would become. */
export interface Trial {
  verification: { valid: boolean; reason?: string }
  state: 'pending' | 'ignored' | 'dead'
  target: { connectionId: string; version: string | null }
  change: unknown
  problem: { field: string; message: string } | null
}

export class HookDesk extends RpcTarget {
  readonly #on: Drawers

  constructor(drawers: Drawers) {
    super()
    this.#on = drawers
  }

  /** Makes a hook under an id that the edge has minted. `secret` is undefined for one that asks for tokens. */
  async create(
    call: AdminCall,
    wanted: NewHook,
    id: string,
    secret: string | undefined,
  ): Promise<Result<HookView>> {
    const { hooks, now, exist } = this.#on
    const { definitionErrors } = await hookMapping()
    const definition = definitionOf(wanted)
    const refusal = objectionTo(definition, definitionErrors(definition))
    if (refusal) return refusal
    if (!(await exist(call))) return refuse({ code: 'audit-unavailable' })
    if (hooks.list().length >= maxHooks)
      return invalid('hooks', `must be at most ${maxHooks} of an organisation`)
    const secrets = secret === undefined ? [] : [{ sealed: hooks.seal(id, secret), until: null }]
    const row: HookRow = { id, definition, secrets, createdAt: now(), createdBy: call.admin }
    const { receipt } = hooks.change(call, 'hook.created', row, now())
    // Also where nothing else has been made before: what is not listed would miss a change of keys.
    return this.#on.publishing(receipt, () => this.#view(row))
  }

  async list(): Promise<HookView[]> {
    return this.#on.hooks.list().map(row => this.#view(row))
  }

  async get(id: string): Promise<Result<HookView>> {
    const row = this.#on.hooks.get(id)
    return row ? ok(this.#view(row)) : noSuchHook
  }

  /** Changes what a hook does with the events to come. */
  async change(call: AdminCall, id: string, wanted: HookChange): Promise<Result<HookView>> {
    const { definitionErrors } = await hookMapping()
    const row = this.#on.hooks.get(id)
    if (!row) return noSuchHook
    const definition = changeDefinition(row.definition, wanted)
    if (JSON.stringify(definition) === JSON.stringify(row.definition)) return ok(this.#view(row))
    const refusal = objectionTo(definition, definitionErrors(definition))
    return refusal ?? this.#change(call, 'hook.changed', { ...row, definition })
  }

  /** Gives a hook a new secret: the one that is brought, or one from `random`. */
  async rotateSecret(
    call: AdminCall,
    id: string,
    wanted: { secret: string | undefined; graceSeconds: number },
    random: Uint8Array,
  ): Promise<Result<HookView & { secret: string }>> {
    const { hooks, now } = this.#on
    const row = hooks.get(id)
    if (!row) return noSuchHook
    const { type } = row.definition.verification
    const secret = wanted.secret ?? secretFrom(type, random)
    if (wanted.secret === undefined && hooks.hasPublicKey(row)) {
      return invalid(
        'secret',
        'must be given: this hook has a public key, whose private half is with its sender',
      )
    }
    if (secret === undefined) return invalid('verification', 'asks for tokens of the gateway: rotate those')
    if (!isSecretFor(type, secret)) return invalid('secret', 'has not the form that this hook takes')
    const rotated = rotateHook(row, hooks.seal(id, secret), wanted.graceSeconds, now())
    const changed = await this.#change(call, 'hook.rotated', rotated)
    return changed.ok ? { ...changed, value: { ...changed.value, secret } } : changed
  }

  /** Deletes a hook, and cancels what it still has to deliver. */
  async delete(call: AdminCall, id: string): Promise<Result<{ id: string; cancelled: number }>> {
    const { hooks, deliveries, now } = this.#on
    const row = hooks.get(id)
    if (!row) return noSuchHook
    const cancelled = deliveries.forget(id, now())
    const { receipt } = hooks.delete(call, row, cancelled, now())
    return this.#committed(receipt, () => ({ id, cancelled }))
  }

  /** What an event would become. Nothing is stored, and nothing is sent. */
  async test(id: string, headers: Record<string, string>, body: Uint8Array): Promise<Result<Trial>> {
    const { hooks, now } = this.#on
    const { mapFor } = await hookMapping()
    const row = hooks.get(id)
    if (!row) return noSuchHook
    const { verification, connectionId } = row.definition
    const header = (name: string) => headerOf(headers, name)
    const signature =
      verification.type === 'token'
        ? { valid: false as const, reason: 'not-tried' }
        : await verifySignature(verification, hooks.secretsOf(row, now()), { header, body }, now())
    const event = isPing(row.definition, headers) ? undefined : parseEvent(body)
    if (event && !event.ok) return event
    const mapped: Mapped = event
      ? mapFor(row.definition, event.value, withoutSecrets(headers))
      : { kind: 'ignored' }
    return ok({
      verification: signature.valid ? { valid: true } : { valid: false, reason: signature.reason },
      state: mapped.kind === 'change' ? 'pending' : mapped.kind === 'ignored' ? 'ignored' : 'dead',
      target: { connectionId, version: mapped.kind === 'change' ? mapped.version : null },
      change: mapped.kind === 'change' ? JSON.parse(mapped.patch) : null,
      problem: mapped.kind === 'failed' ? mapped.problem : null,
    })
  }

  /** A page of what a hook was sent, newest first; `next` is the `before` of the next one. */
  async deliveries(
    id: string,
    filter: DeliveryFilter,
  ): Promise<Result<{ deliveries: DeliveryView[]; next: number | null }>> {
    const { hooks, queue } = this.#on
    if (!hooks.get(id)) return noSuchHook
    await queue.committed().catch(() => {})
    const { rows, more } = this.#on.deliveries.list(id, filter)
    const next = more ? (rows.at(-1)?.seq ?? null) : null
    return ok({ deliveries: rows.map(viewDelivery), next })
  }

  /** One delivery, with the event as it came while that is kept. */
  async delivery(id: string): Promise<Result<DeliveryView & { event: string | null }>> {
    await this.#on.queue.committed().catch(() => {})
    const row = this.#on.deliveries.get(id)
    if (!row || !this.#on.hooks.get(row.hook)) return noSuchDelivery
    const payload = this.#on.deliveries.payload(id)
    const event = payload ? withoutTokens(new TextDecoder().decode(payload.body)) : null
    return ok({ ...viewDelivery(row), event })
  }

  /** Tries a dead delivery anew, mapped by its hook as it is now. */
  async replay(call: AdminCall, id: string): Promise<Result<DeliveryView>> {
    const { hooks, deliveries, reception, log, now, queue } = this.#on
    const mapping = await hookMapping()
    await queue.committed().catch(() => {})
    const row = deliveries.get(id)
    const hook = row && hooks.get(row.hook)
    if (!hook) return noSuchDelivery
    if (row.state !== 'dead') {
      return refuse({
        code: 'delivery-conflict',
        detail: `Only a dead delivery can be replayed; this one is ${row.state}.`,
      })
    }
    const payload = deliveries.payload(id)
    if (!payload)
      return refuse({ code: 'delivery-conflict', detail: 'The event of this delivery is no longer kept.' })
    const mapped = reception.replay(row, hook, payload, mapping)
    if (!mapped.ok) return mapped
    const { target } = forHook(call, hook)
    const origin = byAdmin({ ...call, target, delivery: id })
    const { seq, receipt } = log.append({ ...origin, event: 'webhook.replayed' }, now())
    mapped.value(seq)
    return this.#committed(receipt, () => viewDelivery(deliveries.get(id) ?? row))
  }

  async #change(
    call: AdminCall,
    event: 'hook.changed' | 'hook.rotated',
    row: HookRow,
  ): Promise<Result<HookView>> {
    const { receipt } = this.#on.hooks.change(call, event, row, this.#on.now())
    return this.#committed(receipt, () => this.#view(row))
  }

  async #committed<T>(receipt: string, value: () => T): Promise<Result<T>> {
    try {
      await this.#on.queue.committed()
    } catch {
      return refuse({ code: 'audit-unavailable' })
    }
    return { ok: true, value: value(), receipt }
  }

  #view(row: HookRow): HookView {
    const { deliveries, now } = this.#on
    const counts = { pending: deliveries.countPending(row.id), dead: deliveries.count(row.id, 'dead') }
    return viewHook(row, counts, now())
  }
}

/** What is wrong with a definition beyond its schema: `fields` of it, or that the log could not hold it. */
function objectionTo(
  definition: HookDefinition,
  fields: FieldError[],
): ReturnType<typeof refuse> | undefined {
  if (fields.length > 0) return refuse({ code: 'invalid-body', fields })
  return holdsToken(JSON.stringify(definition)) ? refuse(tokenInBody) : undefined
}

function invalid(field: string, message: string): ReturnType<typeof refuse> {
  return refuse({ code: 'invalid-body', fields: [{ field, message }] })
}

const noSuchHook = refuse({ code: 'not-found', detail: 'This organisation has no hook with this id.' })
const noSuchDelivery = refuse({
  code: 'not-found',
  detail: 'This organisation has no delivery with this id.',
})
