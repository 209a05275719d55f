/**
 * Owns a runtime in a process of its own, for tests that kill it: reads `{ storage, bindings }` from standard input,
 * starts, and prints `{ url, workerd }` as one line. Ends when its standard input does.
 */
import { execFileSync } from 'node:child_process'
import { startRuntime } from './runtime.ts'

process.stdin.once('data', async data => {
  const { storage, bindings } = JSON.parse(String(data))
  const { url } = await startRuntime(storage, bindings)
  const processes = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' })
  const workerd = processes
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .find(([, parent, name = '']) => Number(parent) === process.pid && name.includes('workerd'))?.[0]
  console.log(JSON.stringify({ url, workerd: Number(workerd) }))
})
process.stdin.on('end', () => process.exit())
