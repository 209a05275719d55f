/** Where the promises end: what the gateway cannot prevent, and how it shows afterwards. Each is named in the README. */

import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventsOf, type Gateway, logOf, put, startGateway } from './gateway.ts'

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ UPSTREAM_TIMEOUT_MS: '500', UPSTREAM_RETRY_MS: '10' })
})
afterAll(() => gateway.stop())

const until = async (holds: () => Promise<boolean>) => {
  while (!(await holds())) await new Promise(resolve => setTimeout(resolve, 20))
}

test('a write that was cut off may land after its successor; the log says that it was not applied when it was looked for', async () => {
  const made = await gateway.organisation()
  const gate = gateway.platform.hold({ method: 'PUT' })
  const late = await put(gateway, made, { changes: { description: 'late' } })
  expect([late.status, late.json.outcome]).toEqual([504, 'unknown'])
  await until(async () => (await eventsOf(gateway, made.id)).includes('update.reconciled'))
  expect((await put(gateway, made, { version: '1.3.0', changes: { description: 'successor' } })).status).toBe(
    200,
  )
  gate.release()
  const history = () => gateway.platform.history.filter(each => each.organisationId === made.id)
  await until(async () => history().length === 2)
  expect(history().map(({ body }) => JSON.parse(body).description)).toEqual(['successor', 'late'])
  const log = (await logOf(gateway, made.id)).map(({ record }) => record)
  expect(log.find(({ event }) => event === 'update.reconciled')).toMatchObject({ applied: false })
})

test('an object that is reset under an update cannot say what became of it; the caller is told so, the alarm finds out', async () => {
  const made = await gateway.organisation()
  const gate = gateway.platform.hold({ method: 'PUT' })
  const cut = put(gateway, made, { changes: { description: 'cut' } }).catch(() => undefined)
  await gate.arrived
  await gateway.restart()
  const answer = await cut
  if (answer) expect(answer.json.outcome).toBe('unknown')
  gate.release()
  await until(async () => (await eventsOf(gateway, made.id)).includes('update.reconciled'))
  const log = (await logOf(gateway, made.id)).map(({ record }) => record)
  expect(log.find(({ event }) => event === 'update.unknown')).toMatchObject({ reason: 'interrupted' })
  expect((await put(gateway, made)).status).toBe(200)
})

test('a restored older copy of the storage is taken for the log; who holds a receipt can tell', async () => {
  const made = await gateway.organisation()
  await put(gateway, made, { changes: { description: 'one' } })
  const backup = mkdtempSync(join(tmpdir(), 'gateway-backup-'))
  await gateway.restart()
  await gateway.runtime.miniflare.dispose()
  cpSync(gateway.storage, backup, { recursive: true })
  await gateway.restart()
  const lost = await put(gateway, made, { changes: { description: 'two' } })
  expect(lost.status).toBe(200)
  await gateway.runtime.miniflare.dispose()
  rmSync(gateway.storage, { recursive: true })
  cpSync(backup, gateway.storage, { recursive: true })
  rmSync(backup, { recursive: true })
  await gateway.restart()
  expect((await put(gateway, made, { changes: { description: 'three' } })).status).toBe(200)
  const log = await logOf(gateway, made.id)
  expect(log.map(({ record }) => record.seq)).toEqual(log.map((_, index) => index + 1))
  const [seq = '', leaf] = String(lost.headers['audit-receipt']).split(':')
  const line = log[Number(seq) - 1]?.line ?? ''
  expect(createHash('sha256').update('\0').update(line).digest('hex')).not.toBe(leaf)
})
