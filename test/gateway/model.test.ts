/**
 * A seeded run of everything at once: requests by the thousand while the platform misbehaves, tokens end, sessions change,
 * a disk is full, objects are evicted and workerd is killed. Afterwards the model says what does not hold. What is asked is
 * the same for a seed (FC_SEED); how it falls out is up to the machine, and the model takes any order of events.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { startPlatform } from '../platform/platform.ts'
import { makeSecrets } from '../platform/secrets.ts'
import { type Answer, type Ask, contentOf, filesUnder, type Logged, send, versionPath } from './gateway.ts'
import { type Asked, complaints, type Issued, isDone, tally, unfinished } from './model.ts'
import { connections, type Operation, operation, organisations, tokensEach } from './operations.ts'
import { Server } from './served.ts'

const operationCount = 2_100
const workers = 8
const kills = [500, 1_050, 1_600]
const evictEvery = 170
/** Where the storage of an organisation takes no records of some events for a while. */
const refusals = new Map([
  [350, 'update.attempted'],
  [950, 'token.*'],
  [1_450, 'update.succeeded'],
])
/** How long what is open may take to be closed and looked into, at the very most. */
const settleMs = 20_000
const expectedEvents = [
  ...['update.succeeded', 'update.failed', 'update.unknown', 'update.reconciled', 'update.retried'],
  ...['update.replayed', 'update.denied', 'token.rotated', 'token.revoked', 'session.rejected'],
]

const { seed } = fc.readConfigureGlobal()
const platform = await startPlatform()
const storage = mkdtempSync(join(tmpdir(), 'gateway-model-'))
const adminSecret = randomBytes(33).toString('base64url')
const server = new Server(storage, {
  ...makeSecrets(),
  ADMIN_TOKEN: adminSecret,
  UPSTREAM_BASE_URL: platform.baseUrl,
  UPSTREAM_TIMEOUT_MS: '1000',
  UPSTREAM_RETRY_MS: '10',
})
afterAll(async () => {
  server.stop()
  await platform.stop()
  rmSync(storage, { recursive: true, force: true })
})

const newCookie = () => `cookie=${randomBytes(24).toString('base64url')}`
const asked: Asked[] = []
const receipts: { organisation: string; receipt: string }[] = []
const issued: Issued[] = []
const cookies = [platform.cookie]
/** What was said that should not have been. */
const leaks: string[] = []
let gateway = server.start()

const bareValue = (cookie: string) => cookie.replace(/^cookie=/, '')

/** One request, or undefined where the gateway was killed under it. */
async function ask(organisation: string, path: string, options: Ask): Promise<Answer | undefined> {
  const answer = await send((await gateway).url, path, options).catch(() => undefined)
  if (!answer) return undefined
  const receipt = answer.headers['audit-receipt']
  if (receipt !== undefined) receipts.push({ organisation, receipt: String(receipt) })
  const told = JSON.stringify(answer.headers) + answer.text
  if (cookies.some(each => told.includes(bareValue(each)))) leaks.push(`a cookie in ${path}`)
  return answer
}

/** An administrator's request, until its effect is known. */
async function administer(
  organisation: string,
  method: string,
  path: string,
  body?: object,
): Promise<Answer> {
  const options: Ask = { method, token: adminSecret, headers: { 'Content-Type': 'application/json' } }
  if (body !== undefined) options.body = body
  for (;;) {
    const answer = await ask(organisation, `/admin/organisations/${organisation}/${path}`, options)
    if (answer && answer.status < 500) return answer
  }
}

const setSession = (organisation: string, cookieHeader: string) =>
  administer(organisation, 'PUT', 'session', { cookieHeader })

/** The token that callers use in a place, as long as it lasts. */
const places = new Map<string, { secret: Issued; changing: boolean }>()

function secretOf(organisation: string, token: number): Issued {
  return (places.get(`${organisation} ${token}`) as { secret: Issued }).secret
}

async function issue(organisation: string, path: string, body: object): Promise<Issued> {
  const { status, json, headers, text } = await administer(organisation, 'POST', path, body)
  if (status !== 201) throw new Error(`no token: ${status} ${text}`)
  const born = Number(String(headers['audit-receipt']).split(':')[0])
  const secret = { token: json.token, tokenId: json.id, born }
  issued.push(secret)
  return secret
}

const createToken = (organisation: string) =>
  issue(organisation, 'tokens', {
    name: 'model',
    connections: ['*'],
    rateLimit: { requests: 100_000, windowSeconds: 60 },
  })

/** Ends a place's secret, and puts another in its place. */
async function end({ organisation, token, kind }: Operation): Promise<void> {
  const place = places.get(`${organisation} ${token}`)
  if (!place || place.changing) return
  place.changing = true
  const { secret } = place
  if (kind === 'rotate') {
    place.secret = await issue(organisation, `tokens/${secret.tokenId}/rotate`, {})
    secret.deadAt = Date.now()
  } else {
    await administer(organisation, 'DELETE', `tokens/${secret.tokenId}`)
    secret.deadAt = Date.now()
    place.secret = await createToken(organisation)
  }
  place.changing = false
}

/** A caller's request, kept for the model. */
async function call(wanted: Omit<Asked, 'id' | 'startedAt'>, version: string): Promise<Asked> {
  const { organisation, connection, secret, body, key } = wanted
  const each: Asked = { ...wanted, id: `request-${asked.length}`, startedAt: Date.now() }
  asked.push(each)
  const headers: Record<string, string> = { 'X-Request-Id': each.id }
  if (key !== undefined) headers['Idempotency-Key'] = key
  const options: Ask = { token: secret.token, headers }
  if (body !== undefined) {
    options.method = 'PUT'
    options.body = body
    headers['Content-Type'] = 'application/json'
  }
  const answer = await ask(organisation, versionPath(organisation, connection, version), options)
  if (answer) each.answer = answer
  return each
}

const keyed: { wanted: Omit<Asked, 'id' | 'startedAt'>; version: string }[] = []

async function update(operation: Operation, secret: Issued): Promise<void> {
  const { organisation, connection, version, flips, large, blind } = operation
  const held = platform.get(organisation, connection, version)
  if (!held) return
  const description = `update ${asked.length}${large ? ' '.padEnd(9_000, 'x') : ''}`
  const body = JSON.stringify({ ...held, description, isDefault: held.isDefault || flips })
  const wanted: Omit<Asked, 'id' | 'startedAt'> = { organisation, connection, secret, body }
  if (operation.keyed) {
    wanted.key = `key-${asked.length}`
    keyed.push({ wanted, version })
  }
  if (operation.faulty) platform.misbehave(operation.fault, { method: 'PUT', connectionId: connection })
  if (blind)
    platform.misbehave({ kind: 'status', status: 503 }, { method: 'GET', connectionId: connection, times: 4 })
  const { answer } = await call(wanted, version)
  // Whoever runs the gateway sees that its session is gone, and sets it.
  if (operation.heals && /^session-/.test(answer?.json?.code ?? '')) {
    await setSession(organisation, platform.cookie)
  }
}

/** The same request again, now or then with another body. */
async function repeat(operation: Operation): Promise<void> {
  const first = keyed[operation.pick % (keyed.length || 1)]
  if (!first) return
  const { wanted, version } = first
  const body = operation.flips ? wanted.body?.replace('update', 'another') : wanted.body
  await call({ ...wanted, body: body as string }, version)
}

/** For a while an organisation's storage takes no records of some events. */
async function refuse(operation: Operation, events: string): Promise<void> {
  const { organisation, token } = operation
  const full = `create trigger if not exists full before insert on records when new.event glob '${events}'
    begin select raise(abort, 'no'); end`
  const exec = async (sql: string) => (await gateway).command(organisation, sql)
  await exec(full).catch(() => undefined)
  await Promise.all(
    connections.slice(0, 4).map(connection => {
      return update({ ...operation, connection }, secretOf(organisation, token))
    }),
  )
  // A kill may come in between.
  for (let mended = false; !mended; ) {
    mended = await exec('drop trigger if exists full').then(
      () => true,
      () => false,
    )
  }
}

async function evict(organisation: string): Promise<boolean> {
  const { command } = await gateway
  return command(organisation).then(
    () => true,
    () => false,
  )
}

/** Kills workerd while the platform holds an update, which it applies when the gateway is gone. */
async function kill(): Promise<void> {
  const held = platform.hold({ method: 'PUT' })
  await held.arrived
  const { kill } = await gateway
  kill()
  gateway = server.start()
  held.release()
}

async function perform(operation: Operation): Promise<void> {
  const { kind, organisation, connection, version, token, pick } = operation
  const secret = secretOf(organisation, token)
  switch (kind) {
    case 'put':
      return update(operation, secret)
    case 'repeat':
      return repeat(operation)
    case 'read':
      await call({ organisation, connection, secret }, version)
      return
    case 'ended': {
      const ended = issued.filter(({ deadAt }) => deadAt !== undefined)
      return update(operation, ended[pick % (ended.length || 1)] ?? secret)
    }
    case 'revoke':
    case 'rotate':
      return end(operation)
    case 'session': {
      const wrong = newCookie()
      cookies.push(wrong)
      if (pick % 4 === 0) await administer(organisation, 'DELETE', 'session')
      else await setSession(organisation, wrong)
      for (const connection of connections.slice(0, 2)) await update({ ...operation, connection }, secret)
      await setSession(organisation, platform.cookie)
      return
    }
    case 'expire':
      cookies.push(newCookie())
      platform.cookie = cookies.at(-1) as string
      return
  }
}

/** Asks for everything, eight at a time, and breaks what is to be broken in between. */
async function runAll(operations: readonly Operation[]): Promise<{ evictions: number }> {
  let next = 0
  let evictions = 0
  const work = async () => {
    while (next < operations.length) {
      const place = next++
      const operation = operations[place] as Operation
      await perform(operation)
      const refused = refusals.get(place)
      if (refused) await refuse(operation, refused)
      if (kills.includes(place)) await kill()
      if (place % evictEvery === 0 && (await evict(operation.organisation))) evictions++
    }
  }
  await Promise.all(Array.from({ length: workers }, work))
  return { evictions }
}

async function logOf(organisation: string): Promise<Logged[]> {
  const options = { token: adminSecret, headers: { Accept: 'application/x-ndjson' } }
  const { text } = await send((await gateway).url, `/admin/organisations/${organisation}/audit`, options)
  const lines = text.split('\n').slice(0, -1)
  return lines.map(line => ({ line, record: JSON.parse(line) }))
}

/** Until the alarm has closed and looked into what is left, for as long as it may take. */
async function settled(organisation: string): Promise<void> {
  const until = Date.now() + settleMs
  while (unfinished(await logOf(organisation)).length > 0 && Date.now() < until) {
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

test(`a random run keeps every promise (FC_SEED=${seed})`, { timeout: 150_000 }, async () => {
  for (const organisation of organisations) {
    await setSession(organisation, platform.cookie)
    for (let token = 0; token < tokensEach; token++) {
      places.set(`${organisation} ${token}`, { secret: await createToken(organisation), changing: false })
    }
  }
  const { evictions } = await runAll(fc.sample(operation, { numRuns: operationCount, unbiased: true }))

  platform.behave()
  const last: Asked[] = []
  const logs = new Map<string, Logged[]>()
  for (const organisation of organisations) {
    await setSession(organisation, platform.cookie)
    await settled(organisation)
    for (const connection of connections) {
      const secret = secretOf(organisation, 0)
      const body = JSON.stringify({ ...platform.get(organisation, connection, '1.4.0'), description: 'last' })
      last.push(await call({ organisation, connection, secret, body }, '1.4.0'))
    }
    // What is read after this is what is on disk.
    await evict(organisation)
    logs.set(organisation, await logOf(organisation))
  }

  const { received, history } = platform
  const why = `FC_SEED=${seed}`
  expect(complaints({ asked, receipts, logs, received, history }), why).toEqual([])
  // No connection's turn is left taken.
  expect(new Set(last.map(({ answer }) => answer?.status)), why).toEqual(new Set([200]))

  const secrets = [...issued.map(({ token }) => token), ...cookies.map(bareValue)]
  const holds = (text: string | Buffer) => secrets.some(each => text.includes(each))
  const exported = [...logs.values()].flat().map(({ line }) => line)
  expect(leaks, why).toEqual([])
  expect(
    filesUnder(storage).filter(file => holds(contentOf(file))),
    why,
  ).toEqual([])
  expect([...server.logs, ...exported].filter(holds), why).toEqual([])

  // The run was one: everything that it is about came about.
  const events = tally(logs)
  for (const event of expectedEvents) expect(events[event], `${event}, ${why}`).toBeGreaterThan(0)
  expect(asked.filter(({ answer }) => isDone(answer)).length, why).toBeGreaterThan(operationCount / 4)
  expect(asked.filter(({ answer }) => !answer).length, why).toBeGreaterThanOrEqual(kills.length)
  expect(evictions, why).toBeGreaterThan(0)
})
