/**
 * Owns every "no": the Refusal union, and the one table from a refusal's code to its status and public words.
 * Never throws, never formats a response: routes/answer.ts does.
 */

/** A value, or a refusal as a value; `receipt`: of the record that says so. Exceptions are for bugs. */
export type Result<T> = { ok: true; value: T; receipt?: string } | { ok: false; refusal: Refusal }

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
  | { code: 'invalid-signature'; reason: SignatureReason }
  | {
      code: 'rate-limited' | 'overloaded' | 'idempotency-in-flight'
      retryAfterSeconds: number
      detail?: string
    }
  | { code: 'upstream-failed'; retryAfterSeconds: number | undefined }
  | { code: 'body-too-large'; limitBytes: number }
  | { code: 'upstream-rejected'; status: number; upstream: PlatformError }
  | { code: 'upstream-invalid-response'; detail: string }
  | { code: 'session-rejected' | 'audit-unavailable' | 'precondition-failed'; detail?: string | undefined }
  | { code: 'delivery-conflict'; detail: string }
  | { code: 'not-configured'; failing: readonly string[] }
  | {
      code:
        | 'missing-token'
        | 'insufficient-scope'
        | 'idempotency-mismatch'
        | 'upstream-unreachable'
        | 'upstream-timeout'
        | 'interrupted'
        | 'internal'
    }

export type Code = Refusal['code']

/** Why a credential was refused: for the log alone, the caller is never told which. */
export type CredentialReason = 'malformed' | 'unknown' | 'wrong-secret' | 'expired' | 'revoked'

/** Why a webhook's signature was refused: for the log alone. */
export type SignatureReason = 'missing' | 'malformed' | 'stale' | 'mismatch'

/** What is kept of the platform's Error. */
export interface PlatformError {
  code?: string
  message?: string
  fields?: FieldError[]
  cause?: string
}

interface Problem {
  status: number
  /** In one clause; also the `detail` where a refusal has no evidence to add. */
  title: string
  /** For `GET /problems/<code>`: what to do about it. */
  remedy: string
}

const look =
  'Look at outcome: not-sent and not-applied may be sent again; for unknown, GET the version first.'
const session =
  'Your token is fine. An administrator must set a session: PUT /admin/organisations/{id}/session.'

/** Status and public words of every code. */
export const problems: Record<Code, Problem> = {
  'invalid-path': {
    status: 400,
    title: 'A part of the path is not acceptable',
    remedy: 'fields says what is wrong. Percent-encode each part once.',
  },
  'invalid-query': {
    status: 400,
    title: 'The query string is not acceptable',
    remedy: 'Versions take no query string; GET /openapi.json names the filters of the audit log.',
  },
  'malformed-json': {
    status: 400,
    title: 'The body is not JSON',
    remedy: 'Send one JSON document in UTF-8, without a byte order mark.',
  },
  'invalid-body': {
    status: 400,
    title: 'The body is not acceptable',
    remedy: 'Mend what fields says. For an update, GET the version and send back all of it with your change.',
  },
  'missing-token': {
    status: 401,
    title: 'A token is needed',
    remedy: 'Send Authorization: Bearer <token>. An administrator makes tokens.',
  },
  'invalid-token': {
    status: 401,
    title: 'The token is not valid for this organisation',
    remedy:
      'Check that the whole token was copied and is for this organisation. An expired, revoked or rotated one gets this same answer; the audit log tells an administrator which it was.',
  },
  'insufficient-scope': {
    status: 403,
    title: 'The token does not allow this',
    remedy:
      'GET /o/{organisation_id}/token shows what it may do. An update must be allowed for the version in the path and the name in the body. A secret of AUDITOR_TOKEN only reads.',
  },
  'invalid-signature': {
    status: 403,
    title: 'The signature of this event does not hold',
    remedy:
      "Compare the secret, the scheme and the sender's clock with the hook's: POST …/hooks/{id}/test tries a sample. The audit log tells an administrator what was wrong.",
  },
  'not-found': {
    status: 404,
    title: 'There is nothing here',
    remedy: 'Compare the path with GET /openapi.json; it takes no empty segments and no slash at its end.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'This path does not take this method',
    remedy: 'Use a method that the Allow header lists.',
  },
  'idempotency-in-flight': {
    status: 409,
    title: 'The effect of the first request with this Idempotency-Key is not known yet',
    remedy: 'Repeat the request after Retry-After: it will get the answer of the first.',
  },
  'idempotency-mismatch': {
    status: 422,
    title: 'This Idempotency-Key came with another payload before',
    remedy: 'Use a new key for each update, and the same key only to repeat one.',
  },
  'delivery-conflict': {
    status: 409,
    title: 'The delivery is not in a state that allows this',
    remedy:
      'Send another event under an id of its own. Only a dead delivery that still has its payload can be replayed.',
  },
  'precondition-failed': {
    status: 412,
    title: 'The version is not, or no longer, the one that If-Match names',
    remedy: 'GET the version, look at what changed, and repeat the change with its ETag.',
  },
  'body-too-large': {
    status: 413,
    title: 'The body is too large',
    remedy: 'Send less: detail names the limit.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The body is of another media type',
    remedy: 'Send what detail names, in UTF-8, and no Content-Encoding.',
  },
  'rate-limited': {
    status: 429,
    title: 'The rate is used up',
    remedy: 'Wait as long as Retry-After says. An administrator can make a token with a higher rate.',
  },
  'upstream-rejected': {
    status: 400,
    title: 'The platform refused this request',
    remedy:
      "message, fields and upstreamCode are the platform's own. After a 400 on a read-only field, GET the version again and repeat the change.",
  },
  'upstream-unreachable': { status: 502, title: 'No connection to the platform could be kept', remedy: look },
  'upstream-invalid-response': {
    status: 502,
    title: 'The answer of the platform is not usable',
    remedy: look,
  },
  'upstream-failed': { status: 502, title: 'The platform answered with a server error', remedy: look },
  'session-missing': {
    status: 503,
    title: 'The gateway holds no platform session for this organisation',
    remedy: session,
  },
  'session-rejected': {
    status: 503,
    title: 'The platform no longer accepts the session of this organisation',
    remedy: session,
  },
  'audit-unavailable': {
    status: 503,
    title: 'The audit log cannot be written',
    remedy: `An operator must look at the storage of the organisation. ${look}`,
  },
  'not-configured': {
    status: 503,
    title: 'The gateway lacks a valid setting',
    remedy: 'An operator must set what GET /health names.',
  },
  overloaded: {
    status: 503,
    title: 'Too much waits for this organisation, or the platform asks to slow down',
    remedy: 'Wait as long as Retry-After says, and send it again.',
  },
  interrupted: {
    status: 503,
    title: 'The gateway was restarted while it handled this request',
    remedy: look,
  },
  'upstream-timeout': {
    status: 504,
    title: 'The deadline passed before the platform had answered',
    remedy: look,
  },
  internal: {
    status: 500,
    title: 'Something unforeseen happened in the gateway',
    remedy: 'Report it with instance, which is in the logs.',
  },
}

/** What is said of a body, key or merged version that holds a token: it would stand in the log. */
export const tokenInBody: Refusal = {
  code: 'invalid-body',
  fields: [{ field: 'body', message: 'must not hold a token of the gateway' }],
}

/** The HTTP status of a refusal: the platform's own where it is the platform that refused. */
export function statusOf(refusal: Refusal): number {
  return refusal.code === 'upstream-rejected' ? refusal.status : problems[refusal.code].status
}

/** What went wrong in words for the caller, with the refusal's evidence in it. */
export function detailOf(refusal: Refusal): string {
  switch (refusal.code) {
    case 'body-too-large':
      return `The body has more than ${refusal.limitBytes} bytes.`
    case 'upstream-rejected':
      return refusal.upstream.message ?? `${problems[refusal.code].title}.`
    case 'invalid-path':
    case 'invalid-query':
    case 'invalid-body':
      return inWords(refusal.fields)
    default:
      return ('detail' in refusal && refusal.detail) || `${problems[refusal.code].title}.`
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
