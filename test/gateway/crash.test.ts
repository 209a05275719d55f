/**
 * Durability by crashes: workerd is killed with SIGKILL under load, started anew on the same storage, and every answer
 * that a caller has, and every update that the platform has, is looked for in the log. The archive lives through it, and must
 * not take a log that was killed for another.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { startPlatform } from '../platform/platform.ts'
import { makeSecrets } from '../platform/secrets.ts'
import { type Answer, send, versionPath } from './gateway.ts'

const organisation = '01CRASH'
const connections = ['C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7', 'C8']
const json = { 'Content-Type': 'application/json' }

const platform = await startPlatform()
const storage = mkdtempSync(join(tmpdir(), 'gateway-crash-'))
const admin = randomBytes(33).toString('base64url')
const bindings = {
  ...makeSecrets(),
  ADMIN_TOKEN: admin,
  UPSTREAM_BASE_URL: platform.baseUrl,
  UPSTREAM_TIMEOUT_MS: '1000',
  UPSTREAM_RETRY_MS: '5',
  AUDIT_ARCHIVE: 'bound',
}
const children: ChildProcessWithoutNullStreams[] = []
afterAll(async () => {
  for (const child of children) child.stdin.end()
  await platform.stop()
  rmSync(storage, { recursive: true, force: true })
})

async function serve(): Promise<{ url: string; workerd: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'serve.ts')])
  children.push(child)
  child.stdin.write(JSON.stringify({ storage, bindings }))
  return new Promise((resolve, reject) => {
    child.stdout.once('data', data => resolve(JSON.parse(String(data))))
    child.stderr.once('data', data => reject(new Error(String(data))))
  })
}

interface Answered {
  receipt: string
  sha256: string
}

/** Updates one connection over and over until the gateway is gone, and keeps what was answered. */
async function update(url: string, token: string, connection: string, answered: Answered[]): Promise<void> {
  for (let i = 0; ; i++) {
    const held = platform.get(organisation, connection, '1.4.0')
    const body = { ...held, description: `${connection} ${i}` }
    const ask = { method: 'PUT', token, headers: json, body }
    const answer: Answer | undefined = await send(
      url,
      versionPath(organisation, connection, '1.4.0'),
      ask,
    ).catch(() => undefined)
    if (answer?.status !== 200) return
    const receipt = String(answer.headers['audit-receipt'])
    answered.push({
      receipt,
      sha256: sha256(platform.history.findLast(each => each.connectionId === connection)?.body),
    })
  }
}

const sha256 = (...parts: (string | Buffer | undefined)[]) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part ?? '')
  return hash.digest('hex')
}

test('each answered update has both of its records after workerd was killed three times under load', {
  timeout: 90_000,
}, async () => {
  const answered: Answered[] = []
  let gateway = await serve()
  const path = `/admin/organisations/${organisation}`
  const cookie = platform.cookie.replace(/^cookie=/, '')
  const setSession = () =>
    send(gateway.url, `${path}/session`, { method: 'PUT', token: admin, headers: json, body: { cookie } })
  await setSession()
  const wanted = { name: 'load', connections: ['*'], rateLimit: { requests: 100_000, windowSeconds: 60 } }
  const made = await send(gateway.url, `${path}/tokens`, {
    method: 'POST',
    token: admin,
    headers: json,
    body: wanted,
  })

  for (let crash = 0; crash < 3; crash++) {
    const enough = answered.length + 80
    const load = connections.map(each => update(gateway.url, made.json.token, each, answered))
    // Each makes a checkpoint leave, so that a crash finds one on its way to the archive.
    while (answered.length < enough) await setSession()
    process.kill(gateway.workerd, 'SIGKILL')
    await Promise.all(load)
    children.at(-1)?.kill('SIGKILL')
    gateway = await serve()
  }

  const archive = await send(gateway.url, `${path}/audit/archive`, { token: admin })
  expect(archive.json.state).toBe('confirmed')
  const exported = await send(gateway.url, `${path}/audit`, {
    token: admin,
    headers: { Accept: 'application/x-ndjson' },
  })
  const lines = exported.text.trimEnd().split('\n')
  const records = lines.map(line => JSON.parse(line))
  expect(records.map(({ seq }) => seq)).toEqual(records.map((_, index) => index + 1))

  for (const { receipt, sha256: body } of answered) {
    const [seq = '', leaf] = receipt.split(':')
    const line = lines[Number(seq) - 1] ?? ''
    const outcome = JSON.parse(line)
    expect(sha256(Buffer.from([0]), line)).toBe(leaf)
    expect(outcome).toMatchObject({ event: 'update.succeeded', request: { sha256: body } })
    expect(records[outcome.attempt - 1]).toMatchObject({
      event: 'update.attempted',
      request: { sha256: body },
    })
  }
  const outcomes = ['update.succeeded', 'update.failed', 'update.unknown']
  const closed = records.filter(({ event }) => outcomes.includes(event)).map(({ attempt }) => attempt)
  const attempted = records.filter(({ event }) => event === 'update.attempted').map(({ seq }) => seq)
  expect(closed.toSorted((a, b) => a - b)).toEqual(attempted)
  const recorded = new Set(
    records.filter(({ event }) => event === 'update.attempted').map(each => each.request.sha256),
  )
  expect(platform.history.filter(({ body }) => !recorded.has(sha256(body)))).toEqual([])
  // Its storage is the next one's: what it still has to do must not be done beside that.
  process.kill(gateway.workerd, 'SIGKILL')
  children.at(-1)?.kill('SIGKILL')
})

test('an update that a crash cut off is closed and looked into with no request to wake the object', {
  timeout: 60_000,
}, async () => {
  const gateway = await serve()
  const path = `/admin/organisations/${organisation}`
  const wanted = { name: 'cut', connections: ['*'] }
  const made = await send(gateway.url, `${path}/tokens`, {
    method: 'POST',
    token: admin,
    headers: json,
    body: wanted,
  })
  expect(made.status, made.text).toBe(201)
  const gate = platform.hold({ method: 'PUT', connectionId: 'CUT' })
  const body = { ...platform.get(organisation, 'CUT', '1.4.0'), description: 'cut off' }
  const cut = send(gateway.url, versionPath(organisation, 'CUT', '1.4.0'), {
    method: 'PUT',
    token: made.json.token,
    headers: json,
    body,
  }).catch(() => undefined)
  await gate.arrived
  process.kill(gateway.workerd, 'SIGKILL')
  await cut
  children.at(-1)?.kill('SIGKILL')
  gate.release()

  const looks = () =>
    platform.received.filter(({ method, url }) => method === 'GET' && url.includes('CUT')).length
  const { url } = await serve()
  while (looks() === 0) await new Promise(resolve => setTimeout(resolve, 20))
  const query = '?connectionId=CUT&event=update.reconciled'
  let found: { applied: boolean }[] = []
  while (found.length === 0) {
    await new Promise(resolve => setTimeout(resolve, 20))
    found = (await send(url, `${path}/audit${query}`, { token: admin })).json.records
  }
  expect(found).toMatchObject([{ applied: true }])
})
