// The local stack's secrets in .dev.vars, where wrangler dev reads them: makes what is missing. It never
// changes or removes what stands there.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { makeSecrets } from './secrets.ts'

/** All variables of the file, after those that were missing have been added. */
export function completeDevVars(path: string): Record<string, string> {
  const before = read(path)
  const present = parseEnv(before ?? '')
  const missing = Object.entries(makeSecrets('local')).filter(([name]) => !(name in present))
  const lines = missing.map(([name, value]) => `${name}=${value}\n`).join('')
  if (before === undefined) writeFileSync(path, lines, { mode: 0o600, flag: 'wx' })
  else if (lines) appendFileSync(path, before === '' || before.endsWith('\n') ? lines : `\n${lines}`)
  return parseEnv(readFileSync(path, 'utf8')) as Record<string, string>
}

/** What an administrator presents: the first entry of ADMIN_TOKEN without its name. */
export function adminSecret(devVars: NodeJS.Dict<string>): string {
  const [first = ''] = (devVars.ADMIN_TOKEN ?? '').split(',')
  return first.replace(/^\s*[A-Za-z0-9._-]{1,64}:/, '').trim()
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
