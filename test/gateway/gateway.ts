/**
 * Owns what gateway tests share: a gateway against a stand-in platform, callers over plain HTTP, and the search for
 * secrets in everything that it stored, logged and answered.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Platform, startPlatform } from '../platform/platform.ts'
import { makeSecrets } from '../platform/secrets.ts'
import { type Bindings, type Runtime, startRuntime } from './runtime.ts'

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of every shape.
  json: any
}

export interface Ask {
  method?: string
  token?: string | undefined
  headers?: Record<string, string> | [string, string][]
  body?: string | object | Buffer
  /** Sends the body without a Content-Length. */
  chunked?: boolean
}

export interface Gateway {
  platform: Platform
  runtime: Runtime
  bindings: Bindings
  storage: string
  adminSecret: string
  logs: string[]
  /** Every answer so far, with what a test expects to hold a token left out. */
  answers: string[]
  ask(path: string, options?: Ask): Promise<Answer>
  admin(method: string, path: string, body?: object, headers?: Record<string, string>): Promise<Answer>
  /** An organisation with a session and a token that may do everything. */
  organisation(scope?: object): Promise<{ id: string; token: string; tokenId: string }>
  /** Stops workerd and starts it anew on the same storage, with other bindings if given. */
  restart(bindings?: Bindings): Promise<void>
  stop(): Promise<void>
}

let counter = 0

/** A new id in the form of a ULID. */
export function newId(): string {
  return `01TEST${String(++counter).padStart(6, '0')}${randomBytes(7).toString('hex').toUpperCase()}`
}

export function versionPath(organisation: string, connection: string, version: string): string {
  return `/o/${organisation}/connections/${connection}/versions/${encodeURIComponent(version)}`
}

export async function startGateway(overrides: Bindings = {}): Promise<Gateway> {
  const platform = await startPlatform()
  const secrets = makeSecrets()
  const adminSecret = randomBytes(33).toString('base64url')
  const storage = mkdtempSync(join(tmpdir(), 'gateway-'))
  const logs: string[] = []
  const answers: string[] = []
  const bindings: Bindings = {
    UPSTREAM_BASE_URL: platform.baseUrl,
    UPSTREAM_TIMEOUT_MS: '3000',
    ...secrets,
    ADMIN_TOKEN: `alice:${adminSecret}`,
    ...overrides,
  }
  const gateway: Gateway = {
    platform,
    runtime: await startRuntime(storage, bindings, line => logs.push(line)),
    bindings,
    storage,
    adminSecret,
    logs,
    answers,
    async ask(path, options = {}) {
      const answer = await send(gateway.runtime.url, path, options)
      if (answer.json?.token === undefined) answers.push(JSON.stringify(answer.headers) + answer.text)
      return answer
    },
    admin(method, path, body, headers = {}) {
      const json: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/json' }
      const ask: Ask = { method, token: adminSecret, headers: { ...json, ...headers } }
      if (body !== undefined) ask.body = body
      return gateway.ask(`/admin${path}`, ask)
    },
    async organisation(scope = {}) {
      const id = newId()
      const cookie = platform.cookie.replace(/^cookie=/, '')
      await gateway.admin('PUT', `/organisations/${id}/session`, { cookie })
      const made = await gateway.admin('POST', `/organisations/${id}/tokens`, {
        name: 'ci-deploy',
        connections: ['*'],
        rateLimit: { requests: 100_000, windowSeconds: 60 },
        ...scope,
      })
      if (made.status !== 201) throw new Error(`no token: ${made.status} ${made.text}`)
      return { id, token: made.json.token, tokenId: made.json.id }
    },
    async restart(changed = {}) {
      await gateway.runtime.miniflare.dispose()
      Object.assign(bindings, changed)
      gateway.runtime = await startRuntime(storage, bindings, line => logs.push(line))
    },
    async stop() {
      await gateway.runtime.miniflare.dispose()
      await platform.stop()
      rmSync(storage, { recursive: true, force: true })
    },
  }
  return gateway
}

/** One request as it is: paths and headers go out unchanged, repeated headers stay repeated. */
export function send(origin: string, path: string, options: Ask = {}): Promise<Answer> {
  const { method = 'GET', token, body, chunked = false } = options
  const given = options.headers ?? {}
  const headers = Array.isArray(given) ? [...given] : Object.entries(given)
  if (token !== undefined) headers.push(['Authorization', `Bearer ${token}`])
  const payload =
    body === undefined
      ? undefined
      : typeof body === 'string' || Buffer.isBuffer(body)
        ? body
        : JSON.stringify(body)
  const { hostname, port, host } = new URL(origin)
  headers.push(['Host', host])
  if (payload !== undefined && !chunked) headers.push(['Content-Length', String(Buffer.byteLength(payload))])
  if (payload !== undefined && chunked) headers.push(['Transfer-Encoding', 'chunked'])
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, path, method, headers: headers.flat() as never })
    request.on('error', reject)
    request.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parse(text) })
      })
    })
    request.end(payload)
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Where a secret turns up: in the names of stored files, log lines or answers. */
export function sightings(gateway: Gateway, secret: string): string[] {
  const found: string[] = []
  for (const file of filesUnder(gateway.storage)) {
    if (readFileSync(file).includes(secret)) found.push(file)
  }
  for (const line of gateway.logs) if (line.includes(secret)) found.push('a log line')
  for (const text of gateway.answers) if (text.includes(secret)) found.push('an answer')
  return found
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder).flatMap(name => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? filesUnder(path) : [path]
  })
}
