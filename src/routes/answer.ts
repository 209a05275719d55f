/**
 * Owns how results become responses: the one place where a refusal is written as a problem document, and where what the
 * organisation's object threw is turned into a refusal. Never decides.
 */
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { remember } from '../auth/throttle.ts'
import { detailOf, type Effect, problems, type Refusal, type Result, refuse, statusOf } from '../errors.ts'
import { messageId, quiet } from '../organisation/alerts.ts'
import type { Answer } from '../organisation/messages.ts'
import type { Organisation } from '../organisation/organisation.ts'
import type { RateState } from '../organisation/rates.ts'
import { post } from '../upstream/post.ts'
import type { AppEnv } from './context.ts'

/**
 * A problem document (RFC 9457) that is an Error of the platform as well. An update's says what it did to the platform:
 * nothing, where only the edge has seen it.
 */
export function problem(
  c: Context<AppEnv>,
  refusal: Refusal,
  effect: Effect | undefined = isUpdate(c) ? 'not-sent' : undefined,
): Response {
  const { title } = problems[refusal.code]
  const status = statusOf(refusal)
  const detail = detailOf(refusal)
  const upstream = refusal.code === 'upstream-rejected' ? refusal.upstream : undefined
  const body = {
    type: `/problems/${refusal.code}`,
    title,
    status,
    detail,
    instance: c.get('requestId'),
    code: refusal.code,
    message: detail,
    fields: 'fields' in refusal ? refusal.fields : upstream?.fields,
    outcome: effect,
    upstreamCode: upstream?.code,
    cause: upstream?.cause,
    failing: refusal.code === 'not-configured' && refusal.failing.length > 0 ? refusal.failing : undefined,
  }
  if (refusal.code === 'audit-unavailable') alertUnwritable(c)
  const retryAfter = 'retryAfterSeconds' in refusal ? refusal.retryAfterSeconds : undefined
  if (retryAfter !== undefined) c.header('Retry-After', String(retryAfter))
  if (refusal.code === 'method-not-allowed') c.header('Allow', refusal.allow.join(', '))
  const challenge = challenges[refusal.code]
  if (challenge) c.header('WWW-Authenticate', challenge)
  return c.body(JSON.stringify(body), status as ContentfulStatusCode, {
    'Content-Type': 'application/problem+json',
  })
}

/** Organisations whose log took no record, and until when no more is said of it by this isolate. */
const unwritable = new Map<string, number>()
const maxUnwritable = 1_000

/** Alerts once of a log that takes no records: its organisation could not, as alerts are stored with their records. */
function alertUnwritable(c: Context<AppEnv>): void {
  const { alerts, upstream } = c.get('config')
  const organisationId = c.req.param('organisation_id') ?? ''
  const nowMs = Date.now()
  if (!alerts || nowMs < (unwritable.get(organisationId) ?? 0)) return
  remember(unwritable, organisationId, nowMs + quiet * upstream.retryMs, maxUnwritable)
  const type = 'audit.unavailable'
  const body = { type, timestamp: new Date(nowMs).toISOString(), data: { organisationId, count: 1 } }
  const message = { id: messageId(organisationId, String(nowMs), type), body: JSON.stringify(body) }
  c.executionCtx.waitUntil(post(fetch, alerts, message, nowMs, upstream.timeoutMs))
}

/** Whether a request means to change a version, wherever under /o it points. */
function isUpdate(c: Context): boolean {
  return (c.req.method === 'PUT' || c.req.method === 'PATCH') && c.req.path.startsWith('/o/')
}

/** RFC 6750, section 3.1. Only these name a scheme; none says what would be allowed. */
const challenges: Partial<Record<Refusal['code'], string>> = {
  'missing-token': 'Bearer',
  'invalid-token': 'Bearer error="invalid_token"',
  'insufficient-scope': 'Bearer error="insufficient_scope"',
}

/** What the organisation answered to a caller. */
export function answer(c: Context<AppEnv>, { result, effect, receipt, rate, replayed }: Answer): Response {
  if (replayed) c.header('Idempotency-Replayed', 'true')
  if (receipt) c.header('Audit-Receipt', receipt)
  if (rate) setRate(c, rate)
  if (!result.ok) return problem(c, result.refusal, effect)
  return c.body(result.body, result.status as ContentfulStatusCode, { 'Content-Type': 'application/json' })
}

/** IETF draft-ietf-httpapi-ratelimit-headers. */
function setRate(c: Context, rate: RateState): void {
  c.header('RateLimit-Policy', `"token";q=${rate.requests};w=${rate.windowSeconds}`)
  c.header('RateLimit', `"token";r=${rate.remaining};t=${rate.resetSeconds}`)
}

/**
 * Calls an organisation's object. What it throws becomes a refusal: the object's code may never have seen the call, or
 * may have been cut off anywhere in it. Each call takes a stub of its own, as one that threw stays broken.
 */
export async function ask<T>(
  c: Context<AppEnv>,
  organisationId: string,
  call: (organisation: DurableObjectStub<Organisation>) => Promise<T>,
): Promise<Result<T>> {
  const { organisations, locationHint } = c.get('config')
  try {
    return { ok: true, value: await call(organisations.getByName(organisationId, { locationHint })) }
  } catch (error) {
    return refuse(refusalOf(error, c.get('requestId')))
  }
}

/** What to tell of an exception: the runtime marks its own, anything else is a bug. */
export function refusalOf(error: unknown, requestId: string): Refusal {
  const marks = (error ?? {}) as { overloaded?: boolean; durableObjectReset?: boolean; retryable?: boolean }
  if (marks.overloaded) return { code: 'overloaded', retryAfterSeconds: 1 }
  const { name = 'unknown', message = '', stack = '' } = (error ?? {}) as Partial<Error>
  if (message.includes('SQLITE_FULL')) return { code: 'audit-unavailable' }
  // What fails in the runtime itself, such as setting an alarm on a full disk, bears no mark but this form.
  const hidden = /^internal error; reference = \w+$/.test(message)
  if (marks.durableObjectReset || marks.retryable || hidden) return { code: 'interrupted' }
  // The message is left out: those of parsers quote what they were given.
  const frames = stack.split('\n').filter(line => /^\s+at /.test(line))
  console.error(JSON.stringify({ level: 'error', requestId, error: name, frames }))
  return { code: 'internal' }
}
