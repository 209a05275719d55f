/** Owns how results look: as tables in Markdown, for a terminal and for the README. Pure. */
import { goalsOf, type Results } from './goals.ts'

export function table(head: string[], rows: string[][]): string {
  const widths = head.map((cell, i) => Math.max(cell.length, 3, ...rows.map(row => (row[i] ?? '').length)))
  const line = (cells: string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  return [line(head), line(widths.map(width => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

const whole = (value: number) => Math.round(value).toLocaleString('en')
const two = (value: number) => value.toFixed(2)
const one = (value: number) => value.toFixed(1)

export function goalsTable(results: Results): string {
  const rows = goalsOf(results).map(({ what, reach, measured, met }) => [
    what,
    reach,
    measured,
    met === undefined ? '' : met ? 'yes' : 'no',
  ])
  return table(['what', 'to reach', 'measured', 'met'], rows)
}

export function ratesTable({ measured }: Results): string {
  const rows = measured.map(({ scenario, subject, connections, median, toBare }) => [
    scenario,
    subject,
    String(connections),
    whole(median.perSecond),
    two(toBare),
    two(median.p50),
    two(median.p99),
    two(median.cpuMsPerRequest),
  ])
  return table(
    ['what', 'who', 'connections', 'requests/s', 'to bare', 'p50 ms', 'p99 ms', 'CPU ms/request'],
    rows,
  )
}

export function growthTable({ growth }: Results): string {
  const filters = Object.keys(growth[0]?.filteredMs ?? {})
  const rows: [string, (at: (typeof growth)[number]) => string][] = [
    ['PUT, requests/s', at => `${whole(at.putPerSecond)} (${two(at.putToShortest)})`],
    ['first page, ms', at => two(at.firstPageMs)],
    ...filters.map((name): [string, (at: (typeof growth)[number]) => string] => [
      `page by ${name}, ms`,
      at => two(at.filteredMs[name] ?? Number.NaN),
    ]),
    ['proof of the record half way, ms', at => two(at.proofMs)],
    ['export, records/s', at => `${whole(at.exportPerSecond)} (${one(at.exportMiBPerSecond)} MiB/s)`],
    ['cold start of the object, ms', at => one(at.coldStartMs)],
    ['bytes per record', at => whole(at.bytesPerRecord)],
  ]
  return table(
    ['records', ...growth.map(({ records }) => whole(records))],
    rows.map(([name, of]) => [name, ...growth.map(of)]),
  )
}

export function factsLine({ memoryMiB, rowsWritten, bundle }: Results): string {
  const memory = Object.entries(memoryMiB).map(([name, MiB]) => `${name} ${whole(MiB)}`)
  return `Memory after the rounds, MiB: ${memory.join(', ')}. Rows written, indexes included: ${two(rowsWritten.PUT)} a PUT, ${two(rowsWritten.GET)} a GET.
Bundle: ${one(bundle.KiB)} KiB, gzipped ${one(bundle.gzipKiB)}. Start-up: ${one(bundle.startup.activeMs)} ms, of which evaluating the module ${one(bundle.startup.evaluationMs)}; that of a Worker which imports node:crypto alone ${one(bundle.cryptoStartup.activeMs)} ms.`
}

export function machineLine({ machine, rounds, seconds }: Results): string {
  const { cores, cpu, system, node, workerd } = machine
  return `${cores} cores (${cpu}), ${system}, Node ${node}, workerd ${workerd}; medians of ${rounds} rounds of ${seconds} s.`
}
