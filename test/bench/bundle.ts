/**
 * Owns what is known of the bundle: its size as it is uploaded, and its start-up time as `wrangler check startup` reports it,
 * that is the time in which a profile of workerd saw the script being compiled and evaluated.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { builtWorker } from '../gateway/build.ts'
import { median } from './rounds.ts'

const root = join(import.meta.dirname, '../..')
const times = 5

export interface Bundle {
  KiB: number
  gzipKiB: number
  /** The median of a few. */
  startupMs: number
  startups: number[]
}

function wrangler(...args: string[]): string {
  return execFileSync(process.execPath, [join(root, 'node_modules/wrangler/bin/wrangler.js'), ...args], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
  })
}

/** `folder` is for files that are of no use afterwards. */
export function describeBundle(folder: string): Bundle {
  const text = builtWorker()
  const packed = join(folder, 'worker.bundle')
  wrangler('deploy', '--dry-run', `--outfile=${packed}`)
  const startups = Array.from({ length: times }, () => {
    const outfile = join(folder, 'startup.cpuprofile')
    const said = wrangler('check', 'startup', `--worker-bundle=${packed}`, `--outfile=${outfile}`)
    const found = /Active: ([\d.]+) ms/.exec(said)?.[1]
    if (found === undefined) throw new Error(`wrangler check startup gave no time:\n${said}`)
    return Number(found)
  })
  return {
    KiB: Buffer.byteLength(text) / 1024,
    gzipKiB: gzipSync(text).byteLength / 1024,
    startupMs: median(startups),
    startups,
  }
}
