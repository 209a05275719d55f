/** Owns the bench's processes in Node: starts a file of this folder, and asks it by message. */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { Load, Loaded } from './load.ts'

function start(file: string, args: string[] = []): { child: ChildProcess; first: Promise<unknown> } {
  const child = fork(join(import.meta.dirname, file), args)
  const first = new Promise<unknown>((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', code => reject(new Error(`${file} ended with ${code}`)))
  })
  return { child, first }
}

/** A server, once it listens; its first message is its address. */
export async function startServer(
  file: string,
  args: string[] = [],
): Promise<{ url: string; pid: number; stop: () => Promise<void> }> {
  const { child, first } = start(file, args)
  const { port } = (await first) as { port: number }
  return { url: `http://127.0.0.1:${port}`, pid: child.pid as number, stop: async () => void child.kill() }
}

export interface Generator {
  /** Throws where any answer was wrong. */
  run(load: Load): Promise<Loaded>
  stop(): void
}

export async function startGenerator(): Promise<Generator> {
  const { child, first } = start('load.ts')
  await first
  return {
    async run(load) {
      const loaded = await new Promise<Loaded>((resolve, reject) => {
        const exit = () => reject(new Error('the load generator ended'))
        child.once('exit', exit)
        child.once('message', message => {
          child.off('exit', exit)
          resolve(message as Loaded)
        })
        child.send(load)
      })
      const { method, path } = load.requests[0]?.[0] ?? {}
      if (loaded.wrong.length > 0) {
        throw new Error(
          `${method} ${load.url}${path} was not answered with ${load.status}: ${loaded.wrong.join(', ')}`,
        )
      }
      return loaded
    },
    stop: () => void child.kill(),
  }
}
