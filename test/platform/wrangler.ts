// The gateway as a child process, `wrangler dev`: started, watched and ended. It never shows a secret that it
// was told of, and leaves no process behind.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'

export interface GatewayOptions {
  root: string
  port: number
  upstreamBaseUrl: string
  /** Cut out of everything that is shown. */
  secrets: string[]
  verbose: boolean
}

export interface Gateway {
  /**
   * Resolves once the gateway answers GET /health with 200; rejects with words for a person if it never will.
   */
  ready(): Promise<void>
  /** Resolves with words for a person when the process has ended, whoever ended it. */
  ended: Promise<string>
  stop(): Promise<void>
}

const READY_MS = 60_000
const STOP_MS = 5_000
/** Time for a refusing or failing start to turn into a good one. */
const PATIENCE_MS = 3_000

export function startGateway({ root, port, upstreamBaseUrl, secrets, verbose }: GatewayOptions): Gateway {
  const config = join(root, '.wrangler', 'local.toml')
  mkdirSync(join(root, '.wrangler'), { recursive: true })
  writeFileSync(config, localConfig(readFileSync(join(root, 'wrangler.toml'), 'utf8')))
  const health = `http://127.0.0.1:${port}/health`
  // biome-ignore format: one flag a line
  const flags = [
    'src/index.ts',
    '--config', config,
    '--env-file', join(root, '.dev.vars'),
    '--persist-to', join(root, '.wrangler', 'state'),
    '--ip', '127.0.0.1',
    '--port', String(port),
    '--inspector-port', '0',
    '--show-interactive-dev-session=false',
    '--var', `UPSTREAM_BASE_URL:${upstreamBaseUrl}`,
  ]
  const child = spawn(
    process.execPath,
    [join(root, 'node_modules', 'wrangler', 'bin', 'wrangler.js'), 'dev', ...flags],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: Ctrl-C in the terminal reaches this program alone, which then ends the group in
      // order.
      detached: process.platform !== 'win32',
      env: {
        ...process.env,
        NO_COLOR: '1',
        FORCE_COLOR: '0',
        // Nothing goes to the network: no usage data, no look-up of new versions, no fetch of request
        // metadata.
        WRANGLER_SEND_METRICS: 'false',
        WRANGLER_SEND_ERROR_REPORTS: 'false',
        WRANGLER_HIDE_BANNER: 'true',
        CLOUDFLARE_CF_FETCH_ENABLED: 'false',
        WRANGLER_WRITE_LOGS: 'false',
      },
    },
  )

  // What is as short as a port number or a flag is no secret, and cutting it out would garble the rest.
  const hidden = secrets.filter(secret => secret.length >= 16)
  const output: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', raw => {
      const line = hidden.reduce(
        (text, secret) => text.replaceAll(secret, '[secret]'),
        stripVTControlCharacters(raw),
      )
      if (line.trim() !== '') output.push(line)
      if (output.length > 30) output.shift()
      if (verbose) console.log(`  wrangler: ${line}`)
    })
  }
  const explain = (what: string) => (verbose ? what : [`${what} Its last words:`, ...output].join('\n  '))

  const ended = new Promise<string>(resolve => {
    child.on('error', error => resolve(`wrangler dev could not be started: ${error.message}`))
    // wrangler can be killed without its children, which would hold the pipes open.
    child.on('exit', () => killGroup(child))
    child.on('close', (code, signal) =>
      resolve(explain(`wrangler dev ended (${signal ?? `exit code ${code}`}).`)),
    )
  })

  async function ready(): Promise<void> {
    const start = Date.now()
    let failingSince: number | undefined
    while (Date.now() - start < READY_MS) {
      const response = await fetch(health, { signal: AbortSignal.timeout(READY_MS) }).catch(() => undefined)
      const text = await response?.text().catch(() => undefined)
      if (response?.status === 200) return
      const failing = response !== undefined || output.some(line => line.includes('[ERROR]'))
      failingSince = failing ? (failingSince ?? Date.now()) : undefined
      if (failingSince !== undefined && Date.now() - failingSince > PATIENCE_MS) {
        throw new Error(
          response
            ? `The gateway is not healthy: GET ${health} answers ${response.status} ${text?.slice(0, 1000)}\n` +
                'Correct what it names in .dev.vars, or remove that file: the next start makes a new one.'
            : explain('wrangler dev could not start the gateway.'),
        )
      }
      await delay(100)
    }
    throw new Error(explain(`The gateway did not answer GET ${health} within ${READY_MS / 1000} seconds.`))
  }

  async function stop(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const giveUp = setTimeout(() => killGroup(child), STOP_MS)
    await ended
    clearTimeout(giveUp)
  }

  return { ready, ended, stop }
}

/** The configuration as it is deployed, with the archive that is left out there unless one has a bucket for it. */
function localConfig(toml: string): string {
  return `${toml}\n[[r2_buckets]]\nbinding = "AUDIT_ARCHIVE"\nbucket_name = "audit-archive"\n`
}

/** Whatever of the group is left, workerd above all. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined || process.platform === 'win32') return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nothing is left.
  }
}
