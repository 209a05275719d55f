/**
 * Owns alerts: which records are told of, under which key they are gathered, and when a message is sent, sent again or
 * given up. What is to be told is in rows alone, so it outlives the object. No clock, no dice and no network of its own.
 */
import { firstPause, pauseMs } from '../upstream/backoff.ts'
import type { Message, Reception } from '../upstream/post.ts'
import type { AlertRow, AlertTable } from './alert-table.ts'
import type { World } from './courier.ts'
import { type Entry, type Event, gateway } from './record.ts'
import type { Watched } from './watch.ts'

/** `alert.abandoned` must never be here: it would tell a receiver that is gone that it is gone. */
const told: readonly Event[] = [
  'session.rejected',
  'session.expiring',
  'session.set',
  'token.created',
  'token.expiring',
  'update.unknown',
  'update.reconciled',
  'admin.denied',
  'key.changed',
  'fork.acknowledged',
  'storage.high',
  'webhook.dead',
]

/** What a message says of a record: neither what a request held, nor where it came from, nor what it called itself. */
const shown = [
  'seq',
  'time',
  'event',
  'actor',
  'target',
  'attempt',
  'upstream',
  'outcome',
  'applied',
  'reason',
  'token',
  'session',
  'key',
  'fork',
  'storage',
  'delivery',
]

const maxKeys = 1_000
/** The key of what comes when there are that many. */
const rest = '…'
/** How long a key is quiet after a message, in times the backoff's base: 10 min. */
export const quiet = 2_400
/** Twelve tries so far apart at most take less than three days. */
const maxTries = 12
/** A run of the alarm sends so many messages, and no more once it has taken this long, in times the backoff's base. */
const maxMessages = 10
const patience = 4

/** Records under one key become one message; undefined where a record is not told of. */
export function alertKey({ event, target, applied, upstream, session, token }: Entry): string | undefined {
  if (!told.includes(event)) return undefined
  const { expiresAt, generation } = { ...token, ...session } as { expiresAt?: string; generation?: number }
  const of = event === 'session.rejected' ? upstream?.generation : generation
  return [event, target.tokenId, target.connectionId, applied, of, expiresAt].join(' ')
}

/** An id that no other message has. Without a full stop, which Standard Webhooks forbids: it parts the id from the time that is signed. */
export function messageId(organisationId: string, name: string, type: string): string {
  return `${organisationId}:${name}:${type.replaceAll('.', '-')}`
}

/** The message of a row, from its last record: the same each time. */
export function alertMessage(row: Omit<AlertRow, 'tries'>, lastRecord: string): Message {
  const { sentFirst: firstSeq, sentLast: lastSeq, sentCount: count } = row
  const whole = JSON.parse(lastRecord)
  const { organisationId } = whole.target
  const type: string = row.key === rest ? 'alerts.merged' : whole.event
  const record = Object.fromEntries(shown.map(name => [name, whole[name]]))
  const data = { organisationId, count, firstSeq, lastSeq, record }
  return {
    id: messageId(organisationId, `${firstSeq}-${lastSeq}`, type),
    body: JSON.stringify({ type, timestamp: whole.time, data }),
  }
}

export class Alerts {
  readonly #on: Pick<Watched, 'tables' | 'queue' | 'log' | 'agenda'>
  readonly #table: AlertTable
  readonly #world: Pick<World, 'now' | 'random'>
  readonly #baseMs: number
  readonly #send: ((message: Message) => Promise<Reception | undefined>) | undefined
  /** Whether something was gathered that the table may not show yet. */
  #news = false
  /** No alert is sent before: the receiver has just failed. */
  #restUntil = 0

  /** Without `send` there is no receiver, and nothing is stored. */
  constructor(
    on: Pick<Watched, 'tables' | 'queue' | 'log' | 'agenda'>,
    table: AlertTable,
    world: Pick<World, 'now' | 'random'>,
    baseMs: number,
    send: ((message: Message) => Promise<Reception | undefined>) | undefined,
  ) {
    this.#on = on
    this.#table = table
    this.#world = world
    this.#baseMs = baseMs
    this.#send = send
  }

  /** Takes a record that is queued: its alert is in the same transaction. */
  heed(entry: Entry, seq: number, timeMs: number): void {
    const key = this.#send && alertKey(entry)
    if (key === undefined) return
    this.#news = true
    this.#on.queue.add(() => this.#table.gather(key, seq, timeMs, maxKeys, rest))
    this.#on.agenda.noLaterThan('alerts', Math.max(timeMs, this.#restUntil))
  }

  /** Sends what is due, one after the other, until one fails or it has taken long enough; says when to go on. */
  async run(): Promise<void> {
    const { queue, agenda } = this.#on
    const { now } = this.#world
    const startedAt = now()
    queue.add(() => (this.#send ? this.#table.seal(startedAt) : this.#table.clear()))
    // Durable from here on: what each message says. A crash after it sends the same once more, under the same id.
    await queue.committed()
    for (const row of this.#table.due(startedAt, maxMessages)) {
      if (!(await this.#try(row)) || now() >= startedAt + patience * this.#baseMs) break
    }
    this.#news = false
    await queue.committed()
    const next = this.#news ? now() : this.#table.nextAt()
    if (next === null) agenda.done('alerts')
    else agenda.set('alerts', Math.max(next, this.#restUntil))
  }

  /** True where the message arrived. */
  async #try(row: AlertRow): Promise<boolean> {
    const message = alertMessage(row, this.#on.tables.record(row.sentLast) as string)
    const reception = await this.#send?.(message)
    const { now, random } = this.#world
    const delivered = reception !== undefined && reception.status >= 200 && reception.status < 300
    const tries = row.tries + 1
    const askedMs = (reception?.retryAfterSeconds ?? 0) * 1000
    if (!delivered) this.#restUntil = now() + Math.max(askedMs, firstPause * this.#baseMs)
    if (delivered || tries === maxTries) {
      const quietUntil = now() + quiet * this.#baseMs
      this.#on.queue.add(() => this.#table.settle(row.key, 0, 0, quietUntil))
      if (!delivered) this.#abandon(row, message, reception)
      return delivered
    }
    const nextAt = now() + Math.max(askedMs, pauseMs(tries, this.#baseMs, random()))
    this.#on.queue.add(() => this.#table.settle(row.key, row.sentCount, tries, nextAt))
    return false
  }

  #abandon({ sentFirst, sentLast, sentCount }: AlertRow, { id }: Message, reception?: Reception): void {
    const organisationId = this.#on.tables.organisation()?.id as string
    const alert = { id, firstSeq: sentFirst, lastSeq: sentLast, status: reception?.status }
    this.#on.log.append(
      { event: 'alert.abandoned', actor: gateway, target: { organisationId }, alert, count: sentCount },
      this.#world.now(),
    )
  }
}
