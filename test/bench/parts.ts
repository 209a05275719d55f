/**
 * `node test/bench/parts.ts [--rounds 4] [--seconds 1.2]`: what each part of an update and of a read costs, by leaving parts out. The built
 * gateway with parts replaced by what answers at once, one part more in each line, beside the programs of the bench: in one
 * run, round after round. About six minutes.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import build, { buildInstead } from '../gateway/build.ts'
import { startGenerator, startServer } from './child.ts'
import { startGateway } from './gateway.ts'
import { table } from './report.ts'
import { type Measurable, type Measured, measure, median } from './rounds.ts'
import { type Scenario, scenarios } from './scenarios.ts'
import { basePath } from './subjects.ts'
import { version } from './version.ts'
import { startWorkerd } from './workerd.ts'
import { bare, entryWith, guarded, hop, immediate } from './workers.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '4' }, seconds: { type: 'string', default: '1.2' } },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)

const body = JSON.stringify(version)
const rate = { requests: 100_000, windowSeconds: 1, remaining: 99_999, resetSeconds: 1 }
const receipt = `1:${'0'.repeat(64)}`
const answer = { result: { ok: true, status: 200, body }, effect: 'applied', receipt, rate }
/** What answers at once, whatever is asked. */
const answers = ['update', 'read'].map(call => `async ${call}() { return ${JSON.stringify(answer)} }`)

/** Modules of the Worker, by how organisation.ts imports them, and what stands in for each. */
const platform = {
  modules: ['../upstream/forward.ts'],
  stub: `const answered = { kind: 'answered', status: 200, contentType: 'application/json', setCookies: [] }
    export const forward = async () => ({ ...answered, body: ${JSON.stringify(body)} })`,
}
/** Writes the first of what it is given, which is what sets the organisation up. */
const commits = {
  modules: ['./commit-queue.ts'],
  stub: `const done = Promise.resolve()
    let writes = 0
    export class CommitError extends Error {}
    export class CommitQueue {
      open = true; busy = false
      add(write) { if (++writes < 40) write() }
      committed() { return done }
    }`,
}
const log = {
  modules: ['./audit-log.ts'],
  stub: `export class AuditLog {
      tree = { size: 0, hashes: [] }; size = 0; openAttempts = []
      load() {}
      append() { return { seq: ++this.size, receipt: ${JSON.stringify(receipt)} } }
    }`,
}

async function startAll(upstream: string, folder: string): Promise<Measurable[]> {
  const variables = { UPSTREAM_BASE_URL: upstream }
  const inFolder = (name: string) => {
    const path = join(folder, name)
    mkdirSync(path, { recursive: true })
    return path
  }
  const program = async (name: string, source: string, objects: Record<string, string> = {}) => {
    const storage = inFolder(name)
    const started = await startWorkerd({
      name: 'program',
      modules: { 'index.js': source },
      objects,
      variables,
      storage,
    })
    return { ...started, name, token: () => 'any' }
  }
  const gateway = async (name: string, options: { source?: string; entry?: string }) => {
    const started = await startGateway({ upstream, storage: inFolder(name), ...options })
    await started.setUp('BENCH')
    return { ...started, name }
  }
  const without = (...stubs: Parameters<typeof buildInstead>[1]) => buildInstead(inFolder('build'), stubs)
  return [
    await program('a Worker that answers at once', immediate),
    await program('bare', bare),
    await program('hop', hop, { HOP: 'Hop' }),
    await program('hop, with a deadline, strict reading and own headers', guarded, { HOP: 'Hop' }),
    await gateway('gateway: its edge', {
      entry: entryWith({ edge: `{ getByName: () => ({ ${answers.join()} }) }` }),
    }),
    await gateway('… and the call of the object', {
      entry: entryWith({ object: answers.join('\n') }),
    }),
    await gateway('… and all but records and the call', { source: without(platform, commits, log) }),
    await gateway('… and making and hashing its records', { source: without(platform, commits) }),
    await gateway('… and committing them', { source: without(platform) }),
    await gateway('… and the call of the platform: all of it', {}),
  ]
}

const folder = mkdtempSync(join(tmpdir(), 'bench-'))
build()
const upstream = await startServer('upstream.ts')
const generator = await startGenerator()
try {
  const parts = await startAll(upstream.url + basePath, folder)
  const measured = ['PUT', 'PUT, 1 connection', 'GET'].map(
    name => scenarios.find(each => each.name === name) as Scenario,
  )
  const results = new Map(parts.map(part => [part, measured.map((): Measured[] => [])]))
  for (const scenario of measured) {
    for (const part of parts) await measure(scenario, part, generator, scenario.warmSeconds)
  }
  for (let round = 0; round < rounds; round++) {
    for (const part of round % 2 === 0 ? parts : [...parts].reverse()) {
      for (const [i, scenario] of measured.entries()) {
        results.get(part)?.[i]?.push(await measure(scenario, part, generator, seconds))
      }
    }
  }
  const rows = parts.map(part => {
    const [many = [], one = [], reads = []] = results.get(part) ?? []
    return [
      part.name,
      median(many.map(each => each.cpuMsPerRequest)).toFixed(2),
      String(Math.round(median(many.map(each => each.perSecond)))),
      median(one.map(each => each.cpuMsPerRequest)).toFixed(2),
      median(one.map(each => each.p50)).toFixed(2),
      median(reads.map(each => each.cpuMsPerRequest)).toFixed(2),
    ]
  })
  console.log(
    table(['what', 'PUT, CPU ms', 'requests/s', '1 connection, CPU ms', 'p50 ms', 'GET, CPU ms'], rows),
  )
  for (const part of parts) await part.stop()
} finally {
  generator.stop()
  await upstream.stop()
  rmSync(folder, { recursive: true, force: true })
}
process.exit()
