/**
 * Owns what happens to an event that a hook is sent: believed or not, seen before or not, mapped, and durable before it is
 * acknowledged. Sends nothing. No clock and no network of its own.
 */
import { allows } from '../auth/caller.ts'
import { holdsToken } from '../auth/token.ts'
import { verifySignature } from '../auth/webhook-signature.ts'
import { sha256Hex } from '../crypto.ts'
import { ok, type Refusal, type Result, refuse, tokenInBody } from '../errors.ts'
import { parseEvent } from '../update/event.ts'
import type { Mapped } from '../update/webhook-mapping.ts'
import type { Capacity } from './capacity.ts'
import { type DeliveryRow, type Payload, rearmed, received } from './deliveries.ts'
import type { DeliveryStore } from './delivery-store.ts'
import { type HookMapping, hookMapping } from './hook-mapping.ts'
import type { HookStore } from './hook-store.ts'
import { type HookDefinition, type HookRow, headerOf, isPing } from './hooks.ts'
import type { Answer, Origin, WebhookCall } from './messages.ts'
import { type RateState, Rates } from './rates.ts'
import { type Actor, about, type Entry } from './record.ts'
import type { Recorder } from './recorder.ts'
import type { Road } from './road.ts'
import type { TokenRow } from './tokens.ts'

/** What receives. */
export interface Desk {
  hooks: HookStore
  deliveries: DeliveryStore
  recorder: Recorder
  road: Road
  capacity: Capacity
  now: () => number
  newId: () => string
  /** Gives a delivery up, on record. */
  bury: (row: DeliveryRow, hook: HookRow, reason: string, fields?: string[]) => void
}

/** An event whose sender is known. `token`: what it proved itself with, where that was no signature. */
interface Believed {
  actor: Actor
  messageId: string | undefined
  token?: TokenRow
  rate?: RateState
}

/** Who is refused while the queue of a hook is full comes back after so long. */
const fullRetrySeconds = 60
const maxMessageIdLength = 256
/**
 * What leaves nothing waiting is bounded by nothing else, and an event that was signed without a time can be sent again by who
 * has got hold of it. What is tried anew costs calls of the platform as well, and a record for each.
 */
const limits = {
  ignored: { requests: 600, windowSeconds: 60 },
  failed: { requests: 600, windowSeconds: 60 },
  rearmed: { requests: 60, windowSeconds: 60 },
}

export class Reception {
  readonly #on: Desk
  readonly #rates = new Rates({ recall: () => undefined, remember: () => {} })

  constructor(desk: Desk) {
    this.#on = desk
  }

  async receive(call: WebhookCall): Promise<Answer> {
    const { hooks, recorder } = this.#on
    const mapping = await hookMapping()
    const asked = hooks.get(call.hookId)
    if (!asked) return { result: refuse(noSuchHook) }
    const sender = await this.#believe(call, asked)
    // What follows is decided in one go, by the hook as it is now.
    const hook = hooks.get(call.hookId)
    if (!hook) return { result: refuse(noSuchHook) }
    // A secret that was taken away meanwhile vouches for nothing.
    if (hook.secrets !== asked.secrets) return this.receive(call)
    if ('refusal' in sender) return recorder.refuse(forHook(call, hook), 'webhook', sender)
    const taken = this.#take(call, hook, sender, mapping)
    if (taken.ok) {
      const [entry, answer, also] = taken.value
      const nothingNew = entry.event === 'webhook.duplicate' || entry.reason === 'ping'
      return nothingNew ? recorder.repeat(entry, answer) : recorder.answer(entry, answer, also)
    }
    const { rate } = sender
    const refused = { refusal: taken.refusal, actor: sender.actor, ...(rate ? { rate } : {}) }
    return recorder.refuse(forHook(call, hook), 'webhook', refused)
  }

  /** Who sent it? By a signature over the raw bytes, or by a token of the gateway. */
  async #believe(
    call: WebhookCall,
    hook: HookRow,
  ): Promise<Believed | { refusal: Refusal; actor: Actor; rate?: RateState }> {
    const { road, hooks, now } = this.#on
    const { verification, connectionId } = hook.definition
    const anonymous: Actor = { type: 'anonymous' }
    // Nobody can sign what was not read to its end.
    const { refusal } = call
    if (refusal?.code === 'body-too-large' || refusal?.code === 'malformed-json')
      return { refusal, actor: anonymous }
    const header = (name: string) => headerOf(call.headers, name)
    if (verification.type !== 'token') {
      const secrets = hooks.secretsOf(hook, now())
      // Nobody could be told from a forger, and a genuine sender must come back.
      if (secrets.length === 0) return { refusal: { code: 'not-configured', failing: [] }, actor: anonymous }
      const signature = await verifySignature(verification, secrets, { header, body: call.body }, now())
      if (signature.valid) return { actor: actorOf(hook), messageId: signature.id }
      return { refusal: { code: 'invalid-signature', reason: signature.reason }, actor: anonymous }
    }
    const { credential } = call
    if (!credential) return { refusal: { code: 'missing-token' }, actor: anonymous }
    if (credential === 'malformed') {
      return { refusal: { code: 'invalid-token', reason: 'malformed' }, actor: anonymous }
    }
    const admission = road.admit({ ...call, credential, target: { connectionId }, trace: {} }, 'update', [])
    if ('refusal' in admission) return admission
    const { actor, token, rate } = admission
    // Also where the event comes to nothing: it would be kept, and told of.
    if (!allows(token.scope, 'update', connectionId, [])) {
      return { refusal: { code: 'insufficient-scope' }, actor, rate }
    }
    // All of the request is vouched for by the token, so an id in a header is as good as a signed one.
    return { actor, messageId: header('webhook-id') ?? header('idempotency-key') ?? undefined, token, rate }
  }

  /** The record of an event that is believed, the answer, and what is stored with them. */
  #take(
    call: WebhookCall,
    hook: HookRow,
    { actor, messageId: named, token, rate }: Believed,
    { mapFor }: HookMapping,
  ): Result<Parameters<Recorder['answer']>> {
    const { deliveries, capacity, now, newId } = this.#on
    // Whatever comes of it adds a record.
    const unwritable = capacity.objection('read')
    if (unwritable) return refuse(unwritable)
    if (call.refusal) return refuse(call.refusal)
    const { id: hookId, definition } = hook
    const digest = sha256Hex(call.body)
    const request = { sha256: digest, bytes: call.body.byteLength }
    const base = { ...about(forHook(call, hook)), actor, request }
    const reply = (
      entry: Partial<Entry>,
      status: 200 | 202,
      said: { deliveryId: string | null; state: string },
      also?: (receipt: string, seq: number) => void,
    ): Result<Parameters<Recorder['answer']>> => {
      const result = { ok: true as const, status, body: JSON.stringify(said) }
      return ok([{ ...base, event: 'webhook.ignored', ...entry }, rate ? { result, rate } : { result }, also])
    }
    if (isPing(definition, call.headers))
      return reply({ reason: 'ping' }, 200, { deliveryId: null, state: 'ignored' })
    if (named !== undefined && !isMessageId(named)) return refuse(badMessageId)
    const event = parseEvent(call.body)
    if (!event.ok) return event
    // Stripe's id is in the body, of which the rest need not be the same the next time: it says how often it is still to be sent.
    const isStripe = definition.verification.type === 'stripe'
    const messageId = named ?? (isStripe ? stripeIdOf(event.value) : undefined)

    // Of a token, its own: one must not take another's id.
    const own = token ? `${token.id} ` : ''
    const key = own + (messageId === undefined ? `sha256:${digest}` : `id:${messageId}`)
    const before = deliveries.find(hookId, key)
    if (before && before.digest !== digest && !isStripe) return refuse(otherBody)
    if (before && before.state !== 'dead') {
      const status = before.state === 'pending' ? 202 : 200
      const said = { deliveryId: before.id, state: before.state }
      return reply({ event: 'webhook.duplicate', delivery: before.id }, status, said)
    }
    const full = capacity.objection('update')
    if (full) return refuse(full)
    if (!deliveries.hasRoom(hookId)) return refuse(queueFull)
    const tooOften = before && this.#excess('rearmed', hookId)
    if (tooOften) return refuse(tooOften)

    // Who sends it again may have signed the body alone: what was said beside it stays.
    const kept = before && deliveries.payload(before.id)
    const payload: Payload = { body: call.body, headers: kept?.headers ?? withoutSecrets(call.headers) }
    const mapped = mapFor(definition, event.value, payload.headers)
    const tooMany = !before && mapped.kind !== 'change' && this.#excess(mapped.kind, hookId)
    if (tooMany) return refuse(tooMany)
    if (mapped.kind === 'ignored' && !before) return reply({}, 202, { deliveryId: null, state: 'ignored' })
    if (mapped.kind === 'change' && token && !covers(token, definition, mapped)) {
      return refuse({ code: 'insufficient-scope' })
    }
    if (holdsToken(new TextDecoder().decode(call.body))) return refuse(tokenInBody)
    const id = before?.id ?? newId()
    const entry: Partial<Entry> = {
      event: before ? 'webhook.replayed' : 'webhook.received',
      delivery: id,
      ...(messageId === undefined ? {} : { message: messageId }),
    }
    const state = mapped.kind === 'change' ? 'pending' : mapped.kind === 'failed' ? 'dead' : 'ignored'
    return reply(entry, 202, { deliveryId: id, state }, (_, seq) => {
      const fresh = { id, hook: hookId, key, requestId: call.requestId }
      const vouched = { digest, messageId: messageId ?? null, token: token?.id ?? null }
      const row = before ?? received({ ...fresh, ...vouched }, definition.connectionId, seq, now())
      // Before what may delete it.
      deliveries.putPayload(id, payload)
      this.#store({ ...row, ...vouched }, hook, mapped, seq)
    })
  }

  /** Counts one event of a hook; why it is one too many in this minute, if so. */
  #excess(kind: keyof typeof limits, hookId: string): Refusal | undefined {
    const { allowed, state } = this.#rates.take(`${kind} ${hookId}`, limits[kind], this.#on.now())
    return allowed ? undefined : { code: 'rate-limited', retryAfterSeconds: state.resetSeconds }
  }

  /** Maps a dead delivery anew, by the hook as it is now; its record is `seq`. */
  replay(
    row: DeliveryRow,
    hook: HookRow,
    { body, headers }: Payload,
    { mapFor }: HookMapping,
  ): Result<(seq: number) => void> {
    const full = this.#on.capacity.objection('update')
    if (full) return refuse(full)
    if (!this.#on.deliveries.hasRoom(hook.id)) return refuse(queueFull)
    const event = parseEvent(body)
    if (!event.ok) return event
    const mapped = mapFor(hook.definition, event.value, headers)
    if (mapped.kind === 'failed') return refuse({ code: 'invalid-body', fields: [mapped.problem] })
    return ok(seq => this.#store(row, hook, mapped, seq))
  }

  #store(row: DeliveryRow, hook: HookRow, mapped: Mapped, seq: number): void {
    const { deliveries, now } = this.#on
    const { connectionId } = hook.definition
    if (mapped.kind === 'change') {
      deliveries.put(rearmed(row, { ...mapped, connectionId }, now()))
    } else if (mapped.kind === 'ignored') {
      deliveries.end(row, 'ignored', seq, now())
    } else {
      const { field, message } = mapped.problem
      this.#on.bury({ ...row, failure: `${field}: ${message}` }, hook, 'mapping-failed', [field])
    }
  }
}

/** Where an event came from and which hook it is for. */
export function forHook(
  { organisationId, requestId, client }: Origin,
  { id, definition }: HookRow,
): Origin & { target: { connectionId: string; hookId: string } } {
  const target = { connectionId: definition.connectionId, hookId: id }
  return { organisationId, requestId, client, target }
}

/** The hook as who acts. */
export function actorOf({ id, definition }: HookRow): Actor {
  return { type: 'webhook', id, name: definition.name }
}

/** Headers as they may be kept: what bears the name of a secret is one that the sender shares with others. */
export function withoutSecrets(headers: Payload['headers']): Payload['headers'] {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !/token|secret|password|api-?key|auth/.test(name)),
  )
}

/** What the edge cuts a token to is not ASCII: two ids that held one each must not become the same. */
function isMessageId(text: string): boolean {
  return /^[\x20-\x7e]+$/.test(text) && text.length <= maxMessageIdLength && !holdsToken(text)
}

/** The id of an event of Stripe's, which is signed with the rest of its body. */
function stripeIdOf(event: unknown): string | undefined {
  const id = typeof event === 'object' && event !== null && 'id' in event ? event.id : undefined
  return typeof id === 'string' && /^evt_\w{1,64}$/.test(id) ? id : undefined
}

/** A token that vouches for an event must allow what the event becomes. */
function covers(
  token: TokenRow,
  { connectionId }: HookDefinition,
  mapped: Extract<Mapped, { kind: 'change' }>,
) {
  const patch: Record<string, unknown> = JSON.parse(mapped.patch)
  const names = typeof patch.name === 'string' ? [mapped.version, patch.name] : [mapped.version]
  const fields = Object.keys(patch).every(field => token.scope.fields.includes(field))
  return fields && allows(token.scope, 'update', connectionId, names)
}

const noSuchHook: Refusal = { code: 'not-found', detail: 'There is no hook at this path.' }
const badMessageId: Refusal = invalid(
  'webhook-id',
  `must have 1 to ${maxMessageIdLength} characters of ASCII and hold no token`,
)
const queueFull: Refusal = {
  code: 'rate-limited',
  retryAfterSeconds: fullRetrySeconds,
  detail: 'Too many deliveries of this hook, or of its organisation, are waiting.',
}
const otherBody: Refusal = {
  code: 'delivery-conflict',
  detail: 'This message id came with another body before.',
}

function invalid(field: string, message: string): Refusal {
  return { code: 'invalid-body', fields: [{ field, message }] }
}
