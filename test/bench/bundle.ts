/**
 * Owns what is known of the bundle: its size as it is uploaded, and its start-up time as `wrangler check startup` reports it,
 * that is the time in which a profile of workerd, from before the import to an answer, saw it work.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { unstable_readConfig } from 'wrangler'
import { buildWithout, builtWorker } from '../gateway/build.ts'
import { type Profile, totalMs } from './cpu-profile.ts'
import { median } from './rounds.ts'

const root = join(import.meta.dirname, '../..')
const times = 9

export interface Startup {
  /** The median of a few, as wrangler says it: `Active`. */
  activeMs: number
  /** Of that, evaluating the Worker's own module: without compiling it, and without what it imports of workerd's. */
  evaluationMs: number
}

export interface Bundle {
  KiB: number
  gzipKiB: number
  /** Without the console and the library for hooks' expressions. */
  coreGzipKiB: number
  startup: Startup
  /** Of a Worker that does nothing but import node:crypto. */
  cryptoStartup: Startup
}

function wrangler(...args: string[]): string {
  return execFileSync(process.execPath, [join(root, 'node_modules/wrangler/bin/wrangler.js'), ...args], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
  })
}

function startupOf(config: string, folder: string): Startup {
  const packed = join(folder, 'worker.bundle')
  wrangler('deploy', '--dry-run', `--config=${config}`, `--outfile=${packed}`)
  const outfile = join(folder, 'startup.cpuprofile')
  const starts = Array.from({ length: times }, () => {
    const said = wrangler('check', 'startup', `--worker-bundle=${packed}`, `--outfile=${outfile}`)
    const active = /Active: ([\d.]+) ms/.exec(said)?.[1]
    if (active === undefined) throw new Error(`wrangler check startup gave no time:\n${said}`)
    const profile = JSON.parse(readFileSync(outfile, 'utf8')) as Profile
    // A module's own code is a function without a name at the start of its file.
    const evaluation = totalMs(profile, ({ functionName, url, lineNumber }) => {
      return functionName === '' && lineNumber < 0 && url.endsWith('index.js')
    })
    return { active: Number(active), evaluation }
  })
  return {
    activeMs: median(starts.map(({ active }) => active)),
    evaluationMs: median(starts.map(({ evaluation }) => evaluation)),
  }
}

/** `folder` is for files that are of no use afterwards. */
export function describeBundle(folder: string): Bundle {
  const text = builtWorker()
  const config = join(root, 'wrangler.toml')
  const { compatibility_date, compatibility_flags } = unstable_readConfig({ config })
  const core = join(folder, 'core')
  mkdirSync(core)
  const crypto = join(folder, 'crypto')
  mkdirSync(crypto)
  const cryptoConfig = join(crypto, 'wrangler.json')
  writeFileSync(
    cryptoConfig,
    JSON.stringify({ name: 'crypto', main: 'index.js', compatibility_date, compatibility_flags }),
  )
  writeFileSync(
    join(crypto, 'index.js'),
    `import { hash } from 'node:crypto'\nglobalThis.hash = hash\nexport default { fetch: () => new Response() }\n`,
  )
  return {
    KiB: Buffer.byteLength(text) / 1024,
    gzipKiB: gzipSync(text).byteLength / 1024,
    coreGzipKiB: gzipSync(buildWithout(core, 'console', 'expressions')).byteLength / 1024,
    startup: startupOf(config, folder),
    cryptoStartup: startupOf(cryptoConfig, crypto),
  }
}
