/**
 * `npm run bench`: everything side by side in one run, without a network. `--json FILE` writes what was measured, `--quick` is
 * a look in two minutes: one short round and no long logs. Fails where any answer is not what it must be, never for being slow.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir, type } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import build from '../gateway/build.ts'
import { describeBundle } from './bundle.ts'
import { startGenerator, startServer } from './child.ts'
import type { Results } from './goals.ts'
import { measureGrowth } from './growth.ts'
import { factsLine, goalsTable, growthTable, machineLine, ratesTable } from './report.ts'
import { memoryOf, runRounds } from './rounds.ts'
import { countRows } from './rows.ts'
import { organisations, scenarios } from './scenarios.ts'
import { basePath, startSubjects } from './subjects.ts'

const { values } = parseArgs({
  options: { json: { type: 'string' }, quick: { type: 'boolean', default: false } },
})
const { quick } = values
const rounds = quick ? 1 : 5
const seconds = quick ? 1 : 1.2
const sizes = quick ? [1_000, 10_000] : [1_000, 100_000, 1_000_000]
const startedAt = performance.now()

function say(line: string): void {
  console.error(`${((performance.now() - startedAt) / 1000).toFixed(0).padStart(4)} s  ${line}`)
}

function machine(): Results['machine'] {
  const workerd = readFileSync(join(import.meta.dirname, '../../node_modules/workerd/package.json'), 'utf8')
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? '',
    system: `${type()} ${release().split('.').slice(0, 2).join('.')}`,
    node: process.versions.node,
    workerd: JSON.parse(workerd).version,
  }
}

async function measureAll(folder: string): Promise<Results> {
  say('building')
  build()
  const upstream = await startServer('upstream.ts')
  const generator = await startGenerator()
  const storage = (name: string) => {
    const path = join(folder, name)
    mkdirSync(path)
    return path
  }
  try {
    say('starting all')
    const subjects = await startSubjects(upstream.url, folder, organisations)
    say('warming up')
    const onRound = (round: number) => say(`round ${round} of ${rounds}`)
    const measured = await runRounds(scenarios, subjects, generator, { count: rounds, seconds, onRound })
    const memoryMiB = memoryOf(subjects)
    for (const subject of subjects) await subject.stop()
    say('rows written')
    const base = upstream.url + basePath
    const rowsWritten = await countRows(base, storage('rows'), generator)
    const growth = await measureGrowth({
      sizes,
      upstream: base,
      storage: storage('growth'),
      generator,
      rounds,
      say,
    })
    say('start-up')
    const bundle = describeBundle(folder)
    const at = new Date().toISOString()
    return { at, machine: machine(), rounds, seconds, measured, memoryMiB, rowsWritten, growth, bundle }
  } finally {
    generator.stop()
    await upstream.stop()
  }
}

const folder = mkdtempSync(join(tmpdir(), 'bench-'))
try {
  const results = await measureAll(folder)
  say('done')
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`)
  const parts = [machineLine, ratesTable, growthTable, factsLine, goalsTable].map(part => part(results))
  console.log(parts.join('\n\n'))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
// What may still run after a failure must not keep this from ending.
process.exit()
