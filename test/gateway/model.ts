/**
 * Owns what must hold of a gateway after any run, whatever was asked of it and whatever happened to it: the requests with
 * their answers, the organisations' logs and the platform's history are compared, and every disagreement is named. Pure.
 */
import { createHash } from 'node:crypto'
import type { Applied, Received } from '../platform/platform.ts'
import type { Answer, Logged } from './gateway.ts'

/** A token's secret. */
export interface Issued {
  token: string
  tokenId: string
  /** The record of its creation or of the rotation that made it. */
  born: number
  /** When the answer was here that it had been revoked or rotated away, in milliseconds since 1970. */
  deadAt?: number
}

/** A caller's request. Its id is its X-Request-Id, under which the log and the platform know it. */
export interface Asked {
  id: string
  organisation: string
  connection: string
  secret: Issued
  /** An update's, as the gateway serialises it. */
  body?: string
  key?: string
  startedAt: number
  /** Missing where the gateway was killed under it. */
  answer?: Answer
}

export interface Evidence {
  asked: readonly Asked[]
  /** Every receipt that any answer bore. */
  receipts: readonly { organisation: string; receipt: string }[]
  logs: ReadonlyMap<string, Logged[]>
  received: readonly Received[]
  history: readonly Applied[]
}

/**
 * How much later than the news of its token's end an update may arrive at the platform. It was sent before: this is for
 * a platform that is slow to read what it was sent.
 */
const lagMs = 250

/** Everything that does not hold, in words. */
export function complaints(evidence: Evidence): string[] {
  const joined = join(evidence)
  return [
    ...[...evidence.logs].flatMap(([organisation, log]) =>
      ofLog(log).map(each => `${organisation}: ${each}`),
    ),
    ...ofReceipts(evidence),
    ...evidence.asked.flatMap(asked => [...ofAnswer(asked, joined), ...ofSecret(asked, joined)]),
    ...ofSends(evidence, joined),
    ...ofOrder(evidence, joined),
  ]
}

/** How often each event stands in the logs. */
export function tally(logs: ReadonlyMap<string, Logged[]>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { record } of [...logs.values()].flat()) counts[record.event] = (counts[record.event] ?? 0) + 1
  return counts
}

/** The attempts that nothing has closed, and those whose unknown outcome was not looked into to the end. */
export function unfinished(log: readonly Logged[]): number[] {
  const left = new Set<number>()
  for (const { record } of log) {
    if (record.event === 'update.attempted') left.add(record.seq)
    if (ends.has(record.event) || record.event === 'update.reconciled') left.delete(record.attempt)
    if (record.event === 'update.unknown') left.add(record.attempt)
  }
  return [...left]
}

export const isReplay = ({ headers }: Answer) => headers['idempotency-replayed'] === 'true'
export const isDone = (answer: Answer | undefined) => answer !== undefined && answer.status < 300

const ends = new Set(['update.succeeded', 'update.failed', 'update.unknown'])
const sha256 = (...parts: string[]) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** The records of one request's update, and what the platform saw of it. */
interface Trail {
  attempted?: Logged['record']
  end?: Logged['record']
  reconciled?: Logged['record']
  retried: Logged['record'][]
  sent: Received[]
  /** When the platform was last asked about it; 0 if never. */
  lookedAt: number
  applied: Applied[]
}

interface Joined {
  logs: Evidence['logs']
  asked: Map<string, Asked>
  trail(id: string): Trail
}

function join({ logs, asked, received, history }: Evidence): Joined {
  const trails = new Map<string, Trail>()
  const trail = (id: string) => {
    const found = trails.get(id) ?? { retried: [], sent: [], lookedAt: 0, applied: [] }
    trails.set(id, found)
    return found
  }
  for (const { record } of [...logs.values()].flat()) {
    if (record.event === 'update.attempted') trail(record.requestId).attempted = record
    if (record.event === 'update.retried') trail(record.requestId).retried.push(record)
    if (record.event === 'update.reconciled') trail(record.requestId).reconciled = record
    if (ends.has(record.event)) trail(record.requestId).end = record
  }
  for (const each of received) {
    if (each.method === 'PUT') trail(requestIdOf(each)).sent.push(each)
    else trail(requestIdOf(each)).lookedAt = each.time
  }
  for (const each of history) trail(each.requestId ?? '').applied.push(each)
  return { logs, asked: new Map(asked.map(each => [each.id, each])), trail }
}

function requestIdOf({ headers }: Received): string {
  return headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1] ?? ''
}

/** No gap, time forwards, one end for each attempt, one look's result for each unknown one. */
function ofLog(log: readonly Logged[]): string[] {
  const found: string[] = []
  const open = new Set<number>()
  const unknown = new Set<number>()
  const requests = new Set<string>()
  let time = ''
  for (const [index, { record }] of log.entries()) {
    const { seq, event, attempt } = record
    if (seq !== index + 1) found.push(`record ${seq} stands at place ${index + 1}`)
    if (record.time < time) found.push(`record ${seq} is older than the one before it`)
    time = record.time
    if (event === 'update.attempted') {
      open.add(seq)
      if (requests.has(record.requestId)) found.push(`record ${seq}: ${record.requestId} is attempted twice`)
      requests.add(record.requestId)
    }
    if (event === 'update.retried' && !open.has(attempt)) found.push(`record ${seq} retries what has ended`)
    if (ends.has(event) && !open.delete(attempt)) found.push(`record ${seq} is a second end of ${attempt}`)
    if (event === 'update.unknown') unknown.add(attempt)
    if (event === 'update.reconciled' && !unknown.delete(attempt)) {
      found.push(`record ${seq} reconciles ${attempt}, which does not wait for it`)
    }
  }
  for (const seq of open) found.push(`attempt ${seq} has no end`)
  for (const seq of unknown) found.push(`the unknown attempt ${seq} was not reconciled`)
  return found
}

function ofReceipts({ receipts, logs }: Evidence): string[] {
  return receipts
    .filter(({ organisation, receipt }) => {
      const [seq = '', leaf] = receipt.split(':')
      const line = logs.get(organisation)?.[Number(seq) - 1]?.line
      return line === undefined || sha256('\0', line) !== leaf
    })
    .map(({ organisation, receipt }) => `${organisation}: no record bears out the receipt ${receipt}`)
}

/** What an update's caller was told is what happened. */
function ofAnswer(asked: Asked, { logs, asked: all, trail }: Joined): string[] {
  const { id, answer, body, organisation } = asked
  if (!answer || body === undefined) return []
  const { sent, applied, attempted } = trail(id)
  const { code, outcome } = answer.json ?? {}
  const found: string[] = []
  const told = `${id} was answered ${answer.status} ${code ?? ''} ${outcome ?? ''}`
  if (code === 'internal') found.push(`${told}: a bug`)

  if (isReplay(answer)) {
    if (sent.length > 0) found.push(`${told} as a replay, and was sent`)
    if (!isDone(answer)) return found
    const record = recordOf(logs, organisation, answer)
    const first = logs.get(organisation)?.[(record?.attempt ?? 0) - 1]?.record
    const same = first?.request?.sha256 === sha256(body) && first.request.idempotencyKey === asked.key
    if (!same) found.push(`${told} as a replay of record ${first?.seq}, another update`)
    const original = all.get(first?.requestId)?.answer
    // It may have been cut off, or not have been told of what only a look showed.
    if (isDone(original) && original?.headers['audit-receipt'] !== answer.headers['audit-receipt']) {
      found.push(`${told} as a replay, with another receipt than its first`)
    }
    if (answer.json?.description !== JSON.parse(body).description) found.push(`${told} with another version`)
    return found
  }

  if (isDone(answer)) {
    const record = recordOf(logs, organisation, answer)
    if (record?.event !== 'update.succeeded' || record.requestId !== id) {
      found.push(`${told}, with the receipt of ${record?.event} ${record?.requestId}`)
    }
    if (answer.json?.description !== JSON.parse(body).description) found.push(`${told} with another version`)
  }
  const times = applied.length
  if ((isDone(answer) || outcome === 'applied') && times !== 1)
    found.push(`${told}, and was applied ${times} times`)
  if ((outcome === 'not-sent' || outcome === 'not-applied') && times !== 0)
    found.push(`${told}, and was applied`)
  // A proxy that says it had no connection to the platform is believed, and the stand-in plays that proxy too.
  const byProxy = code === 'upstream-unreachable' || (code === 'audit-unavailable' && attempted !== undefined)
  if (outcome === 'not-sent' && sent.length > 0 && !byProxy) found.push(`${told}, and was sent`)
  return found
}

function recordOf(logs: Evidence['logs'], organisation: string, { headers }: Answer) {
  const [seq] = String(headers['audit-receipt']).split(':')
  return logs.get(organisation)?.[Number(seq) - 1]?.record
}

/** Nothing got through with a secret that was no more. */
function ofSecret({ id, organisation, secret, startedAt, answer }: Asked, { logs, trail }: Joined): string[] {
  const { tokenId, born, deadAt } = secret
  const { attempted, sent } = trail(id)
  const found: string[] = []
  const death = logs.get(organisation)?.find(({ record: { seq, event, target } }) => {
    const ended = event === 'token.rotated' || event === 'token.revoked'
    return ended && seq > born && target.tokenId === tokenId
  })?.record
  if (death && attempted?.seq > death.seq) {
    found.push(`${id} was attempted in record ${attempted.seq}, its secret ended in record ${death.seq}`)
  }
  if (deadAt === undefined) return found
  if (startedAt > deadAt && (isDone(answer) || sent.length > 0)) {
    found.push(`${id} got through ${startedAt - deadAt} ms after its secret had ended`)
  }
  for (const { time } of sent) {
    if (time > deadAt + lagMs) found.push(`${id} was sent ${time - deadAt} ms after its secret had ended`)
  }
  return found
}

/** Nothing is sent without a record before it, nothing is sent again that was applied, and the records say what was. */
function ofSends({ received, history }: Evidence, { asked, trail }: Joined): string[] {
  const found: string[] = []
  for (const { url } of received) {
    if (!/^\/api\/connect\/v1alpha1\/o\/\w+\/connections\/\w+\/versions\/[\w.-]+$/.test(url)) {
      found.push(`${url} was asked for`)
    }
  }
  for (const [id, { body }] of asked) {
    const { attempted, end, reconciled, retried, sent, applied } = trail(id)
    const took = applied.map(({ time }) => time)
    for (const [index, { time, bodySha256 }] of sent.entries()) {
      const before = [attempted, ...retried].filter(each => each && Date.parse(each.time) <= time)
      if (before.length < index + 1)
        found.push(`${id} was sent ${index + 1} times after ${before.length} records`)
      if (attempted && attempted.request.sha256 !== bodySha256) found.push(`${id} was sent with another body`)
    }
    if (took.length > 1) found.push(`${id} was applied ${took.length} times`)
    if (applied.some(each => each.body !== body)) found.push(`${id} was applied with another body`)
    if (end?.event === 'update.succeeded' && took.length !== 1)
      found.push(`${id} succeeded and was not applied`)
    if (end?.event === 'update.failed' && took.length !== 0) found.push(`${id} failed and was applied`)
    if (reconciled?.applied === true && took.length !== 1) found.push(`${id} was seen, and was not applied`)
    if (reconciled?.applied === false && took.length !== 0 && !isLate(trail(id))) {
      found.push(`${id} was not seen, and was applied`)
    }
  }
  // Under whichever id: a repeat with the same idempotency key has the same body.
  const applied = new Map(history.map(each => [sha256(each.body), each]))
  for (const each of received) {
    const first = each.method === 'PUT' ? applied.get(each.bodySha256) : undefined
    if (first && each.time > first.time && !isLate(trail(first.requestId ?? ''))) {
      found.push(`${requestIdOf(each)} was sent after ${first.requestId} had applied it`)
    }
  }
  for (const { requestId, body } of history) {
    if (!asked.has(requestId ?? '')) found.push(`${requestId} was applied and never asked for: ${body}`)
  }
  const bodies = history.map(({ body }) => body)
  if (new Set(bodies).size < bodies.length) found.push('the history holds a body twice')
  return found
}

/**
 * Whether the platform took so long over an update that it took effect after the last look for it. No gateway can keep a
 * platform without fencing from that; but it was sent before.
 */
function isLate({ applied, reconciled, sent, lookedAt }: Trail): boolean {
  if (!reconciled || reconciled.applied === true) return false
  return applied.every(({ time }) => time >= lookedAt) && sent.every(({ time }) => time <= lookedAt)
}

/** Updates of one connection took effect in the order of their records. */
function ofOrder({ history }: Evidence, { trail }: Joined): string[] {
  const last = new Map<string, number>()
  const found: string[] = []
  for (const { organisationId, connectionId, requestId = '' } of history) {
    const { attempted } = trail(requestId)
    if (!attempted || isLate(trail(requestId))) continue
    const key = `${organisationId} ${connectionId}`
    if (attempted.seq <= (last.get(key) ?? 0)) {
      found.push(`${requestId}, attempt ${attempted.seq}, was applied after attempt ${last.get(key)}`)
    }
    last.set(key, attempted.seq)
  }
  return found
}
