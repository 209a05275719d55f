/** Headers: nothing that a caller sends changes what the platform receives, and the other way round. */
import { describe, expect, test } from 'vitest'
import { type Answer, gatewayForTests, logOf, put, versionPath } from './gateway.ts'

const gateway = await gatewayForTests()

const json: [string, string] = ['Content-Type', 'application/json']
/** What the runtime sends by itself, beside CF-*. */
const runtimes = ['host', 'content-length', 'transfer-encoding', 'connection', 'accept-encoding', 'pragma']

/** What the gateway itself sent to the platform last, names in lower case. */
function received(): Record<string, string> {
  const headers = gateway.platform.received.at(-1)?.headers ?? []
  const own = headers
    .map(([name, value]): [string, string] => [name.toLowerCase(), value])
    .filter(([name]) => !runtimes.includes(name) && !name.startsWith('cf-'))
  expect(new Set(own.map(([name]) => name)).size, 'no header comes twice').toBe(own.length)
  return Object.fromEntries(own)
}

const basics = () => ({
  accept: 'application/json',
  cookie: gateway.platform.cookie,
  'user-agent': 'versori-gateway',
  via: '1.1 versori-gateway',
  'cache-control': 'no-store',
})

describe('what the platform receives', () => {
  const hostile: [string, [string, string][]][] = [
    ['nothing else', []],
    ['the caller’s Cookie', [['Cookie', 'cookie=stolen; theme=dark']]],
    [
      'two Cookie headers',
      [
        ['Cookie', 'cookie=one'],
        ['cookie', 'cookie=two'],
      ],
    ],
    ['Connection: cookie', [['Connection', 'cookie, authorization, x-request-id']]],
    ['Connection: close', [['Connection', 'close']]],
    [
      'X-Forwarded-*',
      [
        ['X-Forwarded-For', '10.0.0.1'],
        ['X-Forwarded-Host', 'evil.example'],
        ['X-Forwarded-Proto', 'http'],
        ['X-Forwarded-Prefix', '/admin'],
        ['X-Real-IP', '10.0.0.1'],
      ],
    ],
    ['Forwarded', [['Forwarded', 'for=10.0.0.1;host=evil.example;proto=http']]],
    [
      'method overrides',
      [
        ['X-HTTP-Method-Override', 'DELETE'],
        ['X-HTTP-Method', 'DELETE'],
        ['X-Method-Override', 'DELETE'],
      ],
    ],
    [
      'URL overrides',
      [
        ['X-Original-URL', '/admin/organisations'],
        ['X-Rewrite-URL', '/admin/organisations'],
      ],
    ],
    [
      'hop-by-hop headers',
      [
        ['Keep-Alive', 'timeout=5'],
        ['Proxy-Authorization', 'Basic dXNlcjpwYXNz'],
        ['Proxy-Connection', 'keep-alive'],
        ['TE', 'trailers'],
      ],
    ],
    [
      'conditions, ranges and wishes',
      [
        ['If-None-Match', '"x"'],
        ['Range', 'bytes=0-1'],
        ['Accept', 'text/html'],
        ['Accept-Language', 'de'],
        ['Accept-Encoding', 'identity'],
        ['Cache-Control', 'max-age=60'],
        ['Pragma', 'x-cache'],
        ['Origin', 'https://evil.example'],
        ['Referer', 'https://evil.example'],
        ['User-Agent', 'evil/1.0'],
        ['Via', '1.0 evil'],
        ['X-Api-Key', 'x'],
        ['Content-Location', '/x'],
        ['Content-Language', 'de'],
        ['Upgrade-Insecure-Requests', '1'],
      ],
    ],
    ['10 KB of X-Request-Id', [['X-Request-Id', 'x'.repeat(10_000)]]],
    ['a request id with a space', [['X-Request-Id', 'a b']]],
    ['tracestate alone', [['tracestate', 'vendor=1']]],
    ['a traceparent that is none', [['traceparent', 'Cookie: x']]],
    ['a traceparent of zeros', [['traceparent', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]]],
    [
      'a traceparent of another version',
      [['traceparent', '01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01']],
    ],
    [
      'a traceparent in capitals',
      [['traceparent', '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01']],
    ],
    ['baggage', [['baggage', 'user=1']]],
    [
      'CF headers',
      [
        ['CF-Worker', 'evil.example'],
        ['CF-Access-Jwt-Assertion', 'x'],
      ],
    ],
  ]
  test.each(hostile)('is the same with %s', async (_, extra) => {
    const { id, token } = await gateway.organisation()
    const update = await put(gateway, { id, token }, { headers: [json, ...extra] })
    expect(update.status, update.text).toBe(200)
    const sent = received()
    expect(sent).toEqual({
      ...basics(),
      'content-type': 'application/json',
      'x-request-id': expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
    })
    expect(update.headers['x-request-id']).toBe(sent['x-request-id'])
    expect(gateway.platform.received.at(-1)?.method).toBe('PUT')

    const read = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token, headers: [...extra] })
    expect(read.status).toBe(200)
    const { 'x-request-id': requestId, ...rest } = received()
    expect(rest).toEqual(basics())
    expect(requestId).toBe(read.headers['x-request-id'])
    const headers = gateway.platform.received.slice(-2).flatMap(({ headers }) => headers)
    expect(headers.some(([, value]) => value.includes(token))).toBe(false)
  })

  test('a caller’s request id is kept where it is a plain one', async () => {
    const { id, token } = await gateway.organisation()
    for (const requestId of ['deploy-1234.A_b', 'x'.repeat(128)]) {
      const headers: [string, string][] = [json, ['X-Request-Id', requestId]]
      const answer = await put(gateway, { id, token }, { headers })
      expect(answer.headers['x-request-id']).toBe(requestId)
      expect(received()['x-request-id']).toBe(requestId)
      expect((await logOf(gateway, id)).at(-1)?.record.requestId).toBe(requestId)
    }
    const bad = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { headers: { 'X-Request-Id': 'mine' } })
    expect(bad.json.instance).toBe('mine')
  })

  const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  test.each([
    [undefined, undefined],
    ['vendor=1,other@2=x:y', 'vendor=1,other@2=x:y'],
    [`v=${'x'.repeat(256)}`, `v=${'x'.repeat(256)}`],
    ['no list', undefined],
    ['UPPER=1', undefined],
    [`v=${'x'.repeat(600)}`, undefined],
    [Array.from({ length: 33 }, (_, i) => `v${i}=1`).join(','), undefined],
  ])('a valid traceparent passes, with tracestate %j if that is valid too', async (tracestate, expected) => {
    const { id, token } = await gateway.organisation()
    const headers: [string, string][] = [['traceparent', parent]]
    if (tracestate !== undefined) headers.push(['tracestate', tracestate])
    await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token, headers })
    expect(received().traceparent).toBe(parent)
    expect(received().tracestate).toBe(expected)
  })
})

describe('what the caller gets', () => {
  const always = ['cache-control', 'content-type', 'x-content-type-options', 'x-request-id']
  const admitted = ['audit-receipt', 'ratelimit', 'ratelimit-policy']
  const framing = ['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding']
  function expectHeaders(answer: Answer, type: string, names: string[]): void {
    const given = Object.keys(answer.headers).filter(name => !framing.includes(name))
    expect(given.sort()).toEqual([...always, ...names].sort())
    expect(answer.headers['content-type']).toBe(type)
    expect(answer.headers['cache-control']).toBe('no-store')
    expect(answer.headers['x-content-type-options']).toBe('nosniff')
  }
  const problem = 'application/problem+json'

  test('is the list of headers and no other, whatever the platform sends', async () => {
    const { id, token } = await gateway.organisation()
    const path = versionPath(id, 'CONN1', '1.4.0')
    expectHeaders(await gateway.ask(path, { token }), 'application/json', [...admitted, 'etag'])
    expectHeaders(await put(gateway, { id, token }), 'application/json', [...admitted, 'etag'])
    gateway.platform.misbehave(
      { kind: 'set-cookie', cookies: ['theme=dark; Path=/', 'other=1'] },
      { times: 2 },
    )
    expectHeaders(await gateway.ask(path, { token }), 'application/json', [...admitted, 'etag'])
    expectHeaders(await put(gateway, { id, token }), 'application/json', [...admitted, 'etag'])
    gateway.platform.misbehave({ kind: 'status', status: 404, contentType: 'application/json; charset=x' })
    expectHeaders(await gateway.ask(path, { token }), problem, admitted)
    gateway.platform.misbehave({ kind: 'redirect', location: 'https://evil.example/' })
    expectHeaders(await gateway.ask(path, { token }), problem, admitted)
  })

  test('is as short for refusals', async () => {
    const { id, token } = await gateway.organisation({ connections: ['CONN1'] })
    const path = versionPath(id, 'CONN1', '1.4.0')
    expectHeaders(await gateway.ask(path), problem, ['www-authenticate'])
    expectHeaders(await gateway.ask(path, { token: `${token}x` }), problem, ['www-authenticate'])
    const other = await gateway.organisation()
    expectHeaders(await gateway.ask(path, { token: other.token }), problem, ['www-authenticate'])
    const scope = await gateway.ask(versionPath(id, 'CONN2', '1.4.0'), { token })
    expectHeaders(scope, problem, [...admitted, 'www-authenticate'])
    expectHeaders(await gateway.ask(`${path}?x`, { token }), problem, admitted)
    expectHeaders(await gateway.ask(path, { token, method: 'DELETE' }), problem, ['allow'])
    expectHeaders(await gateway.ask('/nowhere'), problem, [])
    expectHeaders(await gateway.ask('/health'), 'application/json', [])
  })

  test('a slow-down of the platform comes with Retry-After', async () => {
    const { id, token } = await gateway.organisation()
    gateway.platform.misbehave({ kind: 'status', status: 429, retryAfter: '7' })
    const answer = await put(gateway, { id, token })
    expectHeaders(answer, problem, [...admitted, 'retry-after'])
    expect(answer.headers['retry-after']).toBe('7')
  })

  test('a foreign page may not read an answer', async () => {
    const { id, token } = await gateway.organisation()
    const answer = await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), {
      token,
      headers: { Origin: 'https://evil.example' },
    })
    expect(Object.keys(answer.headers).filter(name => name.startsWith('access-control'))).toEqual([])
  })
})

test('a user agent stands in the record, cut at 256 characters', async () => {
  const { id, token } = await gateway.organisation()
  for (const userAgent of ['deploy/1.0', 'x'.repeat(5000)]) {
    await gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token, headers: { 'User-Agent': userAgent } })
    const record = (await logOf(gateway, id)).at(-1)?.record
    expect(record.client.userAgent).toBe(userAgent.slice(0, 256))
  }
})
