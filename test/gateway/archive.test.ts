/**
 * What is held outside the object: checkpoints and segments in the archive, the log that is compared with them before
 * anything is written, and the bytes of old records that the archive alone still holds.
 */
import { spawnSync } from 'node:child_process'
import { createHash, createPrivateKey, sign } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest'
import { append, emptyTree, leafHash } from '../../src/organisation/tree.ts'
import {
  type Answer,
  eventsOf,
  filesUnder,
  gatewayForTests,
  logOf,
  newId,
  passHour,
  put,
  versionPath,
} from './gateway.ts'
import { startReceiver, verified } from './receiver.ts'

const receiver = await startReceiver()
const gateway = await gatewayForTests({
  AUDIT_ARCHIVE: 'bound',
  UPSTREAM_RETRY_MS: '5',
  UPSTREAM_TIMEOUT_MS: '1000',
  ALERT_WEBHOOK_URL: receiver.url,
  ALERT_WEBHOOK_SECRET: receiver.secret,
})
const folder = mkdtempSync(join(tmpdir(), 'archive-'))
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await receiver.stop()
})

// Restarts take seconds each where the machine is busy.
vi.setConfig({ testTimeout: 120_000 })

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const found = await look()
    if (found) return found
    await sleep(10)
  }
}

type Made = Awaited<ReturnType<typeof gateway.organisation>>
let made: Made
let untold: string[] = []
beforeEach(async () => {
  made = await gateway.organisation()
  // What a new token changes leaves within the hour alone; this takes it along.
  await press(made)
  untold = []
})
// Runs before the gateway's own look at each log: one that is refused as another's has lost what was answered for.
afterEach(() => {
  for (const id of untold) gateway.unverified.delete(id)
})

/** The part of a bucket that is used here, without miniflare's types. */
interface Bucket {
  list(options: { prefix: string }): Promise<{ objects: { key: string }[] }>
  get(key: string): Promise<{ text(): Promise<string> } | null>
  put(key: string, value: string): Promise<unknown>
  delete(key: string): Promise<void>
}
const bucket = async () => (await gateway.runtime.miniflare.getR2Bucket('AUDIT_ARCHIVE')) as unknown as Bucket
const keysUnder = async (prefix: string) => {
  const { objects } = await (await bucket()).list({ prefix })
  return objects.map(({ key }) => key)
}
async function newest({ id }: Made): Promise<{ size: number; root: string; text: string } | undefined> {
  const text = await (await (await bucket()).get(`newest/${id}`))?.text()
  if (text === undefined) return undefined
  const [, size, root = ''] = text.split('\n')
  return { size: Number(size), root, text }
}
const sizeOf = async ({ id }: Made) => (await logOf(gateway, id)).length
/** Waits until the archive's newest checkpoint covers the log as it is now. */
async function covered(one: Made) {
  const size = await sizeOf(one)
  return until(async () => {
    const held = await newest(one)
    return held && held.size >= size && held.size < 900 ? held : undefined
  })
}
const archiveOf = ({ id }: Made, method = 'GET', path = '', body?: object): Promise<Answer> =>
  gateway.admin(method, `/organisations/${id}/audit/archive${path}`, body)
const storageOf = ({ id }: Made) =>
  gateway.runtime.miniflare.unsafeGetDurableObjectStorage('versori-gateway', 'Organisation', { name: id })
/** Changes the session for itself: a checkpoint leaves at once. */
const press = ({ id }: Made) =>
  gateway.admin('PUT', `/organisations/${id}/session`, {
    cookie: gateway.platform.cookie.replace(/^cookie=/, ''),
  })
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const objects = join(gateway.storage, 'do')

/** Keeps a copy of every object's storage, as a backup would. */
async function backUp(): Promise<string> {
  const copy = mkdtempSync(join(folder, 'copy-'))
  await gateway.restart({}, () => cpSync(objects, copy, { recursive: true }))
  return copy
}
async function restore(copy: string): Promise<void> {
  await gateway.restart({}, () => {
    rmSync(objects, { recursive: true })
    cpSync(copy, objects, { recursive: true })
  })
}

test('a checkpoint leaves at once after a change of sessions and a revocation, and what left before is kept', async () => {
  const first = await until(() => newest(made))
  expect(first.text).toMatch(new RegExp(`^127\\.0\\.0\\.1:\\d+/o/${made.id}\n`))
  await put(gateway, made)
  await gateway.admin('DELETE', `/organisations/${made.id}/tokens/${made.tokenId}`)
  const last = await covered(made)
  expect(last.size).toBe(6)
  const kept = await keysUnder(`checkpoints/${made.id}/`)
  const nameOf = ({ size, root }: { size: number; root: string }) =>
    `checkpoints/${made.id}/${String(size).padStart(15, '0')}-${Buffer.from(root, 'base64').toString('hex')}`
  expect(kept).toEqual(expect.arrayContaining([nameOf(first), nameOf(last)]))
  expect((await archiveOf(made)).json).toEqual({
    state: 'confirmed',
    log: { size: 6, root: last.root },
    archive: null,
  })
})

test('within the hour of any other change, and not where nothing changed', async () => {
  await covered(made)
  const before = await keysUnder(`checkpoints/${made.id}/`)
  await put(gateway, made)
  const due = async () => {
    const rows = await (await storageOf(made)).exec(`select at from due where kind = 'checkpoints'`)
    return rows[0]?.at as number | undefined
  }
  // An hour is 14,400 times the backoff's base.
  const at = (await due()) as number
  expect(at).toBeGreaterThan(Date.now())
  expect(at).toBeLessThanOrEqual(Date.now() + 14_400 * 5)
  expect(await keysUnder(`checkpoints/${made.id}/`)).toEqual(before)
  await (await storageOf(made)).exec(`update due set at = 1 where kind = 'checkpoints'`)
  await gateway.restart()
  await archiveOf(made)
  expect((await covered(made)).size).toBe(5)
  await until(async () => (await due()) === undefined)
})

test('the receiver of alerts gets the same checkpoint, signed, and who keeps it can prove the log by it', async () => {
  const received = await receiver.until(
    ({ body }) => body?.type === 'audit.checkpoint' && body.data.organisationId === made.id,
  )
  expect(verified(received, receiver.secret)).toBe(true)
  const { data, timestamp } = received.body
  expect(data).toEqual({
    organisationId: made.id,
    size: data.size,
    root: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/),
    checkpoint: expect.stringContaining(`\n${data.size}\n${data.root}\n`),
  })
  expect(received.headers['webhook-id']).toBe(`${made.id}:${data.size}:audit-checkpoint`)
  const log = await logOf(gateway, made.id)
  expect(timestamp).toBe(log[data.size - 1]?.record.time)
  const file = (name: string, text: string) => {
    const path = join(folder, `${made.id}-${name}`)
    writeFileSync(path, text)
    return path
  }
  const lines = log.map(({ line }) => `${line}\n`).join('')
  const arguments_ = ['--checkpoint', file('checkpoint', data.checkpoint), '--key']
  const main = join(import.meta.dirname, '../../src/verify/main.ts')
  const key = file('key', (await gateway.ask('/audit/key')).text)
  const run = spawnSync(process.execPath, [main, file('export', lines), ...arguments_, key], {
    encoding: 'utf8',
  })
  expect([run.status, run.stdout]).toEqual([0, expect.stringMatching(/^OK /)])
})

test('a receiver that fails gets a checkpoint later, and the archive is not held up by it', async () => {
  await covered(made)
  receiver.mood = { status: 500 }
  await press(made)
  const { size } = await covered(made)
  receiver.mood = { status: 204 }
  receiver.received.splice(0)
  const later = await receiver.until(
    ({ body }) => body?.type === 'audit.checkpoint' && body.data.organisationId === made.id,
  )
  expect(later.body.data.size).toBe(size)
})

/** Adds records until the log holds at least so many. */
async function fill(one: Made, size: number): Promise<void> {
  while ((await sizeOf(one)) < size) await Promise.all(Array.from({ length: 16 }, () => put(gateway, one)))
}

test('finished segments are the exact bytes of the export, under the hash of their subtree', async () => {
  await fill(made, 520)
  await press(made)
  await covered(made)
  const keys = await keysUnder(`segments/${made.id}/`)
  const log = await logOf(gateway, made.id)
  expect(keys).toHaveLength(2)
  for (const [index, key] of keys.entries()) {
    const lines = log.slice(index * 256, (index + 1) * 256).map(({ line }) => `${line}\n`)
    expect(await (await (await bucket()).get(key))?.text()).toBe(lines.join(''))
    const tree = lines.reduce((tree, line) => append(tree, leafHash(line.trimEnd())).tree, emptyTree)
    const node = Buffer.from(tree.hashes[0] as Uint8Array).toString('hex')
    expect(key).toBe(`segments/${made.id}/${String(index * 256 + 1).padStart(15, '0')}-${node}.ndjson`)
  }
})

test('a restored older copy of the storage is refused until an admin acknowledges it, and the alert says so', async () => {
  await put(gateway, made)
  await press(made)
  await covered(made)
  const copy = await backUp()
  await put(gateway, made)
  await gateway.admin('DELETE', `/organisations/${made.id}/tokens/${made.tokenId}`)
  const known = await covered(made)
  untold.push(made.id)
  await restore(copy)
  const sent = gateway.platform.received.length

  // The revoked token is back, and does nothing.
  const refused = await put(gateway, made)
  expect([refused.status, refused.json.code, refused.json.outcome]).toEqual([
    503,
    'audit-unavailable',
    'not-sent',
  ])
  expect(gateway.platform.received.length).toBe(sent)
  const admin = await press(made)
  expect([admin.status, admin.json.code]).toEqual([503, 'audit-unavailable'])
  expect(admin.json.detail).toMatch(/^The archive knows another audit log than this one/)
  // The same key must not sign two logs.
  for (const path of ['/checkpoint', '']) {
    const asked = await gateway.admin('GET', `/organisations/${made.id}/audit${path}`)
    expect(asked.status).toBe(path === '' ? 200 : 503)
  }
  const fork = (await archiveOf(made)).json
  const digest = sha256(known.text)
  expect(fork).toEqual({
    state: 'forked',
    log: { size: 6, root: expect.any(String) },
    archive: { size: known.size, root: known.root, sha256: digest },
  })
  const alert = await receiver.until(({ body }) => body?.type === 'audit.forked')
  expect(verified(alert, receiver.secret)).toBe(true)
  expect(alert.body.data).toEqual({ organisationId: made.id, log: fork.log, archive: fork.archive })
  expect(await newest(made)).toEqual(known)

  // Neither a wrong digest nor a restart nor an hour lets it go on.
  const wrong = await archiveOf(made, 'POST', '/acknowledge', { sha256: sha256('another') })
  expect([wrong.status, wrong.json.fields[0].field]).toEqual([400, 'sha256'])
  await gateway.restart()
  expect((await put(gateway, made)).json.code).toBe('audit-unavailable')
  await passHour(gateway)
  expect((await put(gateway, made)).json.code).toBe('audit-unavailable')

  const acknowledged = await archiveOf(made, 'POST', '/acknowledge', { sha256: digest })
  expect([acknowledged.status, acknowledged.json.state]).toEqual([200, 'confirmed'])
  expect((await put(gateway, made)).status).toBe(200)
  const { record } = (await logOf(gateway, made.id)).find(
    ({ record }) => record.event === 'fork.acknowledged',
  ) as { record: object }
  expect(record).toMatchObject({
    seq: 7,
    actor: { type: 'admin', id: 'alice' },
    fork: { log: fork.log, archive: fork.archive },
  })
  await press(made)
  await covered(made)
  await gateway.restart()
  expect((await put(gateway, made)).status).toBe(200)
  expect((await archiveOf(made, 'POST', '/acknowledge', { sha256: digest })).status).toBe(404)
  // What was known is still there for who looks into it.
  expect(await keysUnder(`checkpoints/${made.id}/`)).toContain(
    `checkpoints/${made.id}/${String(known.size).padStart(15, '0')}-${Buffer.from(known.root, 'base64').toString('hex')}`,
  )
})

test('a log that was rewritten whole, with a tree that is valid, is refused', async () => {
  await put(gateway, made)
  await press(made)
  const known = await covered(made)
  untold.push(made.id)
  const storage = await storageOf(made)
  let tree = emptyTree
  for (const [index, { line }] of (await logOf(gateway, made.id)).entries()) {
    const record = index === 1 ? line.replace('ci-deploy', 'ci-deplox') : line
    const step = append(tree, leafHash(record))
    tree = step.tree
    const hashes = Buffer.concat(step.completed).toString('hex')
    const text = record.replaceAll("'", "''")
    await storage.exec(
      `update records set record = '${text}', hashes = x'${hashes}' where seq = ${index + 1}`,
    )
  }
  // Nor can who writes to the storage acknowledge it there.
  await storage.exec(`update archive set acknowledged = '${sha256(known.text)}'`)
  await gateway.restart()
  expect((await put(gateway, made)).json.code).toBe('audit-unavailable')
  expect((await archiveOf(made)).json).toMatchObject({ state: 'forked', archive: { root: known.root } })
})

/** Signed with the gateway's own key, in base64. */
function signed(text: string): string {
  const key = createPrivateKey({
    key: Buffer.from(gateway.bindings.AUDIT_SIGNING_KEY as string, 'base64'),
    format: 'der',
    type: 'pkcs8',
  })
  return sign(null, Buffer.from(text), key).toString('base64')
}

/** A checkpoint that is not of the log, as another object would have put it. */
const strangerTo = (id: string) =>
  `gateway.example/o/${id}\n900\n${Buffer.alloc(32, 7).toString('base64')}\n\n— gateway.example AAAA\n`

test('an acknowledgement holds over a crash before the archive has heard of it, once, and cannot be forged', async () => {
  await covered(made)
  const stranger = strangerTo(made.id)
  await (await bucket()).put(`newest/${made.id}`, stranger)
  await gateway.restart()
  expect((await put(gateway, made)).json.code).toBe('audit-unavailable')
  await archiveOf(made, 'POST', '/acknowledge', { sha256: sha256(stranger) })
  await covered(made)
  const signature = async () =>
    (await (await storageOf(made)).exec('select acknowledged from archive'))[0]?.acknowledged
  expect(await signature()).toBeNull()

  // As the crash would leave it: what was acknowledged is signed in the storage, and still there in the archive.
  const text = `versori-gateway acknowledged fork\n${made.id}\n${sha256(stranger)}\n`
  for (const [acknowledged, state] of [
    [signed(`${text} `), 'forked'],
    [signed(text), 'confirmed'],
  ]) {
    await (await bucket()).put(`newest/${made.id}`, stranger)
    await (await storageOf(made)).exec(`update archive set acknowledged = '${acknowledged}'`)
    await gateway.restart()
    expect((await archiveOf(made)).json.state).toBe(state)
  }
  await press(made)
  await covered(made)
  expect(await signature()).toBeNull()
  await (await bucket()).put(`newest/${made.id}`, stranger)
  await gateway.restart()
  expect((await archiveOf(made)).json.state).toBe('forked')
})

test('an acknowledged loss of the archive holds over a crash as well', async () => {
  await covered(made)
  const text = `versori-gateway acknowledged fork\n${made.id}\n${sha256('')}\n`
  await (await bucket()).delete(`newest/${made.id}`)
  await (await storageOf(made)).exec(`update archive set acknowledged = '${signed(text)}'`)
  await gateway.restart()
  expect((await archiveOf(made)).json.state).toBe('confirmed')
  await press(made)
  await covered(made)
})

test('the storage chooses neither what it is compared with nor another log that is signed', async () => {
  const known = await covered(made)
  untold.push(made.id)
  const other = newId()
  await (await storageOf(made)).exec('update archive set checkpointed = 0')
  await (await storageOf(made)).exec(`update organisation set id = '${other}'`)
  await gateway.restart()
  expect((await archiveOf(made)).json.state).toBe('unconfirmed')
  expect((await press(made)).json.code).toBe('audit-unavailable')
  await (await storageOf(made)).exec(`update organisation set id = '${made.id}'`)
  const host = `gateway.example/o/VICTIM\n4711\n${known.root}\nx`
  await (await storageOf(made)).exec(`update archive set host = '${host}', checkpointed = 0`)
  await (await storageOf(made)).exec(`insert or replace into due values ('checkpoints', 1)`)
  receiver.received.splice(0)
  await gateway.restart()
  await archiveOf(made)
  await sleep(500)
  expect(receiver.received.map(({ text }) => text).filter(text => text.includes('VICTIM'))).toEqual([])
  expect((await newest(made))?.text).toBe(known.text)
  // A new session brings a host that is one.
  expect((await press(made)).status).toBe(200)
  await covered(made)
})

test('while it is forked nothing goes to the platform: no read, no patch, no probe; and strangers stay strangers', async () => {
  await gateway.admin('PUT', `/organisations/${made.id}/session`, {
    cookie: gateway.platform.cookie.replace(/^cookie=/, ''),
    probe: { connectionId: 'CONN1', version: '1.4.0' },
  })
  await covered(made)
  await (await bucket()).put(`newest/${made.id}`, strangerTo(made.id))
  await gateway.restart()
  untold.push(made.id)
  const sent = gateway.platform.received.length
  const path = versionPath(made.id, 'CONN1', '1.4.0')
  const patch = {
    method: 'PATCH',
    headers: { 'Content-Type': 'application/merge-patch+json' },
    body: { description: 'no' },
  }
  for (const ask of [{}, patch]) {
    const refused = await gateway.ask(path, { token: made.token, ...ask })
    expect([refused.status, refused.json.code]).toEqual([503, 'audit-unavailable'])
    expect(refused.json.detail).toMatch(/^The archive knows another/)
  }
  expect((await press(made)).status).toBe(503)
  await passHour(gateway)
  const { token } = await gateway.organisation()
  expect((await gateway.ask(path, { token })).json.code).toBe('invalid-token')
  expect(gateway.platform.received.slice(sent).filter(({ url }) => url.includes(made.id))).toEqual([])
})

test('an acknowledgement amid requests that are being refused leaves a log without a gap', async () => {
  await covered(made)
  const stranger = strangerTo(made.id)
  await (await bucket()).put(`newest/${made.id}`, stranger)
  await gateway.restart()
  receiver.mood = 'hang'
  await archiveOf(made)
  const asked: Promise<Answer>[] = []
  for (let i = 0; i < 12; i++) {
    asked.push(gateway.ask(`/o/${made.id}/token`, { token: made.token }), put(gateway, made))
    if (i === 3) asked.push(archiveOf(made, 'POST', '/acknowledge', { sha256: sha256(stranger) }))
    await sleep(10)
  }
  await Promise.all(asked)
  receiver.mood = { status: 204 }
  expect((await put(gateway, made)).status).toBe(200)
  const rows = await (await storageOf(made)).exec('select count(*) as n, max(seq) as last from records')
  expect(rows[0]?.n).toBe(rows[0]?.last)
  await press(made)
  await covered(made)
})

test('a stranger is on record also where it is the first that an object hears of', async () => {
  await covered(made)
  for (let i = 0; i < 3; i++) {
    await gateway.restart()
    const path = `/admin/organisations/${made.id}/session`
    expect((await gateway.ask(path, { token: 'x'.repeat(40) })).status).toBe(401)
  }
  const events = await eventsOf(gateway, made.id)
  expect(events.filter(event => event === 'admin.denied')).toHaveLength(3)
})

test('what was due while nothing could be written is done as soon as it can', async () => {
  await covered(made)
  const stranger = strangerTo(made.id)
  await (await bucket()).put(`newest/${made.id}`, stranger)
  await press(made)
  await until(async () => (await archiveOf(made)).json.state === 'forked')
  // The alarm of what failed goes off meanwhile, and finds the log shut.
  await sleep(1_500)
  await archiveOf(made, 'POST', '/acknowledge', { sha256: sha256(stranger) })
  await covered(made)
}, 20_000)

test('bytes that are not those that were recorded are not archived under their name, and the alert names the record', async () => {
  await fill(made, 260)
  await (await storageOf(made)).exec(
    `update records set record = replace(record, 'ci-deploy', 'ci-deplox') where seq = 4`,
  )
  await press(made)
  await covered(made)
  untold.push(made.id)
  expect(await keysUnder(`segments/${made.id}/`)).toEqual([])
  const alert = await receiver.until(
    ({ body }) => body?.type === 'audit.damaged' && body.data.organisationId === made.id,
  )
  expect(alert.body.data).toEqual({ organisationId: made.id, seq: 4 })
})

test('a storage that is gone altogether cannot be made anew while the archive knows of it', async () => {
  const id = newId()
  const stranger = strangerTo(id)
  await (await bucket()).put(`newest/${id}`, stranger)
  const cookie = gateway.platform.cookie.replace(/^cookie=/, '')
  const session = () => gateway.admin('PUT', `/organisations/${id}/session`, { cookie })
  expect((await session()).json).toMatchObject({
    code: 'audit-unavailable',
    detail: expect.stringMatching(/^The archive knows another/),
  })
  const { json } = await gateway.admin('GET', `/organisations/${id}/audit/archive`)
  expect(json).toMatchObject({ state: 'forked', log: { size: 0 }, archive: { size: 900 } })
  const path = `/organisations/${id}/audit/archive/acknowledge`
  expect((await gateway.admin('POST', path, { sha256: json.archive.sha256 })).status).toBe(200)
  expect((await session()).status).toBe(200)
  expect((await eventsOf(gateway, id))[0]).toBe('fork.acknowledged')
})

test('an archive that has lost what it knew is a fork as well', async () => {
  await covered(made)
  await (await bucket()).delete(`newest/${made.id}`)
  await gateway.restart()
  expect((await put(gateway, made)).json.code).toBe('audit-unavailable')
  const { json } = await archiveOf(made)
  expect(json.archive).toEqual({ size: null, root: null, sha256: sha256('') })
  expect((await archiveOf(made, 'POST', '/acknowledge', { sha256: sha256('') })).status).toBe(200)
  await covered(made)
  expect((await put(gateway, made)).status).toBe(200)
})

test('what something else wrote to the archive is noticed while the object runs', async () => {
  await covered(made)
  const stranger = strangerTo(made.id)
  await (await bucket()).put(`newest/${made.id}`, stranger)
  await press(made)
  await until(async () => (await put(gateway, made)).json.code === 'audit-unavailable')
  expect((await newest(made))?.text).toBe(stranger)
  const { json } = await archiveOf(made)
  await archiveOf(made, 'POST', '/acknowledge', { sha256: json.archive.sha256 })
  await press(made)
  await until(async () => (await newest(made))?.text !== stranger)
})

test('while the archive cannot be read, an object that starts writes nothing', async () => {
  await covered(made)
  const aside = join(folder, `r2-${made.id}`)
  const r2 = join(gateway.storage, 'r2')
  await gateway.restart({}, () => {
    cpSync(r2, aside, { recursive: true })
    for (const file of filesUnder(join(r2, 'miniflare-R2BucketObject'))) {
      if (/[0-9a-f]{64}\.sqlite$/.test(file))
        writeFileSync(file, 'not a database, but long enough to be read as one'.repeat(100))
      else if (/[0-9a-f]{64}\.sqlite-/.test(file)) rmSync(file)
    }
  })
  const refused = await put(gateway, made)
  expect([refused.status, refused.json.code]).toEqual([503, 'audit-unavailable'])
  expect((await archiveOf(made)).json.state).toBe('unconfirmed')
  expect((await press(made)).json.detail).toMatch(/^The archive of the audit log cannot be read/)
  // Reading what is there needs no archive.
  expect(await sizeOf(made)).toBe(3)
  await gateway.restart({}, () => {
    rmSync(r2, { recursive: true })
    cpSync(aside, r2, { recursive: true })
  })
  expect((await put(gateway, made)).status).toBe(200)
})

test('past the retention the object drops the bytes that the archive holds, and gives them out from there', async () => {
  await fill(made, 300)
  await press(made)
  await covered(made)
  const before = await logOf(gateway, made.id)
  const storage = await storageOf(made)
  await storage.exec(`update records set time = time - 3 * 86400000`)
  const blank = async () =>
    (
      await (
        await storageOf(made)
      ).exec(`select count(*) as n, max(seq) as last from records where record = ''`)
    )[0]
  await gateway.restart({ AUDIT_RETENTION_DAYS: '2' })
  await passHour(gateway)
  expect(await until(async () => ((await blank())?.n ? blank() : undefined))).toEqual({ n: 256, last: 256 })

  expect((await logOf(gateway, made.id)).slice(0, before.length)).toEqual(before)
  const { text } = await gateway.admin('GET', `/organisations/${made.id}/audit`, undefined, {
    Accept: 'application/x-ndjson',
  })
  expect(text.split('\n').slice(0, before.length)).toEqual(before.map(({ line }) => line))
  const filtered = await gateway.admin('GET', `/organisations/${made.id}/audit?event=token.created`)
  expect(filtered.json.records).toEqual([before[1]?.record])
  const one = await gateway.admin('GET', `/organisations/${made.id}/audit/3`)
  expect(one.text).toBe(before[2]?.line)
  const receipt = await gateway.ask(`/o/${made.id}/receipts/5`, { token: made.token })
  expect(receipt.json.record).toBe(before[4]?.line)
  expect((await put(gateway, made)).status).toBe(200)

  // Bytes that the archive does not give, or gives changed, are not given out.
  const [key = ''] = await keysUnder(`segments/${made.id}/`)
  const bytes = await (await (await bucket()).get(key))?.text()
  await (await bucket()).put(key, (bytes ?? '').replace('ci-deploy', 'ci-deplox'))
  await gateway.restart()
  const changed = await gateway.admin('GET', `/organisations/${made.id}/audit/2`)
  expect([changed.status, changed.json.code]).toEqual([503, 'audit-unavailable'])
  await (await bucket()).delete(key)
  await gateway.restart()
  expect((await gateway.admin('GET', `/organisations/${made.id}/audit/2`)).status).toBe(503)
  expect((await gateway.admin('GET', `/organisations/${made.id}/audit?limit=5`)).status).toBe(200)
  await (await bucket()).put(key, bytes ?? '')
})

test('nothing is dropped that the archive does not hold byte for byte, nor without an archive', async () => {
  await fill(made, 260)
  await press(made)
  await covered(made)
  const [key = ''] = await keysUnder(`segments/${made.id}/`)
  const bytes = await (await (await bucket()).get(key))?.text()
  await (await storageOf(made)).exec(`update records set time = time - 3 * 86400000`)
  const blank = async () =>
    (await (await storageOf(made)).exec(`select count(*) as n from records where record = ''`))[0]?.n
  await (await bucket()).put(key, 'something else')
  await gateway.restart({ AUDIT_RETENTION_DAYS: '2', AUDIT_ARCHIVE: undefined })
  await passHour(gateway)
  await sleep(200)
  expect(await blank()).toBe(0)
  await gateway.restart({ AUDIT_ARCHIVE: 'bound' })
  await passHour(gateway)
  await sleep(200)
  expect(await blank()).toBe(0)
  // What is lacking is given again, and then seen to be there.
  await (await bucket()).delete(key)
  await (await storageOf(made)).exec(`update due set at = 1 where kind = 'retention'`)
  await gateway.restart()
  await passHour(gateway)
  await until(async () => (await blank()) === 256)
  expect(await (await (await bucket()).get(key))?.text()).toBe(bytes)
})
