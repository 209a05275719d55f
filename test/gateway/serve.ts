/**
 * Owns a runtime in a process of its own, for tests that kill it: reads `{ storage, bindings }` from standard input,
 * starts, and prints `{ url, workerd }` as one line. After that each line of standard input is a command about one
 * organisation's object, answered by one line: `{ organisation }` has it evicted from memory, `{ organisation, sql }` runs
 * SQL in it. With `logs: true` beside the bindings, each line that workerd logs is printed as `{ log }`. Ends when its
 * standard input does.
 */
import { execFileSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Miniflare } from 'miniflare'
import { startRuntime } from './runtime.ts'

const print = (line: object) => console.log(JSON.stringify(line))

async function run(miniflare: Miniflare, command: string): Promise<object> {
  const { organisation, sql } = JSON.parse(command)
  const object = ['versori-gateway', 'Organisation', { name: organisation }] as const
  try {
    if (sql === undefined) await miniflare.unsafeEvictDurableObject(...object)
    else await (await miniflare.unsafeGetDurableObjectStorage(...object)).exec(sql)
    return { done: true }
  } catch (error) {
    return { done: false, error: String(error) }
  }
}

process.stdin.once('data', async data => {
  const commands = createInterface({ input: process.stdin })
  const { storage, bindings, logs = false } = JSON.parse(String(data))
  const onLog = (log: string) => logs && print({ log })
  const { url, miniflare } = await startRuntime(storage, bindings, onLog)
  const processes = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' })
  const workerd = processes
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .find(([, parent, name = '']) => Number(parent) === process.pid && name.includes('workerd'))?.[0]
  print({ url, workerd: Number(workerd) })
  for await (const command of commands) print(await run(miniflare, command))
})
process.stdin.on('end', () => process.exit())
