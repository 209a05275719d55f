/**
 * Owns which headers cross. Requests are built from nothing: each entry stands with its reason, and of the caller's headers
 * only a valid trace context and request id go on. Of the platform's headers none reaches the caller.
 */
import type { Secret } from '../crypto.ts'

/** W3C Trace Context, if the caller sent it; unchecked until here. */
export interface Trace {
  traceparent?: string
  tracestate?: string
}

/** The headers of a request to the platform, and nothing else by us. */
export function requestHeaders(
  cookie: Secret,
  requestId: string,
  trace: Trace,
  hasBody: boolean,
): Record<string, string> {
  return {
    // The platform answers JSON; asking for it keeps a login page from looking like a success.
    Accept: 'application/json',
    // Only with a body, which is always the gateway's own serialisation.
    ...(hasBody ? { 'Content-Type': 'application/json' } : {}),
    // The one place where the session leaves the gateway.
    Cookie: cookie.reveal(),
    // Tells the platform's operators who this is.
    'User-Agent': 'versori-gateway',
    // RFC 9110, section 7.6.3: a gateway names itself, so that loops show.
    Via: '1.1 versori-gateway',
    // Joins the platform's logs with the audit log.
    'X-Request-Id': requestId,
    // No cache between here and there may answer for the platform.
    'Cache-Control': 'no-store',
    ...validTrace(trace),
  }
}

/**
 * W3C Trace Context, sections 3.2 and 3.3: version 00 with ids that are not all zero. A tracestate goes only with a
 * valid traceparent, and only if it is a plain list of at most 512 characters.
 */
export function validTrace({ traceparent = '', tracestate = '' }: Trace): Record<string, string> {
  const parts = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent)
  if (!parts || /^0+$/.test(parts[1] ?? '') || /^0+$/.test(parts[2] ?? '')) return {}
  const member = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}$/
  const members = tracestate.split(',').map(each => each.replace(/^[ \t]+|[ \t]+$/g, ''))
  const valid = tracestate.length <= 512 && members.length <= 32 && members.every(each => member.test(each))
  return valid ? { traceparent, tracestate } : { traceparent }
}

/** RFC 9110, section 5.6.7. Date.parse alone takes almost anything for a date. */
const imfFixdate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/**
 * Seconds to wait from a Retry-After (RFC 9110, section 10.2.3: seconds or a date), between 1 and 3600, or undefined
 * where it says neither.
 */
export function retryAfterSeconds(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined
  const dateMs = imfFixdate.test(value) ? Date.parse(value) : Number.NaN
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((dateMs - nowMs) / 1000)
  return Number.isNaN(seconds) ? undefined : Math.min(3600, Math.max(1, seconds))
}
