/**
 * Deliveries across crashes: workerd is killed with SIGKILL between each pair of steps and under load. Every event that was
 * acknowledged is applied once, and nothing is acknowledged or sent that is not durable.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startPlatform } from '../platform/platform.ts'
import { makeSecrets } from '../platform/secrets.ts'
import { type Gateway, logOf, newId, send, verifyLogs } from './gateway.ts'
import {
  applied,
  became,
  deliveryOf,
  descriptionsAt,
  type Hook,
  json,
  makeHook,
  postSigned,
} from './hooks.ts'
import { type Served, Server } from './served.ts'

const platform = await startPlatform()
const storage = mkdtempSync(join(tmpdir(), 'gateway-webhook-crash-'))
const token = randomBytes(33).toString('base64url')
const server = new Server(storage, {
  ...makeSecrets(),
  ADMIN_TOKEN: token,
  UPSTREAM_BASE_URL: platform.baseUrl,
  // Long enough for a crash to end what hangs.
  UPSTREAM_TIMEOUT_MS: '3000',
  UPSTREAM_RETRY_MS: '20',
})
let served: Served
const always = Number.POSITIVE_INFINITY

/** The gateway that runs now, as far as these tests ask it. */
const gateway: Pick<Gateway, 'ask' | 'admin' | 'platform' | 'unverified'> = {
  platform,
  unverified: new Map(),
  ask: (path, options) => send(served.url, path, options),
  admin: (method, path, body, headers = {}) =>
    gateway.ask(`/admin${path}`, {
      method,
      token,
      headers: { ...json, ...headers },
      ...(body ? { body } : {}),
    }),
}

beforeAll(async () => {
  served = await server.start()
})
afterEach(() => verifyLogs(gateway))
afterAll(async () => {
  server.stop()
  await platform.stop()
  rmSync(storage, { recursive: true, force: true })
})

/** What is said of a gateway that was killed comes to nothing. */
const whileAlive = <T>(answer: Promise<T>) => answer.catch(() => undefined)

async function crash(): Promise<void> {
  served.kill()
  served = await server.start()
}

/** Sets the session anew, which ends any rest. */
async function setSession({ organisation }: { organisation: string }): Promise<void> {
  const body = { cookieHeader: platform.cookie }
  const set = await gateway.admin('PUT', `/organisations/${organisation}/session`, body)
  expect(set.status, set.text).toBe(200)
}

/** A new organisation with one hook. */
async function hooked(changes: object = {}): Promise<Hook> {
  const id = newId()
  gateway.unverified.set(id, [])
  await setSession({ organisation: id })
  return makeHook(gateway, id, changes)
}

async function taken(hook: Hook, text: string): Promise<string> {
  const sent = await postSigned(gateway, hook, { text })
  expect([sent.status, sent.json?.state], sent.text).toEqual([202, 'pending'])
  return sent.json.deliveryId
}

const recordsOf = async ({ organisation }: Hook) =>
  (await logOf(gateway, organisation)).map(({ record }) => record)
const puts = ({ organisation }: Hook) =>
  platform.received.filter(({ url, method }) => method === 'PUT' && url.includes(organisation)).length

/** Where a delivery stands as workerd is killed. */
interface Point {
  /** Brings it there; what is returned runs between the kill and the restart. */
  reach(hook: Hook, connectionId: string): Promise<() => void>
  puts: number
  events: string[]
}

const took = ['webhook.received']
const sentOnce = [...took, 'update.attempted', 'update.succeeded']
const looked = [...took, 'update.attempted', 'update.unknown', 'update.reconciled']

/** Such looks begin after the deadline, so this point is reached first. */
const whileLooking = 'between the unknown outcome and the look that tells'

const points: Record<string, Point> = {
  'after the 202, while the platform is out of reach': {
    async reach(hook, connectionId) {
      platform.misbehave({ kind: 'drop-before' }, { connectionId, times: always })
      await taken(hook, 'once')
      return () => {}
    },
    puts: 1,
    events: sentOnce,
  },
  'after the 202, while the platform hangs at the read': {
    async reach(hook, connectionId) {
      const held = platform.hold({ connectionId, method: 'GET' })
      await taken(hook, 'once')
      await held.arrived
      return held.release
    },
    puts: 1,
    events: sentOnce,
  },
  'after the read, while its attempt is not durable': {
    async reach(hook, connectionId) {
      const held = platform.hold({ connectionId, method: 'GET' })
      await taken(hook, 'once')
      await held.arrived
      await served.command(hook.organisation, raise('records', `new.event = 'update.attempted'`))
      held.release()
      await became(gateway, hook.organisation, await only(hook), {
        lastFailure: 'audit-unavailable',
        tries: 0,
      })
      return () => {}
    },
    puts: 1,
    events: sentOnce,
  },
  'between its attempt and an answer that never comes': {
    async reach(hook, connectionId) {
      platform.misbehave({ kind: 'hang' }, { connectionId, method: 'PUT' })
      await taken(hook, 'once')
      await expect.poll(() => puts(hook)).toBe(1)
      return () => {}
    },
    puts: 2,
    events: [...looked, 'update.attempted', 'update.succeeded'],
  },
  'between its attempt and an update that is applied all the same': {
    async reach(hook, connectionId) {
      const held = platform.hold({ connectionId, method: 'PUT' })
      await taken(hook, 'once')
      await held.arrived
      return held.release
    },
    puts: 1,
    events: looked,
  },
  'between an update that is applied and its answer': {
    async reach(hook, connectionId) {
      platform.misbehave({ kind: 'hang', apply: true }, { connectionId, method: 'PUT' })
      await taken(hook, 'once')
      await expect.poll(() => descriptionsAt(gateway, hook.organisation, connectionId)).toEqual(['once'])
      return () => {}
    },
    puts: 1,
    events: looked,
  },
  'between the answer and a record of it': {
    async reach(hook, connectionId) {
      await served.command(hook.organisation, raise('records', `new.event = 'update.succeeded'`))
      await taken(hook, 'once')
      await expect.poll(() => descriptionsAt(gateway, hook.organisation, connectionId)).toEqual(['once'])
      return () => {}
    },
    puts: 1,
    events: looked,
  },
  'during the look, its answer lost': {
    async reach(hook, connectionId) {
      platform.misbehave({ kind: 'drop-after' }, { connectionId, method: 'PUT' })
      // The first is the patch's own read.
      platform.misbehave({ kind: 'slow', ms: 0 }, { connectionId, method: 'GET' })
      const held = platform.hold({ connectionId, method: 'GET' })
      await taken(hook, 'once')
      await held.arrived
      return held.release
    },
    puts: 1,
    events: looked,
  },
  [whileLooking]: {
    async reach(hook, connectionId) {
      platform.misbehave({ kind: 'drop-after' }, { connectionId, method: 'PUT' })
      platform.misbehave({ kind: 'slow', ms: 0 }, { connectionId, method: 'GET' })
      platform.misbehave({ kind: 'status', status: 503 }, { connectionId, method: 'GET', times: 3 })
      const held = platform.hold({ connectionId, method: 'GET', times: always })
      await taken(hook, 'once')
      await held.arrived
      return held.release
    },
    puts: 1,
    events: looked,
  },
}

/** Has the storage refuse rows of a table. */
function raise(table: string, when = 'true'): string {
  return `create trigger full before insert on ${table} when ${when} begin select raise(abort, 'no'); end`
}

/** The one delivery of a hook. */
async function only({ organisation, id }: Hook): Promise<string> {
  const { deliveries } = (await gateway.admin('GET', `/organisations/${organisation}/hooks/${id}/deliveries`))
    .json
  expect(deliveries).toHaveLength(1)
  return deliveries[0].id
}

describe('killed', () => {
  const hooks = new Map<string, Hook>()
  const names = Object.keys(points)
  const connectionOf = (name: string) => `POINT${names.indexOf(name)}`

  let crashed: Promise<void> | undefined
  /** Has every delivery at its point, and kills them all at once. */
  async function crashThere(): Promise<void> {
    const reach = async (name: string) => {
      const hook = await hooked({ connectionId: connectionOf(name) })
      hooks.set(name, hook)
      // Its log is verified by its own test, once its delivery is done: until then attempts are under way.
      gateway.unverified.delete(hook.organisation)
      return (points[name] as Point).reach(hook, connectionOf(name))
    }
    const releases = [await reach(whileLooking)]
    releases.push(...(await Promise.all(names.filter(name => name !== whileLooking).map(reach))))
    served.kill()
    for (const release of releases) release()
    platform.behave()
    served = await server.start()
  }

  test.each(names)('%s', async name => {
    crashed ??= crashThere()
    await crashed
    const hook = hooks.get(name) as Hook
    const { organisation } = hook
    // The storage that refused takes records again.
    await served.command(organisation, 'drop trigger if exists full')
    await setSession(hook)
    const id = await only(hook)
    const done = await became(gateway, organisation, id, { state: 'done' })
    expect(descriptionsAt(gateway, organisation, connectionOf(name))).toEqual(['once'])
    expect(puts(hook)).toBe(points[name]?.puts)
    const records = (await recordsOf(hook)).filter(({ delivery }) => delivery === id)
    expect(records.map(({ event }) => event).filter(event => event !== 'update.rejected')).toEqual(
      points[name]?.events,
    )
    expect(records.at(-1)).toMatchObject({ seq: done.closedSeq })
    const again = await postSigned(gateway, hook, { text: 'once' })
    expect([again.status, again.json]).toEqual([200, { deliveryId: id, state: 'done' }])
    expect(puts(hook)).toBe(points[name]?.puts)
    gateway.unverified.set(organisation, [])
  })
})

test('twenty events over four connections, killed twice under load: each applied once, in order', async () => {
  const connections = ['LOAD1', 'LOAD2', 'LOAD3', 'LOAD4']
  const { organisation, ...first } = await hooked({ connectionId: connections[0] })
  const hooks = [{ organisation, ...first }]
  for (const connectionId of connections.slice(1))
    hooks.push(await makeHook(gateway, organisation, { connectionId }))
  platform.misbehave({ kind: 'slow', ms: 20 }, { times: always })
  const acknowledged = new Map<string, string>()
  /** A sender that comes back until it is told that its event was taken. */
  const insist = async (hook: Hook, text: string) => {
    while (!acknowledged.has(text)) {
      const sent = await whileAlive(postSigned(gateway, hook, { text }))
      if (sent && sent.status < 300) acknowledged.set(text, sent.json.deliveryId)
      else await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const appliedSoFar = () => platform.history.filter(each => each.organisationId === organisation).length
  const load = async () => {
    for (let i = 0; i < 5; i++)
      await Promise.all(hooks.map((hook, j) => insist(hook, `${connections[j]} ${i}`)))
  }
  const senders = load()
  for (const enough of [3, 10]) {
    while (appliedSoFar() < enough) await new Promise(resolve => setTimeout(resolve, 2))
    await crash()
  }
  await senders
  expect(new Set(acknowledged.values()).size).toBe(20)
  for (const id of acknowledged.values()) await became(gateway, organisation, id, { state: 'done' })
  for (const connection of connections) {
    const inOrder = Array.from({ length: 5 }, (_, i) => `${connection} ${i}`)
    expect(descriptionsAt(gateway, organisation, connection)).toEqual(inOrder)
  }
  platform.behave()
})

describe('durable before', () => {
  test.each(['records', 'deliveries', 'payloads'])(
    'the 202: not acknowledged, not sent where %s takes no row, and taken later',
    async table => {
      const hook = await hooked()
      await served.command(hook.organisation, raise(table))
      const refused = await postSigned(gateway, hook, { text: 'kept' })
      expect([refused.status, refused.json.code]).toEqual([503, 'audit-unavailable'])
      expect(refused.headers['audit-receipt']).toBeUndefined()
      await served.command(hook.organisation, 'drop trigger full')
      expect((await recordsOf(hook)).map(({ event }) => event)).toEqual(['session.set', 'hook.created'])
      expect(platform.received.filter(({ url }) => url.includes(hook.organisation))).toEqual([])
      const sent = await postSigned(gateway, hook, { text: 'kept' })
      expect(await applied(gateway, hook.organisation, sent)).toMatchObject({ tries: 1 })
      expect(descriptionsAt(gateway, hook.organisation)).toEqual(['kept'])
    },
  )

  test('the PUT: nothing is sent where its attempt cannot be written, it costs no try, and it goes later', async () => {
    const hook = await hooked()
    await served.command(hook.organisation, raise('records', `new.event = 'update.attempted'`))
    const id = await taken(hook, 'kept')
    await became(gateway, hook.organisation, id, {
      lastFailure: 'audit-unavailable',
      state: 'pending',
      tries: 0,
    })
    expect(puts(hook)).toBe(0)
    await served.command(hook.organisation, 'drop trigger full')
    await setSession(hook)
    await became(gateway, hook.organisation, id, { state: 'done', tries: 1 })
    expect(puts(hook)).toBe(1)
  })

  test('an end: one whose record cannot be written is pending still, with all that it held', async () => {
    const hook = await hooked()
    await served.command(hook.organisation, raise('records', `new.event = 'webhook.dead'`))
    platform.misbehave({ kind: 'status', status: 400 }, { method: 'PUT' })
    const id = await taken(hook, 'kept')
    await expect.poll(() => puts(hook)).toBe(1)
    await served.command(hook.organisation, 'drop trigger full')
    const { event } = await deliveryOf(gateway, hook.organisation, id)
    expect(event).toBe('{"text":"kept"}')
    await setSession(hook)
    await became(gateway, hook.organisation, id, { state: 'done' })
  })
})
