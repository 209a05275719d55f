/**
 * Owns the order of measuring: round after round, in each of them everyone in turn, so that a machine that drifts does so for
 * all. Medians of the rounds, and ratios within a round.
 */
import type { Generator } from './child.ts'
import { cpuMs, residentMiB } from './meter.ts'
import type { Scenario } from './scenarios.ts'
import type { Name, Subject } from './subjects.ts'

export interface Measured {
  perSecond: number
  p50: number
  p99: number
  /** Of the measured process; the load and the upstream have their own. */
  cpuMsPerRequest: number
}

export interface Row {
  scenario: string
  subject: Name
  connections: number
  rounds: Measured[]
  median: Measured
  /** Medians of each round's ratio of requests per second. */
  toBare: number
}

/** What can be measured, under a name of its own. */
export interface Measurable extends Omit<Subject, 'name'> {
  name: string
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const high = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2
}

function medianOf(rounds: readonly Measured[]): Measured {
  const of = (key: keyof Measured) => median(rounds.map(each => each[key]))
  return {
    perSecond: of('perSecond'),
    p50: of('p50'),
    p99: of('p99'),
    cpuMsPerRequest: of('cpuMsPerRequest'),
  }
}

export async function measure(
  { name, connections, requests, status, body }: Scenario,
  subject: Measurable,
  generator: Generator,
  seconds: number,
): Promise<Measured> {
  const load = { url: subject.url, connections, seconds, requests: requests(subject), status }
  const before = cpuMs(subject.pid)
  const loaded = await generator.run(body === undefined ? load : { ...load, body }).catch((error: Error) => {
    throw new Error(`${name}, ${subject.name}: ${error.message}`)
  })
  const cpuMsPerRequest = (cpuMs(subject.pid) - before) / loaded.requests
  const { perSecond, p50, p99 } = loaded
  return { perSecond, p50, p99, cpuMsPerRequest }
}

/** Every scenario on each of its subjects, `count` times; once before that, unmeasured, so that all are warm. */
export async function runRounds(
  scenarios: readonly Scenario[],
  subjects: readonly Subject[],
  generator: Generator,
  { count, seconds, onRound }: { count: number; seconds: number; onRound: (round: number) => void },
): Promise<Row[]> {
  const pairs = scenarios.flatMap(scenario =>
    subjects.filter(({ name }) => scenario.subjects.includes(name)).map(subject => ({ scenario, subject })),
  )
  const rounds = new Map(pairs.map(pair => [pair, [] as Measured[]]))
  for (const { scenario, subject } of pairs) {
    // The others are small programs, and soon compiled.
    const long = subject.name === 'gateway' ? scenario.warmSeconds : Math.min(scenario.warmSeconds, 3)
    await measure(scenario, subject, generator, long)
  }
  for (let round = 0; round < count; round++) {
    onRound(round + 1)
    // Every other round the other way about, so that nobody always comes after the same one.
    for (const pair of round % 2 === 0 ? pairs : [...pairs].reverse()) {
      const long = Math.max(seconds, pair.scenario.minSeconds ?? 0)
      rounds.get(pair)?.push(await measure(pair.scenario, pair.subject, generator, long))
    }
  }
  const bare = (base: string) =>
    rounds.get(
      pairs.find(({ scenario, subject }) => scenario.name === base && subject.name === 'bare') as never,
    ) ?? []
  return pairs.map(pair => {
    const own = rounds.get(pair) as Measured[]
    const ratios = own.map(
      (each, i) => each.perSecond / (bare(pair.scenario.base)[i]?.perSecond ?? Number.NaN),
    )
    return {
      scenario: pair.scenario.name,
      subject: pair.subject.name,
      connections: pair.scenario.connections,
      rounds: own,
      median: medianOf(own),
      toBare: median(ratios),
    }
  })
}

export function memoryOf(subjects: readonly Subject[]): Record<string, number> {
  return Object.fromEntries(subjects.map(({ name, pid }) => [name, residentMiB(pid)]))
}
