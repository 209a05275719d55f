/**
 * Storage that is full: the runtime's files lie on a small tmpfs, which a filler takes up to the last page. What was
 * answered is in the log, what is not in the log was not sent, and once there is room the gateway goes on by itself.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  type Answer,
  eventsOf,
  type Gateway,
  logOf,
  newId,
  put,
  startGateway,
  verifyLogs,
  versionOf,
  versionPath,
} from './gateway.ts'

let gateway: Gateway
/** Why there is no small file system here; undefined where there is one. */
let unmounted: string | undefined

beforeAll(async () => {
  gateway = await startGateway({ UPSTREAM_TIMEOUT_MS: '1500', UPSTREAM_RETRY_MS: '10' })
  unmounted = mountOver(gateway.storage)
  if (unmounted === undefined) await gateway.restart()
})
beforeEach(ctx => ctx.skip(unmounted !== undefined, `no tmpfs could be mounted: ${unmounted}`))
afterEach(async () => {
  makeRoom()
  await verifyLogs(gateway)
})
afterAll(async () => {
  // Lazily: workerd still has its files open.
  if (unmounted === undefined) execFileSync('umount', ['-l', gateway.storage])
  await gateway.stop()
})

function mountOver(folder: string): string | undefined {
  if (process.platform !== 'linux') return 'this is not Linux'
  if (process.getuid?.() !== 0) return 'only root may mount'
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', folder], { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return String((error as { stderr?: Buffer }).stderr ?? error).trim()
  }
}

const page = 4096
const filler = () => join(gateway.storage, 'filler')

/** Takes all the room but `leave` bytes. */
function fill(leave: number): void {
  const file = openSync(filler(), 'w')
  try {
    const { bavail, bsize } = statfsSync(gateway.storage)
    for (let left = bavail * bsize - leave; left > 0; left -= page) writeSync(file, Buffer.alloc(page))
  } catch (error) {
    // Fuller than it said it was: full all the same.
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(file)
  }
}

function makeRoom(): void {
  rmSync(filler(), { force: true })
}

const sha256 = (...parts: (string | Buffer)[]) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** Expects a problem that says that it was not for the caller's fault, and promises nothing. */
function expectRefusal({ status, headers, json, text }: Answer): void {
  expect(headers['content-type'], text).toBe('application/problem+json')
  expect([status, /^(interrupted|audit-unavailable)$/.test(json.code)], text).toEqual([503, true])
  expect(headers['audit-receipt']).toBeUndefined()
}

const sentTo = (connection: string, method: string) =>
  gateway.platform.received.filter(each => each.method === method && each.url.includes(`/${connection}/`))

async function untilLookedAt(connection: string): Promise<void> {
  while (sentTo(connection, 'GET').length === 0) await new Promise(resolve => setTimeout(resolve, 20))
}

async function untilReconciled(organisation: string): Promise<void> {
  for (;;) {
    const events = await eventsOf(gateway, organisation)
    const of = (wanted: string) => events.filter(event => event === wanted).length
    if (of('update.reconciled') === of('update.unknown')) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

test('an update whose attempt finds no room is not sent, and the next one with room is', async () => {
  const made = await gateway.organisation()
  fill(0)
  for (let i = 0; i < 3; i++) expectRefusal(await put(gateway, made))
  expect(gateway.platform.received).toEqual([])
  makeRoom()
  const answer = await put(gateway, made)
  expect(answer.status, answer.text).toBe(200)
  expect(await eventsOf(gateway, made.id)).toEqual(['update.attempted', 'update.succeeded'])
})

test('an update whose outcome finds no room is not answered as done; with room it is closed and looked into, unasked', async () => {
  const made = await gateway.organisation()
  const connection = newId()
  const body = { ...versionOf(gateway, made.id, {}, { connection }), description: 'held' }
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': 'once' }
  const gate = gateway.platform.hold({ method: 'PUT', connectionId: connection })
  const held = put(gateway, made, { connection, body, headers })
  await gate.arrived
  fill(0)
  gate.release()
  const refused = await held
  expectRefusal(refused)
  expect(refused.json.outcome).toBe('unknown')
  expect(versionOf(gateway, made.id, {}, { connection }).description).toBe('held')

  makeRoom()
  await untilLookedAt(connection)
  await untilReconciled(made.id)
  const log = await logOf(gateway, made.id)
  const [attempted, unknown, reconciled] = log.slice(-3).map(({ record }) => record)
  expect(attempted).toMatchObject({ event: 'update.attempted', request: { sha256: sentBody(connection) } })
  expect(unknown).toMatchObject({ event: 'update.unknown', attempt: attempted.seq, reason: 'interrupted' })
  expect(reconciled).toMatchObject({ event: 'update.reconciled', attempt: attempted.seq, applied: true })
  const again = await put(gateway, made, { connection, body, headers })
  expect([again.status, again.headers['idempotency-replayed']], again.text).toEqual([200, 'true'])
  expect(sentTo(connection, 'PUT').length).toBe(1)
})

const sentBody = (connection: string) => sentTo(connection, 'PUT').map(({ bodySha256 }) => bodySha256)[0]

test('while an outcome has no room, and for an organisation that is new, every answer is a problem that says so', async () => {
  const made = await gateway.organisation()
  const path = versionPath(made.id, 'CONN1', '1.4.0')
  const gate = gateway.platform.hold({ method: 'PUT' })
  const held = put(gateway, made)
  await gate.arrived
  fill(0)
  gate.release()
  expectRefusal(await held)

  const sent = gateway.platform.received.length
  const unheardOf = newId()
  for (const answer of [
    await put(gateway, made),
    await put(gateway, made, { connection: 'CONN2' }),
    await gateway.ask(path, { token: made.token }),
    await gateway.ask(`/o/${made.id}/token`, { token: made.token }),
    await gateway.admin('DELETE', `/organisations/${made.id}/tokens/${made.tokenId}`),
    await gateway.admin('PUT', `/organisations/${unheardOf}/session`, { cookie: 'new' }),
    await gateway.ask(versionPath(unheardOf, 'CONN1', '1.4.0'), { token: made.token }),
  ]) {
    expectRefusal(answer)
  }
  expect(gateway.platform.received.length).toBe(sent)

  makeRoom()
  // What the refused revocation asked for has not happened, nor has the new organisation's session been set.
  expect((await put(gateway, made, { connection: 'CONN2' })).status).toBe(200)
  const { state } = (await gateway.admin('GET', `/organisations/${unheardOf}/session`)).json
  expect(state).toBe('missing')
  expect((await gateway.admin('PUT', `/organisations/${unheardOf}/session`, { cookie: 'new' })).status).toBe(
    200,
  )
  await untilReconciled(made.id)
})

test('filled up under load: what was answered is there, what is not there was not sent', async () => {
  const made = await gateway.organisation()
  const connections = Array.from({ length: 8 }, () => newId())
  const answered: { receipt: string; sha256: string }[] = []
  let refusals = 0
  /** Updates of some hundred bytes up to some 60 KiB; the smaller ones stand in the log with their bodies. */
  async function update(connection: string): Promise<void> {
    for (let i = 0; refusals < 40; i++) {
      const description = `${connection} ${i} `.padEnd((200 * 3 ** (i % 6)) | 0, 'x')
      const body = JSON.stringify(versionOf(gateway, made.id, { description }, { connection }))
      const answer = await put(gateway, made, { connection, body })
      if (answer.status === 200) {
        answered.push({ receipt: String(answer.headers['audit-receipt']), sha256: sha256(body) })
        continue
      }
      refusals++
      expect(answer.status, answer.text).toBeGreaterThanOrEqual(500)
      expect(answer.headers['content-type']).toBe('application/problem+json')
      expect(answer.headers['audit-receipt']).toBeUndefined()
      const sent = gateway.platform.received.some(each => each.body === body)
      if (answer.json.outcome === 'not-sent') expect(sent).toBe(false)
      else expect(answer.json.outcome).toBe('unknown')
    }
  }
  fill(512 * 1024)
  const before = gateway.platform.received.length
  await Promise.all(connections.map(update))
  expect(answered.length).toBeGreaterThan(0)

  makeRoom()
  await Promise.all(
    connections.map(async connection => {
      let answer = await put(gateway, made, { connection })
      // Behind an update that is still looked into, one may wait for longer than it has.
      while (answer.json?.code === 'upstream-timeout') {
        expect(answer.json.outcome).toBe('not-sent')
        answer = await put(gateway, made, { connection })
      }
      expect(answer.status, answer.text).toBe(200)
    }),
  )
  await untilReconciled(made.id)
  await expectWhole()
  await gateway.restart()
  await expectWhole()

  async function expectWhole(): Promise<void> {
    const log = await logOf(gateway, made.id)
    const records = log.map(({ record }) => record)
    for (const { receipt, sha256: body } of answered) {
      const [seq = '', leaf] = receipt.split(':')
      const outcome = records[Number(seq) - 1]
      expect(sha256('\0', log[Number(seq) - 1]?.line ?? '')).toBe(leaf)
      expect(outcome).toMatchObject({ event: 'update.succeeded', request: { sha256: body } })
      const attempt = records[outcome.attempt - 1]
      expect(attempt).toMatchObject({ event: 'update.attempted', request: { sha256: body } })
    }
    const attempts = new Map(
      records.filter(({ event }) => event === 'update.attempted').map(each => [each.request.sha256, each]),
    )
    const updates = gateway.platform.received.slice(before).filter(({ method }) => method === 'PUT')
    for (const { bodySha256, time } of updates) {
      expect(
        Date.parse(attempts.get(bodySha256)?.time),
        'an update without a record before it',
      ).toBeLessThanOrEqual(time)
    }
    const applied = new Set(gateway.platform.history.map(({ body }) => sha256(body)))
    for (const { event, attempt, applied: found } of records) {
      if (event !== 'update.reconciled') continue
      expect(found).toBe(applied.has(records[attempt - 1].request.sha256))
    }
  }
})
