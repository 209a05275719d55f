/**
 * What the gateway makes of a platform that misbehaves for as long as it is asked: the status, the code, the outcome and the
 * records. A platform that comes to its senses in between is in reconciliation.test.ts.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Fault } from '../platform/platform.ts'
import { type Answer, eventsOf, gatewayForTests, logOf, put, versionOf, versionPath } from './gateway.ts'

const gateway = await gatewayForTests({ UPSTREAM_TIMEOUT_MS: '1500', UPSTREAM_RETRY_MS: '10' })

interface Expected {
  status: number
  code?: string
  outcome: 'not-applied' | 'applied' | 'unknown'
  /** Whether the stand-in applied it, which the gateway may not know. */
  applied: boolean
}
const closing = { 'not-applied': 'update.failed', applied: 'update.succeeded', unknown: 'update.unknown' }

async function misbehaves(
  fault: Fault,
  { status, code, outcome, applied }: Expected,
): Promise<[Answer, Answer]> {
  const made = await gateway.organisation()
  const { id, token } = made
  const path = versionPath(id, 'CONN1', '1.4.0')
  const reads = () =>
    gateway.platform.received.filter(({ url, method }) => method === 'GET' && url.includes(id)).length
  gateway.platform.misbehave(fault, { method: 'GET', times: Number.POSITIVE_INFINITY })
  const read = await gateway.ask(path, { token })
  expect([read.status, read.json?.code]).toEqual([status, code])
  expect(read.json.outcome).toBeUndefined()
  const again = ['upstream-unreachable', 'upstream-failed'].includes(code ?? '')
  const tries = again || (fault.kind === 'status' && fault.status === 408) ? 3 : 1
  expect(reads(), 'how often a read is sent').toBe(tries)

  // One that was refused rests; a new one does not.
  const cookieHeader = gateway.platform.cookie
  if (code === 'session-rejected')
    await gateway.admin('PUT', `/organisations/${id}/session`, { cookieHeader })
  gateway.platform.misbehave(fault, { method: 'PUT', times: Number.POSITIVE_INFINITY })
  const update = await put(gateway, made, { changes: { description: 'changed' } })
  expect([update.status, update.json?.code]).toEqual([status, code])
  if (code !== undefined) expect(update.json.outcome).toBe(outcome)
  expect(update.headers['audit-receipt']).toBeDefined()
  const puts = gateway.platform.received.filter(({ url, method }) => method === 'PUT' && url.includes(id))
  expect(puts.length, 'an update that is open is not sent again unseen').toBe(1)
  gateway.platform.behave()
  expect(gateway.platform.get(id, 'CONN1', '1.4.0')?.description === 'changed').toBe(applied)

  const log = (await logOf(gateway, id)).map(({ record }) => record)
  const readRecords = log.filter(({ event }) => event.startsWith('read.'))
  expect(readRecords.map(({ event, reason }) => [event, reason])).toEqual([
    [code === undefined ? 'read.succeeded' : 'read.failed', code],
  ])
  const attempted = log.find(({ event }) => event === 'update.attempted')
  const closed = log.findLast(({ event }) => event === closing[outcome])
  expect(closed).toMatchObject({ event: closing[outcome], attempt: attempted.seq, outcome })
  expect(closed.reason).toBe(code)
  expect(closed.upstream).toMatchObject({
    attempts: 1,
    generation: code === 'session-rejected' ? 2 : 1,
  })

  // The connection works again, once it is known what became of the update.
  while (outcome === 'unknown' && !(await eventsOf(gateway, id)).includes('update.reconciled')) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  if (code === 'session-rejected')
    await gateway.admin('PUT', `/organisations/${id}/session`, { cookieHeader })
  expect((await gateway.ask(path, { token })).status).toBe(200)
  expect((await put(gateway, made)).status).toBe(200)
  return [read, update]
}

describe('an answer that does not come, or not as it should', () => {
  const faults: [string, Fault, Expected][] = [
    ['slow', { kind: 'slow', ms: 20 }, { status: 200, outcome: 'applied', applied: true }],
    ['byte by byte', { kind: 'trickle', ms: 0 }, { status: 200, outcome: 'applied', applied: true }],
    [
      'of no said length',
      { kind: 'framed', how: 'chunked' },
      { status: 200, outcome: 'applied', applied: true },
    ],
    [
      'of more than its said length, being packed',
      { kind: 'framed', how: 'gzip' },
      { status: 200, outcome: 'applied', applied: true },
    ],
    [
      'lost before it was applied',
      { kind: 'drop-before' },
      { status: 502, code: 'upstream-unreachable', outcome: 'unknown', applied: false },
    ],
    [
      'lost after it was applied',
      { kind: 'drop-after' },
      { status: 502, code: 'upstream-unreachable', outcome: 'unknown', applied: true },
    ],
    [
      'lost in its middle',
      { kind: 'half' },
      { status: 502, code: 'upstream-unreachable', outcome: 'unknown', applied: true },
    ],
    [
      '500, not applied',
      { kind: 'status', status: 500 },
      { status: 502, code: 'upstream-failed', outcome: 'unknown', applied: false },
    ],
    [
      '500, applied',
      { kind: 'status', status: 500, apply: true },
      { status: 502, code: 'upstream-failed', outcome: 'unknown', applied: true },
    ],
    [
      '503 in HTML, not applied',
      { kind: 'html', status: 503 },
      { status: 502, code: 'upstream-failed', outcome: 'unknown', applied: false },
    ],
    [
      '504, applied',
      { kind: 'status', status: 504, contentType: 'text/plain', body: 'late', apply: true },
      { status: 502, code: 'upstream-failed', outcome: 'unknown', applied: true },
    ],
    [
      '408, not applied',
      { kind: 'status', status: 408 },
      { status: 504, code: 'upstream-timeout', outcome: 'unknown', applied: false },
    ],
    [
      '408, applied',
      { kind: 'status', status: 408, apply: true },
      { status: 504, code: 'upstream-timeout', outcome: 'unknown', applied: true },
    ],
    [
      'oversized, applied',
      { kind: 'oversized', bytes: 200_000 },
      { status: 502, code: 'upstream-invalid-response', outcome: 'unknown', applied: true },
    ],
    [
      'oversized once it is unpacked, applied',
      { kind: 'oversized', bytes: 20_000_000, packed: true },
      { status: 502, code: 'upstream-invalid-response', outcome: 'unknown', applied: true },
    ],
    ...(['chunked', 'gzip', 'both'] as const).map((how): [string, Fault, Expected] => [
      // Read to its end, it would run into the deadline.
      `without an end (${how}), applied`,
      { kind: 'endless', how },
      { status: 502, code: 'upstream-invalid-response', outcome: 'unknown', applied: true },
    ]),
    [
      'just under the limit',
      { kind: 'oversized', bytes: 128 * 1024 - 1024 },
      { status: 200, outcome: 'applied', applied: true },
    ],
    [
      'not JSON, applied',
      { kind: 'not-json' },
      { status: 502, code: 'upstream-invalid-response', outcome: 'unknown', applied: true },
    ],
    [
      'JSON by its type alone',
      { kind: 'status', status: 200, body: 'updated', apply: true },
      { status: 502, code: 'upstream-invalid-response', outcome: 'unknown', applied: true },
    ],
    [
      'empty',
      { kind: 'status', status: 204, body: '', apply: true },
      { status: 502, code: 'upstream-invalid-response', outcome: 'unknown', applied: true },
    ],
    [
      'a login page',
      { kind: 'html' },
      { status: 503, code: 'session-rejected', outcome: 'unknown', applied: false },
    ],
    [
      'a redirect',
      { kind: 'redirect' },
      { status: 503, code: 'session-rejected', outcome: 'unknown', applied: false },
    ],
    [
      'a 401',
      { kind: 'status', status: 401 },
      { status: 503, code: 'session-rejected', outcome: 'not-applied', applied: false },
    ],
    [
      'a 429',
      { kind: 'status', status: 429, retryAfter: '3' },
      { status: 503, code: 'overloaded', outcome: 'not-applied', applied: false },
    ],
    ...[400, 403, 404, 409, 410, 412, 413, 418, 422, 451].map((status): [string, Fault, Expected] => [
      `a ${status}`,
      { kind: 'status', status },
      { status, code: 'upstream-rejected', outcome: 'not-applied', applied: false },
    ]),
    [
      'a 403 in HTML',
      { kind: 'html', status: 403 },
      { status: 403, code: 'upstream-rejected', outcome: 'not-applied', applied: false },
    ],
    [
      'a 400 in plain text',
      { kind: 'status', status: 400, contentType: 'text/plain', body: 'no' },
      { status: 400, code: 'upstream-rejected', outcome: 'not-applied', applied: false },
    ],
  ]
  test.each(faults)('%s', async (_, fault, expected) => {
    await misbehaves(fault, expected)
  })
})

test('an error of the platform keeps its words, beside the gateway’s own', async () => {
  const body = JSON.stringify({
    code: 'name_taken',
    message: 'the name is taken',
    fields: [{ field: 'name', message: 'is taken' }],
    cause: 'duplicate key',
    extra: { internal: true },
  })
  const [, update] = await misbehaves(
    { kind: 'status', status: 409, body },
    { status: 409, code: 'upstream-rejected', outcome: 'not-applied', applied: false },
  )
  expect(update.json).toMatchObject({
    type: '/problems/upstream-rejected',
    status: 409,
    code: 'upstream-rejected',
    upstreamCode: 'name_taken',
    message: 'the name is taken',
    detail: 'the name is taken',
    fields: [{ field: 'name', message: 'is taken' }],
    cause: 'duplicate key',
    outcome: 'not-applied',
  })
  expect(update.json.extra).toBeUndefined()
  expect(update.headers['content-type']).toBe('application/problem+json')
})

test('a changed read-only field and a version that is not there are the platform’s to refuse', async () => {
  const made = await gateway.organisation()
  const changed = await put(gateway, made, { changes: { createdAt: '2020-01-01T00:00:00Z' } })
  expect([changed.status, changed.json.code, changed.json.outcome]).toEqual([
    400,
    'upstream-rejected',
    'not-applied',
  ])
  expect(changed.json.fields[0].field).toBe('createdAt')
  const missing = await gateway.ask(versionPath(made.id, 'CONN1', '9.9.9'), { token: made.token })
  expect([missing.status, missing.json.code]).toEqual([404, 'upstream-rejected'])
})

test.each([
  ['3', '3'],
  ['0', '1'],
  ['999999', '3600'],
  [undefined, '5'],
  ['soon', '5'],
])('Retry-After %s of the platform becomes %s', async (retryAfter, expected) => {
  const made = await gateway.organisation()
  const fault: Fault = { kind: 'status', status: 429, ...(retryAfter === undefined ? {} : { retryAfter }) }
  gateway.platform.misbehave(fault, { times: Number.POSITIVE_INFINITY })
  const answer = await put(gateway, made)
  expect([answer.status, answer.json.code]).toEqual([503, 'overloaded'])
  expect(answer.headers['retry-after']).toBe(expected)
})

describe('many at once', () => {
  test('two updates of one connection: records and effects in one order', async () => {
    const made = await gateway.organisation()
    const gate = gateway.platform.hold({ method: 'PUT' })
    const first = put(gateway, made, { changes: { description: 'first' } })
    await gate.arrived
    // updatedAt moves with the first; the second sends what it will be then, which nobody checks before its turn.
    const second = put(gateway, made, { changes: { description: 'second' } })
    const third = put(gateway, made, { version: 'latest', changes: { description: 'third' } })
    gate.release()
    expect((await first).status).toBe(200)
    // What was read before the first was applied is out of date: the platform says so, in its turn.
    expect([(await second).status, (await third).status]).toEqual([400, 400])
    expect(await eventsOf(gateway, made.id)).toEqual([
      'update.attempted',
      'update.succeeded',
      'update.attempted',
      'update.failed',
      'update.attempted',
      'update.failed',
    ])
  })

  test('no two updates of one connection are at the platform together', async () => {
    const made = await gateway.organisation()
    const sent = gateway.platform.received.length
    const gates = [gateway.platform.hold(), gateway.platform.hold(), gateway.platform.hold()]
    const updates = ['1.3.0', '1.4.0', '2026.11-rc'].map(version => put(gateway, made, { version }))
    for (const [index, gate] of gates.entries()) {
      await gate.arrived
      // The next comes no earlier than this one's outcome stands in the log.
      await gateway.ask(`/o/${made.id}/token`, { token: made.token })
      expect(gateway.platform.received.length).toBe(sent + index + 1)
      gate.release()
    }
    for (const answer of await Promise.all(updates)) expect(answer.status).toBe(200)
    const log = (await logOf(gateway, made.id)).map(({ record }) => record)
    const attempts = log
      .filter(({ event }) => event === 'update.attempted')
      .map(({ target }) => target.version)
    const history = gateway.platform.history.filter(({ organisationId }) => organisationId === made.id)
    expect(history.map(({ version }) => version)).toEqual(attempts)
    expect(log.filter(({ event }) => /^update/.test(event)).map(({ event }) => event)).toEqual(
      Array.from({ length: 3 }, () => ['update.attempted', 'update.succeeded']).flat(),
    )
  })

  test('a connection that hangs does not stall another, nor a read of its own', async () => {
    const made = await gateway.organisation()
    const gate = gateway.platform.hold({ method: 'PUT', connectionId: 'CONN1' })
    const held = put(gateway, made)
    await gate.arrived
    expect((await put(gateway, made, { connection: 'CONN2' })).status).toBe(200)
    const read = await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
    expect(read.status).toBe(200)
    const other = await gateway.organisation()
    expect((await put(gateway, other)).status).toBe(200)
    gate.release()
    expect((await held).status).toBe(200)
  })

  test('of forty updates of one connection, one runs, 32 wait and the rest are told to come again', async () => {
    const made = await gateway.organisation()
    const gate = gateway.platform.hold({ method: 'PUT' })
    const first = put(gateway, made)
    await gate.arrived
    const settled: Answer[] = []
    const full = Promise.withResolvers<void>()
    const others = Array.from({ length: 39 }, async () => {
      const answer = await put(gateway, made)
      if (settled.push(answer) === 7) full.resolve()
      return answer
    })
    await full.promise
    for (const refused of settled) {
      expect([refused.status, refused.json.code]).toEqual([503, 'overloaded'])
      expect(refused.json.outcome).toBe('not-sent')
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    }
    gate.release()
    const answers = [await first, ...(await Promise.all(others))]
    expect(answers.filter(({ json }) => json.code === 'overloaded').length).toBe(7)
    const events = await eventsOf(gateway, made.id)
    expect(events.filter(event => event === 'update.attempted').length).toBe(33)
    expect(events.filter(event => event === 'update.rejected').length).toBe(7)
    const puts = gateway.platform.received.filter(
      ({ url, method }) => method === 'PUT' && url.includes(made.id),
    )
    expect(puts.length).toBe(33)
    expect((await put(gateway, made)).status).toBe(200)
  })

  test('updates of many connections go on side by side, each with both of its records', async () => {
    const made = await gateway.organisation()
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => put(gateway, made, { connection: `CONN${i}` })),
    )
    expect(answers.filter(({ status }) => status === 200).length).toBe(30)
    expect(gateway.platform.history.filter(({ organisationId }) => organisationId === made.id).length).toBe(
      30,
    )
  })
})

describe('the deadline passes', () => {
  beforeAll(() => gateway.restart({ UPSTREAM_TIMEOUT_MS: '500' }))
  const late = (applied: boolean): Expected => ({
    status: 504,
    code: 'upstream-timeout',
    outcome: 'unknown',
    applied,
  })

  test('without an answer, not applied', async () => {
    await misbehaves({ kind: 'hang' }, late(false))
  })
  test('without an answer, applied', async () => {
    await misbehaves({ kind: 'hang', apply: true }, late(true))
  })
  test('in the middle of an answer', async () => {
    await misbehaves({ kind: 'trickle', ms: 50 }, late(true))
  })
})

test('a platform that is not there', async () => {
  const made = await gateway.organisation()
  const read = () => gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token })
  const body = versionOf(gateway, made.id)
  await gateway.platform.stop()
  const answer = await read()
  expect([answer.status, answer.json.code]).toEqual([502, 'upstream-unreachable'])
  const update = await put(gateway, made, { body })
  expect([update.status, update.json.code]).toEqual([502, 'upstream-unreachable'])
  expect(['not-sent', 'unknown']).toContain(update.json.outcome)
})
