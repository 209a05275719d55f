// Checks the table from a refusal to its status and words against the contract's.
import { expect, test } from 'vitest'
import { type Code, detailOf, problems, type Refusal, statusOf } from '../../src/errors.ts'

/** Every code with the status that callers rely on; a code without one does not compile. */
const statuses: Record<Code, number> = {
  'invalid-path': 400,
  'invalid-query': 400,
  'malformed-json': 400,
  'invalid-body': 400,
  'missing-token': 401,
  'invalid-token': 401,
  'insufficient-scope': 403,
  'invalid-signature': 403,
  'not-found': 404,
  'method-not-allowed': 405,
  'idempotency-in-flight': 409,
  'idempotency-mismatch': 422,
  'delivery-conflict': 409,
  'precondition-failed': 412,
  'body-too-large': 413,
  'unsupported-media-type': 415,
  'rate-limited': 429,
  'upstream-rejected': 400,
  'upstream-unreachable': 502,
  'upstream-invalid-response': 502,
  'upstream-failed': 502,
  'session-missing': 503,
  'session-rejected': 503,
  'audit-unavailable': 503,
  'not-configured': 503,
  overloaded: 503,
  interrupted: 503,
  'upstream-timeout': 504,
  internal: 500,
}

test('every code has its status', () => {
  expect(Object.fromEntries(Object.entries(problems).map(([code, { status }]) => [code, status]))).toEqual(
    statuses,
  )
})

test('every code is a path segment and has words of its own', () => {
  for (const [code, problem] of Object.entries(problems)) {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/)
    for (const words of [problem.title, problem.remedy]) expect(words, code).toMatch(/^\S.*\S$/)
  }
  const titles = Object.values(problems).map(({ title }) => title)
  expect(new Set(titles).size).toBe(titles.length)
})

const fields = [
  { field: 'name', message: 'must not be empty' },
  { field: 'versions[0]', message: 'is not a string' },
  { field: 'id', message: 'is missing' },
]
const upstream = { code: 'conflict', message: 'the version is read-only' }

test.each<[string, Refusal, number, string]>([
  ['one field', { code: 'invalid-body', fields: fields.slice(0, 1) }, 400, 'name: must not be empty'],
  ['fields', { code: 'invalid-body', fields }, 400, 'name: must not be empty (and 2 more in fields)'],
  ['a path', { code: 'invalid-path', fields: fields.slice(1, 2) }, 400, 'versions[0]: is not a string'],
  ['a query', { code: 'invalid-query', fields: fields.slice(2) }, 400, 'id: is missing'],
  ['JSON', { code: 'malformed-json', detail: 'evidence' }, 400, 'evidence'],
  ['a media type', { code: 'unsupported-media-type', detail: 'evidence' }, 415, 'evidence'],
  ['a path that is none', { code: 'not-found', detail: 'evidence' }, 404, 'evidence'],
  ['a session', { code: 'session-missing', detail: 'evidence' }, 503, 'evidence'],
  ['an answer', { code: 'upstream-invalid-response', detail: 'evidence' }, 502, 'evidence'],
  ['a size', { code: 'body-too-large', limitBytes: 65536 }, 413, 'The body has more than 65536 bytes.'],
  ["the platform's", { code: 'upstream-rejected', status: 409, upstream }, 409, 'the version is read-only'],
  [
    "the platform's without words",
    { code: 'upstream-rejected', status: 422, upstream: {} },
    422,
    `${problems['upstream-rejected'].title}.`,
  ],
  ['no token', { code: 'missing-token' }, 401, `${problems['missing-token'].title}.`],
  ['a rate', { code: 'rate-limited', retryAfterSeconds: 7 }, 429, `${problems['rate-limited'].title}.`],
  ['a bug', { code: 'internal' }, 500, `${problems.internal.title}.`],
])('status and detail of %s', (_, refusal, status, detail) => {
  expect([statusOf(refusal), detailOf(refusal)]).toEqual([status, detail])
})

test('the caller is never told why a credential was refused', () => {
  const reasons = ['malformed', 'unknown', 'wrong-secret', 'expired', 'revoked'] as const
  const details = reasons.map(reason => detailOf({ code: 'invalid-token', reason }))
  expect(new Set(details).size).toBe(1)
  expect(details[0]).not.toMatch(new RegExp(reasons.join('|')))
})

test('which settings fail is not told to a caller', () => {
  expect(detailOf({ code: 'not-configured', failing: ['SEALING_KEY'] })).not.toContain('SEALING_KEY')
})
