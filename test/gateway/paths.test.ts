/** Paths: what may stand in them, what reaches the platform, and in which order refusals come. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import { eventsOf, gatewayForTests, logOf, newId, put, versionOf } from './gateway.ts'

const gateway = await gatewayForTests()

const json = { 'Content-Type': 'application/json' }

/** Of the path's last segment, as it goes over the wire. */
const badVersions: [what: string, segment: string][] = [
  ['an encoded slash', 'a%2Fb'],
  ['an encoded slash in lower case', 'a%2fb'],
  ['nothing but an encoded slash', '%2F'],
  ['a doubly encoded slash', 'a%252Fb'],
  ['a triply encoded slash', 'a%25252Fb'],
  ['an encoded path out', '..%2F..%2F..%2Fadmin'],
  ['doubly encoded dot segments', '%252e%252e'],
  ['an encoded backslash', 'a%5Cb'],
  ['a doubly encoded backslash', 'a%255Cb'],
  ['NUL', '1.4.0%00'],
  ['a doubly encoded NUL', '1.4.0%2500'],
  ['CR LF', '1.4.0%0D%0AX-Evil:%201'],
  ['LF alone', '1.4.0%0A'],
  ['a tab', '1.4%09.0'],
  ['DEL', '1.4.0%7F'],
  ['a C1 control', '1.4.0%C2%85'],
  ['an encoded question mark', '1.4.0%3Fadmin=true'],
  ['an encoded hash', '1.4.0%23x'],
  ['a semicolon', '1.4.0;x=1'],
  ['an encoded semicolon', '1.4.0%3Bx=1'],
  ['a percent sign', '100%25'],
  ['a percent sign that encodes nothing', '100%'],
  ['a percent sign before other letters', '1%zz'],
  ['an invalid UTF-8 byte', '1.4.0%FF'],
  ['a cut UTF-8 sequence', '1.4.0%E7%89'],
  ['an overlong slash', '..%C0%AF'],
  ['an encoded lone surrogate', '1.4.0%ED%A0%80'],
  ['a bidi override', '1.4.0%E2%80%AEgpj'],
  ['a zero-width space', '1.4%E2%80%8B.0'],
  ['a zero-width joiner', '1.4%E2%80%8D.0'],
  ['a byte order mark', '%EF%BB%BF1.4.0'],
  ['a soft hyphen', '1.4%C2%AD.0'],
  ['a tag character', '1.4.0%F3%A0%81%81'],
  ['a line separator', '1.4%E2%80%A8.0'],
  ['a paragraph separator', '1.4%E2%80%A9.0'],
  ['NFD', 'cafe%CC%81'],
  ['a leading space', '%201.4.0'],
  ['a trailing space', '1.4.0%20'],
  ['256 characters', 'x'.repeat(256)],
  ['300 characters', 'x'.repeat(300)],
  ['300 characters of three bytes', '%E7%89%88'.repeat(300)],
]

describe('a version that may not stand in a path', () => {
  test.each(badVersions)('%s', async (_, segment) => {
    const { id, token } = await gateway.organisation()
    const sent = gateway.platform.received.length
    const path = `/o/${id}/connections/CONN1/versions/${segment}`
    const body = versionOf(gateway, id)

    const read = await gateway.ask(path, { token })
    expect(read.status, read.text).toBe(400)
    expect(read.json.code).toBe('invalid-path')
    expect(read.json.fields[0].field).toBe('version')
    expect(read.json.outcome).toBeUndefined()

    const update = await gateway.ask(path, { method: 'PUT', token, headers: json, body })
    expect(update.status).toBe(400)
    expect(update.json.code).toBe('invalid-path')
    expect(update.json.outcome).toBe('not-sent')

    const stranger = await gateway.ask(path, { token: mintToken(randomBytes).token })
    expect(stranger.status).toBe(401)

    const log = (await logOf(gateway, id)).slice(-3).map(({ record }) => record)
    expect(log.map(({ event, reason }) => [event, reason])).toEqual([
      ['read.rejected', 'invalid-path'],
      ['update.rejected', 'invalid-path'],
      ['read.denied', 'unknown'],
    ])
    // What was refused for its form is not repeated in the log.
    expect(log[0].target).toEqual({ organisationId: id, connectionId: 'CONN1' })
    expect(gateway.platform.received.length).toBe(sent)
  })
})

test.each([
  ['an encoded slash', 'CONN%2F1'],
  ['a doubly encoded slash', 'CONN%252F1'],
  ['a backslash', 'CONN%5C1'],
  ['NUL', 'CONN1%00'],
  ['CR LF', 'CONN1%0D%0A'],
  ['a question mark', 'CONN1%3F'],
  ['a hash', 'CONN1%23'],
  ['a dot', 'CONN.1'],
  ['a space', 'CONN%201'],
  ['a letter beyond ASCII', 'C%C3%96NN'],
  ['a star', '*'],
  ['65 characters', 'C'.repeat(65)],
])('a connection id with %s is refused', async (_, segment) => {
  const { id, token } = await gateway.organisation()
  const sent = gateway.platform.received.length
  const answer = await gateway.ask(`/o/${id}/connections/${segment}/versions/1.4.0`, { token })
  expect(answer.status).toBe(400)
  expect(answer.json.code).toBe('invalid-path')
  expect(answer.json.fields.map(({ field }: { field: string }) => field)).toEqual(['connection_id'])
  const record = (await logOf(gateway, id)).at(-1)?.record
  expect(record.event).toBe('read.rejected')
  expect(record.target).toEqual({ organisationId: id, version: '1.4.0' })
  expect(gateway.platform.received.length).toBe(sent)
})

test.each([
  ['an encoded slash', 'ORG%2F1'],
  ['a dot', 'ORG.1'],
  ['NUL', 'ORG%00'],
  ['a space', 'ORG%201'],
  ['65 characters', 'O'.repeat(65)],
])('an organisation id with %s is refused at the edge, if the token has its form', async (_, segment) => {
  const { token } = await gateway.organisation()
  const sent = gateway.platform.received.length
  const path = `/o/${segment}/connections/CONN1/versions/1.4.0`
  const read = await gateway.ask(path, { token })
  expect(read.status).toBe(400)
  expect(read.json.code).toBe('invalid-path')
  expect(read.json.fields[0].field).toBe('organisation_id')
  expect(read.headers['audit-receipt']).toBeUndefined()
  const update = await gateway.ask(path, { method: 'PUT', token, headers: json, body: '{}' })
  expect(update.status).toBe(400)
  expect(update.json.outcome).toBe('not-sent')
  expect((await gateway.ask(path)).status).toBe(401)
  expect((await gateway.ask(path, { token: `${token}x` })).status).toBe(401)
  expect((await gateway.ask(`/o/${segment}/token`, { token })).status).toBe(400)
  expect(gateway.platform.received.length).toBe(sent)
})

test('what is wrong with all parts of a path is named at once', async () => {
  const { id, token } = await gateway.organisation()
  const answer = await gateway.ask(`/o/${id}/connections/a.b/versions/a%2Fb`, { token })
  expect(answer.json.fields.map(({ field }: { field: string }) => field)).toEqual([
    'connection_id',
    'version',
  ])
})

test.each(['?', '?version=1.3.0', '?a', '?%00', '?access_token=x', '?a=1&a=2'])(
  'a query string is refused: %s',
  async query => {
    const { id, token } = await gateway.organisation()
    const sent = gateway.platform.received.length
    const path = `/o/${id}/connections/CONN1/versions/1.4.0${query}`
    const read = await gateway.ask(path, { token })
    expect(read.status).toBe(400)
    expect(read.json.code).toBe('invalid-query')
    const update = await gateway.ask(path, {
      method: 'PUT',
      token,
      headers: json,
      body: versionOf(gateway, id),
    })
    expect(update.status).toBe(400)
    expect(update.json.code).toBe('invalid-query')
    expect(update.json.outcome).toBe('not-sent')
    const stranger = await gateway.ask(path, { token: mintToken(randomBytes).token })
    expect(stranger.status).toBe(401)
    expect(await eventsOf(gateway, id)).toEqual(['read.rejected', 'update.rejected', 'read.denied'])
    expect((await gateway.ask(`/o/${id}/token${query}`, { token })).json.code).toBe('invalid-query')
    expect(gateway.platform.received.length).toBe(sent)
  },
)

test('segments that are empty or too many lead nowhere', async () => {
  const { id, token } = await gateway.organisation()
  const sent = gateway.platform.received.length
  const paths = [
    `/o//connections/CONN1/versions/1.4.0`,
    `/o/${id}/connections//versions/1.4.0`,
    `/o/${id}/connections/CONN1/versions/`,
    `/o/${id}/connections/CONN1/versions`,
    `/o/${id}/connections/CONN1/versions/1.4.0/`,
    `/o/${id}/connections/CONN1/versions/1.4.0//`,
    `/o/${id}/connections/CONN1//versions/1.4.0`,
    `//o/${id}/connections/CONN1/versions/1.4.0`,
    `/o/${id}/connections/CONN1/versions/1.4.0/x`,
    `/o/${id}/token/`,
    `/O/${id}/connections/CONN1/versions/1.4.0`,
    `/o/${id}/connections/CONN1/Versions/1.4.0`,
  ]
  const wrong: string[] = []
  for (const path of paths) {
    for (const method of ['GET', 'PUT']) {
      const body = method === 'PUT' ? { headers: json, body: versionOf(gateway, id) } : {}
      const { status, json: problem } = await gateway.ask(path, { method, token, ...body })
      if (status !== 404 || problem?.code !== 'not-found') wrong.push(`${method} ${path}: ${status}`)
    }
  }
  expect(wrong).toEqual([])
  expect(await eventsOf(gateway, id)).toEqual([])
  expect(gateway.platform.received.length).toBe(sent)
})

test('dot segments and backslashes as they are lead nowhere, whether or not the runtime normalises them', async () => {
  const { id, token } = await gateway.organisation()
  const sent = gateway.platform.received.length
  const wrong: string[] = []
  for (const path of [
    `/o/${id}/connections/CONN1/versions/.`,
    `/o/${id}/connections/CONN1/versions/..`,
    `/o/${id}/connections/CONN1/versions/%2e%2e`,
    `/o/${id}/connections/CONN1/versions/%2E`,
    `/o/${id}/connections/CONN1/versions/a\\b`,
    `/o/${id}/connections/../versions/1.4.0`,
    `/o/../connections/CONN1/versions/1.4.0`,
    `/o/${id}/connections/CONN1/versions/1.4.0/../../../token`,
  ]) {
    const { status, json: problem } = await gateway.ask(path, { token })
    if (!['invalid-path', 'not-found'].includes(problem?.code)) wrong.push(`${path}: ${status}`)
  }
  expect(wrong).toEqual([])
  expect(gateway.platform.received.length).toBe(sent)
})

test('every error of a PUT says that nothing was sent, also where no route took it', async () => {
  const { id, token } = await gateway.organisation()
  const answer = await gateway.ask(`/o/${id}/connections/CONN1/versions/1.4.0/x`, { method: 'PUT', token })
  expect(answer.json.outcome).toBe('not-sent')
})

test.each([['POST'], ['DELETE'], ['HEAD'], ['OPTIONS'], ['PROPFIND']])(
  '%s is answered with the methods that are taken',
  async method => {
    const { id, token } = await gateway.organisation()
    const sent = gateway.platform.received.length
    for (const bearer of [token, undefined]) {
      const answer = await gateway.ask(`/o/${id}/connections/CONN1/versions/1.4.0`, { method, token: bearer })
      expect(answer.status).toBe(405)
      expect(String(answer.headers.allow).split(', ')).toEqual(expect.arrayContaining(['GET', 'PUT']))
      if (method !== 'HEAD') expect(answer.json.code).toBe('method-not-allowed')
      const self = await gateway.ask(`/o/${id}/token`, { method, token: bearer })
      expect(self.status).toBe(405)
      expect(self.headers.allow).toBe('GET')
    }
    expect(await eventsOf(gateway, id)).toEqual([])
    expect(gateway.platform.received.length).toBe(sent)
  },
)

test.each([
  '1.4.0',
  '1.0.0+build.5',
  'release candidate 1',
  '版本 1',
  'café',
  'a&b=c@d:e,f$g',
  "it's (almost) done!*~",
  '{"a":[1]}|^`<>',
  '...',
  '.hidden',
  '🚀',
  'x'.repeat(255),
  '版'.repeat(255),
  '🚀'.repeat(255),
])('a legal name arrives as it was meant: %s', async name => {
  const { id, token } = await gateway.organisation()
  gateway.platform.seed(id, 'CONN1', [{ ...versionOf(gateway, id), name }])
  const read = await gateway.ask(`/o/${id}/connections/CONN1/versions/${encodeURIComponent(name)}`, { token })
  expect(read.status, read.text).toBe(200)
  expect(read.json.name).toBe(name)
  const url = `/api/connect/v1alpha1/o/${id}/connections/CONN1/versions/${encodeURIComponent(name)}`
  expect(gateway.platform.received.at(-1)?.url).toBe(url)

  const update = await put(gateway, { id, token }, { version: name })
  expect(update.status, update.text).toBe(200)
  expect(gateway.platform.received.at(-1)?.url).toBe(url)
  expect(gateway.platform.history.at(-1)?.version).toBe(name)
  const record = (await logOf(gateway, id)).at(-1)?.record
  expect(record.target).toEqual({ organisationId: id, connectionId: 'CONN1', version: name })
})

test('other spellings of one path arrive as the one spelling', async () => {
  const { id, token } = await gateway.organisation()
  gateway.platform.seed(id, 'CONN1', [{ ...versionOf(gateway, id), name: '1.0.0+build.5' }])
  const url = `/api/connect/v1alpha1/o/${id}/connections/CONN1/versions/1.0.0%2Bbuild.5`
  for (const [connection, version] of [
    ['CONN1', '1.0.0+build.5'],
    ['CONN1', '1.0.0%2bbuild.5'],
    ['%43ONN1', '1%2E0%2e0+build%2E5'],
  ]) {
    const read = await gateway.ask(`/o/${id}/connections/${connection}/versions/${version}`, { token })
    expect(read.status).toBe(200)
    expect(gateway.platform.received.at(-1)?.url).toBe(url)
  }
})

test('refusals come in their order: token, path, scope, body', async () => {
  const all = await gateway.organisation()
  const narrow = await gateway.organisation({ connections: ['OTHER'] })
  const path = (id: string, version: string) => `/o/${id}/connections/CONN1/versions/${version}`
  const ask = async (id: string, version: string, token: string | undefined) =>
    (await gateway.ask(path(id, version), { method: 'PUT', token, body: 'not json' })).json.code
  expect(await ask(all.id, 'a%2Fb', undefined)).toBe('missing-token')
  expect(await ask(all.id, 'a%2Fb', mintToken(randomBytes).token)).toBe('invalid-token')
  expect(await ask(all.id, 'a%2Fb', narrow.token)).toBe('invalid-token')
  expect(await ask(narrow.id, 'a%2Fb', narrow.token)).toBe('invalid-path')
  expect(await ask(narrow.id, '1.4.0', narrow.token)).toBe('insufficient-scope')
  expect(await ask(all.id, '1.4.0', all.token)).toBe('unsupported-media-type')
})

test('a path under the organisation that does not exist has no side effect for a known token', async () => {
  const { token } = await gateway.organisation()
  const answer = await gateway.ask(`/o/${newId()}/connections/CONN1/versions/1.4.0`, { token })
  expect(answer.status).toBe(401)
})
