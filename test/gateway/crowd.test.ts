/**
 * Many callers at once: every one is answered and every update is applied once, a noisy caller does not cost a quiet one
 * its answers, and a platform that hangs on some connections does not keep the others waiting past their deadline.
 */
import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import type { ConnectionVersion } from '../platform/platform.ts'
import {
  type Answer,
  eventsOf,
  gatewayForTests,
  logOf,
  newId,
  put,
  versionOf,
  versionPath,
} from './gateway.ts'

const gateway = await gatewayForTests({ UPSTREAM_TIMEOUT_MS: '10000', UPSTREAM_RETRY_MS: '5' })

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
const codeOf = ({ status, json }: Answer) => (status === 200 ? '200' : `${status} ${json?.code}`)

/** Expects a refusal that tells the caller to come again, and that nothing was sent. */
function expectOverloaded({ status, headers, json, text }: Answer): void {
  expect([status, json?.code, json?.outcome], text).toEqual([503, 'overloaded', 'not-sent'])
  expect(headers['content-type']).toBe('application/problem+json')
  expect(Number(headers['retry-after'])).toBeGreaterThan(0)
}

/** Gives a connection versions of its own, so that each caller has one that no one else changes. */
function seed(organisation: string, connection: string, count: number): string[] {
  const { id, ...like } = versionOf(gateway, organisation, {}, { connection })
  const names = Array.from({ length: count }, (_, i) => `1.${i}.0`)
  const versions: ConnectionVersion[] = names.map(name => ({
    ...like,
    id: newId(),
    name,
    isLatest: false,
    isDefault: false,
  }))
  gateway.platform.seed(organisation, connection, versions)
  return names
}

test('500 callers at once on 50 connections: all are answered, each update is applied once and in the order of the log', async () => {
  const made = await gateway.organisation()
  const callers = Array.from({ length: 50 }, (_, i) => `CROWD${i}`).flatMap(connection =>
    seed(made.id, connection, 10).map(version => ({ connection, version })),
  )
  // While all slots are taken nothing drains: of 500, more come than may wait.
  const gate = gateway.platform.hold({ method: 'PUT', times: 5 })
  async function update({ connection, version }: { connection: string; version: string }): Promise<string> {
    const description = `${connection} ${version}`
    for (;;) {
      const answer = await put(gateway, made, { connection, version, changes: { description } })
      if (answer.status === 200) {
        expect(answer.json.description).toBe(description)
        return description
      }
      expectOverloaded(answer)
      gate.release()
      await sleep(Number(answer.headers['retry-after']) * 1000 + Math.random() * 500)
    }
  }
  const done = await Promise.all(callers.map(update))

  const history = gateway.platform.history.filter(each => each.organisationId === made.id)
  const applied = history.map(({ body }) => JSON.parse(body).description)
  expect(applied.toSorted()).toEqual(done.toSorted())
  expect(new Set(applied).size).toBe(500)
  const log = (await logOf(gateway, made.id)).map(({ record }) => record)
  expect(log.filter(({ event }) => event === 'update.succeeded').length).toBe(500)
  for (const connection of new Set(callers.map(each => each.connection))) {
    const attempted = log.filter(
      ({ event, target }) => event === 'update.attempted' && target.connectionId === connection,
    )
    const sent = history.filter(each => each.connectionId === connection)
    expect(attempted.map(({ request }) => request.body.description)).toEqual(
      sent.map(({ body }) => JSON.parse(body).description),
    )
  }
})

/** What a noisy caller does over and over, 300 at a time; `i` is the number of its worker. */
const noises: [string, (noisy: { id: string; token: string }, i: number) => Promise<Answer>][] = [
  ['updates on 10 connections', (noisy, i) => put(gateway, noisy, { connection: `LOUD${i % 10}` })],
  ['updates on 300 connections', (noisy, i) => put(gateway, noisy, { connection: `LOUD${i}` })],
  ['reads of one connection', ({ id, token }) => gateway.ask(versionPath(id, 'LOUD', '1.4.0'), { token })],
]
test.each(noises)(
  'a quiet caller is never refused beside a noisy one (%s) and strangers',
  async (_, noise) => {
    const quiet = await gateway.organisation()
    const noisy = { id: quiet.id, token: await tokenOf(quiet.id, 100_000) }
    const limited = { id: quiet.id, token: await tokenOf(quiet.id, 1) }
    let over = false
    async function untilOver(ask: () => Promise<Answer>): Promise<Answer[]> {
      const answers: Answer[] = []
      while (!over) answers.push(await ask())
      return answers
    }
    const loud = Array.from({ length: 300 }, (_, i) => untilOver(() => noise(noisy, i)))
    const beyond = Array.from({ length: 5 }, (_, i) => untilOver(() => noise(limited, i)))
    const strangers = Array.from({ length: 5 }, () =>
      untilOver(() => put(gateway, { id: quiet.id, token: mintToken(randomBytes).token })),
    )
    const heard: string[] = []
    for (let i = 0; i < 6; i++) {
      const changes = { description: `${i}` }
      heard.push(codeOf(await put(gateway, quiet, { connection: 'QUIET', changes })))
    }
    over = true
    const [ofLoud, ofBeyond, ofStrangers] = await Promise.all(
      [loud, beyond, strangers].map(async workers => (await Promise.all(workers)).flat()),
    )
    expect(heard).toEqual(heard.map(() => '200'))
    const overloaded = ofLoud?.filter(({ json }) => json?.code === 'overloaded') ?? []
    expect(overloaded.length).toBeGreaterThan(0)
    for (const { status, headers } of overloaded) {
      expect([status, headers['content-type']]).toEqual([503, 'application/problem+json'])
      expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    }
    expect(ofBeyond?.map(codeOf)).toContain('429 rate-limited')
    // Strangers may be slowed down for where they come from.
    const told = new Set(ofStrangers?.map(codeOf))
    expect([...told].filter(code => !/^(401 invalid-token|429 rate-limited)$/.test(code))).toEqual([])
  },
)

async function tokenOf(organisation: string, requests: number): Promise<string> {
  const wanted = { name: 'noisy', connections: ['*'], rateLimit: { requests, windowSeconds: 3600 } }
  return (await gateway.admin('POST', `/organisations/${organisation}/tokens`, wanted)).json.token
}

describe('with a deadline of 600 ms', () => {
  beforeAll(() => gateway.restart({ UPSTREAM_TIMEOUT_MS: '600' }))

  test.each(['PUT', 'GET'])(
    'six %ss that hang keep a seventh connection waiting no longer than its deadline',
    async method => {
      const made = await gateway.organisation()
      const { platform } = gateway
      const connections = Array.from({ length: 6 }, () => newId())
      const seventh = newId()
      const ask = (connection: string) =>
        method === 'PUT'
          ? put(gateway, made, { connection })
          : gateway.ask(versionPath(made.id, connection, '1.4.0'), { token: made.token })
      const sentTo = (connection: string, how: string) =>
        platform.received.filter(each => each.method === how && each.url.includes(`/${connection}/`)).length
      const hanging = () => connections.filter(connection => sentTo(connection, method) > 0).length
      // Never answered, not even once the test is over: whoever gets an answer has it from the gateway.
      for (const connectionId of connections) platform.misbehave({ kind: 'hang' }, { method, connectionId })
      const hung = connections.map(ask)
      while (hanging() < 5) await sleep(5)

      const first = await put(gateway, made, { connection: seventh, changes: { description: 'first' } })
      if (first.status === 200) {
        expect(sentTo(seventh, 'PUT')).toBe(1)
      } else {
        expect([first.status, first.json.code], first.text).toEqual([504, 'upstream-timeout'])
        expect(first.headers['content-type']).toBe('application/problem+json')
        // A slot that came free in its last milliseconds leaves it sent and unanswered, or cut off before it arrived.
        expect(first.json.outcome).toMatch(
          sentTo(seventh, 'PUT') === 0 ? /^(not-sent|unknown)$/ : /^unknown$/,
        )
      }
      for (const { status, json, text } of await Promise.all(hung)) {
        expect([status, json.code], text).toEqual([504, 'upstream-timeout'])
        if (method === 'PUT') expect(json.outcome).toMatch(/^(unknown|not-sent)$/)
      }
      while (
        first.json.outcome === 'unknown' &&
        !(await eventsOf(gateway, made.id)).includes('update.reconciled')
      ) {
        await sleep(20)
      }
      const next = await put(gateway, made, { connection: seventh, changes: { description: 'next' } })
      expect(next.status, next.text).toBe(200)
      expect(versionOf(gateway, made.id, {}, { connection: seventh }).description).toBe('next')
    },
    // Far more than every deadline in it together: what hangs longer hangs for good.
    10_000,
  )
})
