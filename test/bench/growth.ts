/**
 * Owns the growth table: one organisation for each size of log, all in one gateway, so that what differs is the log alone.
 */
import { makeSecrets } from '../platform/secrets.ts'
import type { Generator } from './child.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { median } from './rounds.ts'
import { callers, request } from './scenarios.ts'
import { seed, seededToken } from './seed.ts'

const starts = 3
const pageTimes = 25
const exportMs = 2_000
/** Of updates, for each of the bench's rounds: one says little of a few percent. */
const shortRounds = 3
const shortSeconds = 0.8
const warmSeconds = 8
const warm = 'WARM'

export interface Growth {
  records: number
  bytesPerRecord: number
  /** The first request of an object that nobody has asked, in a workerd that runs already. */
  coldStartMs: number
  /** The newest 100 records. */
  firstPageMs: number
  /** Ten records by each of some filters. */
  filteredMs: Record<string, number>
  /** That the record half way is in the log. */
  proofMs: number
  exportPerSecond: number
  exportMiBPerSecond: number
  putPerSecond: number
  /** The median of each round's ratio to the shortest log. */
  putToShortest: number
}

interface Plan {
  sizes: readonly number[]
  upstream: string
  storage: string
  generator: Generator
  rounds: number
  say: (line: string) => void
}

export async function measureGrowth({
  sizes,
  upstream,
  storage,
  generator,
  rounds,
  say,
}: Plan): Promise<Growth[]> {
  const tokens = new Map<string, string>()
  const options = { upstream, storage, tokens, secrets: makeSecrets() }
  const first = await startGateway(options)
  for (const organisation of [warm, ...sizes.map(nameOf)]) await first.setUp(organisation)
  await first.stop()
  const bytes = sizes.map(size => {
    say(`seeding ${size} records`)
    return seed(storage, nameOf(size), size)
  })

  const cold = sizes.map(() => [] as number[])
  for (let start = 1; ; start++) {
    const gateway = await startGateway(options)
    try {
      await describe(gateway, warm)
      for (const [i, size] of sizes.entries())
        cold[i]?.push(await timed(() => describe(gateway, nameOf(size))))
      if (start < starts) continue
      say('pages and exports')
      const pages = await timePages(gateway, sizes)
      const proofs = await timeProofs(gateway, sizes)
      const exported: { perSecond: number; MiBPerSecond: number }[] = []
      for (const size of sizes) exported.push(await timeExport(gateway, size))
      say('updates')
      const puts = await timePuts(gateway, { sizes, generator, rounds: rounds * shortRounds })
      return sizes.map((records, i) => ({
        records,
        bytesPerRecord: bytes[i] as number,
        coldStartMs: median(cold[i] as number[]),
        firstPageMs: pages[i]?.firstPageMs as number,
        filteredMs: pages[i]?.filteredMs as Record<string, number>,
        proofMs: proofs[i] as number,
        exportPerSecond: exported[i]?.perSecond as number,
        exportMiBPerSecond: exported[i]?.MiBPerSecond as number,
        ...(puts[i] as { putPerSecond: number; putToShortest: number }),
      }))
    } finally {
      await gateway.stop()
    }
  }
}

const nameOf = (size: number) => `LOG${size}`

async function timed(run: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await run()
  return performance.now() - startedAt
}

async function describe(gateway: Gateway, organisation: string): Promise<void> {
  const headers = { Authorization: `Bearer ${gateway.token(organisation)}` }
  const response = await fetch(`${gateway.url}/o/${organisation}/token`, { headers })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${organisation}: ${response.status} ${text}`)
}

const ten = '&limit=10'

/** What is asked for; the records of each are 1 in 20 to 1 in 100 of the log, or as said. */
async function queriesOf(gateway: Gateway, size: number): Promise<Record<string, string>> {
  const response = await gateway.admin('GET', `/organisations/${nameOf(size)}/audit/${Math.floor(size / 2)}`)
  const { requestId, time } = (await response.json()) as { requestId: string; time: string }
  return {
    first: '',
    actor: `?actor=${seededToken}${ten}`,
    connection: `?connectionId=CONN1${ten}`,
    event: `?event=update.failed${ten}`,
    outcome: `?outcome=failed${ten}`,
    'request id': `?requestId=${requestId}${ten}`,
    'time, half way': `?until=${encodeURIComponent(time)}${ten}`,
    'version that none has': `?version=0.0.0${ten}`,
  }
}

async function timePages(
  gateway: Gateway,
  sizes: readonly number[],
): Promise<{ firstPageMs: number; filteredMs: Record<string, number> }[]> {
  const queries = await Promise.all(sizes.map(size => queriesOf(gateway, size)))
  const times = sizes.map(() => new Map<string, number[]>())
  for (let i = 0; i < pageTimes; i++) {
    for (const [at, size] of sizes.entries()) {
      for (const [name, query] of Object.entries(queries[at] ?? {})) {
        const ms = await timed(async () => {
          const page = await gateway.admin('GET', `/organisations/${nameOf(size)}/audit${query}`)
          const { records } = (await page.json()) as { records: unknown[] }
          const least = name === 'version that none has' ? 0 : name === 'request id' ? 1 : 10
          if (records.length < least) throw new Error(`${name} found ${records.length} of ${size}`)
        })
        times[at]?.set(name, [...(times[at]?.get(name) ?? []), ms])
      }
    }
  }
  return times.map(each => {
    const { first = Number.NaN, ...filteredMs } = Object.fromEntries(
      [...each].map(([name, ms]) => [name, median(ms)]),
    )
    return { firstPageMs: first, filteredMs }
  })
}

async function timeProofs(gateway: Gateway, sizes: readonly number[]): Promise<number[]> {
  const times = sizes.map(() => [] as number[])
  for (let i = 0; i < pageTimes; i++) {
    for (const [at, size] of sizes.entries()) {
      const path = `/organisations/${nameOf(size)}/audit/${Math.floor(size / 2)}/proof`
      times[at]?.push(await timed(async () => (await gateway.admin('GET', path)).json()))
    }
  }
  return times.map(median)
}

/** How fast the log is exported, by its first seconds. */
async function timeExport(
  gateway: Gateway,
  size: number,
): Promise<{ perSecond: number; MiBPerSecond: number }> {
  const { ADMIN_TOKEN } = gateway.secrets
  const abort = new AbortController()
  const startedAt = performance.now()
  const response = await fetch(`${gateway.url}/admin/organisations/${nameOf(size)}/audit`, {
    headers: { Authorization: `Bearer ${ADMIN_TOKEN.split(':')[1]}`, Accept: 'application/x-ndjson' },
    signal: abort.signal,
  })
  if (response.status !== 200) throw new Error(`export: ${response.status}`)
  let lines = 0
  let bytes = 0
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++
    if (performance.now() - startedAt > exportMs) break
  }
  const seconds = (performance.now() - startedAt) / 1000
  abort.abort()
  return { perSecond: lines / seconds, MiBPerSecond: bytes / seconds / 2 ** 20 }
}

async function timePuts(
  gateway: Gateway,
  { sizes, generator, rounds }: Pick<Plan, 'sizes' | 'generator' | 'rounds'>,
): Promise<{ putPerSecond: number; putToShortest: number }[]> {
  const rates = sizes.map(() => [] as number[])
  const put = async (organisation: string, seconds: number) => {
    const token = gateway.token(organisation)
    const requests = Array.from({ length: callers }, (_, caller) => [
      request('PUT', organisation, caller, token),
    ])
    const { perSecond } = await generator.run({
      url: gateway.url,
      connections: callers,
      seconds,
      requests,
      status: 200,
    })
    return perSecond
  }
  await put(warm, warmSeconds)
  // One round more than is counted: the first touches most of a log's pages for the first time.
  for (let round = 0; round <= rounds; round++) {
    const order = [...sizes.entries()]
    for (const [i, size] of round % 2 === 0 ? order : order.reverse()) {
      const perSecond = await put(nameOf(size), shortSeconds)
      if (round > 0) rates[i]?.push(perSecond)
    }
  }
  return rates.map(own => ({
    putPerSecond: median(own),
    putToShortest: median(own.map((rate, round) => rate / (rates[0]?.[round] ?? Number.NaN))),
  }))
}
