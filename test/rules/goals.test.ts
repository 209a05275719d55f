/** Checks how the bench says what is met, and its tables, over results made here. */
import { expect, test } from 'vitest'
import { goalsOf, type Results } from '../bench/goals.ts'
import { factsLine, goalsTable } from '../bench/report.ts'

const measured = { perSecond: 1_000, p50: 1, p99: 2, cpuMsPerRequest: 0.5 }
const row = (scenario: string, subject: Results['measured'][number]['subject'] = 'gateway') => ({
  scenario,
  subject,
  connections: 32,
  rounds: [measured],
  median: measured,
  toBare: 1,
})
const one = ['PUT', 'PUT, 32 organisations', 'GET', 'PUT, 1 connection', 'PUT, upstream of 200 ms']
const early = ['no token', 'mistyped token', 'another method']

const resultsOf = (activeMs: number, rows: number): Results => ({
  at: '2026-11-24T09:30:00Z',
  machine: { cores: 2, cpu: 'x', system: 'Linux', node: '24', workerd: '1' },
  rounds: 1,
  seconds: 1,
  measured: [
    ...[...one, ...early].map(name => row(name)),
    ...one.flatMap(name => (['bare', 'hop', 'node peer'] as const).map(subject => row(name, subject))),
  ],
  memoryMiB: { gateway: 400 },
  rowsWritten: { PUT: rows, GET: 4 },
  growth: [],
  bundle: {
    KiB: 380,
    gzipKiB: 118,
    coreGzipKiB: 74,
    startup: { activeMs, evaluationMs: 4.4 },
    cryptoStartup: { activeMs: 15.6, evaluationMs: 0 },
  },
})
const goal = (results: Results, what: RegExp) => goalsOf(results).find(each => what.test(each.what))

test.each([
  [15, true],
  [15.1, false],
  [21.5, false],
])('a start-up of %d ms as wrangler reports it: met is %s', (activeMs, met) => {
  expect(goal(resultsOf(activeMs, 5), /^start-up/)).toEqual({
    what: 'start-up (`Active` of `wrangler check startup`)',
    reach: '≤ 15 ms',
    measured: `${activeMs.toFixed(1)} ms (evaluating the module: 4.4 ms)`,
    met,
  })
})

test.each([
  [6, true],
  [6.01, false],
  [6.49, false],
])('%d rows written: met is %s', (rows, met) => {
  expect(goal(resultsOf(20, rows), /^rows written/)?.met).toBe(met)
})

test('the tables show it', () => {
  const results = resultsOf(21.5, 5)
  expect(goalsTable(results)).toMatch(
    /\| start-up .* \| 21\.5 ms \(evaluating the module: 4\.4 ms\) +\| no +\|$/m,
  )
  expect(factsLine(results)).toContain(
    'Start-up: 21.5 ms, of which evaluating the module 4.4; that of a Worker which imports node:crypto alone 15.6 ms.',
  )
})
