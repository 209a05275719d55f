// Checks what each answer of the platform means for the write, for the caller and for the session.
import { describe, expect, test } from 'vitest'
import type { Effect } from '../../src/errors.ts'
import { judge, type Reply, type Verdict } from '../../src/upstream/verdict.ts'

const secret = 'session-value-of-the-platform'
type Answered = Extract<Reply, { kind: 'answered' }>
type Expected = [effect: Effect, code: string, session: Verdict['session']]

function answered(status: number, body: string, contentType: string, rest: Partial<Answered> = {}): Answered {
  return {
    kind: 'answered',
    status,
    contentType,
    body,
    setCookies: [],
    retryAfterSeconds: undefined,
    ...rest,
  }
}
const json = (status: number, value: unknown, rest?: Partial<Answered>) =>
  answered(status, JSON.stringify(value), 'application/json', rest)
const html = (status: number) =>
  answered(status, '<!doctype html><title>Sign in</title>', 'text/html; charset=utf-8')
const plain = (status: number) => answered(status, 'no', 'text/plain')
const empty = (status: number) => answered(status, '', '')

function inShort({ effect, result, session }: Verdict): Expected {
  return [effect, result.ok ? 'ok' : result.refusal.code, session]
}

const applied: Expected = ['applied', 'ok', 'accepted']
const unusable: Expected = ['unknown', 'upstream-invalid-response', 'unsaid']
const signedOut: Expected = ['unknown', 'session-rejected', 'rejected']
const signedOutUnapplied: Expected = ['not-applied', 'session-rejected', 'rejected']
const refused: Expected = ['not-applied', 'upstream-rejected', 'unsaid']
/** In the platform's own words: it knows who asks. */
const answeredNo: Expected = ['not-applied', 'upstream-rejected', 'accepted']
const slowDown: Expected = ['not-applied', 'overloaded', 'unsaid']
const failed: Expected = ['unknown', 'upstream-failed', 'unsaid']
const unreachable: Expected = ['unknown', 'upstream-unreachable', 'unsaid']
const notSent: Expected = ['not-sent', 'upstream-unreachable', 'unsaid']
const late: Expected = ['unknown', 'upstream-timeout', 'unsaid']
const error = { code: 'c', message: 'm' }
const good = { name: '1.4.0' }

test.each<[string, Reply, Expected]>([
  ['200 JSON', json(200, good), applied],
  ['201 JSON', json(201, good), applied],
  ['200 JSON in UTF-8', answered(200, '{}', 'application/json; charset=utf-8'), applied],
  ['200 JSON of a kind', answered(200, '{}', 'Application/VND.versori+json'), applied],
  ['200 HTML', html(200), signedOut],
  ['200 HTML in upper case', answered(200, '{}', 'TEXT/HTML'), signedOut],
  ['200 text', plain(200), unusable],
  ['200 JSON called text', answered(200, '{}', 'text/plain'), unusable],
  ['200 JSON called nothing', answered(200, '{}', ''), unusable],
  ['200 of a type that begins like JSON', answered(200, '{}', 'application/json-seq'), unusable],
  ['200 broken JSON', answered(200, '{"name":', 'application/json'), unusable],
  ['200 two of JSON', answered(200, '{}{}', 'application/json'), unusable],
  ['200 empty', answered(200, '', 'application/json'), unusable],
  ['204 empty', empty(204), unusable],
  ['200 oversized', { kind: 'oversized', status: 200 }, unusable],
  ['301', empty(301), signedOut],
  ['302', html(302), signedOut],
  ['303', json(303, good), signedOut],
  ['304', empty(304), signedOut],
  ['307', empty(307), signedOut],
  ['308', empty(308), signedOut],
  ['302 oversized', { kind: 'oversized', status: 302 }, signedOut],
  ['401 Error', json(401, error), signedOutUnapplied],
  ['401 HTML', html(401), signedOutUnapplied],
  ['401 empty', empty(401), signedOutUnapplied],
  ['401 oversized', { kind: 'oversized', status: 401 }, signedOutUnapplied],
  ['403 Error', json(403, error), answeredNo],
  ['403 HTML', html(403), refused],
  ['403 empty', empty(403), refused],
  ['408 Error', json(408, error), late],
  ['408 text', plain(408), late],
  ['408 empty', empty(408), late],
  ['408 oversized', { kind: 'oversized', status: 408 }, ['unknown', expect.any(String), 'unsaid']],
  ['408 HTML', html(408), ['unknown', expect.any(String), expect.any(String)]],
  ['429 Error', json(429, error), slowDown],
  ['429 empty', empty(429), slowDown],
  ['lost', { kind: 'lost' }, unreachable],
  ['late', { kind: 'timeout' }, late],
])('%s', (_, reply, expected) => {
  expect(inShort(judge(reply, [secret]))).toEqual(expected)
})

test.each([400, 404, 405, 409, 410, 412, 413, 415, 418, 422, 451])('%i', status => {
  expect(inShort(judge(json(status, error), [secret])), 'an Error').toEqual(answeredNo)
  for (const reply of [plain(status), empty(status), answered(status, '{', 'application/json')]) {
    expect(inShort(judge(reply, [secret])), JSON.stringify(reply)).toEqual(refused)
  }
  expect(inShort(judge(html(status), [secret])), 'HTML').toEqual(signedOutUnapplied)
  expect(inShort(judge({ kind: 'oversized', status }, [secret])), 'oversized').toEqual([
    'not-applied',
    'upstream-invalid-response',
    'unsaid',
  ])
})

test.each<[Expected, number[]]>([
  [failed, [500, 501, 502, 503, 504, 505, 520, 522, 524, 527, 529, 599]],
  [notSent, [521, 523, 525, 526, 530]],
])('%j: %j', (expected, statuses) => {
  for (const status of statuses) {
    const oversized = { kind: 'oversized', status } as const
    for (const reply of [json(status, error), html(status), plain(status), empty(status), oversized]) {
      expect(inShort(judge(reply, [secret])), JSON.stringify(reply)).toEqual(expected)
    }
  }
})

describe('the words of the platform', () => {
  test('its answer goes on as it is', () => {
    const body = ' {"name" : "1.4.0", "count": 12345678901234567890}\n'
    const { result } = judge(answered(200, body, 'application/json'), [secret])
    expect(result).toEqual({ ok: true, status: 200, body })
  })

  const full = { ...error, fields: [{ field: 'a.b[0].c', message: 'x' }], cause: 'why' }
  test.each<[string, Answered, object]>([
    ['all of its Error', json(409, full), full],
    ['an Error as a problem document', answered(409, JSON.stringify(full), 'application/problem+json'), full],
    ['of an Error what it knows', json(409, { ...error, stack: 'at main.go', status: 500 }), error],
    ['what has its type', json(409, { code: 1, message: null, fields: 'x', cause: {} }), {}],
    [
      'of fields those that are some',
      json(409, {
        fields: [null, 1, 'x', [], { field: 'a' }, { field: 1, message: 'x' }, { field: 'a', message: 'x' }],
      }),
      { fields: [{ field: 'a', message: 'x' }] },
    ],
    ['none of null', json(409, null), {}],
    ['none of a list', json(409, [error]), {}],
    ['none of a string', json(409, 'no'), {}],
    ['none of text', plain(409), {}],
    ['none of broken JSON', answered(409, '{"message":"x"', 'application/json'), {}],
    ['none of a 403 page', html(403), {}],
  ])('%s', (_, reply, upstream) => {
    const refusal = { code: 'upstream-rejected', status: reply.status, upstream }
    expect(judge(reply, [secret]).result).toEqual({ ok: false, refusal })
  })
})

test.each([
  ['what it says', 7, 7],
  ['5 seconds where it says nothing', undefined, 5],
])('a 429 is to be waited for: %s', (_, retryAfterSeconds, seconds) => {
  const { result } = judge(json(429, error, { retryAfterSeconds }), [secret])
  expect(result).toEqual({ ok: false, refusal: { code: 'overloaded', retryAfterSeconds: seconds } })
})

describe('an answer that holds the session', () => {
  test.each<[string, Reply, Expected]>([
    ['200', json(200, { ...good, description: secret }), unusable],
    ['200, encoded', json(200, { ...good, description: Buffer.from(secret).toString('base64') }), unusable],
    ['200, in a key', json(200, { [secret]: 1 }), unusable],
    ['400', json(400, { ...error, message: `bad cookie ${secret}` }), ['not-applied', unusable[1], 'unsaid']],
    ['403 HTML', answered(403, `<pre>${secret}</pre>`, 'text/html'), ['not-applied', unusable[1], 'unsaid']],
    ['200 text', answered(200, secret, 'text/plain'), unusable],
    ['200 HTML', answered(200, secret, 'text/html'), signedOut],
    ['401', json(401, { ...error, message: secret }), signedOutUnapplied],
    ['429', json(429, { ...error, message: secret }), slowDown],
    ['500', json(500, { ...error, message: secret }), failed],
  ])('%s', (_, reply, expected) => {
    const verdict = judge(reply, ['short', secret])
    expect(inShort(verdict)).toEqual(expected)
    expect(JSON.stringify(verdict)).not.toContain(secret.slice(0, 16))
    expect(JSON.stringify(verdict)).not.toContain(Buffer.from(secret).toString('base64').slice(0, 16))
  })

  test('is as any other where the session has no value that long', () => {
    expect(inShort(judge(json(200, { theme: 'dark' }), ['dark']))).toEqual(applied)
    expect(inShort(judge(json(200, { description: secret }), []))).toEqual(applied)
  })
})
