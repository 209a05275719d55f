/**
 * Owns how many rows a request writes: the object's bill. Read from workerd's own counter (SqlStorageCursor.rowsWritten, index
 * entries included) around every statement of the built object, in a run of its own.
 */
import type { Generator } from './child.ts'
import { startGateway } from './gateway.ts'
import { callers, request } from './scenarios.ts'
import { counted } from './workers.ts'

export interface RowsWritten {
  PUT: number
  GET: number
}

export async function countRows(
  upstream: string,
  storage: string,
  generator: Generator,
): Promise<RowsWritten> {
  const gateway = await startGateway({ upstream, storage, entry: counted })
  try {
    await gateway.setUp('ROWS')
    const written = async () => {
      const response = await fetch(`${gateway.url}/bench/rows`)
      const { rows, alarms, counts } = (await response.json()) as {
        rows: number
        alarms: number
        counts: boolean
      }
      if (!counts) throw new Error('nothing counts the rows')
      return rows + alarms
    }
    const per = async (method: string) => {
      const requests = Array.from({ length: callers }, (_, caller) => [
        request(method, 'ROWS', caller, gateway.token('ROWS')),
      ])
      const load = { url: gateway.url, connections: callers, seconds: 2, requests, status: 200 }
      const before = await written()
      const loaded = await generator.run(load)
      return ((await written()) - before) / loaded.requests
    }
    return { PUT: await per('PUT'), GET: await per('GET') }
  } finally {
    await gateway.stop()
  }
}
