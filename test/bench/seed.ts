/**
 * Owns growing an organisation's log: appends records to its object's database file by the gateway's own audit log and its
 * own statements, while no workerd runs on it.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { uuidv7 } from '../../src/crypto.ts'
import { AuditLog } from '../../src/organisation/audit-log.ts'
import type { CommitQueue } from '../../src/organisation/commit-queue.ts'
import { type Actor, type Entry, payloadOf } from '../../src/organisation/record.ts'
import { Tables } from '../../src/organisation/tables.ts'
import { serialise } from '../../src/update/connection-version.ts'
import { callers } from './scenarios.ts'
import { version } from './version.ts'

const dayMs = 86_400_000
const batch = 20_000
/** One update in so many fails. */
const failsEvery = 50
/** So many tokens have written it; what is asked for by one of them is 1 in so many of the log. */
const tokens = 20

/** The database file of an organisation's object. */
export function databaseOf(storage: string, organisation: string): string {
  const files = readdirSync(storage, { recursive: true, encoding: 'utf8' }).filter(file =>
    file.endsWith('.sqlite'),
  )
  const found = files.map(file => join(storage, file)).find(file => holds(file, organisation))
  if (found === undefined) throw new Error(`no database of ${organisation}`)
  return found
}

function holds(file: string, organisation: string): boolean {
  const db = new DatabaseSync(file)
  try {
    const known = db.prepare(`select 1 from sqlite_master where name = 'organisation'`).get()
    return known !== undefined && db.prepare('select id from organisation').get()?.id === organisation
  } finally {
    db.close()
  }
}

/** A Durable Object's SQL over a database file, each statement prepared once. */
function sqlOf(db: DatabaseSync): SqlStorage {
  const known = new Map<string, StatementSync>()
  const exec = (query: string, ...bindings: never[]) => {
    let statement = known.get(query)
    if (!statement) {
      statement = db.prepare(query)
      known.set(query, statement)
    }
    if (query.startsWith('insert')) {
      statement.run(...bindings)
      return undefined
    }
    const rows = statement.all(...bindings)
    return Object.assign(rows, { toArray: () => rows, one: () => rows[0] })
  }
  return { exec } as unknown as SqlStorage
}

/** The token that a record of the seeded log was written by, and one that is in it. */
export const seededToken = `seed${'0'.repeat(11)}1`

/** Makes the log `size` records long, over the year before now; says how many bytes each of the new ones takes. */
export function seed(storage: string, organisation: string, size: number): number {
  const file = databaseOf(storage, organisation)
  const bytesBefore = statSync(file).size
  const db = new DatabaseSync(file)
  db.exec('pragma synchronous = off; pragma cache_size = -262144')
  const at = Date.now() - 365 * dayMs
  // What set the organisation up stands at the log's start, a year ago.
  db.exec(`update records set time = ${at}`)
  const queue = { add: (write: () => void) => write() } as unknown as CommitQueue
  const log = new AuditLog(new Tables(sqlOf(db)), queue)
  log.load()
  const first = log.size
  const update = serialise(version)
  const { sha256, bytes } = update
  db.exec('begin')
  for (let i = 0; log.size < size - 1; i++) {
    const now = at + Math.floor(((365 * dayMs - 60_000) * log.size) / size)
    const actor: Actor = {
      type: 'token',
      id: `seed${String(i % tokens).padStart(12, '0')}`,
      name: 'ci-deploy',
    }
    const same = {
      requestId: uuidv7(now),
      actor,
      target: { organisationId: organisation, connectionId: `CONN${i % callers}`, version: version.name },
      client: { ip: '192.0.2.1', userAgent: 'bench/1' },
    }
    const attempt = log.append({ ...same, event: 'update.attempted', request: payloadOf(update) }, now).seq
    const failed = i % failsEvery === 0
    const settled: Entry = {
      ...same,
      event: failed ? 'update.failed' : 'update.succeeded',
      attempt,
      request: { sha256, bytes },
      upstream: { status: failed ? 422 : 200, durationMs: 84, attempts: 1, sha256, generation: 1 },
      outcome: failed ? 'not-applied' : 'applied',
    }
    log.append(failed ? { ...settled, reason: 'upstream-rejected' } : settled, now + 84)
    if (i % batch === batch - 1) db.exec('commit; begin')
  }
  db.exec('commit; pragma wal_checkpoint(truncate)')
  db.close()
  return (statSync(file).size - bytesBefore) / (log.size - first)
}
