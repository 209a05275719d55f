/**
 * Owns every "no": the Refusal union, and the one table from a refusal's code to its status and public words.
 * Never throws, never formats a response: routes/answer.ts does.
 */

/** A value, or a refusal as a value. Exceptions are for bugs. */
export type Result<T> = { ok: true; value: T } | { ok: false; refusal: Refusal }

/** One thing that is wrong with what was sent; `field` is a path such as `versions[0]`. */
export interface FieldError {
  field: string
  message: string
}

/** What a refused or failed update did to the platform. The code tells the cause, this the effect. */
export type Effect = 'not-sent' | 'not-applied' | 'applied' | 'unknown'

/** A "no" with its evidence. A new code does not compile until `problems` has a row for it. */
export type Refusal =
  | { code: 'invalid-path' | 'invalid-query' | 'invalid-body'; fields: FieldError[] }
  | { code: 'malformed-json' | 'unsupported-media-type' | 'not-found' | 'session-missing'; detail: string }
  | { code: 'method-not-allowed'; allow: readonly string[] }
  | { code: 'invalid-token'; reason: CredentialReason }
  | { code: 'rate-limited' | 'overloaded'; retryAfterSeconds: number }
  | { code: 'body-too-large'; limitBytes: number }
  | { code: 'upstream-rejected'; status: number; upstream: PlatformError }
  | { code: 'upstream-invalid-response'; detail: string }
  | { code: 'not-configured'; failing: readonly string[] }
  | {
      code:
        | 'missing-token'
        | 'insufficient-scope'
        | 'upstream-unreachable'
        | 'upstream-failed'
        | 'upstream-timeout'
        | 'session-rejected'
        | 'audit-unavailable'
        | 'interrupted'
        | 'internal'
    }

export type Code = Refusal['code']

/** Why a credential was refused: for the log alone, the caller is never told which. */
export type CredentialReason = 'malformed' | 'unknown' | 'wrong-secret' | 'expired' | 'revoked'

/** What is kept of the platform's Error (UPSTREAM.md). */
export interface PlatformError {
  code?: string
  message?: string
  fields?: FieldError[]
  cause?: string
}

interface Problem {
  status: number
  title: string
  /** The default `detail`; refusals with evidence say more. */
  detail: string
  /** For `GET /problems/<code>`: what to do about it. */
  remedy: string
}

/** Status and public words of every code (DESIGN.md 5.2). */
export const problems: Record<Code, Problem> = {
  'invalid-path': {
    status: 400,
    title: 'The path holds an unacceptable value',
    detail: 'A part of the path is not acceptable; fields names it.',
    remedy:
      'organisation_id and connection_id are 1 to 64 characters of A-Z a-z 0-9 _ -. A version is 1 to 255 characters in Unicode NFC, without control, format or line separator characters, without / \\ % ? # ; and without a space at either end. Percent-encode it once.',
  },
  'invalid-query': {
    status: 400,
    title: 'The query string is not acceptable',
    detail: 'The query string is not acceptable; fields says why.',
    remedy: 'Versions take no query string at all. The audit log names its filters in GET /openapi.json.',
  },
  'malformed-json': {
    status: 400,
    title: 'The body is not JSON',
    detail: 'The body is not JSON.',
    remedy: 'Send one JSON document in UTF-8, without a byte order mark.',
  },
  'invalid-body': {
    status: 400,
    title: 'The body holds unacceptable values',
    detail: 'The body is not acceptable; fields lists everything that is wrong with it.',
    remedy:
      'Mend every field listed. For an update, GET the version first and send back all of it with your change.',
  },
  'missing-token': {
    status: 401,
    title: 'A token is needed',
    detail: 'Send a token: Authorization: Bearer <token>.',
    remedy: 'Send the header Authorization: Bearer <token>. An administrator of the gateway makes tokens.',
  },
  'invalid-token': {
    status: 401,
    title: 'The token is not valid',
    detail: 'The token is not valid for this organisation.',
    remedy:
      'Check that the whole token was copied and belongs to the organisation in the path. An expired, revoked or rotated token gets this same answer: ask an administrator, whose audit log tells which it was.',
  },
  'insufficient-scope': {
    status: 403,
    title: 'The token does not allow this',
    detail: 'The token is valid, but does not allow this.',
    remedy:
      'GET /o/{organisation_id}/token shows what the token may do. An update must be allowed for the version in the path and for the name in the body.',
  },
  'not-found': {
    status: 404,
    title: 'There is nothing here',
    detail: 'There is nothing at this path.',
    remedy: 'Compare the path with GET /openapi.json. Trailing slashes and empty segments are not accepted.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'This method is not for this path',
    detail: 'This path does not take this method; Allow lists those it takes.',
    remedy: 'Use one of the methods in the Allow header.',
  },
  'body-too-large': {
    status: 413,
    title: 'The body is too large',
    detail: 'The body is too large.',
    remedy: 'Send less. The limit stands in detail.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The body is of another media type',
    detail: 'The body must be application/json without a content coding.',
    remedy: 'Send Content-Type: application/json in UTF-8, and no Content-Encoding.',
  },
  'rate-limited': {
    status: 429,
    title: 'Too many requests',
    detail: 'The token has used up its rate.',
    remedy: 'Wait as long as Retry-After says. An administrator can make a token with a higher rate.',
  },
  'upstream-rejected': {
    status: 400,
    title: 'The platform refused this',
    detail: 'The platform refused this request.',
    remedy:
      "Read message, fields and upstreamCode: they are the platform's own. After a 400 on a read-only field, GET the version again and repeat the change on what it holds now.",
  },
  'upstream-unreachable': {
    status: 502,
    title: 'The platform cannot be reached',
    detail: 'No connection to the platform could be kept.',
    remedy: 'Look at outcome: not-sent may be sent again; for unknown, GET the version first.',
  },
  'upstream-invalid-response': {
    status: 502,
    title: "The platform's answer is not usable",
    detail: "The platform's answer was withheld.",
    remedy: 'Look at outcome: for unknown, GET the version before sending the update again.',
  },
  'upstream-failed': {
    status: 502,
    title: 'The platform failed',
    detail: 'The platform answered with a server error.',
    remedy: 'Look at outcome: for unknown, GET the version before sending the update again.',
  },
  'session-missing': {
    status: 503,
    title: 'The gateway holds no session for this organisation',
    detail: 'The gateway holds no platform session for this organisation.',
    remedy: 'Your token is fine. An administrator must set a session: PUT /admin/organisations/{id}/session.',
  },
  'session-rejected': {
    status: 503,
    title: "The platform refused the gateway's session",
    detail: 'The platform no longer accepts the session that the gateway holds for this organisation.',
    remedy:
      'Your token is fine. An administrator must set a new session: PUT /admin/organisations/{id}/session.',
  },
  'audit-unavailable': {
    status: 503,
    title: 'The audit log cannot be written',
    detail: 'The audit log cannot be written, so the gateway does nothing.',
    remedy: 'Look at outcome, wait and try again. An operator must look at the storage of the organisation.',
  },
  'not-configured': {
    status: 503,
    title: 'The gateway is not configured',
    detail: 'The gateway lacks a valid setting; GET /health names it.',
    remedy: 'An operator must set what GET /health names, as the README says under Configuration.',
  },
  overloaded: {
    status: 503,
    title: 'Too much waits already',
    detail: 'Too many requests wait for this organisation, or the platform asks to slow down.',
    remedy: 'Nothing was sent. Wait as long as Retry-After says.',
  },
  interrupted: {
    status: 503,
    title: 'The gateway was interrupted',
    detail: 'The gateway was restarted while it handled this request.',
    remedy: 'Look at outcome: for unknown, GET the version before sending the update again.',
  },
  'upstream-timeout': {
    status: 504,
    title: 'The deadline passed',
    detail: 'The deadline passed before the platform had answered.',
    remedy: 'Look at outcome: not-sent may be sent again; for unknown, GET the version first.',
  },
  internal: {
    status: 500,
    title: 'The gateway has a bug',
    detail: 'Something unforeseen happened in the gateway.',
    remedy: 'Report it with the value of instance, by which the operator finds it in the logs.',
  },
}

/** The HTTP status of a refusal: the platform's own where it is the platform that refused. */
export function statusOf(refusal: Refusal): number {
  return refusal.code === 'upstream-rejected' ? refusal.status : problems[refusal.code].status
}

/** What went wrong in words for the caller, with the refusal's evidence in it. */
export function detailOf(refusal: Refusal): string {
  switch (refusal.code) {
    case 'malformed-json':
    case 'unsupported-media-type':
    case 'not-found':
    case 'session-missing':
    case 'upstream-invalid-response':
      return refusal.detail
    case 'body-too-large':
      return `The body has more than ${refusal.limitBytes} bytes.`
    case 'upstream-rejected':
      return refusal.upstream.message ?? problems[refusal.code].detail
    case 'invalid-path':
    case 'invalid-query':
    case 'invalid-body':
      return inWords(refusal.fields)
    default:
      return problems[refusal.code].detail
  }
}

function inWords([first, ...rest]: readonly FieldError[]): string {
  const more = rest.length === 0 ? '' : ` (and ${rest.length} more in fields)`
  return first ? `${first.field}: ${first.message}${more}` : ''
}

export function ok<T>(value: T): Result<T> {
  return { ok: true, value }
}

export function refuse(refusal: Refusal): { ok: false; refusal: Refusal } {
  return { ok: false, refusal }
}
