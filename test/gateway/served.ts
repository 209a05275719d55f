/**
 * Owns a gateway that can be killed: serve.ts in a child process, its workerd, and the same storage for the next one.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Bindings } from './runtime.ts'

export interface Served {
  url: string
  /** Has an organisation's object evicted, or runs SQL in it. Rejects where that fails or the gateway is gone. */
  command(organisation: string, sql?: string): Promise<void>
  /** SIGKILL, to workerd first. */
  kill(): void
}

export class Server {
  readonly logs: string[] = []
  readonly #storage: string
  readonly #bindings: Bindings
  /** Started ahead, as a process takes longer to load its modules than workerd takes to start. */
  #spare = spawnServer()
  #children = [this.#spare]

  constructor(storage: string, bindings: Bindings) {
    this.#storage = storage
    this.#bindings = bindings
  }

  /** Starts workerd on the storage, which no other may be using. */
  async start(): Promise<Served> {
    const child = this.#spare
    this.#spare = spawnServer()
    this.#children.push(this.#spare)
    const waiting: {
      resolve: (line: { url: string; workerd: number }) => void
      reject: (e: Error) => void
    }[] = []
    const answered = () =>
      new Promise<{ url: string; workerd: number }>((resolve, reject) => waiting.push({ resolve, reject }))
    createInterface({ input: child.stdout }).on('line', text => {
      const line = JSON.parse(text)
      if (line.log !== undefined) this.logs.push(line.log)
      else if (line.done === false) waiting.shift()?.reject(new Error(line.error))
      else waiting.shift()?.resolve(line)
    })
    child.stderr.on('data', data => this.logs.push(String(data)))
    child.on('exit', () => {
      for (const { reject } of waiting.splice(0)) reject(new Error('the gateway is gone'))
    })
    child.stdin.on('error', () => {})
    child.stdin.write(`${JSON.stringify({ storage: this.#storage, bindings: this.#bindings, logs: true })}\n`)
    const { url, workerd } = await answered()
    return {
      url,
      command: async (organisation, sql) => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error('the gateway is gone')
        const answer = answered()
        child.stdin.write(`${JSON.stringify({ organisation, sql })}\n`)
        await answer
      },
      kill: () => {
        process.kill(workerd, 'SIGKILL')
        child.kill('SIGKILL')
      },
    }
  }

  stop(): void {
    for (const child of this.#children) child.stdin.end()
  }
}

function spawnServer(): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [join(import.meta.dirname, 'serve.ts')])
}
