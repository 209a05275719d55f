/** Owns the one build of a test run: the Worker exactly as it would be deployed. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const outdir = join(root, '.wrangler/test-build')

/** Runs before all tests. */
export default function buildOnce(): void {
  build(outdir)
}

/** Builds the Worker into a folder, with further flags of wrangler's. */
export function build(folder: string, ...flags: string[]): void {
  const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js')
  execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', folder, ...flags], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

/** The bundle's text. */
export function builtWorker(folder = outdir): string {
  return readFileSync(join(folder, 'index.js'), 'utf8')
}
