/**
 * Owns the load: a process of its own that runs autocannon for one measurement at a time. Checks the status of each answer,
 * and its body where one is expected. Latencies are kept one by one, as autocannon's own histogram counts whole milliseconds.
 * What was asked in time is waited for: a caller who is cut off leaves its request to the object, and the next measurement
 * would stand in the queue behind it.
 */
import autocannon, { type Client, type Request } from 'autocannon'

/** One measurement. Each connection sends its own list of requests, over and over. */
export interface Load {
  url: string
  connections: number
  seconds: number
  /** By connection; the last one's list is taken by those that have none. */
  requests: Request[][]
  status: number
  body?: string
}

export interface Loaded {
  /** All that were answered, be it after the time. */
  requests: number
  /** Of those that were answered in time. */
  perSecond: number
  p50: number
  p99: number
  /** What was wrong with answers; empty where nothing was. */
  wrong: string[]
}

/** How long answers may be late before they count as missing; autocannon's own limit of one is 10 s. */
const graceSeconds = 30

function run(load: Load): Promise<Loaded> {
  return new Promise((resolve, reject) => {
    const latencies: number[] = []
    const statuses = new Map<number, number>()
    let next = 0
    let inTime = 0
    let lastAt = 0
    let waiting = load.connections
    const setupClient = (client: Client) => {
      const requests = load.requests[Math.min(next++, load.requests.length - 1)] as Request[]
      client.setRequests(requests)
    }
    const { url, connections, seconds, body } = load
    const options = {
      url,
      connections,
      duration: seconds + graceSeconds,
      sampleInt: 50,
      setupClient,
    }
    const startedAt = performance.now()
    const endsAt = startedAt + seconds * 1000
    const instance = autocannon(
      body === undefined ? options : { ...options, expectBody: body },
      (error, result) => {
        if (error) return reject(error)
        const wrong: string[] = []
        for (const [status, count] of statuses)
          if (status !== load.status) wrong.push(`${count} × status ${status}`)
        if (result.errors > 0) wrong.push(`${result.errors} × no answer`)
        if (result.mismatches > 0) wrong.push(`${result.mismatches} × another body`)
        if (waiting > 0) wrong.push(`${waiting} × nothing within ${graceSeconds} s of the end`)
        if (inTime === 0) wrong.push('no request was answered in time')
        latencies.sort((a, b) => a - b)
        const at = (share: number) =>
          latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
        const perSecond = inTime / ((lastAt - startedAt) / 1000)
        resolve({ requests: latencies.length, perSecond, p50: at(0.5), p99: at(0.99), wrong })
      },
    )
    instance.on('response', (client: Client, status: number, _bytes: number, ms: number) => {
      const now = performance.now()
      if (now < endsAt) {
        inTime++
        lastAt = now
      } else {
        waiting--
        client.responseMax = client.reqsMade
      }
      latencies.push(ms)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    })
  })
}

if (import.meta.main) {
  process.on('message', (load: Load) => {
    run(load).then(
      loaded => process.send?.(loaded),
      (error: Error) => process.send?.({ wrong: [error.message] }),
    )
  })
  process.on('disconnect', () => process.exit())
  process.send?.('ready')
}
