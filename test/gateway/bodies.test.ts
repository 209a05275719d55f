/** Bodies that an update may and may not have; nothing of what is refused reaches the platform. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import {
  type Ask,
  eventsOf,
  gatewayForTests,
  logOf,
  put,
  sendFramed,
  versionOf,
  versionPath,
} from './gateway.ts'

const gateway = await gatewayForTests()

const json = { 'Content-Type': 'application/json' }
const limit = 64 * 1024

/** Expects a body to be refused, to leave one record, and to reach nobody. */
async function refused(ask: Ask | ((id: string) => Ask), status: number, code: string, scope: object = {}) {
  const { id, token } = await gateway.organisation(scope)
  const sent = gateway.platform.received.length
  const options = typeof ask === 'function' ? ask(id) : ask
  const answer = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), {
    method: 'PUT',
    token,
    headers: json,
    ...options,
  })
  expect([answer.status, answer.json?.code, answer.json?.outcome]).toEqual([status, code, 'not-sent'])
  expect(answer.headers['audit-receipt']).toBeDefined()
  expect(gateway.platform.received.length).toBe(sent)
  expect(await eventsOf(gateway, id)).toEqual([status === 403 ? 'update.denied' : 'update.rejected'])
  const record = (await logOf(gateway, id)).at(-1)?.record
  expect(record.reason).toBe(code)
  expect(record.target.version).toBe('1.4.0')
  return { answer, record, fields: (answer.json.fields ?? []).map((each: { field: string }) => each.field) }
}

describe('what is not JSON', () => {
  test.each<[string, string | Buffer]>([
    ['empty', ''],
    ['white space', ' \n'],
    ['cut off', '{"id":"x"'],
    ['two documents', '{}{}'],
    ['a trailing comma', '{"id":"x",}'],
    ['single quotes', "{'id':'x'}"],
    ['a form', 'name=1.4.0'],
    ['NaN', 'NaN'],
    ['a comment', '{} // x'],
    ['a control character in a string', '{"id":"\u0001"}'],
    ['UTF-16', Buffer.from('{"id":"x"}', 'utf16le')],
    ['a byte order mark', '\uFEFF{"id":"x"}'],
    ['an invalid byte', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['an encoded surrogate', Buffer.from('7b22616161223a2261eda0806122 7d'.replace(' ', ''), 'hex')],
    ['an overlong slash', Buffer.from([0x22, 0xc0, 0xaf, 0x22])],
    ['brackets without end', '['.repeat(60_000)],
  ])('%s', async (_, body) => {
    const { answer } = await refused({ body }, 400, 'malformed-json')
    expect(answer.json.fields).toBeUndefined()
  })

  test('no body at all', () => refused({}, 400, 'malformed-json'))

  test('an answer never repeats what was sent', async () => {
    const { answer } = await refused({ body: '{"id":"sesame-open-2026' }, 400, 'malformed-json')
    expect(answer.text).not.toContain('sesame')
  })
})

describe('JSON that is no connection version', () => {
  test.each([
    ['null', 'null'],
    ['an array', '[]'],
    ['a string', '"x"'],
    ['a number', '1'],
    ['true', 'true'],
    ['an array around it', '[{}]'],
  ])('%s', async (_, body) => {
    const { fields } = await refused({ body }, 400, 'invalid-body')
    expect(fields).toEqual(['body'])
  })

  test('an empty object lacks every required field', async () => {
    const { fields, record, answer } = await refused({ body: '{}' }, 400, 'invalid-body')
    const required = ['createdAt', 'id', 'isDefault', 'isLatest', 'name', 'publishedAt', 'updatedAt']
    expect(fields.sort()).toEqual(required)
    expect(record.fields.sort()).toEqual(required)
    for (const { message } of answer.json.fields) expect(message).toMatch(/expected|must/)
  })

  test.each(['id', 'name', 'isLatest', 'isDefault', 'createdAt', 'updatedAt', 'publishedAt'])(
    'without %s',
    async field => {
      const { fields } = await refused(
        id => ({ body: versionOf(gateway, id, { [field]: undefined }) }),
        400,
        'invalid-body',
      )
      expect(fields).toEqual([field])
    },
  )

  const wrong: [field: string, value: unknown][] = [
    ['id', 1],
    ['id', null],
    ['id', ''],
    ['id', 'a\0b'],
    ['id', '\ud800'],
    ['name', 1],
    ['name', null],
    ['name', ''],
    ['name', {}],
    ['name', 'default'],
    ['name', 'latest'],
    ['name', 'a/b'],
    ['name', 'a\\b'],
    ['name', '100%'],
    ['name', 'a?b'],
    ['name', 'a#b'],
    ['name', 'a;b'],
    ['name', '.'],
    ['name', '..'],
    ['name', ' 1.4.0'],
    ['name', '1.4.0 '],
    ['name', '1.4\n.0'],
    ['name', '1.4\u200b.0'],
    ['name', '1.4\u202e.0'],
    ['name', 'cafe\u0301'],
    ['name', 'a\ud800'],
    ['name', 'x'.repeat(256)],
    ['description', 1],
    ['description', null],
    ['description', ['x']],
    ['description', 'a\0b'],
    ['description', '\udc00'],
    ['isLatest', 'true'],
    ['isLatest', 1],
    ['isLatest', null],
    ['isDefault', 'false'],
    ['isDefault', 0],
    ['isDefault', null],
    ...['createdAt', 'updatedAt', 'publishedAt'].flatMap((field): [string, unknown][] => [
      [field, 1764000000],
      [field, ''],
      [field, '2026-08-03'],
      [field, '2026-08-03T09:12:44'],
      [field, '2026-08-03 09:12:44Z'],
      [field, '2026-02-30T09:12:44Z'],
      [field, '2026-08-03T25:12:44Z'],
      [field, '2026-08-03T09:12:44+0200'],
      [field, 'Mon, 03 Aug 2026 09:12:44 GMT'],
    ]),
    ['createdAt', null],
    ['updatedAt', null],
  ]
  test.each(wrong)('%s is %j', async (field, value) => {
    const { fields } = await refused(
      id => ({ body: versionOf(gateway, id, { [field]: value }) }),
      400,
      'invalid-body',
    )
    expect(new Set(fields)).toEqual(new Set([field]))
  })

  test.each([
    'extra',
    'Name',
    'ID',
    'isdefault',
    'i\u017fLatest',
    '$ref',
    'constructor',
    'toString',
    '',
    'x'.repeat(300),
  ])('an unknown key: %j', async key => {
    const { fields } = await refused(
      id => ({ body: { ...versionOf(gateway, id), [key]: 'x' } }),
      400,
      'invalid-body',
    )
    expect(fields).toEqual([key.slice(0, 200) || ''])
  })

  test('__proto__ is an unknown key, and no way to give what is missing', async () => {
    const { fields } = await refused(
      id => ({ body: JSON.stringify(versionOf(gateway, id)).replace('{', '{"__proto__":{"x":1},') }),
      400,
      'invalid-body',
    )
    expect(fields).toEqual(['__proto__'])
    const inherited = await refused(
      id => ({ body: `{"__proto__":${JSON.stringify(versionOf(gateway, id))}}` }),
      400,
      'invalid-body',
    )
    expect(inherited.fields).toContain('name')
  })

  test('everything that is wrong is named at once', async () => {
    const { fields } = await refused(
      id => ({
        body: versionOf(gateway, id, { name: 'latest', isLatest: 'yes', extra: 1, publishedAt: 'x' }),
      }),
      400,
      'invalid-body',
    )
    expect(fields.sort()).toEqual(['extra', 'isLatest', 'name', 'publishedAt'])
  })
})

test.each<[string, Record<string, string>]>([
  ['as it is', {}],
  ['before a key that is none', { 'Idempotency-Key': 'a,b' }],
  ['before a key that holds a token', { 'Idempotency-Key': `vgw_${'0'.repeat(65)}` }],
  ['before a condition that is none', { 'If-Match': 'x' }],
])('a name that the scope does not allow is refused, %s', async (_, more) => {
  const headers = { ...json, ...more }
  const ask = (id: string) => ({ body: versionOf(gateway, id, { name: '2.0.0' }), headers })
  await refused(ask, 403, 'insufficient-scope', { versions: ['1.*'] })
})

describe('media type and coding', () => {
  const types: (string | undefined)[] = [
    undefined,
    '',
    'text/plain',
    'text/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json-patch+json',
    'application/jsonp',
    'application/json, text/plain',
    'application/json; charset=utf-16',
    'application/json; charset=latin1',
    'text/plain; application/json',
  ]
  test.each(types)('Content-Type %s', async type => {
    const headers: Record<string, string> = type === undefined ? {} : { 'Content-Type': type }
    const { answer } = await refused(
      id => ({ headers, body: versionOf(gateway, id) }),
      415,
      'unsupported-media-type',
    )
    expect(answer.json.detail).toContain('application/json')
  })

  test.each(['gzip', 'GZIP', 'deflate', 'br', 'zstd', 'gzip, identity'])(
    'Content-Encoding %s',
    async coding => {
      await refused(
        id => ({
          headers: { ...json, 'Content-Encoding': coding },
          body: gzipSync(JSON.stringify(versionOf(gateway, id))),
        }),
        415,
        'unsupported-media-type',
      )
    },
  )

  test.each(['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"'])(
    '%s is taken',
    async type => {
      const { id, token } = await gateway.organisation()
      const answer = await put(gateway, { id, token }, { headers: { 'Content-Type': type } })
      expect(answer.status, answer.text).toBe(200)
    },
  )
})

describe('size', () => {
  /** A valid body of exactly that many bytes. */
  function sized(id: string, bytes: number): string {
    const empty = JSON.stringify(versionOf(gateway, id, { description: '' }))
    return JSON.stringify(versionOf(gateway, id, { description: 'x'.repeat(bytes - empty.length) }))
  }

  test.each([false, true])('64 KiB exactly is taken (chunked: %s)', async chunked => {
    const { id, token } = await gateway.organisation()
    const body = sized(id, limit)
    expect(Buffer.byteLength(body)).toBe(limit)
    const answer = await put(gateway, { id, token }, { body, chunked })
    expect(answer.status).toBe(200)
    const received = gateway.platform.received.at(-1)
    expect(received?.body).toBe(body)
    const [attempted, succeeded] = (await logOf(gateway, id)).slice(-2).map(({ record }) => record)
    expect(attempted.request).toEqual({ sha256: received?.bodySha256, bytes: limit })
    expect(succeeded.request).toEqual({ sha256: received?.bodySha256, bytes: limit })
  })

  test.each([false, true])('64 KiB and one byte is refused (chunked: %s)', async chunked => {
    const { answer } = await refused(id => ({ body: sized(id, limit + 1), chunked }), 413, 'body-too-large')
    expect(answer.json.detail).toContain(String(limit))
  })

  test('white space counts', () =>
    refused(id => ({ body: sized(id, 1000) + ' '.repeat(limit) }), 413, 'body-too-large'))

  test('megabytes are refused', () =>
    refused({ body: Buffer.alloc(2_000_000, 'x'), chunked: true }, 413, 'body-too-large'))

  test('one that never ends is refused once it is too long', async () => {
    const { id, token } = await gateway.organisation()
    const headers = { ...json, Authorization: `Bearer ${token}` }
    const sending = request(new URL(versionPath(id, 'CONN1', '1.4.0'), gateway.runtime.url).href, {
      method: 'PUT',
      headers,
    })
    sending.write('x'.repeat(limit + 1))
    const [answer] = await once(sending, 'response')
    sending.on('error', () => {}).destroy()
    expect(answer.statusCode).toBe(413)
    expect(await eventsOf(gateway, id)).toEqual(['update.rejected'])
  })

  test('an unknown caller is told 401, whatever the size', async () => {
    const { id } = await gateway.organisation()
    const other = await gateway.organisation()
    const answer = await put(gateway, { id, token: other.token }, { body: Buffer.alloc(limit + 1, 'x') })
    expect(answer.status).toBe(401)
  })

  test('a Content-Length that says less cuts the body, one that says more is waited for in vain', async () => {
    const { id, token } = await gateway.organisation()
    const sent = gateway.platform.received.length
    const body = JSON.stringify(versionOf(gateway, id))
    const short = await framed(id, token, `Content-Length: ${body.length - 10}`, body)
    expect(short).toMatch(/^HTTP\/1\.1 400 /)
    expect(short).toContain('malformed-json')
    const long = await framed(id, token, `Content-Length: ${body.length + 10}`, body)
    expect(long).not.toMatch(/^HTTP\/1\.1 2/)
    expect(gateway.platform.received.length).toBe(sent)
  })

  test.each([
    ['is shorter than claimed', 'Content-Length: 1000', '{}'],
    ['has chunks that are none', 'Transfer-Encoding: chunked', 'ZZZ\r\n{}\r\n'],
    ['has no last chunk', 'Transfer-Encoding: chunked', '2\r\n{}\r\n'],
  ])('one that %s is malformed, on record, and 401 to an unknown caller', async (_, framing, body) => {
    const { id, token } = await gateway.organisation()
    const known = await framed(id, token, framing, body)
    expect(known).toMatch(/^HTTP\/1\.1 400 /)
    expect(known).toContain('"code":"malformed-json"')
    expect(await eventsOf(gateway, id)).toEqual(['update.rejected'])
    const other = await gateway.organisation()
    expect(await framed(id, other.token, framing, body)).toMatch(/^HTTP\/1\.1 401 /)
  })

  function framed(id: string, token: string, framing: string, body: string): Promise<string> {
    const headers = [`Authorization: Bearer ${token}`, 'Content-Type: application/json', framing]
    return sendFramed(gateway.runtime.url, 'PUT', versionPath(id, 'CONN1', '1.4.0'), headers, body)
  }
})

describe('what is sent is what was validated', () => {
  const digest = (text: string) => createHash('sha256').update(text).digest('hex')

  test('the record holds the SHA-256 and the content of exactly the bytes that the platform received', async () => {
    const { id, token } = await gateway.organisation()
    const changes = { description: 'Grüße, 版本 \u2028 🚀 "quoted" </script>' }
    const answer = await put(gateway, { id, token }, { changes })
    expect(answer.status).toBe(200)
    const received = gateway.platform.received.at(-1)
    const body = received?.body ?? ''
    expect(JSON.parse(body)).toEqual({ ...versionOf(gateway, id), updatedAt: JSON.parse(body).updatedAt })
    const [attempted, succeeded] = (await logOf(gateway, id)).slice(-2).map(({ record }) => record)
    expect(attempted.event).toBe('update.attempted')
    expect(attempted.request.sha256).toBe(digest(body))
    expect(attempted.request.bytes).toBe(Buffer.byteLength(body))
    expect(JSON.stringify(attempted.request.body)).toBe(body)
    expect(succeeded).toMatchObject({ event: 'update.succeeded', attempt: attempted.seq, outcome: 'applied' })
    expect(succeeded.request.sha256).toBe(digest(body))
    expect(succeeded.upstream.sha256).toBe(digest(answer.text))
  })

  test('of duplicate keys one is validated, recorded and sent, and the others are gone', async () => {
    const { id, token } = await gateway.organisation({ versions: ['1.*'] })
    const text = JSON.stringify(versionOf(gateway, id))
    const twice = (name: string) => text.replace('{', `{"name":"${name}",`)
    expect((await put(gateway, { id, token }, { body: twice('latest') })).status).toBe(200)
    expect(gateway.platform.received.at(-1)?.body.match(/"name"/g)?.length).toBe(1)
    expect(gateway.platform.get(id, 'CONN1', '1.4.0')?.name).toBe('1.4.0')
    const sent = gateway.platform.received.length
    const last = text.replace(/}$/, ',"name":"2.0.0"}')
    expect((await put(gateway, { id, token }, { body: last })).status).toBe(403)
    expect(gateway.platform.received.length).toBe(sent)
  })

  test('order and white space are the gateway’s own', async () => {
    const { id, token } = await gateway.organisation()
    const version = versionOf(gateway, id)
    const reversed = Object.fromEntries(Object.entries(version).reverse())
    const answer = await put(gateway, { id, token }, { body: JSON.stringify(reversed, null, 4) })
    expect(answer.status).toBe(200)
    const fields = [
      'id',
      'name',
      'description',
      'isLatest',
      'isDefault',
      'createdAt',
      'updatedAt',
      'publishedAt',
    ]
    expect(Object.keys(JSON.parse(gateway.platform.received.at(-1)?.body ?? ''))).toEqual(fields)
    expect(gateway.platform.received.at(-1)?.body).not.toMatch(/\n| {2}/)
  })

  test.each([
    [8 * 1024, true],
    [8 * 1024 + 1, false],
  ])('a body of %i bytes stands in the record with its content: %s', async (bytes, whole) => {
    const { id, token } = await gateway.organisation()
    const empty = JSON.stringify(versionOf(gateway, id, { description: '' }))
    const changes = { description: 'x'.repeat(bytes - empty.length) }
    expect((await put(gateway, { id, token }, { changes })).status).toBe(200)
    const received = gateway.platform.received.at(-1)
    const attempted = (await logOf(gateway, id)).at(-2)?.record
    expect(attempted.request.bytes).toBe(bytes)
    expect(attempted.request.sha256).toBe(received?.bodySha256)
    expect('body' in attempted.request).toBe(whole)
  })

  test('a date keeps its offset and its digits', async () => {
    const { id, token } = await gateway.organisation()
    const updatedAt = '2026-10-21T18:45:31.900000000+02:00'
    const answer = await put(gateway, { id, token }, { changes: { updatedAt } })
    expect(answer.status, answer.text).toBe(200)
    expect(JSON.parse(gateway.platform.received.at(-1)?.body ?? '').updatedAt).toBe(updatedAt)
  })
})
