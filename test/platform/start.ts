// `npm start`: the local stack, that is the stand-in platform and the gateway in front of it, set up and
// ready to be called. It listens and calls on 127.0.0.1 alone, and prints no secret but the token that it
// just made.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { parseArgs, parseEnv } from 'node:util'
import { adminSecret, completeDevVars } from './dev-vars.ts'
import { type Platform, startPlatform } from './platform.ts'
import { type Gateway, startGateway } from './wrangler.ts'

const ORGANISATION_ID = '01JD0W3V0A5XK9M2T7E8H4R6QB'
const CONNECTION_ID = '01JD0W41ZC8N6S5PDY3FGJ2KVT'
const TOKEN_NAME = 'local'
const USAGE = `npm start -- [--port 8787] [--platform-port 8788] [--verbose]

  --port           the gateway's port (or the environment variable PORT)
  --platform-port  the stand-in platform's port (or PLATFORM_PORT)
  --verbose        shows what wrangler dev prints`

const ROOT = join(import.meta.dirname, '..', '..')
const DEV_VARS = join(ROOT, '.dev.vars')

let platform: Platform | undefined
let gateway: Gateway | undefined
let stopping = false

async function main(): Promise<void> {
  const { port, platformPort, verbose } = readOptions()
  await refuseTakenPort(port, 'the gateway', '--port', 'PORT')
  await refuseTakenPort(platformPort, 'the stand-in platform', '--platform-port', 'PLATFORM_PORT')

  console.log('Starting the stand-in platform and the gateway ...')
  const devVars = completeDevVars(DEV_VARS)
  platform = await startPlatform({ port: platformPort })
  gateway = startGateway({
    root: ROOT,
    port,
    upstreamBaseUrl: platform.baseUrl,
    secrets: [...Object.values(devVars), adminSecret(devVars), cookieValue(platform)],
    verbose,
  })
  const died = gateway.ended.then(why => Promise.reject(new Error(why)))
  died.catch(() => {})
  await Promise.race([gateway.ready(), died])

  const origin = `http://127.0.0.1:${port}`
  const token = await setUp(
    `${origin}/admin/organisations/${ORGANISATION_ID}`,
    adminSecret(devVars),
    platform,
  )
  console.log(token === undefined ? forkGuide(origin) : guide(origin, platform.baseUrl, token))
  await died
}

function readOptions(): { port: number; platformPort: number; verbose: boolean } {
  const { values } = parseArgs({
    options: {
      port: { type: 'string' },
      'platform-port': { type: 'string' },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    process.exit(0)
  }
  const number = (flag: 'port' | 'platform-port', variable: string, fallback: number) => {
    const text = values[flag] ?? (process.env[variable] || String(fallback))
    const value = /^\d{1,5}$/.test(text) ? Number(text) : 0
    if (value >= 1 && value <= 65535) return value
    const source = values[flag] === undefined ? variable : `--${flag}`
    throw new Error(`${source} must be a port number from 1 to 65535, but is '${text}'.`)
  }
  const port = number('port', 'PORT', 8787)
  const platformPort = number('platform-port', 'PLATFORM_PORT', 8788)
  if (port === platformPort) {
    throw new Error(
      `The gateway and the stand-in platform cannot both use port ${port}: change --platform-port.`,
    )
  }
  return { port, platformPort, verbose: values.verbose }
}

async function refuseTakenPort(port: number, whose: string, flag: string, variable: string): Promise<void> {
  const probe = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once('error', reject)
      probe.listen(port, '127.0.0.1', resolve)
    })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'EADDRINUSE' ? 'is taken' : `cannot be used (${code})`
    const other = port > 60_000 ? port - 1000 : port + 1000
    throw new Error(
      `Port ${port} for ${whose} ${why}. Choose another: npm start -- ${flag} ${other} (or set ${variable}).`,
    )
  }
  await new Promise(resolve => probe.close(resolve))
}

/**
 * A session and one token for the organisation; tokens of earlier starts are revoked. Undefined where the gateway writes nothing, as
 * its storage is not what the archive knows.
 */
async function setUp(
  admin: string,
  secret: string,
  { cookie }: Pick<Platform, 'cookie'>,
): Promise<string | undefined> {
  async function call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    const response = await fetch(`${admin}/${path}`, {
      method,
      headers: { Authorization: `Bearer ${secret}`, ...(body ? { 'Content-Type': 'application/json' } : {}) },
      body: body ? JSON.stringify(body) : null,
      signal: AbortSignal.timeout(15_000),
    })
    const text = await response.text()
    if (!response.ok) {
      throw new Error(
        `The gateway refused ${method} ${new URL(response.url).pathname}: ${response.status} ${text}\n` +
          'npm start -- --verbose shows its log.',
      )
    }
    return JSON.parse(text)
  }

  const { state } = await call('GET', 'audit/archive')
  if (state === 'forked') return undefined
  await call('PUT', 'session', { cookie: cookieValue({ cookie }) })
  const { tokens } = (await call('GET', 'tokens')) as {
    tokens: { id: string; name: string; status: string }[]
  }
  for (const { id, name, status } of tokens) {
    if (name === TOKEN_NAME && status === 'active') await call('DELETE', `tokens/${id}`)
  }
  const { token } = await call('POST', 'tokens', { name: TOKEN_NAME, connections: ['*'] })
  return token as string
}

function cookieValue({ cookie }: Pick<Platform, 'cookie'>): string {
  return cookie.slice('cookie='.length)
}

function guide(origin: string, platformUrl: string, token: string): string {
  const version = `${origin}/o/${ORGANISATION_ID}/connections/${CONNECTION_ID}/versions/1.4.0`
  const authorization = `-H 'Authorization: Bearer ${token}'`
  return `
Gateway             ${origin}
Stand-in platform   ${platformUrl}

Read a version:

  curl -sS -w '\\n' ${version} ${authorization}

Make it the default version: read it, change isDefault, send it back:

  curl -sS ${version} ${authorization} | sed 's/"isDefault":false/"isDefault":true/' | curl -sS -w '\\n' -X PUT ${version} ${authorization} -H 'Content-Type: application/json' --data-binary @-

See the records of it all, one a line:

  curl -sS ${origin}/admin/organisations/${ORGANISATION_ID}/audit ${administrator()} -H 'Accept: application/x-ndjson'

Or look at them in a browser, at ${origin}/console, with what this prints:

  ${printSecret() ?? `echo "$ADMIN_SECRET"`}

Records and tokens stay in .wrangler; the stand-in's versions start afresh each time. Ctrl-C ends both.`
}

function forkGuide(origin: string): string {
  const archive = `${origin}/admin/organisations/${ORGANISATION_ID}/audit/archive`
  return `
Gateway   ${origin}

It writes nothing: the storage in .wrangler/state/v3/do is not the one that its archive in .wrangler/state/v3/r2 knows, as
after a restored backup. See the two, with the sha256 of what the archive holds:

  curl -sS -w '\\n' ${archive} ${administrator()}

Go on with this storage all the same, on record, and start again:

  curl -sS -w '\\n' ${archive}/acknowledge ${administrator()} -H 'Content-Type: application/json' -d '{ "sha256": "<that sha256>" }'

Ctrl-C ends it.`
}

/**
 * The shell looks the secret up when the line runs, so that it is neither printed nor in the shell's history.
 */
function administrator(): string {
  const command = printSecret()
  return command ? `-H "Authorization: Bearer $(${command})"` : '-H "Authorization: Bearer $ADMIN_SECRET"'
}

/** A command that prints the first admin secret; undefined where the file is not as this program writes it. */
function printSecret(): string | undefined {
  const text = readFileSync(DEV_VARS, 'utf8')
  const found = [...text.matchAll(/^ADMIN_TOKEN=[^:\n]*:(.*)$/gm)].map(match => match[1]).join('\n')
  if (found !== adminSecret(parseEnv(text))) return undefined
  return `sed -n 's/^ADMIN_TOKEN=[^:]*://p' '${DEV_VARS}'`
}

async function stop(code: number): Promise<void> {
  if (stopping) return
  stopping = true
  await gateway?.stop()
  await platform?.stop()
  process.exit(code)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop(0))
main().catch(error => {
  if (stopping) return
  console.error(error instanceof Error ? error.message : error)
  return stop(1)
})
