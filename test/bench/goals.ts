/** Owns what must be reached, each with what was measured. Pure: results in, rows of a table out. */
import type { Bundle } from './bundle.ts'
import type { Growth } from './growth.ts'
import { median, type Row } from './rounds.ts'
import type { RowsWritten } from './rows.ts'
import type { Name } from './subjects.ts'
import { slowMs } from './upstream.ts'

export interface Results {
  at: string
  machine: { cores: number; cpu: string; system: string; node: string; workerd: string }
  rounds: number
  seconds: number
  measured: Row[]
  memoryMiB: Record<string, number>
  rowsWritten: RowsWritten
  growth: Growth[]
  bundle: Bundle
}

export interface Goal {
  what: string
  reach: string
  measured: string
  /** Undefined where there is nothing to reach, or it was not measured. */
  met?: boolean
}

/** As many calls at a time as an object makes for callers. */
const slots = 5
const longest = 1_000_000

export function goalsOf(results: Results): Goal[] {
  const row = (scenario: string, subject: Name = 'gateway'): Row => {
    const found = results.measured.find(each => each.scenario === scenario && each.subject === subject)
    if (!found) throw new Error(`${scenario} was not measured on ${subject}`)
    return found
  }
  /** The median over the rounds of what two of them say in the same one. */
  const paired = (a: Row, b: Row, of: (a: Row['rounds'][number], b: Row['rounds'][number]) => number) =>
    median(a.rounds.map((each, i) => of(each, b.rounds[i] as Row['rounds'][number])))
  const put = row('PUT')
  const peer = row('PUT', 'node peer')
  const toHop = paired(put, row('PUT', 'hop'), (a, b) => a.perSecond / b.perSecond)
  const added = paired(row('PUT, 1 connection'), row('PUT, 1 connection', 'bare'), (a, b) => a.p50 - b.p50)
  const hopAdded = paired(
    row('PUT, 1 connection', 'hop'),
    row('PUT, 1 connection', 'bare'),
    (a, b) => a.p50 - b.p50,
  )
  const rateToPeer = paired(put, peer, (a, b) => a.perSecond / b.perSecond)
  const p99ToPeer = paired(put, peer, (a, b) => a.p99 / b.p99)
  const early = ['no token', 'mistyped token', 'another method'].map(name => row(name).toBare)
  const allowed = (slots * 1000) / slowMs
  const slow = row('PUT, upstream of 200 ms').median.perSecond / allowed
  const many = row('PUT, 32 organisations').toBare
  const get = row('GET').toBare
  const { bundle, rowsWritten, growth } = results
  const { activeMs, evaluationMs } = bundle.startup
  const short = growth[0] as Growth
  const long = growth.find(({ records }) => records === longest)
  const pages = long && {
    first: long.firstPageMs / short.firstPageMs,
    filtered: Object.entries(long.filteredMs).map(([name, ms]): [string, number] => [
      name,
      ms / (short.filteredMs[name] ?? Number.NaN),
    ]),
  }
  const worst = pages?.filtered.reduce((a, b) => (b[1] > a[1] ? b : a))
  const notMeasured = { measured: 'not measured' }
  return [
    {
      what: 'hop, for orientation (PUT, and over 32 organisations)',
      reach: '',
      measured: `${two(row('PUT', 'hop').toBare)}, ${two(row('PUT, 32 organisations', 'hop').toBare)} of bare`,
    },
    {
      what: 'PUT, one organisation',
      reach: '≥ 0.30 of bare, ≥ 0.85 of hop',
      measured: `${two(put.toBare)} of bare, ${two(toHop)} of hop`,
      met: put.toBare >= 0.3 && toHop >= 0.85,
    },
    { what: 'PUT, 32 organisations', reach: '≥ 0.20 of bare', measured: two(many), met: many >= 0.2 },
    { what: 'GET', reach: '≥ 0.32 of bare', measured: two(get), met: get >= 0.32 },
    {
      what: 'added p50 of a PUT at 1 connection',
      reach: '≤ 0.9 ms over bare',
      measured: `${two(added)} ms (hop: ${two(hopAdded)} ms)`,
      met: added <= 0.9,
    },
    {
      what: 'refusals that need no object: no token, typo, another method',
      reach: '≥ 1.0 of bare’s rate',
      measured: early.map(two).join(', '),
      met: Math.min(...early) >= 1,
    },
    {
      what: 'PUT rate at 1,000,000 records',
      reach: '≥ 0.95 of that at 1,000',
      ...(long ? { measured: two(long.putToShortest), met: long.putToShortest >= 0.95 } : notMeasured),
    },
    {
      what: 'first audit page at 1,000,000 records',
      reach: '≤ 2 × the time at 1,000',
      ...(pages ? { measured: `${two(pages.first)} ×`, met: pages.first <= 2 } : notMeasured),
    },
    {
      what: 'a filtered page at 1,000,000 records',
      reach: '≤ 2 × the time at 1,000',
      ...(worst && pages
        ? {
            measured: `median ${two(median(pages.filtered.map(([, ratio]) => ratio)))} ×, worst ${two(worst[1])} × (by ${worst[0]})`,
            met: worst[1] <= 2,
          }
        : notMeasured),
    },
    {
      what: 'against the node peer, PUT',
      reach: 'ahead in rate and in p99',
      measured: `${two(rateToPeer)} of its rate, ${two(p99ToPeer)} of its p99`,
      met: rateToPeer > 1 && p99ToPeer < 1,
    },
    {
      what: 'PUT with an upstream of 200 ms, 32 connections',
      reach: '≥ 0.90 of what five calls at a time allow',
      measured: two(slow),
      met: slow >= 0.9,
    },
    {
      what: 'rows written per PUT',
      reach: '≤ 6',
      measured: two(rowsWritten.PUT),
      met: rowsWritten.PUT <= 6,
    },
    {
      what: 'bundle, minified and gzipped, without CEL and console',
      reach: '≤ 40 KiB',
      measured: `${bundle.coreGzipKiB.toFixed(1)} KiB (with them ${bundle.gzipKiB.toFixed(1)})`,
      met: bundle.coreGzipKiB <= 40,
    },
    {
      what: 'start-up (`Active` of `wrangler check startup`)',
      reach: '≤ 15 ms',
      measured: `${activeMs.toFixed(1)} ms (evaluating the module: ${evaluationMs.toFixed(1)} ms)`,
      met: activeMs <= 15,
    },
  ]
}

function two(value: number): string {
  return value.toFixed(2)
}
