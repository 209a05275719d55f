/**
 * Tampering with an organisation's log in its storage, past all code of the gateway: the offline verifier, run as anyone would
 * run it, names what was done, from what was held before.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { append, emptyTree, leafHash } from '../../src/organisation/tree.ts'
import { gatewayForTests, put } from './gateway.ts'

const gateway = await gatewayForTests()
const folder = mkdtempSync(join(tmpdir(), 'tampering-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The log's name goes by the host, and the port changes with a restart. */
const host = { Host: 'gateway.example' }
let made: { id: string; token: string; tokenId: string }
/** Where what was held before lies. */
let held: { key: string; checkpoint: string; leaves: string; size: number }
let counter = 0

function save(name: string, text: string): string {
  const path = join(folder, `${++counter}-${name}`)
  writeFileSync(path, text)
  return path
}

async function evidence(path: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await gateway.admin('GET', `/organisations/${made.id}/audit${path}`, undefined, {
    ...host,
    ...headers,
  })
  expect(answer.status).toBe(200)
  return answer.text
}
/** As an export has it, but read as a page: an export would be one more record, which a log that was tampered with may not take. */
const exportText = async () => {
  const { records }: { records: object[] } = JSON.parse(await evidence('?limit=1000'))
  return records
    .map(record => `${JSON.stringify(record)}\n`)
    .reverse()
    .join('')
}
const exported = async () => save('export.ndjson', await exportText())

/** The verifier's exit code and words. */
function verify(...args: string[]): { status: number | null; said: string } {
  const main = join(import.meta.dirname, '../../src/verify/main.ts')
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })
  return { status, said: stdout + stderr }
}
const against = (path: string, ...more: string[]) =>
  verify(path, '--checkpoint', held.checkpoint, '--key', held.key, ...more)

async function tamper(...statements: string[]): Promise<void> {
  const storage = await gateway.runtime.miniflare.unsafeGetDurableObjectStorage(
    'versori-gateway',
    'Organisation',
    { name: made.id },
  )
  for (const statement of statements) await storage.exec(statement)
}

beforeEach(async () => {
  made = await gateway.organisation()
  for (let i = 0; i < 4; i++) await put(gateway, made)
  const checkpoint = await evidence('/checkpoint')
  held = {
    key: save('key', (await gateway.ask('/audit/key', { headers: host })).text),
    checkpoint: save('checkpoint', checkpoint),
    leaves: save('leaves', await evidence('/leaves')),
    size: Number(checkpoint.split('\n')[1]),
  }
  expect(held.size).toBe(10)
  await put(gateway, made)
})
// Runs before the gateway's own look at each log, which what is done here does not pass.
afterEach(() => void gateway.unverified.delete(made.id))

test('a log that nobody touched holds, with what came after', async () => {
  const { status, said } = against(await exported(), '--leaves', held.leaves)
  expect([status, said]).toEqual([
    0,
    expect.stringMatching(/^OK {6}10 records are the log gateway\.example\/o\//),
  ])
  expect(said).toContain('NOTE    records 11 to 12 are newer than the last checkpoint')
})

test('one byte of an export', async () => {
  const text = await exportText()
  const lines = text.split('\n')
  lines[4] = (lines[4] as string).replace('ci-deploy', 'ci-deplox')
  const path = save('changed.ndjson', lines.join('\n'))
  expect(against(path, '--leaves', held.leaves)).toEqual({
    status: 1,
    said: 'FAILED  record 5 was changed (line 5): its bytes do not hash to a leaf that a checkpoint confirms\n',
  })
})

const swap = (a: number, b: number) => [
  `update records set seq = -1 where seq = ${a}`,
  `update records set seq = ${a} where seq = ${b}`,
  `update records set seq = ${b} where seq = -1`,
]
const shift = (from: number) => [
  `update records set seq = -seq - 1 where seq >= ${from}`,
  'update records set seq = -seq where seq < 0',
]
const columns = 'time, event, actor, connection_id, version, request_id, attempt, open_from, intent'

test.each<[what: string, statements: string[], named: string]>([
  [
    'an edited record',
    [`update records set record = replace(record, 'ci-deploy', 'ci-deplox') where seq = 5`],
    'record 5 was changed (line 5): its bytes do not hash to a leaf that a checkpoint confirms',
  ],
  ['a deleted record', ['delete from records where seq = 5'], 'record 5 was removed: line 5 holds record 6'],
  [
    'a deleted record, the others moved up and renumbered',
    [
      'delete from records where seq = 5',
      'update records set seq = seq - 1 where seq > 5',
      `update records set record = json_set(record, '$.seq', seq) where seq >= 5`,
    ],
    'record 5 was changed (line 5): its bytes do not hash to a leaf that a checkpoint confirms',
  ],
  ['swapped records', swap(5, 7), 'record 5 was swapped: it stands in line 7, and in line 5 stands record 7'],
  [
    'an inserted record',
    [
      ...shift(5),
      `insert into records select 5, ${columns}, json_set(record, '$.seq', 5), hashes from records where seq = 3`,
    ],
    'a record was inserted before record 5: line 5 is one too many: its bytes do not hash to a leaf that a checkpoint confirms',
  ],
  [
    'a copy of a later record',
    [...shift(5), `insert into records select 5, ${columns}, record, hashes from records where seq = 9`],
    'a record was inserted before record 5: line 5 is one too many: its bytes do not hash to a leaf that a checkpoint confirms',
  ],
  [
    'a cut tail',
    ['delete from records where seq > 8'],
    'records 9 to 10 were cut off: the file ends with record 8; an export from before what it is held against looks the same',
  ],
])('%s in storage', async (_, statements, named) => {
  await tamper(...statements)
  expect(against(await exported(), '--leaves', held.leaves)).toEqual({
    status: 1,
    said: `FAILED  ${named}\n`,
  })
})

test('an edited record is named by leaves that are asked for afterwards, as long as the tree is not rewritten too', async () => {
  await tamper(`update records set record = replace(record, 'ci-deploy', 'ci-deplox') where seq = 5`)
  const leaves = save('leaves', await evidence('/leaves'))
  expect(against(await exported(), '--leaves', leaves).said).toMatch(/^FAILED {2}record 5 was changed/)
})

test('a log that was rewritten whole, with a tree that is valid', async () => {
  const lines = (await exportText()).split('\n').slice(0, -1)
  let tree = emptyTree
  const statements = lines.map((line, index) => {
    const record = index === 4 ? line.replace('ci-deploy', 'ci-deplox') : line
    const step = append(tree, leafHash(record))
    tree = step.tree
    const hashes = Buffer.concat(step.completed).toString('hex')
    const text = record.replaceAll("'", "''")
    return `update records set record = '${text}', hashes = x'${hashes}' where seq = ${index + 1}`
  })
  await tamper(...statements)
  await gateway.restart()
  await put(gateway, made)

  // By itself it is whole: the gateway signs it, and only what was held before tells.
  const path = await exported()
  const newer = save('checkpoint', await evidence('/checkpoint'))
  const key = ['--key', held.key]
  expect(verify(path, '--checkpoint', newer, ...key).status).toBe(0)

  const both = against(path, '--checkpoint', newer)
  expect([both.status, both.said]).toEqual([
    1,
    expect.stringMatching(/^FAILED {2}one or more of the records 1 to 10 were changed/),
  ])
  expect(against(path, '--leaves', held.leaves).said).toMatch(/^FAILED {2}record 5 was changed/)
  const consistency = save('consistency', await evidence(`/consistency?from=${held.size}`))
  expect(
    verify('--checkpoint', newer, '--extends', held.checkpoint, '--consistency', consistency, ...key),
  ).toEqual({
    status: 1,
    said: 'FAILED  the log of 14 records is not proven to begin with the one of 10 records\n',
  })
  const leaves = save('leaves', await evidence('/leaves'))
  expect(against(path, '--leaves', leaves).said).toMatch(/leaves does not hash to the root of any checkpoint/)
})
