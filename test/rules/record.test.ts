/** Checks the form of a record: the exact string, what is left out of it, how much of a payload it holds. */
import { describe, expect, test } from 'vitest'
import {
  about,
  byAdmin,
  byGateway,
  type Entry,
  lostOutcome,
  payloadOf,
  recordString,
} from '../../src/organisation/record.ts'

const time = Date.parse('2026-11-24T09:30:00.123Z')
const client = { ip: '192.0.2.1', userAgent: 'curl/8' }
const actor = { type: 'token' as const, id: 'AAAAAAAAAAAAAAAA', name: 'ci-deploy' }
const target = { organisationId: 'ORG1', connectionId: 'CONN1', version: '1.4.0' }

/** One of every field, in the order opposite to that of a record. */
const full: Entry = {
  fields: ['name'],
  count: 4,
  alert: { id: 'a' },
  session: { generation: 3 },
  token: { id: 'x' },
  reason: 'insufficient-scope',
  outcome: 'applied',
  upstream: { status: 200, durationMs: 84, attempts: 1, sha256: 'cd', generation: 3 },
  request: { sha256: 'ab', bytes: 2, body: {} },
  attempt: 11,
  client,
  target,
  actor,
  event: 'update.succeeded',
  requestId: 'req-1',
}

test('a record with everything, byte by byte', () => {
  expect(recordString(12, time, full)).toBe(
    [
      '{"seq":12,"time":"2026-11-24T09:30:00.123Z","requestId":"req-1","event":"update.succeeded"',
      '"actor":{"type":"token","id":"AAAAAAAAAAAAAAAA","name":"ci-deploy"}',
      '"target":{"organisationId":"ORG1","connectionId":"CONN1","version":"1.4.0"}',
      '"client":{"ip":"192.0.2.1","userAgent":"curl/8"},"attempt":11',
      '"request":{"sha256":"ab","bytes":2,"body":{}}',
      '"upstream":{"status":200,"durationMs":84,"attempts":1,"sha256":"cd","generation":3}',
      '"outcome":"applied","reason":"insufficient-scope","token":{"id":"x"},"session":{"generation":3},"alert":{"id":"a"}',
      '"count":4,"fields":["name"]}',
    ].join(','),
  )
})

test('what is undefined is left out, at any depth', () => {
  const entry: Entry = {
    event: 'denials.suppressed',
    actor: { type: 'gateway' },
    target: { organisationId: 'ORG1', version: undefined },
    client: undefined,
    upstream: { status: undefined, durationMs: 3 },
    count: 0,
  }
  expect(recordString(1, 0, entry)).toBe(
    '{"seq":1,"time":"1970-01-01T00:00:00.000Z","event":"denials.suppressed","actor":{"type":"gateway"},"target":{"organisationId":"ORG1"},"upstream":{"durationMs":3},"count":0}',
  )
})

test('a record is one line, whatever stands in it', () => {
  const userAgent = 'a\r\n\u2028"\\\ud800'
  const text = recordString(1, time, { ...full, client: { userAgent } })
  expect(text.split(/[\r\n]/).length).toBe(1)
  expect(text.isWellFormed()).toBe(true)
  expect(JSON.parse(text).client.userAgent).toBe(userAgent)
})

describe('the payload of an update', () => {
  /** An update of a number of bytes. */
  function update(bytes: number, filler: string) {
    const empty = Buffer.byteLength(JSON.stringify({ description: '' }))
    const description = filler.repeat((bytes - empty) / Buffer.byteLength(filler))
    const body = JSON.stringify({ description })
    return { body, sha256: 'ab', bytes: Buffer.byteLength(body) }
  }

  test.each([
    ['small', 20, 'x', true],
    ['8 KiB', 8192, 'x', true],
    ['a byte more', 8193, 'x', false],
    ['fewer characters than that, but more bytes', 8194, 'é', false],
    ['64 KiB', 65536, 'x', false],
  ])('%s', (_, bytes, filler, kept) => {
    const made = update(bytes, filler)
    expect(made.bytes).toBe(bytes)
    const expected = { sha256: 'ab', bytes }
    expect(payloadOf(made)).toEqual(kept ? { ...expected, body: JSON.parse(made.body) } : expected)
    expect(Object.hasOwn(payloadOf(made) ?? {}, 'body')).toBe(kept)
  })

  test('a body in a record is the text that was sent', () => {
    const body = '{"id":"1","name":"é","isLatest":true,"publishedAt":null}'
    const request = payloadOf({ body, sha256: 'ab', bytes: Buffer.byteLength(body) })
    expect(recordString(1, time, { ...full, request })).toContain(`"body":${body}}`)
  })
})

test('an attempt whose object was lost is closed by what its own record says', () => {
  const attempted: Entry = {
    requestId: 'req-1',
    event: 'update.attempted',
    actor,
    target,
    client,
    request: { sha256: 'ab', bytes: 231, body: { name: '1.4.0' } },
  }
  expect(lostOutcome(recordString(11, time, attempted), 11)).toEqual({
    requestId: 'req-1',
    event: 'update.unknown',
    actor,
    target,
    client,
    attempt: 11,
    request: { sha256: 'ab', bytes: 231 },
    outcome: 'unknown',
    reason: 'interrupted',
  })
})

describe('what records of one request have in common', () => {
  const origin = { organisationId: 'ORG1', requestId: 'req-1', client }

  test("a caller's", () => {
    const call = { ...origin, target: { connectionId: 'CONN1', version: '1.4.0' } }
    expect(about(call)).toEqual({ requestId: 'req-1', target, client })
    expect(about(origin)).toEqual({ requestId: 'req-1', target: { organisationId: 'ORG1' }, client })
  })

  test("an admin's", () => {
    expect(byAdmin({ ...origin, admin: 'ops', host: 'gateway.example' })).toEqual({
      requestId: 'req-1',
      target: { organisationId: 'ORG1' },
      client,
      actor: { type: 'admin', id: 'ops', name: 'ops' },
    })
  })

  test("the gateway's, which does not come from the caller", () => {
    expect(byGateway(origin)).toEqual({
      requestId: 'req-1',
      target: { organisationId: 'ORG1' },
      actor: { type: 'gateway' },
    })
  })
})
