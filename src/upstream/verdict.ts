/**
 * Owns what an answer of the platform means: for the caller, for the write, and for the session. Pure: one table of
 * cases, over an answer that was read to its end or failed. Never retries.
 */
import type { Effect, FieldError, PlatformError, Refusal } from '../errors.ts'
import { holdsSecret } from './leak.ts'

/** What came back, as a value. `lost`: no answer, or not all of it. Nothing says whether the request arrived. */
export type Reply =
  | {
      kind: 'answered'
      status: number
      contentType: string
      body: string
      setCookies: string[]
      retryAfterSeconds: number | undefined
    }
  | { kind: 'oversized'; status: number }
  | { kind: 'lost' }
  | { kind: 'timeout' }

export interface Verdict {
  /** What the write did; for a read, of no meaning. */
  effect: Effect
  /** The platform's own words for the caller, or why there are none. */
  result: { ok: true; status: number; body: string } | { ok: false; refusal: Refusal }
  /** What the answer says about the session, where it says anything. */
  session: 'accepted' | 'rejected' | 'unsaid'
}

/** Of Cloudflare's 52x and 530: those that mean that no connection to the platform came about. */
const neverConnected = new Set([521, 523, 525, 526, 530])
const slowDownSeconds = 5

/** `secrets` are the session's values: an answer that holds one is withheld. */
export function judge(reply: Reply, secrets: readonly string[]): Verdict {
  if (reply.kind === 'lost') return open({ code: 'upstream-unreachable' })
  if (reply.kind === 'timeout') return open({ code: 'upstream-timeout' })
  const { status } = reply
  if (neverConnected.has(status)) return { ...open({ code: 'upstream-unreachable' }), effect: 'not-sent' }
  const asked = reply.kind === 'answered' ? reply.retryAfterSeconds : undefined
  if (status >= 500) return open({ code: 'upstream-failed', retryAfterSeconds: asked })
  if (status === 401) return rejected('not-applied')
  // A redirect may be a login page's, or stand after a change that was made: it leaves a write open.
  if (status >= 300 && status < 400) return rejected('unknown')
  if (status === 408) return open({ code: 'upstream-timeout' })
  // Before the page that it may come with: proxies send theirs in HTML.
  if (status === 429) {
    const refusal: Refusal = { code: 'overloaded', retryAfterSeconds: asked ?? slowDownSeconds }
    return { ...open(refusal), effect: 'not-applied' }
  }
  const success = status >= 200 && status < 300
  if (reply.kind === 'oversized') {
    return withheld(success ? 'unknown' : 'not-applied', 'The answer of the platform is larger than 128 KiB.')
  }
  if (/^\s*text\/html\b/i.test(reply.contentType) && status !== 403) {
    return rejected(success ? 'unknown' : 'not-applied')
  }
  if (holdsSecret(reply.body, secrets)) {
    return withheld(success ? 'unknown' : 'not-applied', 'The answer of the platform was withheld.')
  }
  const json = parse(reply)
  if (!success) {
    const refusal: Refusal = { code: 'upstream-rejected', status, upstream: platformError(json) }
    // Whoever is refused in the platform's own words was known to it.
    const session = json === undefined ? 'unsaid' : 'accepted'
    return { effect: 'not-applied', result: { ok: false, refusal }, session }
  }
  if (json === undefined) return withheld('unknown', 'The answer of the platform is not JSON.')
  return { effect: 'applied', result: { ok: true, status, body: reply.body }, session: 'accepted' }
}

function open(refusal: Refusal): Verdict {
  return { effect: 'unknown', result: { ok: false, refusal }, session: 'unsaid' }
}

function withheld(effect: Effect, detail: string): Verdict {
  return { ...open({ code: 'upstream-invalid-response', detail }), effect }
}

function rejected(effect: Effect): Verdict {
  return { effect, result: { ok: false, refusal: { code: 'session-rejected' } }, session: 'rejected' }
}

/** The answer as JSON, or undefined where it is declared or written as anything else. */
function parse(reply: Extract<Reply, { kind: 'answered' }>): unknown {
  if (!/^\s*application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(reply.contentType)) return undefined
  try {
    return JSON.parse(reply.body)
  } catch {
    return undefined
  }
}

/** What of a JSON value has the shape of the platform's Error; everything else is dropped. */
function platformError(json: unknown): PlatformError {
  if (typeof json !== 'object' || json === null) return {}
  const { code, message, fields, cause } = json as Record<string, unknown>
  const error: PlatformError = {}
  if (typeof code === 'string') error.code = code
  if (typeof message === 'string') error.message = message
  if (typeof cause === 'string') error.cause = cause
  if (Array.isArray(fields)) error.fields = fields.filter(isFieldError)
  return error
}

function isFieldError(value: unknown): value is FieldError {
  const { field, message } = (value ?? {}) as Record<string, unknown>
  return typeof field === 'string' && typeof message === 'string'
}
