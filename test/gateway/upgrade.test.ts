/** Storage of an earlier version, and of a later one that was rolled back: what it holds is still there, and works. */
import { expect, test } from 'vitest'
import { eventsOf, gatewayForTests, put } from './gateway.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '20' })

const storageOf = (className: string, name: string) =>
  gateway.runtime.miniflare.unsafeGetDurableObjectStorage('versori-gateway', className, { name })

test('an organisation and a directory from before sessions had an owner are brought up to date', async () => {
  const expiresAt = new Date(Date.now() + 86_400_000).toISOString()
  const made = await gateway.organisation({ expiresAt })
  expect((await put(gateway, made)).status).toBe(200)
  const organisation = await storageOf('Organisation', made.id)
  for (const column of ['owner', 'expires_at', 'probe']) {
    await organisation.exec(`alter table session drop column ${column}`)
  }
  for (const table of [
    'rates',
    'alerts',
    'warned',
    'hooks',
    'deliveries',
    'payloads',
    'deleted_hooks',
    'signing_key',
    'archive',
  ])
    await organisation.exec(`drop table ${table}`)
  await organisation.exec(`delete from due where kind = 'expiries'`)
  await organisation.exec(`update tokens set scope = json_remove(scope, '$.fields')`)
  for (const [name, column] of [
    ['records_by_actor', 'actor'],
    ['records_by_connection', 'connection_id'],
    ['records_by_request', 'request_id'],
  ]) {
    await organisation.exec(`drop index ${name}`)
    await organisation.exec(`create index ${name} on records (${column})`)
  }
  await organisation.exec('update schema set version = 2')
  const directory = await storageOf('Directory', 'directory')
  await directory.exec('alter table organisations drop column bytes')
  await gateway.restart()

  expect((await put(gateway, made, { changes: { isDefault: true } })).status).toBe(200)
  const { json } = await gateway.admin('GET', `/organisations/${made.id}/session`)
  expect(json).toMatchObject({ state: 'active', generation: 1, owner: null, expiresAt: null })
  const { organisations } = (await gateway.admin('GET', '/organisations')).json
  expect(organisations).toMatchObject([{ id: made.id, storage: { bytes: 0 } }])
  // Attempts from before and since are found without an entry in any index.
  const audit = await gateway.admin('GET', `/organisations/${made.id}/audit?connectionId=CONN1`)
  expect(audit.json.records.map(({ event }: { event: string }) => event)).toEqual([
    'update.succeeded',
    'update.attempted',
    'update.succeeded',
    'update.attempted',
  ])
  // A token from before there were warnings is warned of all the same.
  while (!(await eventsOf(gateway, made.id)).includes('token.expiring')) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
})

test('what a later version left due is put off, and keeps nothing else from being done', async () => {
  const made = await gateway.organisation()
  const before = await storageOf('Organisation', made.id)
  await before.exec(`insert into due values ('from a later version', 1)`)
  await gateway.restart()
  gateway.platform.misbehave({ kind: 'hang' }, { method: 'PUT' })
  expect((await put(gateway, made)).json.outcome).toBe('unknown')
  while (!(await eventsOf(gateway, made.id)).includes('update.reconciled')) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  const after = await storageOf('Organisation', made.id)
  const [due] = await after.exec(`select at from due where kind = 'from a later version'`)
  expect(Number(due?.at)).toBeGreaterThan(Date.now())
})
